//! What an event's bytes mean, as a constant of the program that makes them.
//!
//! rkyv has no reflection, so the derive builds a tree of the **archived** type ([`Described::TYPE`]), which is
//! encoded at compile time (FORMAT.md, section 2):
//!
//! ```text
//! descriptor  version 1 · type
//! type        00–0f  a primitive                           20  string
//!             12–1b  an integer that is not zero           21  vector: type      22  option: type    23  box: type
//!             24  array: varint length, type               25  tuple: varint count, types
//!             26  struct: text name, fields                27  enum: text name, varint count, variants
//! variant     tag 1, text name, fields
//! fields      shape 1 (0 unit: nothing follows · 1 tuple · 2 named), varint count, each field
//! field       [text name, if named] · annotations · type
//! annotation  30 unit · 31 doc · 32–3f to come, each with a text; ascending
//! text        varint length, UTF-8
//! ```

pub(crate) mod described;
#[cfg(feature = "store")]
mod difference;
mod encode;
pub(crate) mod hash;
#[cfg(feature = "alloc")]
mod json;
mod limits;
#[cfg(feature = "alloc")]
mod notation;
#[cfg(feature = "alloc")]
mod parse;
mod primitive;
#[cfg(feature = "alloc")]
pub(crate) mod schema;

use described::Described;
pub use described::{Field, Fields, Type, Variant};
#[cfg(feature = "alloc")]
use described::{POINTER_LEN, TAG_LEN};
#[cfg(feature = "store")]
pub use difference::LayoutDifference;
pub(crate) use encode::descriptor_of;
pub use encode::{encode, encoded_len};
#[cfg(feature = "alloc")]
use hash::{DescriptorHash, LayoutHash};
pub use limits::{
    DESCRIPTOR_LEN_MAX, DESCRIPTOR_NODES_MAX, FIELDS_MAX, TEXT_LEN_MAX, TYPE_DEPTH_MAX, TYPE_LEN_MAX,
};
pub use primitive::Primitive;
#[cfg(feature = "alloc")]
pub(crate) use schema::Schema;
#[cfg(feature = "alloc")]
pub use {
    json::{DecodeError, DecodeErrorKind, JSON_LEN_MAX, LargeIntegers},
    parse::{DescriptorError, DescriptorErrorKind},
    schema::SchemaField,
};

/// The version of the descriptor's format: its first byte.
pub const DESCRIPTOR_VERSION: u8 = 1;

/// The codes of everything that is not a primitive.
pub(crate) mod code {
    pub(crate) const STRING: u8 = 0x20;
    pub(crate) const VECTOR: u8 = 0x21;
    pub(crate) const OPTION: u8 = 0x22;
    pub(crate) const BOXED: u8 = 0x23;
    pub(crate) const ARRAY: u8 = 0x24;
    pub(crate) const TUPLE: u8 = 0x25;
    pub(crate) const STRUCT: u8 = 0x26;
    pub(crate) const ENUM: u8 = 0x27;
    pub(crate) const UNIT: u8 = 0x30;
    pub(crate) const DOC: u8 = 0x31;
    #[cfg(feature = "alloc")]
    pub(crate) const ANNOTATION_LAST: u8 = 0x3f;
    pub(crate) const SHAPE_UNIT: u8 = 0;
    pub(crate) const SHAPE_TUPLE: u8 = 1;
    pub(crate) const SHAPE_NAMED: u8 = 2;
}
