//! An archived event becomes JSON, straight from its bytes. Whoever archived it is not trusted.

use alloc::vec::Vec;

use super::{
    POINTER_LEN, Primitive, TAG_LEN,
    schema::{Element, FieldNodes, Node, Shape, VariantNode},
};

/// The most bytes of JSON that one event may take.
pub const JSON_LEN_MAX: usize = 8 << 20;

/// How to write integers beyond ±2⁵³, which many readers of JSON would round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LargeIntegers {
    /// As numbers, as `serde_json` does.
    #[default]
    Numbers,
    /// As strings.
    Strings,
}

/// Why bytes are not an archived event of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// What is wrong.
    pub kind: DecodeErrorKind,
    /// At which byte of the event.
    pub at: usize,
}

/// What is wrong with an archived event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The event is shorter than its type.
    Short,
    /// A pointer leaves the event, or what values point to is more than the event holds.
    Bounds,
    /// A tag, `bool`, `char`, duration, string or integer holds what its type does not.
    Value,
    /// A string is not UTF-8.
    Text,
    /// The JSON would be longer than [`JSON_LEN_MAX`].
    TooLong,
}

impl core::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let what = match self.kind {
            DecodeErrorKind::Short => "the event is shorter than its type",
            DecodeErrorKind::Bounds => "a pointer leaves the event",
            DecodeErrorKind::Value => "a value that its type does not have",
            DecodeErrorKind::Text => "a string is not UTF-8",
            DecodeErrorKind::TooLong => "the event takes too much JSON",
        };
        write!(f, "{what} (at byte {})", self.at)
    }
}

impl core::error::Error for DecodeError {}

/// Appends the event to `out`, or leaves `out` as it was.
pub(super) fn write_json(
    root: &Node,
    bytes: &[u8],
    large_integers: LargeIntegers,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let start = out.len();
    let root_at = bytes.len().checked_sub(root.len());
    let root_at = root_at.ok_or(DecodeError { kind: DecodeErrorKind::Short, at: 0 })?;
    let mut writer =
        JsonWriter { bytes, unclaimed: root_at, large_integers, out_len_max: start + JSON_LEN_MAX, out };
    let written = writer.value(root, root_at);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// A name or a text as a JSON string.
pub(super) fn quoted(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_quoted(text, &mut out);
    out
}

struct JsonWriter<'a> {
    bytes: &'a [u8],
    /// How many bytes no pointer has claimed yet. Honest values share nothing, so the claims never exceed the event:
    /// this is what ends pointers that go round, or that all point to one place.
    unclaimed: usize,
    large_integers: LargeIntegers,
    /// Every value writes a byte at least, so this bounds the time as well.
    out_len_max: usize,
    out: &'a mut Vec<u8>,
}

type Written = Result<(), DecodeError>;

impl JsonWriter<'_> {
    fn value(&mut self, node: &Node, at: usize) -> Written {
        if self.out.len() > self.out_len_max {
            return error(DecodeErrorKind::TooLong, at);
        }
        match node {
            Node::Primitive(primitive) => self.primitive(*primitive, at),
            Node::String => self.string(at),
            Node::Vector(element) => {
                let len = self.length(at + POINTER_LEN)?;
                let elements_at = self.target(at, at, len.checked_mul(element.len))?;
                self.elements(element, len, elements_at)
            }
            Node::Array { len, element } => self.elements(element, *len, at),
            Node::Option(value) => match self.take::<TAG_LEN>(at)? {
                [0] => self.null(),
                [1] => self.value(&value.node, at + TAG_LEN),
                _ => error(DecodeErrorKind::Value, at),
            },
            Node::Boxed(value) => {
                let value_at = self.target(at, at, Some(value.len))?;
                self.value(&value.node, value_at)
            }
            Node::Tuple(fields) => self.list(fields, at),
            Node::Struct { fields, .. } => self.fields(fields, at),
            Node::Enum { variants, .. } => self.variant(variants, at),
        }
    }

    fn elements(&mut self, element: &Element, len: usize, at: usize) -> Written {
        self.out.push(b'[');
        for i in 0..len {
            if i > 0 {
                self.out.push(b',');
            }
            self.value(&element.node, at + i * element.len)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn variant(&mut self, variants: &[VariantNode], at: usize) -> Written {
        let [tag] = self.take(at)?;
        // Nearly always the tag is the variant's place.
        let variant = match variants.get(usize::from(tag)) {
            Some(variant) if variant.tag == tag => variant,
            _ => match variants.iter().find(|variant| variant.tag == tag) {
                Some(variant) => variant,
                None => return error(DecodeErrorKind::Value, at),
            },
        };
        if variant.fields.shape == Shape::Unit {
            self.out.extend_from_slice(&variant.key);
            return Ok(());
        }
        self.out.push(b'{');
        self.out.extend_from_slice(&variant.key);
        self.out.push(b':');
        self.fields(&variant.fields, at + TAG_LEN)?;
        self.out.push(b'}');
        Ok(())
    }

    fn fields(&mut self, fields: &FieldNodes, at: usize) -> Written {
        match (fields.shape, &fields.list[..]) {
            (Shape::Unit, _) => self.null(),
            (Shape::Tuple, [only]) => self.value(&only.node, at),
            (Shape::Tuple, _) => self.list(fields, at),
            (Shape::Named, _) => self.object(fields, at),
        }
    }

    fn list(&mut self, fields: &FieldNodes, at: usize) -> Written {
        self.out.push(b'[');
        for (i, field) in fields.list.iter().enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            self.value(&field.node, at + field.offset)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self, fields: &FieldNodes, at: usize) -> Written {
        self.out.push(b'{');
        for (i, field) in fields.list.iter().enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            self.out.extend_from_slice(&field.key);
            self.out.push(b':');
            self.value(&field.node, at + field.offset)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn primitive(&mut self, primitive: Primitive, at: usize) -> Written {
        use Primitive::*;
        match primitive {
            Unit => self.null(),
            Bool => match self.take::<1>(at)? {
                [0] => self.raw(b"false"),
                [1] => self.raw(b"true"),
                _ => error(DecodeErrorKind::Value, at),
            },
            U8 => self.small(u8::from_le_bytes(self.take(at)?)),
            U16 => self.small(u16::from_le_bytes(self.take(at)?)),
            U32 => self.small(u32::from_le_bytes(self.take(at)?)),
            U64 => self.large(u64::from_le_bytes(self.take(at)?)),
            U128 => self.huge(u128::from_le_bytes(self.take(at)?)),
            I8 => self.small(i8::from_le_bytes(self.take(at)?)),
            I16 => self.small(i16::from_le_bytes(self.take(at)?)),
            I32 => self.small(i32::from_le_bytes(self.take(at)?)),
            I64 => self.large(i64::from_le_bytes(self.take(at)?)),
            I128 => self.huge(i128::from_le_bytes(self.take(at)?)),
            F32 => self.float(f32::from_le_bytes(self.take(at)?)),
            F64 => self.float(f64::from_le_bytes(self.take(at)?)),
            Char => self.char(at),
            Duration => self.duration(at),
            NonZeroU8 => self.non_zero::<1>(U8, at),
            NonZeroU16 => self.non_zero::<2>(U16, at),
            NonZeroU32 => self.non_zero::<4>(U32, at),
            NonZeroU64 => self.non_zero::<8>(U64, at),
            NonZeroU128 => self.non_zero::<16>(U128, at),
            NonZeroI8 => self.non_zero::<1>(I8, at),
            NonZeroI16 => self.non_zero::<2>(I16, at),
            NonZeroI32 => self.non_zero::<4>(I32, at),
            NonZeroI64 => self.non_zero::<8>(I64, at),
            NonZeroI128 => self.non_zero::<16>(I128, at),
        }
    }

    fn non_zero<const LEN: usize>(&mut self, integer: Primitive, at: usize) -> Written {
        match self.take::<LEN>(at)? == [0; LEN] {
            true => error(DecodeErrorKind::Value, at),
            false => self.primitive(integer, at),
        }
    }

    /// An integer that a double holds exactly.
    fn small(&mut self, integer: impl itoa::Integer) -> Written {
        self.raw(itoa::Buffer::new().format(integer).as_bytes())
    }

    fn large(&mut self, integer: impl itoa::Integer + Copy + Into<i128>) -> Written {
        self.integer(integer, integer.into().unsigned_abs() > DOUBLE_INTEGER_MAX)
    }

    fn huge(&mut self, integer: impl itoa::Integer + Copy + TryInto<i64>) -> Written {
        let large = match integer.try_into() {
            Ok(small) => u128::from(small.unsigned_abs()) > DOUBLE_INTEGER_MAX,
            Err(_) => true,
        };
        self.integer(integer, large)
    }

    fn integer(&mut self, integer: impl itoa::Integer, large: bool) -> Written {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(integer).as_bytes();
        match large && self.large_integers == LargeIntegers::Strings {
            true => {
                self.out.push(b'"');
                self.out.extend_from_slice(digits);
                self.out.push(b'"');
                Ok(())
            }
            false => self.raw(digits),
        }
    }

    /// The shortest digits that read back as the same number; JSON has none for what is not finite.
    fn float<F: zmij::Float + Into<f64> + Copy>(&mut self, number: F) -> Written {
        match number.into().is_finite() {
            true => self.raw(zmij::Buffer::new().format_finite(number).as_bytes()),
            false => self.null(),
        }
    }

    fn char(&mut self, at: usize) -> Written {
        match char::from_u32(u32::from_le_bytes(self.take(at)?)) {
            Some(char) => {
                write_quoted(char.encode_utf8(&mut [0; 4]), self.out);
                Ok(())
            }
            None => error(DecodeErrorKind::Value, at),
        }
    }

    fn duration(&mut self, at: usize) -> Written {
        let secs = u64::from_le_bytes(self.take(at)?);
        let nanos = u32::from_le_bytes(self.take(at + size_of::<u64>())?);
        if nanos >= NANOS_PER_SEC {
            return error(DecodeErrorKind::Value, at);
        }
        self.raw(b"{\"secs\":")?;
        self.large(secs)?;
        self.raw(b",\"nanos\":")?;
        self.small(nanos)?;
        self.raw(b"}")
    }

    fn string(&mut self, at: usize) -> Written {
        let bytes = self.bytes;
        let repr: [u8; STRING_LEN] = self.take(at)?;
        let text = if repr[0] & STRING_MARK_MASK != STRING_OUT_OF_LINE {
            let len = repr.iter().position(|byte| *byte == STRING_PADDING).unwrap_or(STRING_LEN);
            &bytes[at..at + len]
        } else {
            let marked = u32::from_le_bytes(self.take(at)?);
            let len = (marked & 0x3f | (marked & !0xff) >> 2) as usize;
            if len <= STRING_LEN {
                return error(DecodeErrorKind::Value, at);
            }
            let text_at = self.target(at, at + POINTER_LEN, Some(len))?;
            &bytes[text_at..text_at + len]
        };
        match core::str::from_utf8(text) {
            Ok(text) => {
                write_quoted(text, self.out);
                Ok(())
            }
            Err(_) => error(DecodeErrorKind::Text, at),
        }
    }

    fn null(&mut self) -> Written {
        self.raw(b"null")
    }

    fn raw(&mut self, json: &[u8]) -> Written {
        self.out.extend_from_slice(json);
        Ok(())
    }

    fn length(&self, at: usize) -> Result<usize, DecodeError> {
        Ok(u32::from_le_bytes(self.take(at)?) as usize)
    }

    /// Where a pointer leads: the offset at `offset_at` counts from `base`, the first byte of the value that it is
    /// part of. Claims `len` bytes there, `None` being more than there can be.
    fn target(&mut self, base: usize, offset_at: usize, len: Option<usize>) -> Result<usize, DecodeError> {
        let out_of_bounds = DecodeError { kind: DecodeErrorKind::Bounds, at: offset_at };
        let offset = i32::from_le_bytes(self.take(offset_at)?);
        let target = base.checked_add_signed(offset as isize).ok_or(out_of_bounds)?;
        let len = len.ok_or(out_of_bounds)?;
        self.unclaimed = self.unclaimed.checked_sub(len).ok_or(out_of_bounds)?;
        match target.checked_add(len) {
            Some(end) if end <= self.bytes.len() => Ok(target),
            _ => Err(out_of_bounds),
        }
    }

    fn take<const LEN: usize>(&self, at: usize) -> Result<[u8; LEN], DecodeError> {
        let from = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        from.copied().ok_or(DecodeError { kind: DecodeErrorKind::Bounds, at })
    }
}

/// The same escapes as `serde_json`: short ones where there are, `\u00xx` for other control characters.
fn write_quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut plain_from = 0;
    for (i, byte) in text.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[plain_from..i]);
        plain_from = i + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control => {
                let hex = |digit: u8| b"0123456789abcdef"[usize::from(digit)];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[hex(control >> 4), hex(control & 0xf)]);
            }
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain_from..]);
    out.push(b'"');
}

fn error<T>(kind: DecodeErrorKind, at: usize) -> Result<T, DecodeError> {
    Err(DecodeError { kind, at })
}

/// The bytes of an archived string: a text of that length or less stands in them, filled up with [`STRING_PADDING`].
const STRING_LEN: usize = 2 * POINTER_LEN;
const STRING_PADDING: u8 = 0xff;
/// The two high bits of the first byte; no UTF-8 begins with 10.
const STRING_MARK_MASK: u8 = 0xc0;
const STRING_OUT_OF_LINE: u8 = 0x80;
const DOUBLE_INTEGER_MAX: u128 = 1 << f64::MANTISSA_DIGITS;
const NANOS_PER_SEC: u32 = 1_000_000_000;
