//! How a described type is written for people: as Rust writes it.

use core::fmt;

use super::{
    Primitive,
    schema::{FieldNodes, Node, Schema},
};

/// The event's type as Rust writes it: `u64`, `[u8; 8]`, `Vec<String>`; a struct or an enum by its name.
impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primitive(primitive) => primitive.fmt(f),
            Self::String => f.write_str("String"),
            Self::Vector(element) => write!(f, "Vec<{}>", element.node),
            Self::Option(value) => write!(f, "Option<{}>", value.node),
            Self::Boxed(value) => write!(f, "Box<{}>", value.node),
            Self::Array { len, element } => write!(f, "[{}; {len}]", element.node),
            Self::Tuple(fields) => write_tuple(fields, f),
            Self::Struct { name, .. } if name.is_empty() => f.write_str("a struct without a name"),
            Self::Enum { name, .. } if name.is_empty() => f.write_str("an enum without a name"),
            Self::Struct { name, .. } | Self::Enum { name, .. } => f.write_str(name),
        }
    }
}

fn write_tuple(fields: &FieldNodes, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("(")?;
    for (place, field) in fields.list.iter().enumerate() {
        let comma = if place > 0 { ", " } else { "" };
        write!(f, "{comma}{}", field.node)?;
    }
    f.write_str(if fields.list.len() == 1 { ",)" } else { ")" })
}

/// The Rust type.
impl fmt::Display for Primitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Primitive::*;
        f.write_str(match self {
            Unit => "()",
            Bool => "bool",
            U8 => "u8",
            U16 => "u16",
            U32 => "u32",
            U64 => "u64",
            U128 => "u128",
            I8 => "i8",
            I16 => "i16",
            I32 => "i32",
            I64 => "i64",
            I128 => "i128",
            F32 => "f32",
            F64 => "f64",
            Char => "char",
            // Their names here are Rust's.
            Duration | NonZeroU8 | NonZeroU16 | NonZeroU32 | NonZeroU64 | NonZeroU128 | NonZeroI8
            | NonZeroI16 | NonZeroI32 | NonZeroI64 | NonZeroI128 => return fmt::Debug::fmt(self, f),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(codes: &[u8], written: &str) {
        let schema = Schema::parse(&[&[1], codes].concat()).unwrap();
        assert_eq!(alloc::format!("{schema}"), written);
    }

    #[test]
    fn a_type_is_written_as_in_rust() {
        check(&[0x00], "()");
        check(&[0x01], "bool");
        check(&[0x05], "u64");
        check(&[0x0d], "f64");
        check(&[0x0f], "Duration");
        check(&[0x13], "NonZeroU16");
        check(&[0x24, 8, 0x02], "[u8; 8]");
        check(&[0x21, 0x22, 0x20], "Vec<Option<String>>");
        check(&[0x23, 0x25, 3, 0x07, 0x0e, 0x0c], "Box<(i8, char, f32)>");
        check(&[0x25, 1, 0x02], "(u8,)");
        check(b"\x24\x02\x26\x04Door\x00", "[Door; 2]");
        check(&[0x26, 0, 0], "a struct without a name");
    }
}
