//! The one key that a store's user keeps.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fmt};

use zeroize::Zeroizing;

use super::secret::{KEY_LEN, Secret};

/// The key that opens a store's keys: 32 bytes that nobody can guess. It is wiped when it is dropped, and never printed.
///
/// Whoever loses it loses every sealed event; the store keeps no copy.
///
/// ```
/// use varve_core::MasterKey;
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("master.key");
/// # std::fs::write(&path, "7f".repeat(32))?;
/// let master = MasterKey::from_file(&path)?;
/// assert_eq!(format!("{master:?}"), "MasterKey");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MasterKey(Arc<Secret>);

/// Why there is no master key.
#[derive(Debug)]
#[non_exhaustive]
pub enum MasterKeyError {
    /// The file could not be read.
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The environment has no such variable.
    NoVariable {
        /// Its name.
        name: OsString,
    },
    /// What is there is neither 32 bytes nor their 64 hexadecimal digits.
    NotAKey,
}

impl MasterKey {
    /// Takes the key itself. The caller's copy is the caller's to wipe.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Arc::new(Secret::new(bytes)))
    }

    /// Reads the key from a file: its 32 bytes, or their 64 hexadecimal digits, which white space may follow.
    ///
    /// # Errors
    ///
    /// [`MasterKeyError::Io`]; [`MasterKeyError::NotAKey`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, MasterKeyError> {
        let path = path.as_ref();
        let failed = |error| MasterKeyError::Io { path: path.to_path_buf(), error };
        // Room for one byte too many, and never grown: a grown buffer would leave a copy behind.
        let mut text = Zeroizing::new(Vec::with_capacity(FILE_LEN_MAX + 1));
        let file = File::open(path).map_err(failed)?;
        file.take(FILE_LEN_MAX as u64 + 1).read_to_end(&mut text).map_err(failed)?;
        match <&[u8; KEY_LEN]>::try_from(text.as_slice()) {
            Ok(bytes) => Ok(Self(Arc::new(Secret::copy_of(bytes)))),
            Err(_) => Self::from_hex(text.trim_ascii_end()),
        }
    }

    /// Reads the key from a variable of the environment: 64 hexadecimal digits. Whoever may look at the process sees
    /// its environment, and so do its children.
    ///
    /// # Errors
    ///
    /// [`MasterKeyError::NoVariable`]; [`MasterKeyError::NotAKey`].
    pub fn from_env(name: impl Into<OsString>) -> Result<Self, MasterKeyError> {
        let name = name.into();
        let text = env::var_os(&name).ok_or(MasterKeyError::NoVariable { name })?;
        Self::from_hex(Zeroizing::new(text.into_encoded_bytes()).trim_ascii())
    }

    fn from_hex(digits: &[u8]) -> Result<Self, MasterKeyError> {
        if digits.len() != 2 * KEY_LEN {
            return Err(MasterKeyError::NotAKey);
        }
        let mut key = Secret::zeroed();
        for (byte, pair) in key.bytes_mut().iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16).ok_or(MasterKeyError::NotAKey);
            *byte = (digit(0)? << 4 | digit(1)?) as u8;
        }
        Ok(Self(Arc::new(key)))
    }

    /// The key that wraps the key-encryption key.
    pub(super) fn wrapping_key(&self) -> Secret {
        self.0.derive(&[b"varve key-encryption key"])
    }

    /// What tells master keys apart without telling anything of them.
    pub(super) fn id(&self) -> MasterKeyId {
        let digest = self.0.derive(&[b"varve master key id"]);
        *digest.bytes().first_chunk().expect("an id is shorter than a key")
    }
}

/// The name of a master key.
pub(super) type MasterKeyId = [u8; 8];

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

impl fmt::Display for MasterKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::NoVariable { name } => write!(f, "the environment has no variable {}", name.display()),
            Self::NotAKey => f.write_str("a master key is 32 bytes, or their 64 hexadecimal digits"),
        }
    }
}

impl std::error::Error for MasterKeyError {}

/// The digits and a line's end, on any system.
const FILE_LEN_MAX: usize = 2 * KEY_LEN + 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn of_file(content: &[u8]) -> Result<MasterKey, MasterKeyError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        std::fs::write(&path, content).unwrap();
        MasterKey::from_file(path)
    }

    #[test]
    fn a_file_holds_the_bytes_or_their_digits() {
        let id = MasterKey::from_bytes([0xa7; 32]).id();
        for content in [vec![0xa7; 32], b"a7".repeat(32), [b"A7".repeat(32), b"\r\n".to_vec()].concat()] {
            assert_eq!(of_file(&content).unwrap().id(), id);
        }
        assert_ne!(of_file(&[0xa8; 32]).unwrap().id(), id);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let digits = b"a7".repeat(32);
        let contents =
            [vec![], vec![0; 31], vec![0; 33], digits[1..].to_vec(), digits.repeat(2), b"g7".repeat(32)];
        for content in contents {
            assert!(matches!(of_file(&content), Err(MasterKeyError::NotAKey)), "{} bytes", content.len());
        }
        let missing = MasterKey::from_file("/nowhere/master.key");
        assert!(matches!(missing, Err(MasterKeyError::Io { .. })));
    }

    #[test]
    fn a_variable_that_is_not_there_is_named() {
        let error = MasterKey::from_env("VARVE_NO_SUCH_VARIABLE").unwrap_err();
        assert_eq!(error.to_string(), "the environment has no variable VARVE_NO_SUCH_VARIABLE");
        // A variable that every process of cargo's has, and that is no key.
        assert!(matches!(MasterKey::from_env("CARGO_MANIFEST_DIR"), Err(MasterKeyError::NotAKey)));
    }
}
