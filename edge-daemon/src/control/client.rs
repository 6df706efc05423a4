//! A command's end of the control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::key_change::KeyChange;
use super::reply::parse_reply;
use super::socket;
use crate::failure::Failure;

/// A daemon that writes a store and listens.
#[derive(Debug)]
pub(crate) struct RunningDaemon {
    stream: UnixStream,
}

impl RunningDaemon {
    /// The daemon that writes the store in a directory; `None` where none runs.
    ///
    /// # Errors
    /// It is another user's.
    pub(crate) fn find(store: &Path) -> Result<Option<Self>, Failure> {
        let stream = socket::connect(store).map_err(|error| {
            let what = format!("the daemon of store {} cannot be asked: {error}", store.display());
            Failure::new(what, "ask as the user that it runs as")
        })?;
        Ok(stream.map(|stream| Self { stream }))
    }

    /// Asks it for a change of the store's keys, and returns once that is done.
    ///
    /// # Errors
    /// What the daemon says, or that it says nothing.
    pub(crate) fn ask(mut self, change: &KeyChange) -> Result<(), Failure> {
        let request = change.encode()?;
        let mut reply = Vec::new();
        let mut exchange = || {
            self.stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
            self.stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            self.stream.write_all(&request)?;
            BufReader::new(&self.stream).take(REPLY_LEN_MAX).read_until(b'\n', &mut reply)
        };
        exchange().map_err(|error| unanswered(change, &error))?;
        parse_reply(&reply).unwrap_or_else(|| Err(unanswered(change, &io::ErrorKind::UnexpectedEof.into())))
    }
}

fn unanswered(change: &KeyChange, error: &io::Error) -> Failure {
    let remedy = match change {
        // Events that came meanwhile have another key, which a second time would destroy.
        KeyChange::Shred { .. } => "ask again if `varved tail` still shows the events",
        KeyChange::RotateMaster { .. } => "ask again; what is done twice is done once",
    };
    Failure::new(format!("the daemon did not answer, and may have done it or not: {error}"), remedy)
}

/// How long a daemon may take: it waits for its disk.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest reply in bytes.
const REPLY_LEN_MAX: u64 = 64 * 1024;
