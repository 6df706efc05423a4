//! A key that lies sealed under another.

use std::io;

use super::secret::{KEY_LEN, Secret, random_nonce};
use super::suite::{Cipher, Forged, NONCE_LEN, Nonce, TAG_LEN, Tag};

/// A key, sealed under a key that stands elsewhere.
///
/// ```text
/// 0        12            44     60
/// ┌────────┬─────────────┬──────┐
/// │ nonce  │ sealed key  │ tag  │
/// └────────┴─────────────┴──────┘
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct WrappedKey {
    nonce: Nonce,
    sealed: [u8; KEY_LEN],
    tag: Tag,
}

impl WrappedKey {
    /// Seals `key` for the place that `associated` names, under a fresh nonce.
    pub(super) fn seal(cipher: &Cipher, associated: &[u8], key: &Secret) -> io::Result<Self> {
        let nonce = random_nonce()?;
        let mut sealed = *key.bytes();
        let tag = cipher.seal(&nonce, associated, &mut sealed);
        Ok(Self { nonce, sealed, tag })
    }

    /// The key, if it was sealed for that place under that cipher.
    pub(super) fn open(&self, cipher: &Cipher, associated: &[u8]) -> Result<Secret, Forged> {
        let mut key = Secret::zeroed();
        key.bytes_mut().copy_from_slice(&self.sealed);
        cipher.open(&self.nonce, associated, key.bytes_mut(), &self.tag)?;
        Ok(key)
    }

    /// Reads the stored form.
    pub(super) fn parse(bytes: &[u8; WRAPPED_KEY_LEN]) -> Self {
        let mut wrapped = Self { nonce: [0; NONCE_LEN], sealed: [0; KEY_LEN], tag: [0; TAG_LEN] };
        wrapped.nonce.copy_from_slice(&bytes[..NONCE_LEN]);
        wrapped.sealed.copy_from_slice(&bytes[NONCE_LEN..NONCE_LEN + KEY_LEN]);
        wrapped.tag.copy_from_slice(&bytes[NONCE_LEN + KEY_LEN..]);
        wrapped
    }

    /// Writes the stored form behind `out`.
    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&self.sealed);
        out.extend_from_slice(&self.tag);
    }
}

pub(super) const WRAPPED_KEY_LEN: usize = NONCE_LEN + KEY_LEN + TAG_LEN;
