//! The ciphers that a store seals with.

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use chacha20poly1305::ChaCha20Poly1305;

use super::secret::Secret;

/// An authenticated cipher: a key of 256 bits, a nonce of 96, a tag of 128.
///
/// Each stream keeps the suite that it began with, so that a store may hold both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Suite {
    /// AES-256 in Galois/counter mode (NIST SP 800-38D): the faster one where the CPU has instructions for AES.
    #[default]
    Aes256Gcm,
    /// ChaCha20-Poly1305 (RFC 8439): the faster one where it has none, as on most boards of the Raspberry Pi.
    ChaCha20Poly1305,
}

/// A suite with a key.
pub(super) enum Cipher {
    Aes256Gcm(Box<Aes256Gcm>),
    ChaCha20Poly1305(Box<ChaCha20Poly1305>),
}

/// Sealed bytes that are not what was sealed, or not there, or not with that key.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) struct Forged;

impl Suite {
    /// The number that stands for the suite where it is stored.
    pub(super) const fn id(self) -> u8 {
        match self {
            Self::Aes256Gcm => 1,
            Self::ChaCha20Poly1305 => 2,
        }
    }

    /// The suite of a number.
    pub(super) const fn of_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Aes256Gcm),
            2 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }
}

impl Cipher {
    /// The cipher of a suite under a key.
    pub(super) fn new(suite: Suite, key: &Secret) -> Self {
        match suite {
            Suite::Aes256Gcm => Self::Aes256Gcm(Box::new(Aes256Gcm::new(key.bytes().into()))),
            Suite::ChaCha20Poly1305 => {
                Self::ChaCha20Poly1305(Box::new(ChaCha20Poly1305::new(key.bytes().into())))
            }
        }
    }

    /// Encrypts `text` in place, and returns the tag over it and over `associated`.
    pub(super) fn seal(&self, nonce: &Nonce, associated: &[u8], text: &mut [u8]) -> Tag {
        let tag = match self {
            Self::Aes256Gcm(cipher) => cipher.encrypt_inout_detached(nonce.into(), associated, text.into()),
            Self::ChaCha20Poly1305(cipher) => {
                cipher.encrypt_inout_detached(nonce.into(), associated, text.into())
            }
        };
        tag.expect("a block is far shorter than what a suite takes").into()
    }

    /// Decrypts `text` in place. Where the tag does not hold, `text` is of no use.
    pub(super) fn open(
        &self,
        nonce: &Nonce,
        associated: &[u8],
        text: &mut [u8],
        tag: &Tag,
    ) -> Result<(), Forged> {
        let (nonce, tag) = (nonce.into(), tag.into());
        let opened = match self {
            Self::Aes256Gcm(cipher) => cipher.decrypt_inout_detached(nonce, associated, text.into(), tag),
            Self::ChaCha20Poly1305(cipher) => {
                cipher.decrypt_inout_detached(nonce, associated, text.into(), tag)
            }
        };
        opened.map_err(|_| Forged)
    }
}

/// A number that is used once with a key.
pub(super) type Nonce = [u8; NONCE_LEN];

/// What proves that sealed bytes are those that were sealed.
pub(super) type Tag = [u8; TAG_LEN];

pub(super) const NONCE_LEN: usize = 12;
pub(super) const TAG_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_suite_meets_its_published_vector() {
        // NIST's GCM test case 16, without its last 4 bytes of text: AES-256, 20 bytes of associated data.
        check(
            Suite::Aes256Gcm,
            "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            "cafebabefacedbaddecaf888",
            "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
             1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
             8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
            "76fc6ece0f4e1768cddf8853bb2d551b",
        );
        // RFC 8439, section 2.8.2.
        check(
            Suite::ChaCha20Poly1305,
            "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
            "070000004041424344454647",
            "50515253c0c1c2c3c4c5c6c7",
            "4c616469657320616e642047656e746c656d656e206f662074686520636c6173\
             73206f66202739393a204966204920636f756c64206f6666657220796f75206f\
             6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73\
             637265656e20776f756c642062652069742e",
            "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6\
             3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36\
             92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc\
             3ff4def08e4b7a9de576d26586cec64b6116",
            "1ae10b594f09e26a7e902ecbd0600691",
        );
    }

    fn check(suite: Suite, key: &str, nonce: &str, associated: &str, text: &str, sealed: &str, tag: &str) {
        let cipher = Cipher::new(suite, &Secret::new(bytes(key).try_into().unwrap()));
        let nonce: Nonce = bytes(nonce).try_into().unwrap();
        let mut buffer = bytes(text);
        let made = cipher.seal(&nonce, &bytes(associated), &mut buffer);
        assert_eq!(buffer, bytes(sealed));
        assert_eq!(made.to_vec(), bytes(tag));
        assert_eq!(cipher.open(&nonce, b"another place", &mut buffer.clone(), &made), Err(Forged));
        assert_eq!(cipher.open(&nonce, &bytes(associated), &mut buffer, &made), Ok(()));
        assert_eq!(buffer, bytes(text));
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    #[test]
    fn a_suite_has_one_number() {
        for suite in [Suite::Aes256Gcm, Suite::ChaCha20Poly1305] {
            assert_eq!(Suite::of_id(suite.id()), Some(suite));
        }
        assert_eq!((Suite::of_id(0), Suite::of_id(3)), (None, None));
    }
}
