//! A type's tree becomes a descriptor's bytes, at compile time.

use core::marker::PhantomData;

use super::{
    DESCRIPTOR_LEN_MAX, DESCRIPTOR_NODES_MAX, DESCRIPTOR_VERSION, Described, FIELDS_MAX, Field, Fields,
    TEXT_LEN_MAX, TYPE_DEPTH_MAX, TYPE_LEN_MAX, Type, Variant, code,
};
use crate::{VARINT_LEN_MAX, write_varint};

/// How many bytes the descriptor of a type takes.
pub const fn encoded_len(ty: &Type) -> usize {
    Encoder::<0>::run(ty, Detail::All).len
}

/// The descriptor of a type, cut off or filled with zeros to `N` bytes, which is to be its [`encoded_len`].
///
/// # Panics
///
/// Where a type exceeds a limit of descriptors; in a constant that is a compile error.
pub const fn encode<const N: usize>(ty: &Type) -> [u8; N] {
    Encoder::<N>::run(ty, Detail::All).bytes
}

/// The descriptor of a generic type, for which no array of the right length can be named: it lies at the front of
/// the shortest of a few.
pub(crate) const fn descriptor_of<T: Described>() -> &'static [u8] {
    let len = encoded_len(T::TYPE);
    let room: &'static [u8] = match len {
        0..=16 => &Encoded::<T, 16>::BYTES,
        17..=64 => &Encoded::<T, 64>::BYTES,
        65..=256 => &Encoded::<T, 256>::BYTES,
        257..=1024 => &Encoded::<T, 1024>::BYTES,
        _ => &Encoded::<T, DESCRIPTOR_LEN_MAX>::BYTES,
    };
    room.split_at(len).0
}

struct Encoded<T, const N: usize>(PhantomData<T>);

impl<T: Described, const N: usize> Encoded<T, N> {
    const BYTES: [u8; N] = encode(T::TYPE);
}

/// How much of a type the encoder tells.
#[derive(Clone, Copy)]
pub(super) enum Detail {
    /// Everything.
    All,
    /// What fixes the layout: type names are left empty, annotations out.
    Layout,
}

/// Writes what fits into `N` bytes, and counts what would not.
pub(super) struct Encoder<const N: usize> {
    pub(super) bytes: [u8; N],
    pub(super) len: usize,
    nodes: usize,
    detail: Detail,
}

impl<const N: usize> Encoder<N> {
    pub(super) const fn run(ty: &Type, detail: Detail) -> Self {
        let mut encoder = Self { bytes: [0; N], len: 0, nodes: 0, detail };
        encoder.byte(DESCRIPTOR_VERSION);
        encoder.ty(ty, 1);
        assert!(encoder.len <= DESCRIPTOR_LEN_MAX, "the descriptor is longer than DESCRIPTOR_LEN_MAX");
        encoder
    }

    const fn ty(&mut self, ty: &Type, depth: usize) {
        self.nodes += 1;
        assert!(
            self.nodes <= DESCRIPTOR_NODES_MAX,
            "the event has more types in it than DESCRIPTOR_NODES_MAX"
        );
        assert!(depth <= TYPE_DEPTH_MAX, "the event's types nest deeper than TYPE_DEPTH_MAX");
        assert!(ty.archived_len() <= TYPE_LEN_MAX, "an archived value takes more bytes than TYPE_LEN_MAX");
        match ty {
            Type::Primitive(primitive) => self.byte(primitive.code()),
            Type::String => self.byte(code::STRING),
            Type::Vector(element) => self.holder(code::VECTOR, element, depth),
            Type::Option(value) => self.holder(code::OPTION, value, depth),
            Type::Boxed(value) => self.holder(code::BOXED, value, depth),
            Type::Array { len, element } => {
                assert!(*len <= TYPE_LEN_MAX, "an array has more elements than TYPE_LEN_MAX");
                self.byte(code::ARRAY);
                self.varint(*len);
                self.ty(element, depth + 1);
            }
            Type::Tuple(elements) => self.tuple(elements, depth),
            Type::Struct { name, fields } => {
                self.byte(code::STRUCT);
                self.type_name(name);
                self.fields(fields, depth);
            }
            Type::Enum { name, variants } => self.variants(name, variants, depth),
        }
    }

    const fn holder(&mut self, code: u8, held: &Type, depth: usize) {
        self.byte(code);
        self.ty(held, depth + 1);
    }

    const fn tuple(&mut self, elements: &[&Type], depth: usize) {
        self.byte(code::TUPLE);
        self.varint(elements.len());
        let mut i = 0;
        while i < elements.len() {
            self.ty(elements[i], depth + 1);
            i += 1;
        }
    }

    const fn variants(&mut self, name: &str, variants: &[Variant], depth: usize) {
        assert!(variants.len() <= FIELDS_MAX, "an enum has more variants than FIELDS_MAX");
        self.byte(code::ENUM);
        self.type_name(name);
        self.varint(variants.len());
        let mut i = 0;
        while i < variants.len() {
            self.byte(variants[i].tag);
            self.text(variants[i].name);
            self.fields(&variants[i].fields, depth);
            i += 1;
        }
    }

    const fn fields(&mut self, fields: &Fields, depth: usize) {
        let (shape, list) = match fields {
            Fields::Unit => return self.byte(code::SHAPE_UNIT),
            Fields::Tuple(list) => (code::SHAPE_TUPLE, *list),
            Fields::Named(list) => (code::SHAPE_NAMED, *list),
        };
        assert!(list.len() <= FIELDS_MAX, "a struct or variant has more fields than FIELDS_MAX");
        self.byte(shape);
        self.varint(list.len());
        let mut i = 0;
        while i < list.len() {
            if shape == code::SHAPE_NAMED {
                self.text(list[i].name);
            }
            self.annotations(&list[i]);
            self.ty(list[i].ty, depth + 1);
            i += 1;
        }
    }

    const fn annotations(&mut self, field: &Field) {
        if let Detail::Layout = self.detail {
            return;
        }
        if !field.unit.is_empty() {
            self.byte(code::UNIT);
            self.text(field.unit);
        }
        if !field.doc.is_empty() {
            self.byte(code::DOC);
            self.text(field.doc);
        }
    }

    const fn type_name(&mut self, name: &str) {
        match self.detail {
            Detail::All => self.text(name),
            Detail::Layout => self.text(""),
        }
    }

    const fn text(&mut self, text: &str) {
        assert!(text.len() <= TEXT_LEN_MAX, "a name, unit or doc text is longer than TEXT_LEN_MAX");
        self.varint(text.len());
        let bytes = text.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            self.byte(bytes[i]);
            i += 1;
        }
    }

    const fn varint(&mut self, value: usize) {
        let mut bytes = [0; VARINT_LEN_MAX];
        let Some(len) = write_varint(value as u64, &mut bytes) else { unreachable!() };
        let mut i = 0;
        while i < len {
            self.byte(bytes[i]);
            i += 1;
        }
    }

    const fn byte(&mut self, byte: u8) {
        if self.len < N {
            self.bytes[self.len] = byte;
        }
        self.len += 1;
    }
}
