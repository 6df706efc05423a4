//! The types that hold no other: numbers, characters, durations.

/// A primitive archived type; its code is the byte that stands for it in a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is named for the Rust type that it stands for")]
pub enum Primitive {
    Unit = 0x00,
    Bool = 0x01,
    U8 = 0x02,
    U16 = 0x03,
    U32 = 0x04,
    U64 = 0x05,
    U128 = 0x06,
    I8 = 0x07,
    I16 = 0x08,
    I32 = 0x09,
    I64 = 0x0a,
    I128 = 0x0b,
    F32 = 0x0c,
    F64 = 0x0d,
    Char = 0x0e,
    /// Seconds in 8 bytes, then nanoseconds below 10⁹ in 4.
    Duration = 0x0f,
    NonZeroU8 = 0x12,
    NonZeroU16 = 0x13,
    NonZeroU32 = 0x14,
    NonZeroU64 = 0x15,
    NonZeroU128 = 0x16,
    NonZeroI8 = 0x17,
    NonZeroI16 = 0x18,
    NonZeroI32 = 0x19,
    NonZeroI64 = 0x1a,
    NonZeroI128 = 0x1b,
}

impl Primitive {
    /// Every primitive, in the order of its code.
    pub const ALL: [Self; 26] = {
        use Primitive::*;
        [
            Unit,
            Bool,
            U8,
            U16,
            U32,
            U64,
            U128,
            I8,
            I16,
            I32,
            I64,
            I128,
            F32,
            F64,
            Char,
            Duration,
            NonZeroU8,
            NonZeroU16,
            NonZeroU32,
            NonZeroU64,
            NonZeroU128,
            NonZeroI8,
            NonZeroI16,
            NonZeroI32,
            NonZeroI64,
            NonZeroI128,
        ]
    };

    /// The byte that stands for this primitive in a descriptor.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The primitive of a code, `None` where the code stands for something else.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|primitive| primitive.code() == code)
    }

    /// How many bytes the archived value takes.
    pub const fn archived_len(self) -> usize {
        use Primitive::*;
        match self {
            Unit => 0,
            Bool | U8 | I8 | NonZeroU8 | NonZeroI8 => 1,
            U16 | I16 | NonZeroU16 | NonZeroI16 => 2,
            U32 | I32 | F32 | Char | NonZeroU32 | NonZeroI32 => 4,
            U64 | I64 | F64 | NonZeroU64 | NonZeroI64 => 8,
            Duration => 12,
            U128 | I128 | NonZeroU128 | NonZeroI128 => 16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_names_one_primitive() {
        for primitive in Primitive::ALL {
            assert_eq!(Primitive::from_code(primitive.code()), Some(primitive));
        }
        let named = (0..=u8::MAX).filter(|code| Primitive::from_code(*code).is_some()).count();
        assert_eq!(named, Primitive::ALL.len());
    }
}
