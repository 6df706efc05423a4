//! A change of a store's keys, as its owner makes it: the daemon when it is asked, or else the command.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use varve_core::{AppendError, KeysError, MasterKey, StreamId, Varve};

use crate::failure::Failure;
use crate::master_key::{GIVE_ONE, no_key};

/// What is to become of a store's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyChange {
    /// The key of a stream is destroyed.
    Shred { stream: String, id: StreamId },
    /// The keys are wrapped by the master key in a file.
    RotateMaster { new_master_key_file: PathBuf },
}

impl KeyChange {
    /// Changes the keys of the store in a directory.
    ///
    /// # Errors
    /// The stream was never sealed, the file holds no key, or the disk failed.
    pub(crate) fn apply(&self, varve: &Varve, store: &Path) -> Result<(), Failure> {
        let changed = match self {
            Self::Shred { stream, id } => varve.shred(stream, *id),
            Self::RotateMaster { new_master_key_file } => {
                let new = MasterKey::from_file(new_master_key_file).map_err(|error| no_key(&error))?;
                varve.rotate_master(&new)
            }
        };
        changed.map_err(|error| failure(store, &error))
    }

    /// The line by which a daemon is asked for it.
    ///
    /// # Errors
    /// The daemon could not read the file of the key.
    pub(super) fn encode(&self) -> Result<Vec<u8>, Failure> {
        let request = match self {
            Self::Shred { stream, id } => json!({ "shred": { "stream": stream, "id": id.0 } }),
            Self::RotateMaster { new_master_key_file: file } => {
                let path =
                    fs::canonicalize(file).ok().and_then(|path| path.into_os_string().into_string().ok());
                let path = path.ok_or_else(|| not_a_file(file))?;
                json!({ "rotate_master": { "new_master_key_file": path } })
            }
        };
        let mut line = request.to_string().into_bytes();
        line.push(b'\n');
        Ok(line)
    }

    /// What a line asks for, which anybody may have written.
    ///
    /// # Errors
    /// It asks for nothing that is known, or for a key that is in no file.
    pub(super) fn parse(line: &[u8]) -> Result<Self, Failure> {
        let request: Value =
            serde_json::from_slice(line).map_err(|error| Self::unreadable(&error.to_string()))?;
        let (shred, rotate) = (&request["shred"], &request["rotate_master"]);
        if let (Some(stream), Some(id)) = (shred["stream"].as_str(), shred["id"].as_u64()) {
            return Ok(Self::Shred { stream: stream.to_owned(), id: StreamId(id) });
        }
        let Some(file) = rotate["new_master_key_file"].as_str().map(PathBuf::from) else {
            return Err(Self::unreadable("it asks for nothing that is known"));
        };
        // Of anything else, a read might never come back.
        let is_file = file.is_absolute() && fs::metadata(&file).is_ok_and(|metadata| metadata.is_file());
        if is_file { Ok(Self::RotateMaster { new_master_key_file: file }) } else { Err(not_a_file(&file)) }
    }

    /// A request is none.
    pub(super) fn unreadable(reason: &str) -> Failure {
        Failure::new(
            format!("the daemon cannot read the request: {reason}"),
            "ask by a varved of its release",
        )
    }
}

impl fmt::Display for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shred { stream, id } => write!(f, "stream {stream:?} {id} is shredded"),
            Self::RotateMaster { .. } => f.write_str("the store has another master key"),
        }
    }
}

fn not_a_file(path: &Path) -> Failure {
    Failure::new(
        format!("no master key: the daemon cannot read {} as a file", path.display()),
        "give a file that the daemon's user may read",
    )
}

fn failure(store: &Path, error: &AppendError) -> Failure {
    let remedy = match error {
        AppendError::Keys(KeysError::NotSealed { .. }) => {
            return Failure::new(error, "`varved streams` lists the streams; nothing was changed");
        }
        AppendError::Keys(KeysError::NoMasterKey) => GIVE_ONE,
        AppendError::DiskFull => "make room; nothing was changed",
        _ => "mend the disk and try again",
    };
    Failure::new(format!("the keys of store {} cannot be changed: {error}", store.display()), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_what_the_daemon_reads() {
        let dir = tempfile::tempdir().unwrap();
        let key = fs::canonicalize(dir.path()).unwrap().join("a \"new\"\n key");
        fs::write(&key, "8".repeat(64)).unwrap();
        let changes = [
            KeyChange::Shred { stream: "climate \u{1}".into(), id: StreamId(u64::MAX) },
            KeyChange::RotateMaster { new_master_key_file: key },
        ];
        for change in changes {
            let line = change.encode().unwrap();
            assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
            assert_eq!(KeyChange::parse(&line).unwrap(), change);
        }
    }

    #[test]
    fn what_is_no_request_is_refused_by_its_reason() {
        let check = |line: &str, told: &str| {
            let refused = KeyChange::parse(line.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains(told), "{line}: {refused}");
        };
        check("", "cannot read the request");
        check("\n", "cannot read the request");
        check("{\"shred\":", "cannot read the request");
        check(&"[".repeat(10_000), "cannot read the request");
        check("[]", "nothing that is known");
        check("{\"shred\":{\"stream\":\"a\",\"id\":-1}}", "nothing that is known");
        check("{\"shred\":{\"stream\":7,\"id\":1}}", "nothing that is known");
        check("{\"format\":{}}", "nothing that is known");
        let rotate = |path: &str| json!({ "rotate_master": { "new_master_key_file": path } }).to_string();
        check(&rotate("a.key"), "as a file");
        check(&rotate("/dev/zero"), "as a file");
        check(&rotate("/proc"), "as a file");
        check(&rotate("/no-such-file"), "as a file");
        check(&rotate("/a\0b"), "as a file");
    }

    #[test]
    fn a_key_that_is_in_no_file_is_refused_before_the_daemon_is_asked() {
        let missing = KeyChange::RotateMaster { new_master_key_file: "no-such-key".into() };
        let refused = missing.encode().unwrap_err().to_string();
        assert!(refused.ends_with("give a file that the daemon's user may read"), "{refused}");
    }
}
