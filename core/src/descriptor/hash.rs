//! The two names of a descriptor: one of what fixes the layout, one of every byte.

use core::fmt;

use super::{
    DESCRIPTOR_LEN_MAX, Type,
    encode::{Detail, Encoder},
};
use crate::sha256;

/// The first 8 bytes of the SHA-256 of a descriptor's *layout form*: the descriptor with its type names
/// emptied and its annotations left out. Two types of one layout hash have the same bytes for the same values,
/// whatever their labels say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayoutHash(pub [u8; HASH_LEN]);

/// The first 8 bytes of the SHA-256 of a whole descriptor. It names the descriptor on the wire and in caches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DescriptorHash(pub [u8; HASH_LEN]);

impl LayoutHash {
    /// The hash of a type's layout.
    pub const fn of(ty: &Type) -> Self {
        let form = Encoder::<DESCRIPTOR_LEN_MAX>::run(ty, Detail::Layout);
        Self::of_form(form.bytes.split_at(form.len).0)
    }

    /// The hash of a layout form's bytes.
    pub(super) const fn of_form(form: &[u8]) -> Self {
        Self(truncated(form))
    }
}

impl DescriptorHash {
    /// The hash of a descriptor's bytes.
    pub const fn of(descriptor: &[u8]) -> Self {
        Self(truncated(descriptor))
    }
}

const HASH_LEN: usize = 8;

const fn truncated(bytes: &[u8]) -> [u8; HASH_LEN] {
    let digest = sha256(bytes);
    let mut hash = [0; HASH_LEN];
    let mut i = 0;
    while i < HASH_LEN {
        hash[i] = digest[i];
        i += 1;
    }
    hash
}

macro_rules! hexadecimal {
    ($($hash:ident),*) => {
        $(
            /// 16 hexadecimal digits, the first byte first.
            impl fmt::Display for $hash {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
                }
            }

            impl fmt::Debug for $hash {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    write!(f, concat!(stringify!($hash), "({})"), self)
                }
            }
        )*
    };
}

hexadecimal!(LayoutHash, DescriptorHash);
