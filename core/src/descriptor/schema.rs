//! [`Schema`]: a descriptor, checked and ready to read events by.

use alloc::{boxed::Box, string::String, vec::Vec};

use super::{
    DescriptorError, DescriptorHash, LayoutHash, Primitive, TAG_LEN,
    json::{DecodeError, LargeIntegers, write_json},
    parse::Parser,
};

/// A descriptor that anybody may have sent, parsed: it reads the events of a type that this program has never seen.
///
/// ```
/// use varve_core::{Event, Schema};
///
/// let schema = Schema::parse(<[u16; 3]>::DESCRIPTOR).unwrap();
/// let mut json = Vec::new();
/// schema.write_json(&[1, 0, 2, 0, 3, 1], &mut json).unwrap();
/// assert_eq!(json, b"[1,2,259]");
/// ```
#[derive(Clone, Debug)]
pub struct Schema {
    pub(super) root: Node,
    pub(super) layout_hash: LayoutHash,
    pub(super) descriptor_hash: DescriptorHash,
}

impl Schema {
    /// Parses a descriptor, which must be in its only form and within the limits of
    /// [`descriptor`](crate::descriptor). Takes memory in proportion to `descriptor`'s length.
    ///
    /// # Errors
    ///
    /// [`DescriptorError`] with the byte at which it is none.
    pub fn parse(descriptor: &[u8]) -> Result<Self, DescriptorError> {
        Parser::parse(descriptor)
    }

    /// Names the layout; computed, never taken from who sent the descriptor.
    pub fn layout_hash(&self) -> LayoutHash {
        self.layout_hash
    }

    /// Names the descriptor; computed as well.
    pub fn descriptor_hash(&self) -> DescriptorHash {
        self.descriptor_hash
    }

    /// The name of the Rust type: empty where the event is neither a struct nor an enum.
    pub fn name(&self) -> &str {
        match &self.root {
            Node::Struct { name, .. } | Node::Enum { name, .. } => name,
            _ => "",
        }
    }

    /// The fields of the event, where it is a struct.
    pub fn fields(&self) -> impl Iterator<Item = SchemaField<'_>> {
        let fields = match &self.root {
            Node::Struct { fields, .. } => &fields.list[..],
            _ => &[],
        };
        fields.iter().map(|field| SchemaField { name: &field.name, unit: &field.unit, doc: &field.doc })
    }

    /// Writes an archived event to the end of `out` as JSON: byte for byte what `serde_json` makes of a derived
    /// `serde::Serialize`. Numbers that are not finite are `null`.
    ///
    /// # Errors
    ///
    /// Where the bytes are not an archived event of this layout, or would take more than
    /// [`JSON_LEN_MAX`](super::JSON_LEN_MAX) bytes of JSON; `out` is then as it was.
    pub fn write_json(&self, archived: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
        self.write_json_with(archived, LargeIntegers::Numbers, out)
    }

    /// As [`write_json`](Self::write_json), with a choice of how to write integers that JavaScript would round.
    ///
    /// # Errors
    ///
    /// As [`write_json`](Self::write_json).
    pub fn write_json_with(
        &self,
        archived: &[u8],
        large_integers: LargeIntegers,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        write_json(&self.root, archived, large_integers, out)
    }
}

/// What a descriptor says of a field of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaField<'a> {
    /// Its name; empty in a tuple.
    pub name: &'a str,
    /// Its unit of measurement; empty where there is none.
    pub unit: &'a str,
    /// What it means; empty where nobody said.
    pub doc: &'a str,
}

/// The shape of an archived value, with the lengths that its reader needs.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Primitive(Primitive),
    String,
    Vector(Box<Element>),
    Option(Box<Element>),
    Boxed(Box<Element>),
    Array { len: usize, element: Box<Element> },
    Tuple(FieldNodes),
    Struct { name: String, fields: FieldNodes },
    Enum { name: String, variants: Vec<VariantNode>, len: usize },
}

/// A shape, and how many bytes a value of it takes.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub(super) node: Node,
    pub(super) len: usize,
}

/// What lies back to back.
#[derive(Clone, Debug)]
pub(super) struct FieldNodes {
    pub(super) shape: Shape,
    pub(super) list: Vec<FieldNode>,
    /// The bytes of all of them.
    pub(super) len: usize,
}

/// How fields are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Unit,
    Tuple,
    Named,
}

#[derive(Clone, Debug)]
pub(super) struct FieldNode {
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) doc: String,
    /// The name as a JSON string.
    pub(super) key: Vec<u8>,
    pub(super) node: Node,
    /// Where the value begins, from the first of the fields.
    pub(super) offset: usize,
}

#[derive(Clone, Debug)]
pub(super) struct VariantNode {
    pub(super) name: String,
    /// The name as a JSON string.
    pub(super) key: Vec<u8>,
    pub(super) tag: u8,
    pub(super) fields: FieldNodes,
}

impl Node {
    /// How many bytes a value takes, apart from what it points to; the parser keeps it below
    /// [`TYPE_LEN_MAX`](super::TYPE_LEN_MAX).
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Primitive(primitive) => primitive.archived_len(),
            Self::String | Self::Vector(_) => 2 * super::POINTER_LEN,
            Self::Option(value) => TAG_LEN + value.len,
            Self::Boxed(_) => super::POINTER_LEN,
            Self::Array { len, element } => len * element.len,
            Self::Tuple(fields) | Self::Struct { fields, .. } => fields.len,
            Self::Enum { len, .. } => *len,
        }
    }
}
