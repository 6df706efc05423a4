//! [`Described`]: the tree of an archived type, and that tree for every archived type that an event may hold.

use core::num::{NonZeroI8, NonZeroU8};

use rkyv::{
    boxed::ArchivedBox,
    option::ArchivedOption,
    primitive::{
        ArchivedChar, ArchivedF32, ArchivedF64, ArchivedI16, ArchivedI32, ArchivedI64, ArchivedI128,
        ArchivedNonZeroI16, ArchivedNonZeroI32, ArchivedNonZeroI64, ArchivedNonZeroI128, ArchivedNonZeroU16,
        ArchivedNonZeroU32, ArchivedNonZeroU64, ArchivedNonZeroU128, ArchivedU16, ArchivedU32, ArchivedU64,
        ArchivedU128,
    },
    string::ArchivedString,
    time::ArchivedDuration,
    traits::ArchivePointee,
    tuple::*,
    vec::ArchivedVec,
};

use super::Primitive;

/// An *archived* type whose bytes can be described.
///
/// `#[derive(Event)]` and `#[derive(Described)]` implement it on the archived form of their type, and check
/// the tree against the compiler's own offsets and sizes. Types whose layout has no description here, such as
/// hash maps, shared pointers and niched options, do not implement it and cannot be part of an event.
#[diagnostic::on_unimplemented(
    message = "the layout of `{Self}` cannot be described, so it cannot be part of an event",
    label = "part of an event",
    note = "events hold numbers, `bool`, `char`, `Duration`, strings, vectors, options, boxes, arrays, \
            tuples, and structs and enums that derive `Event` or `Described`"
)]
pub trait Described {
    /// The shape of the archived bytes.
    const TYPE: &'static Type;
}

/// The shape of an archived value.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    /// A value that holds no other.
    Primitive(Primitive),
    /// UTF-8 text: 8 bytes, in place up to 8 bytes of text.
    String,
    /// Any number of one type: 8 bytes, a relative pointer and a length.
    Vector(&'static Type),
    /// A tag of 1 byte (0 none, 1 some), then room for the value.
    Option(&'static Type),
    /// A relative pointer of 4 bytes.
    Boxed(&'static Type),
    /// A fixed number of one type, back to back.
    Array {
        /// How many.
        len: usize,
        /// Of what.
        element: &'static Type,
    },
    /// Values back to back.
    Tuple(&'static [&'static Type]),
    /// Fields back to back.
    Struct {
        /// The name of the Rust type.
        name: &'static str,
        /// Its fields, in order.
        fields: Fields,
    },
    /// A tag of 1 byte, the fields of the variant, zeros up to the longest variant.
    Enum {
        /// The name of the Rust type.
        name: &'static str,
        /// Its variants, in order.
        variants: &'static [Variant],
    },
}

/// The fields of a struct or of a variant.
#[derive(Clone, Copy, Debug)]
pub enum Fields {
    /// `struct A;`
    Unit,
    /// `struct A(…);` — the names of the fields are empty.
    Tuple(&'static [Field]),
    /// `struct A { … }`
    Named(&'static [Field]),
}

/// A field of a struct or of a variant.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The name in Rust; empty in a tuple.
    pub name: &'static str,
    /// The unit of measurement, a UCUM code such as `Cel` by convention; empty where there is none.
    pub unit: &'static str,
    /// What the field means; empty where nobody said.
    pub doc: &'static str,
    /// The shape of the value.
    pub ty: &'static Type,
}

/// A variant of an enum.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// The name in Rust.
    pub name: &'static str,
    /// The first byte of the archived enum.
    pub tag: u8,
    /// What follows the tag.
    pub fields: Fields,
}

impl Type {
    /// How many bytes the archived value takes, apart from what it points to.
    pub const fn archived_len(&self) -> usize {
        match self {
            Self::Primitive(primitive) => primitive.archived_len(),
            Self::String | Self::Vector(_) => 2 * POINTER_LEN,
            Self::Option(value) => TAG_LEN + value.archived_len(),
            Self::Boxed(_) => POINTER_LEN,
            Self::Array { len, element } => *len * element.archived_len(),
            Self::Tuple(elements) => {
                let (mut sum, mut i) = (0, 0);
                while i < elements.len() {
                    sum += elements[i].archived_len();
                    i += 1;
                }
                sum
            }
            Self::Struct { fields, .. } => fields.archived_len(),
            Self::Enum { variants, .. } => {
                let (mut longest, mut i) = (0, 0);
                while i < variants.len() {
                    let len = variants[i].fields.archived_len();
                    longest = if len > longest { len } else { longest };
                    i += 1;
                }
                TAG_LEN + longest
            }
        }
    }
}

impl Fields {
    /// The fields, none where there are none.
    pub const fn list(&self) -> &'static [Field] {
        match self {
            Self::Unit => &[],
            Self::Tuple(list) | Self::Named(list) => list,
        }
    }

    const fn archived_len(&self) -> usize {
        let list = self.list();
        let (mut sum, mut i) = (0, 0);
        while i < list.len() {
            sum += list[i].ty.archived_len();
            i += 1;
        }
        sum
    }
}

/// The bytes of a relative pointer, and of a length.
pub(crate) const POINTER_LEN: usize = 4;
/// The bytes of an option's or an enum's tag.
pub(crate) const TAG_LEN: usize = 1;

macro_rules! described_primitives {
    ($($archived:ty: $primitive:ident),* $(,)?) => {
        $(impl Described for $archived {
            const TYPE: &'static Type = {
                assert!(size_of::<Self>() == Primitive::$primitive.archived_len() && align_of::<Self>() == 1);
                &Type::Primitive(Primitive::$primitive)
            };
        })*
    };
}

described_primitives! {
    (): Unit,
    bool: Bool,
    u8: U8,
    ArchivedU16: U16,
    ArchivedU32: U32,
    ArchivedU64: U64,
    ArchivedU128: U128,
    i8: I8,
    ArchivedI16: I16,
    ArchivedI32: I32,
    ArchivedI64: I64,
    ArchivedI128: I128,
    ArchivedF32: F32,
    ArchivedF64: F64,
    ArchivedChar: Char,
    ArchivedDuration: Duration,
    NonZeroU8: NonZeroU8,
    ArchivedNonZeroU16: NonZeroU16,
    ArchivedNonZeroU32: NonZeroU32,
    ArchivedNonZeroU64: NonZeroU64,
    ArchivedNonZeroU128: NonZeroU128,
    NonZeroI8: NonZeroI8,
    ArchivedNonZeroI16: NonZeroI16,
    ArchivedNonZeroI32: NonZeroI32,
    ArchivedNonZeroI64: NonZeroI64,
    ArchivedNonZeroI128: NonZeroI128,
}

impl Described for ArchivedString {
    const TYPE: &'static Type = {
        assert!(size_of::<Self>() == Type::String.archived_len());
        &Type::String
    };
}

impl<T: Described> Described for ArchivedVec<T> {
    const TYPE: &'static Type = {
        assert!(size_of::<Self>() == 2 * POINTER_LEN);
        &Type::Vector(T::TYPE)
    };
}

impl<T: Described> Described for ArchivedOption<T> {
    const TYPE: &'static Type = {
        assert!(size_of::<Self>() == TAG_LEN + size_of::<T>());
        &Type::Option(T::TYPE)
    };
}

impl<T: Described + ArchivePointee> Described for ArchivedBox<T> {
    const TYPE: &'static Type = {
        assert!(size_of::<Self>() == POINTER_LEN);
        &Type::Boxed(T::TYPE)
    };
}

impl<T: Described, const N: usize> Described for [T; N] {
    const TYPE: &'static Type = &Type::Array { len: N, element: T::TYPE };
}

macro_rules! described_tuples {
    ($($tuple:ident<$($element:ident),*>;)*) => {
        $(impl<$($element: Described),*> Described for $tuple<$($element),*> {
            const TYPE: &'static Type = {
                assert!(size_of::<Self>() == 0 $(+ size_of::<$element>())*);
                &Type::Tuple(&[$($element::TYPE),*])
            };
        })*
    };
}

described_tuples! {
    ArchivedTuple1<A>;
    ArchivedTuple2<A, B>;
    ArchivedTuple3<A, B, C>;
    ArchivedTuple4<A, B, C, D>;
    ArchivedTuple5<A, B, C, D, E>;
    ArchivedTuple6<A, B, C, D, E, F>;
    ArchivedTuple7<A, B, C, D, E, F, G>;
    ArchivedTuple8<A, B, C, D, E, F, G, H>;
}
