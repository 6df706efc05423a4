//! Numbers that nobody can foretell.

use std::hash::{BuildHasher, RandomState};

/// A seed from the system's own randomness, by way of what seeds the standard library's hash maps.
pub(crate) fn random_seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
