//! The bytes of a key in memory.

use std::{fmt, io};

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroize;

use super::suite::Nonce;

/// A key of 256 bits, which is wiped when it is dropped. It lies on the heap, so that no move leaves a copy.
pub(super) struct Secret(Box<[u8; KEY_LEN]>);

impl Secret {
    /// Takes a key over, and wipes the copy on the way.
    pub(super) fn new(mut bytes: [u8; KEY_LEN]) -> Self {
        let secret = Self::copy_of(&bytes);
        bytes.zeroize();
        secret
    }

    /// A copy of a key, which is wiped when it is dropped.
    pub(super) fn copy_of(bytes: &[u8; KEY_LEN]) -> Self {
        let mut secret = Self::zeroed();
        secret.bytes_mut().copy_from_slice(bytes);
        secret
    }

    /// A second copy, wiped like the first.
    pub(super) fn copy(&self) -> Self {
        Self::copy_of(&self.0)
    }

    /// A key of zeros, to be filled in place.
    pub(super) fn zeroed() -> Self {
        Self(Box::new([0; KEY_LEN]))
    }

    /// A fresh key from the system's random source.
    pub(super) fn random() -> io::Result<Self> {
        let mut secret = Self::zeroed();
        random(secret.bytes_mut())?;
        Ok(secret)
    }

    /// The key for one purpose, which tells nothing of this one nor of those for others (HKDF-Expand, RFC 5869).
    pub(super) fn derive(&self, purpose: &[&[u8]]) -> Self {
        let mut derived = Self::zeroed();
        let key = Hkdf::<Sha256>::from_prk(self.bytes()).expect("a key is as long as the hash");
        key.expand_multi_info(purpose, derived.bytes_mut()).expect("a key is shorter than 255 hashes");
        derived
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8; KEY_LEN] {
        &mut self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A random nonce.
pub(super) fn random_nonce() -> io::Result<Nonce> {
    let mut nonce = Nonce::default();
    random(&mut nonce)?;
    Ok(nonce)
}

/// Fills `bytes` from the system's random source.
pub(super) fn random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(io::Error::from)
}

pub(super) const KEY_LEN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5869, test case 1: its PRK, and the first 32 bytes of its output.
    #[test]
    fn a_derived_key_meets_the_published_vector() {
        let prk = [
            0x07, 0x77, 0x09, 0x36, 0x2c, 0x2e, 0x32, 0xdf, 0x0d, 0xdc, 0x3f, 0x0d, 0xc4, 0x7b, 0xba, 0x63,
            0x90, 0xb6, 0xc7, 0x3b, 0xb5, 0x0f, 0x9c, 0x31, 0x22, 0xec, 0x84, 0x4a, 0xd7, 0xc2, 0xb3, 0xe5,
        ];
        let info = [0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9];
        let derived = Secret::new(prk).derive(&[&info[..4], &info[4..]]);
        let expected = [
            0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a, 0x90, 0x43, 0x4f, 0x64, 0xd0, 0x36, 0x2f, 0x2a,
            0x2d, 0x2d, 0x0a, 0x90, 0xcf, 0x1a, 0x5a, 0x4c, 0x5d, 0xb0, 0x2d, 0x56, 0xec, 0xc4, 0xc5, 0xbf,
        ];
        assert_eq!(derived.bytes(), &expected);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nothing_of_a_key_is_left_where_it_was() {
        let secret = Secret::random().unwrap();
        // Turned round, so that this is not itself what is looked for. The allocator writes over the first bytes.
        let turned: Vec<u8> = secret.bytes()[KEY_LEN / 2..].iter().map(|byte| !byte).collect();
        assert!(is_in_memory(&turned), "it is found while it is there");
        drop(secret);
        assert!(!is_in_memory(&turned));
    }

    /// Whether the bytes whose complement is `turned` stand in memory that this process writes to.
    #[cfg(target_os = "linux")]
    fn is_in_memory(turned: &[u8]) -> bool {
        use std::os::unix::fs::FileExt;
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mut piece = vec![0; 1 << 16];
        let mut is_there = false;
        for map in maps.lines().filter(|map| map.contains(" rw-p ")) {
            let (start, rest) = map.split_once('-').unwrap();
            let [start, end] =
                [start, &rest[..rest.find(' ').unwrap()]].map(|at| u64::from_str_radix(at, 16).unwrap());
            for at in (start..end).step_by(piece.len() - turned.len()) {
                // What was unmapped meanwhile is not there.
                let read = memory.read_at(&mut piece, at).unwrap_or(0);
                let is_it = |bytes: &[u8]| bytes.iter().zip(turned).all(|(byte, turned)| *byte == !turned);
                is_there |= piece[..read].windows(turned.len()).any(is_it);
                // Or else it would be found here.
                piece.as_mut_slice().zeroize();
            }
        }
        is_there
    }

    #[test]
    fn random_keys_differ_and_are_not_printed() {
        let secret = Secret::random().unwrap();
        assert_ne!(secret.bytes(), Secret::random().unwrap().bytes());
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
