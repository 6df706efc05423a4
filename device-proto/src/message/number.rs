//! The number spaces on the wire: each travels as the integer inside it, and a reason as its code.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use varve_core::{DeviceId, DeviceSequence, Epoch, GapReason, Lane};

/// A type that stands for one integer.
pub(crate) trait Number: Copy {
    type Integer: Serialize + for<'a> Deserialize<'a>;
    fn to_integer(self) -> Self::Integer;
    fn from_integer(integer: Self::Integer) -> Self;
}

pub(crate) fn serialize<N: Number, S: Serializer>(number: &N, serializer: S) -> Result<S::Ok, S::Error> {
    number.to_integer().serialize(serializer)
}

pub(crate) fn deserialize<'a, N: Number, D: Deserializer<'a>>(deserializer: D) -> Result<N, D::Error> {
    N::Integer::deserialize(deserializer).map(N::from_integer)
}

macro_rules! number {
    ($name:ident($integer:ty)) => {
        impl Number for $name {
            type Integer = $integer;

            fn to_integer(self) -> $integer {
                self.0
            }

            fn from_integer(integer: $integer) -> Self {
                Self(integer)
            }
        }
    };
}

number!(DeviceId(u64));
number!(DeviceSequence(u64));
number!(Epoch(u32));
number!(Lane(u8));

impl Number for GapReason {
    type Integer = u8;

    fn to_integer(self) -> u8 {
        self.into()
    }

    fn from_integer(code: u8) -> Self {
        code.into()
    }
}
