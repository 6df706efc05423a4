//! The daemon's control socket: what its owner asks of a store that it is writing.
//!
//! ```text
//! request, one line   {"shred":{"stream":"climate","id":16045690984833335040}}
//!                     {"rotate_master":{"new_master_key_file":"/etc/varve/new.key"}}
//! reply, one line     {"done":true}
//!                     {"failed":"stream climate … was never sealed","remedy":"`varved streams` lists the streams; …"}
//! ```
//!
//! A connection brings one request and takes one reply. No key goes over it: the daemon reads the file that it is told of.
//!
//! **Invariant:** whoever connects and then says nothing, or anything but a request, costs nobody more than
//! [`REQUEST_TIMEOUT`]; no port ever waits.

mod client;
mod key_change;
mod reply;
mod socket;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};
use varve_core::Varve;

use crate::failure::Failure;
use crate::port::Stop;

pub(crate) use client::RunningDaemon;
pub(crate) use key_change::KeyChange;
use reply::encode_reply;
use socket::ControlSocket;

/// The daemon's end of the socket.
#[derive(Debug)]
pub(crate) struct Control {
    /// The first field: it is removed while the store is still owned, so that it is never the next owner's.
    socket: ControlSocket,
    varve: Arc<Varve>,
    store: PathBuf,
}

impl Control {
    /// Opens the socket in the directory of a store that this process owns.
    ///
    /// # Errors
    /// There is no room for it, or something else has its name.
    pub(crate) fn open(store: &Path, varve: Arc<Varve>) -> io::Result<Self> {
        Ok(Self { socket: ControlSocket::bind(store)?, varve, store: store.to_path_buf() })
    }

    /// Does what it is asked for, one request after another, until `stop`.
    pub(crate) async fn serve(self, mut stop: Stop) {
        loop {
            let (stream, request) = tokio::select! {
                _ = stop.wait_for(|&stop| stop) => return,
                asked = self.next_request() => asked,
            };
            let outcome = match request {
                Ok(change) => self.apply(change).await,
                Err(failure) => Err(failure),
            };
            reply(stream, &outcome).await;
        }
    }

    /// Waits for a connection, and for what it asks.
    async fn next_request(&self) -> (UnixStream, Result<KeyChange, Failure>) {
        loop {
            match self.socket.accept().await {
                Ok(mut stream) => {
                    let request = read_request(&mut stream).await;
                    return (stream, request);
                }
                Err(error) => {
                    warn!(%error, "the control socket fails");
                    sleep(ACCEPT_DELAY).await;
                }
            }
        }
    }

    /// Changes the keys, off the thread of the ports: that waits for the disk.
    async fn apply(&self, change: KeyChange) -> Result<(), Failure> {
        let (varve, store) = (self.varve.clone(), self.store.clone());
        let applied = spawn_blocking(move || {
            let outcome = change.apply(&varve, &store);
            match &outcome {
                Ok(()) => info!("{change}, as asked"),
                Err(failure) => warn!(%failure, "asked for, and not done"),
            }
            outcome
        });
        applied.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}

/// Reads one line, which is short and comes soon.
async fn read_request(stream: &mut UnixStream) -> Result<KeyChange, Failure> {
    let mut line = Vec::new();
    let mut input = BufReader::new(stream).take(REQUEST_LEN_MAX as u64);
    let failed = match timeout(REQUEST_TIMEOUT, input.read_until(b'\n', &mut line)).await {
        Ok(Ok(_)) if line.ends_with(b"\n") => return KeyChange::parse(&line),
        Ok(Ok(_)) => "it is cut off, or too long".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it did not come in time".to_owned(),
    };
    Err(KeyChange::unreadable(&failed))
}

/// Tells what came of a request to who asked, unless he is gone.
async fn reply(mut stream: UnixStream, outcome: &Result<(), Failure>) {
    if let Ok(Err(error)) = timeout(REPLY_TIMEOUT, stream.write_all(&encode_reply(outcome))).await {
        info!(%error, "nobody takes the reply");
    }
}

/// How long a request may take to come, and its reply to be taken.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
const REPLY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long to wait where a connection cannot be accepted: the process may have too many files open.
const ACCEPT_DELAY: Duration = Duration::from_secs(1);

/// The longest request in bytes, its end included: a path has 4,096, each at most six of JSON.
const REQUEST_LEN_MAX: usize = 32 * 1024;

const _: () = assert!(REQUEST_LEN_MAX > 6 * 4096 + 256);
