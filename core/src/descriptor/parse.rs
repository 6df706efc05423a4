//! A descriptor's bytes become a [`Schema`]. Whoever sent them is not trusted.

use alloc::{boxed::Box, string::String, vec::Vec};

use super::{
    DESCRIPTOR_LEN_MAX, DESCRIPTOR_NODES_MAX, DESCRIPTOR_VERSION, DescriptorHash, FIELDS_MAX, LayoutHash,
    Primitive, Schema, TAG_LEN, TEXT_LEN_MAX, TYPE_DEPTH_MAX, TYPE_LEN_MAX, code,
    json::quoted,
    schema::{Element, FieldNode, FieldNodes, Node, Shape, VariantNode},
};
use crate::read_varint;

/// Why bytes are not a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorError {
    /// What is wrong.
    pub kind: DescriptorErrorKind,
    /// At which byte of the descriptor.
    pub at: usize,
}

/// What is wrong with a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DescriptorErrorKind {
    /// The bytes end inside a type.
    Short,
    /// The version is one that this program does not know.
    Version,
    /// A code that stands for nothing.
    Code,
    /// An integer is not in its shortest form.
    Varint,
    /// A text is not UTF-8, or empty where it must not be.
    Text,
    /// Two fields or variants have one name, or two variants one tag.
    Repeated,
    /// Annotations are not in order.
    Order,
    /// Longer, deeper, wider or with more types than a descriptor may be.
    Limit,
    /// Bytes are left over.
    Trailing,
}

impl core::fmt::Display for DescriptorError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let what = match self.kind {
            DescriptorErrorKind::Short => "the descriptor ends inside a type",
            DescriptorErrorKind::Version => "the descriptor is of an unknown version",
            DescriptorErrorKind::Code => "an unknown code",
            DescriptorErrorKind::Varint => "an integer is malformed",
            DescriptorErrorKind::Text => "a text is malformed or missing",
            DescriptorErrorKind::Repeated => "a name or a tag comes twice",
            DescriptorErrorKind::Order => "annotations are out of order",
            DescriptorErrorKind::Limit => "the descriptor exceeds a limit",
            DescriptorErrorKind::Trailing => "bytes are left over",
        };
        write!(f, "{what} (at byte {})", self.at)
    }
}

impl core::error::Error for DescriptorError {}

/// Reads a descriptor from front to back, and writes its layout form on the way.
pub(super) struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: usize,
    layout: Vec<u8>,
}

type Parsed<T> = Result<T, DescriptorError>;

impl<'a> Parser<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Parsed<Schema> {
        let mut parser = Self { bytes, at: 0, nodes: 0, layout: Vec::new() };
        if bytes.len() > DESCRIPTOR_LEN_MAX {
            return Err(parser.error(DescriptorErrorKind::Limit));
        }
        if parser.layout_byte()? != DESCRIPTOR_VERSION {
            return Err(DescriptorError { kind: DescriptorErrorKind::Version, at: 0 });
        }
        let root = parser.node(1)?;
        if parser.at < bytes.len() {
            return Err(parser.error(DescriptorErrorKind::Trailing));
        }
        let (layout_hash, descriptor_hash) = (LayoutHash::of_form(&parser.layout), DescriptorHash::of(bytes));
        Ok(Schema { root, layout_hash, descriptor_hash })
    }

    fn node(&mut self, depth: usize) -> Parsed<Node> {
        self.nodes += 1;
        if self.nodes > DESCRIPTOR_NODES_MAX || depth > TYPE_DEPTH_MAX {
            return Err(self.error(DescriptorErrorKind::Limit));
        }
        let start = self.at;
        let code = self.layout_byte()?;
        let node = match code {
            code::STRING => Node::String,
            code::VECTOR => Node::Vector(self.element(depth)?),
            code::OPTION => Node::Option(self.element(depth)?),
            code::BOXED => Node::Boxed(self.element(depth)?),
            code::ARRAY => self.array(depth, start)?,
            code::TUPLE => self.tuple(depth)?,
            code::STRUCT => Node::Struct { name: self.type_name()?, fields: self.fields(depth)? },
            code::ENUM => self.variants(depth)?,
            _ => Node::Primitive(
                Primitive::from_code(code)
                    .ok_or(DescriptorError { kind: DescriptorErrorKind::Code, at: start })?,
            ),
        };
        match node.len() <= TYPE_LEN_MAX {
            true => Ok(node),
            false => Err(DescriptorError { kind: DescriptorErrorKind::Limit, at: start }),
        }
    }

    fn element(&mut self, depth: usize) -> Parsed<Box<Element>> {
        let node = self.node(depth + 1)?;
        let len = node.len();
        Ok(Box::new(Element { node, len }))
    }

    /// The product is checked here: on a 32-bit host it may not even fit.
    fn array(&mut self, depth: usize, start: usize) -> Parsed<Node> {
        let len = self.count(TYPE_LEN_MAX)?;
        let element = self.element(depth)?;
        match len.checked_mul(element.len) {
            Some(_) => Ok(Node::Array { len, element }),
            None => Err(DescriptorError { kind: DescriptorErrorKind::Limit, at: start }),
        }
    }

    fn tuple(&mut self, depth: usize) -> Parsed<Node> {
        let start = self.at;
        let count = self.count(FIELDS_MAX)?;
        if count == 0 {
            return Err(DescriptorError { kind: DescriptorErrorKind::Code, at: start });
        }
        let mut fields = FieldNodes { shape: Shape::Tuple, list: Vec::new(), len: 0 };
        for _ in 0..count {
            let node = self.node(depth + 1)?;
            fields.push(FieldNode::unnamed(node));
        }
        Ok(Node::Tuple(fields))
    }

    fn variants(&mut self, depth: usize) -> Parsed<Node> {
        let name = self.type_name()?;
        let start = self.at;
        let count = self.count(FIELDS_MAX)?;
        if count == 0 {
            return Err(DescriptorError { kind: DescriptorErrorKind::Code, at: start });
        }
        let mut variants: Vec<VariantNode> = Vec::new();
        let mut longest = 0;
        for _ in 0..count {
            let start = self.at;
            let tag = self.layout_byte()?;
            let name = self.name()?;
            if variants.iter().any(|earlier| earlier.tag == tag || earlier.name == name) {
                return Err(DescriptorError { kind: DescriptorErrorKind::Repeated, at: start });
            }
            let fields = self.fields(depth)?;
            longest = longest.max(fields.len);
            variants.push(VariantNode { key: quoted(&name), name, tag, fields });
        }
        Ok(Node::Enum { name, variants, len: TAG_LEN + longest })
    }

    fn fields(&mut self, depth: usize) -> Parsed<FieldNodes> {
        let start = self.at;
        let shape = match self.layout_byte()? {
            code::SHAPE_UNIT => return Ok(FieldNodes { shape: Shape::Unit, list: Vec::new(), len: 0 }),
            code::SHAPE_TUPLE => Shape::Tuple,
            code::SHAPE_NAMED => Shape::Named,
            _ => return Err(DescriptorError { kind: DescriptorErrorKind::Code, at: start }),
        };
        let count = self.count(FIELDS_MAX)?;
        let mut fields = FieldNodes { shape, list: Vec::new(), len: 0 };
        for _ in 0..count {
            let start = self.at;
            let name = if shape == Shape::Named { self.name()? } else { String::new() };
            if shape == Shape::Named && fields.list.iter().any(|earlier| earlier.name == name) {
                return Err(DescriptorError { kind: DescriptorErrorKind::Repeated, at: start });
            }
            let (unit, doc) = self.annotations()?;
            let node = self.node(depth + 1)?;
            fields.push(FieldNode { key: quoted(&name), name, unit, doc, ..FieldNode::unnamed(node) });
        }
        Ok(fields)
    }

    /// The unit and the doc text of a field. What later versions add in the same form is passed over.
    fn annotations(&mut self) -> Parsed<(String, String)> {
        let (mut unit, mut doc) = (String::new(), String::new());
        let mut last = None;
        while let Some(&code @ code::UNIT..=code::ANNOTATION_LAST) = self.bytes.get(self.at) {
            if last >= Some(code) {
                return Err(self.error(DescriptorErrorKind::Order));
            }
            last = Some(code);
            self.at += 1;
            let text = self.text_that_says_something()?;
            match code {
                code::UNIT => unit = text,
                code::DOC => doc = text,
                _ => {}
            }
        }
        Ok((unit, doc))
    }

    /// The name of a type, which the layout form leaves empty.
    fn type_name(&mut self) -> Parsed<String> {
        let name = self.text()?;
        self.layout.push(0);
        Ok(name.into())
    }

    /// The name of a field or a variant.
    fn name(&mut self) -> Parsed<String> {
        let start = self.at;
        let name = self.text_that_says_something()?;
        self.layout.extend_from_slice(&self.bytes[start..self.at]);
        Ok(name)
    }

    fn text_that_says_something(&mut self) -> Parsed<String> {
        let start = self.at;
        match self.text()? {
            "" => Err(DescriptorError { kind: DescriptorErrorKind::Text, at: start }),
            text => Ok(text.into()),
        }
    }

    fn text(&mut self) -> Parsed<&'a str> {
        let len = self.varint(TEXT_LEN_MAX)?;
        let rest = &self.bytes[self.at..];
        let text = rest.get(..len).ok_or(self.error(DescriptorErrorKind::Short))?;
        let text = core::str::from_utf8(text).map_err(|_| self.error(DescriptorErrorKind::Text))?;
        self.at += len;
        Ok(text)
    }

    /// A number that the layout form keeps.
    fn count(&mut self, max: usize) -> Parsed<usize> {
        let start = self.at;
        let count = self.varint(max)?;
        self.layout.extend_from_slice(&self.bytes[start..self.at]);
        Ok(count)
    }

    fn varint(&mut self, max: usize) -> Parsed<usize> {
        let rest = &self.bytes[self.at..];
        let (value, len) = read_varint(rest).ok_or(self.error(match rest.is_empty() {
            true => DescriptorErrorKind::Short,
            false => DescriptorErrorKind::Varint,
        }))?;
        match usize::try_from(value) {
            Ok(value) if value <= max => {
                self.at += len;
                Ok(value)
            }
            _ => Err(self.error(DescriptorErrorKind::Limit)),
        }
    }

    /// A byte that the layout form keeps.
    fn layout_byte(&mut self) -> Parsed<u8> {
        let byte = *self.bytes.get(self.at).ok_or(self.error(DescriptorErrorKind::Short))?;
        self.at += 1;
        self.layout.push(byte);
        Ok(byte)
    }

    fn error(&self, kind: DescriptorErrorKind) -> DescriptorError {
        DescriptorError { kind, at: self.at }
    }
}

impl FieldNodes {
    /// Puts a field behind the others. The sum stays small: at most [`FIELDS_MAX`] fields of [`TYPE_LEN_MAX`] bytes.
    fn push(&mut self, field: FieldNode) {
        let len = field.node.len();
        self.list.push(FieldNode { offset: self.len, ..field });
        self.len += len;
    }
}

impl FieldNode {
    fn unnamed(node: Node) -> Self {
        Self {
            name: String::new(),
            unit: String::new(),
            doc: String::new(),
            key: Vec::new(),
            node,
            offset: 0,
        }
    }
}

const _: () = assert!(FIELDS_MAX * TYPE_LEN_MAX < u32::MAX as usize);
