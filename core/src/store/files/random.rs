//! A number that no other store has.

use std::hash::{BuildHasher, Hasher, RandomState};

/// 64 random bits. The keys of the standard library's hash maps come from the system's random source, so that a
/// hash of nothing under fresh keys is as random as they are; it is enough for an identity, not for a secret.
pub(in crate::store) fn random_u64() -> u64 {
    RandomState::new().build_hasher().finish()
}
