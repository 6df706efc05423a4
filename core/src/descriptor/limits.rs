//! The limits of a descriptor: the encoder holds our own types to them at compile time, the parser everybody's.

/// The most bytes of an encoded descriptor.
pub const DESCRIPTOR_LEN_MAX: usize = 4096;
/// The most types in a descriptor, nested ones counted.
pub const DESCRIPTOR_NODES_MAX: usize = 1024;
/// How deep types nest: a primitive at the root has depth 1.
pub const TYPE_DEPTH_MAX: usize = 32;
/// The most fields of a struct, a tuple or a variant, and the most variants of an enum.
pub const FIELDS_MAX: usize = 256;
/// The most bytes of a name, a unit or a doc text.
pub const TEXT_LEN_MAX: usize = 255;
/// The most bytes of an archived value, apart from what it points to.
pub const TYPE_LEN_MAX: usize = 65_536;
