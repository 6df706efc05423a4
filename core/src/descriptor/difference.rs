//! Whether events of one layout can be read through another type, and if not, what keeps them from it.

use alloc::string::{String, ToString};
use core::fmt;

use super::schema::{FieldNode, FieldNodes, Node, Schema, Shape, VariantNode};

/// Why events of one layout cannot be read as a type of another.
///
/// A type reads its own layout, and those that go on behind its fields: a struct to which fields were added at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayoutDifference {
    /// One of them is no struct, or the fields of one have names and those of the other have not.
    Shape,
    /// The events end before this field of the type: an earlier version wrote them.
    Missing {
        /// The field's name, or its place among the fields of a tuple.
        field: String,
    },
    /// The events have another field where the type has this one.
    Name {
        /// The field's name.
        field: String,
        /// The name of the other one.
        stored: String,
    },
    /// The field is there, and is of another type.
    Type {
        /// The field's name, or its place among the fields of a tuple.
        field: String,
        /// The type that it has in the events.
        stored: String,
        /// The type that it was asked for as. Of one name with the other where what a struct or an enum holds differs.
        asked: String,
    },
}

impl Schema {
    /// How many bytes the root of an event takes which can be read through the type that `asked` describes.
    pub(crate) fn root_len_for(&self, asked: &Self) -> Result<usize, LayoutDifference> {
        if self.layout_hash == asked.layout_hash {
            return Ok(self.root.len());
        }
        let (Node::Struct { fields: stored, .. }, Node::Struct { fields: asked, .. }) =
            (&self.root, &asked.root)
        else {
            return Err(LayoutDifference::Shape);
        };
        if stored.shape != asked.shape || stored.shape == Shape::Unit {
            return Err(LayoutDifference::Shape);
        }
        for (place, field) in asked.list.iter().enumerate() {
            check_field(place, stored.list.get(place), field)?;
        }
        Ok(stored.len)
    }
}

/// Compares the field at `place`. Where all fields before it are alike, so is where it begins.
fn check_field(place: usize, stored: Option<&FieldNode>, asked: &FieldNode) -> Result<(), LayoutDifference> {
    let name = || if asked.name.is_empty() { place.to_string() } else { asked.name.clone() };
    let Some(stored) = stored else { return Err(LayoutDifference::Missing { field: name() }) };
    if stored.name != asked.name {
        return Err(LayoutDifference::Name { field: name(), stored: stored.name.clone() });
    }
    if !stored.node.has_layout_of(&asked.node) {
        let (stored, asked) = (stored.node.to_string(), asked.node.to_string());
        return Err(LayoutDifference::Type { field: name(), stored, asked });
    }
    Ok(())
}

impl Node {
    /// Whether values of both have the same bytes and, but for the names of types, mean the same.
    fn has_layout_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Primitive(a), Self::Primitive(b)) => a == b,
            (Self::String, Self::String) => true,
            (Self::Vector(a), Self::Vector(b))
            | (Self::Option(a), Self::Option(b))
            | (Self::Boxed(a), Self::Boxed(b)) => a.node.has_layout_of(&b.node),
            (Self::Array { len: a_len, element: a }, Self::Array { len: b_len, element: b }) => {
                a_len == b_len && a.node.has_layout_of(&b.node)
            }
            (Self::Tuple(a), Self::Tuple(b))
            | (Self::Struct { fields: a, .. }, Self::Struct { fields: b, .. }) => a.have_layout_of(b),
            (Self::Enum { variants: a, .. }, Self::Enum { variants: b, .. }) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.has_layout_of(b))
            }
            _ => false,
        }
    }
}

impl FieldNodes {
    fn have_layout_of(&self, other: &Self) -> bool {
        let mut pairs = self.list.iter().zip(&other.list);
        self.shape == other.shape
            && self.list.len() == other.list.len()
            && pairs.all(|(a, b)| a.name == b.name && a.node.has_layout_of(&b.node))
    }
}

impl VariantNode {
    fn has_layout_of(&self, other: &Self) -> bool {
        (self.tag, &self.name) == (other.tag, &other.name) && self.fields.have_layout_of(&other.fields)
    }
}

impl fmt::Display for LayoutDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape => f.write_str("they are not structs of one shape"),
            Self::Missing { field } => write!(f, "the stored events end before field `{field}`"),
            Self::Name { field, stored } => {
                write!(f, "the stored events have field `{stored}` where `{field}` is asked for")
            }
            Self::Type { field, stored, asked } if stored == asked => {
                write!(f, "the stored events have another `{stored}` as field `{field}`")
            }
            Self::Type { field, stored, asked } => {
                write!(f, "the stored events have field `{field}` as `{stored}`, not `{asked}`")
            }
        }
    }
}

#[cfg(test)]
#[expect(dead_code, reason = "only the layouts count")]
mod tests {
    use rkyv::{Archive, Serialize};

    use super::*;
    use crate::{Described, Event};

    type Mode = Option<(u8, [u16; 2])>;

    #[derive(Archive, Serialize, Event)]
    struct Reading {
        #[event(unit = "Cel")]
        celsius: f32,
        mode: Mode,
    }

    fn root_len<Stored: Event, Asked: Event>() -> Result<usize, LayoutDifference> {
        let stored = Schema::parse(Stored::DESCRIPTOR).unwrap();
        stored.root_len_for(&Schema::parse(Asked::DESCRIPTOR).unwrap())
    }

    /// Reads a struct of the given fields as a `Reading`.
    macro_rules! as_reading {
        ($($field:ident: $kind:ty),*) => {{
            #[derive(Archive, Serialize, Event)]
            struct Stored { $($field: $kind),* }
            root_len::<Stored, Reading>()
        }};
    }

    fn of_other_type(field: &str, stored: &str, asked: &str) -> Result<usize, LayoutDifference> {
        Err(LayoutDifference::Type { field: field.into(), stored: stored.into(), asked: asked.into() })
    }

    #[test]
    fn fields_may_be_added_at_the_end_and_be_described_anew() {
        assert_eq!(root_len::<Reading, Reading>(), Ok(10));
        assert_eq!(as_reading!(celsius: f32, mode: Mode), Ok(10));
        assert_eq!(as_reading!(celsius: f32, mode: Mode, who: String, n: u8), Ok(10 + 8 + 1));
    }

    #[test]
    fn what_differs_is_named() {
        assert_eq!(as_reading!(celsius: f32), Err(LayoutDifference::Missing { field: "mode".into() }));
        let renamed = LayoutDifference::Name { field: "mode".into(), stored: "state".into() };
        assert_eq!(as_reading!(celsius: f32, state: Mode), Err(renamed));
        let of_other_mode = |stored| of_other_type("mode", stored, "Option<(u8, [u16; 2])>");
        let longer = as_reading!(celsius: f32, mode: Option<(u8, [u16; 3])>);
        assert_eq!(longer, of_other_mode("Option<(u8, [u16; 3])>"));
        let signed = as_reading!(celsius: f32, mode: Option<(i8, [u16; 2])>);
        assert_eq!(signed, of_other_mode("Option<(i8, [u16; 2])>"));
        assert_eq!(as_reading!(celsius: f32, mode: u8), of_other_mode("u8"));
        assert_eq!(as_reading!(celsius: u32, mode: Mode), of_other_type("celsius", "u32", "f32"));
        assert_eq!(root_len::<u8, Reading>(), Err(LayoutDifference::Shape));
        assert_eq!(root_len::<Reading, u8>(), Err(LayoutDifference::Shape));
    }

    #[test]
    fn only_the_root_may_grow() {
        #[derive(Archive, Serialize, Described)]
        struct Point {
            x: u8,
        }
        #[derive(Archive, Serialize, Event)]
        struct Asked(Point);
        #[derive(Archive, Serialize, Event)]
        struct Longer(Point, u8);
        assert_eq!(root_len::<Longer, Asked>(), Ok(2));
        assert_eq!(root_len::<Reading, Asked>(), Err(LayoutDifference::Shape));
        mod grown {
            use super::*;
            #[derive(Archive, Serialize, Described)]
            pub(super) struct Point {
                x: u8,
                y: u8,
            }
        }
        #[derive(Archive, Serialize, Event)]
        struct Grown(grown::Point);
        let grown = root_len::<Grown, Asked>();
        assert_eq!(grown, of_other_type("0", "Point", "Point"));
        let text = "the stored events have another `Point` as field `0`";
        assert_eq!(grown.unwrap_err().to_string(), text);
    }

    #[test]
    fn enums_are_compared_by_their_variants() {
        #[derive(Archive, Serialize, Described)]
        enum Busy {
            No,
            Since(u32),
        }
        #[derive(Archive, Serialize, Described)]
        enum Named {
            No,
            Until(u32),
        }
        #[derive(Archive, Serialize, Described)]
        enum Wider {
            No,
            Since(u32),
            Always,
        }
        #[derive(Archive, Serialize, Event)]
        struct Asked(Busy);
        #[derive(Archive, Serialize, Event)]
        struct Longer(Busy, u8);
        #[derive(Archive, Serialize, Event)]
        struct OtherName(Named, u8);
        #[derive(Archive, Serialize, Event)]
        struct AnotherVariant(Wider, u8);
        assert_eq!(root_len::<Longer, Asked>(), Ok(6));
        assert_eq!(root_len::<OtherName, Asked>(), of_other_type("0", "Named", "Busy"));
        let another = root_len::<AnotherVariant, Asked>();
        assert_eq!(another, of_other_type("0", "Wider", "Busy"));
        let text = "the stored events have field `0` as `Wider`, not `Busy`";
        assert_eq!(another.unwrap_err().to_string(), text);
    }
}
