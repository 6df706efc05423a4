//! The file in which a running daemon says how it does, for whoever asks from another process.
//!
//! It is as long as it will ever be from the beginning, so that it can be written when the disk is full, and the daemon
//! holds a lock on it, which the system takes back however the daemon ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::utc::Utc;

/// The file of a daemon that runs.
#[derive(Debug)]
pub(crate) struct StateFile {
    file: File,
}

/// How a daemon does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DaemonState<'a> {
    /// It takes in what devices send.
    Serving,
    /// It takes in nothing until there is room for it; why.
    Full(&'a str),
}

impl StateFile {
    /// Makes the file in the directory of a store that this process owns.
    ///
    /// # Errors
    /// There is no room for it, or somebody else may write there.
    pub(crate) fn create(store: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(store.join(FILE_NAME))?;
        lock(&file)?;
        let file = Self { file };
        file.tell(DaemonState::Serving)?;
        Ok(file)
    }

    /// Says how the daemon does from now on.
    ///
    /// # Errors
    /// The disk failed.
    pub(crate) fn tell(&self, state: DaemonState<'_>) -> io::Result<()> {
        let mut line = state.to_json(std::process::id(), utc_now()).to_string();
        debug_assert!(line.len() < LEN, "a reason is cut");
        line.extend(std::iter::repeat_n(' ', LEN.saturating_sub(line.len() + 1)));
        line.push('\n');
        self.file.write_all_at(line.as_bytes(), 0)
    }

    /// What the daemon that writes the store in a directory says of itself, as a JSON object; `None` where none runs, or
    /// none that says anything.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn read(store: &Path) -> io::Result<Option<Value>> {
        let file = match File::open(store.join(FILE_NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        match file.try_lock_shared() {
            Ok(()) => return Ok(None),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // It may be written meanwhile, and is then whole the next time.
        for _ in 0..READS_MAX {
            let mut line = [0; LEN];
            if file.read_exact_at(&mut line, 0).is_ok()
                && let Ok(state) = serde_json::from_slice(&line)
            {
                return Ok(Some(state));
            }
            thread::yield_now();
        }
        Ok(None)
    }
}

/// Takes the lock. Whoever asks holds it for a moment.
fn lock(file: &File) -> io::Result<()> {
    for _ in 0..LOCKS_MAX {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_DELAY),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

impl DaemonState<'_> {
    fn to_json(self, process: u32, since: Utc) -> Value {
        let (state, reason) = match self {
            Self::Serving => ("serving", None),
            Self::Full(reason) => ("full", Some(reason.chars().take(REASON_CHARS_MAX).collect::<String>())),
        };
        json!({ "pid": process, "state": state, "since": since.to_string(), "reason": reason })
    }
}

fn utc_now() -> Utc {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Utc(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Its name, in the directory of the store.
const FILE_NAME: &str = "varved.state";

/// Its length in bytes.
const LEN: usize = 2048;

/// How much of a reason is told: a character takes at most six bytes of JSON.
const REASON_CHARS_MAX: usize = 256;

const _: () = assert!(6 * REASON_CHARS_MAX + 128 < LEN);

/// How often a lock is tried, and how long after each.
const LOCKS_MAX: u32 = 50;
const LOCK_DELAY: Duration = Duration::from_millis(2);

/// How often a file is read that is just being written.
const READS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_asked_while_it_runs_and_not_after() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(StateFile::read(dir.path()).unwrap(), None);
        let file = StateFile::create(dir.path()).unwrap();
        let state = StateFile::read(dir.path()).unwrap().unwrap();
        assert_eq!((&state["state"], &state["reason"]), (&"serving".into(), &Value::Null));
        assert_eq!(state["pid"], std::process::id());
        file.tell(DaemonState::Full(&"\u{1}".repeat(10_000))).unwrap();
        let state = StateFile::read(dir.path()).unwrap().unwrap();
        assert_eq!(state["state"], "full");
        assert_eq!(state["reason"].as_str().map(str::len), Some(REASON_CHARS_MAX));
        file.tell(DaemonState::Serving).unwrap();
        assert_eq!(StateFile::read(dir.path()).unwrap().unwrap()["state"], "serving");
        let other = StateFile::create(dir.path()).unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::ResourceBusy, "it does not wait for ever");
        drop(file);
        assert_eq!(StateFile::read(dir.path()).unwrap(), None);
        assert_eq!(std::fs::metadata(dir.path().join(FILE_NAME)).unwrap().len(), LEN as u64);
    }
}
