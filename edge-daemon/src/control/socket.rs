//! The socket in the directory of a store.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use tokio::net::UnixListener;

/// A socket that listens, for the user of the daemon alone; dropped, it is removed.
#[derive(Debug)]
pub(super) struct ControlSocket {
    listener: UnixListener,
    /// By its own name, however the directory is moved.
    path: SocketPath,
}

/// The path of the socket by way of its open directory: the system takes no more than 107 bytes of a path, and
/// directories of stores may be deeper.
#[derive(Debug)]
struct SocketPath {
    path: PathBuf,
    _dir: File,
}

impl ControlSocket {
    /// Opens the socket of a store that this process owns, in the place of one that a killed daemon left. The calling
    /// thread is within the event loop.
    ///
    /// # Errors
    /// Something else has its name, or the directory takes none.
    pub(super) fn bind(store: &Path) -> io::Result<Self> {
        let path = SocketPath::in_store(store)?;
        remove_stale(&path.path)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // What the socket may have done to it, its name may: nobody else connects at any moment.
        fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        bind(&socket, &SocketAddrUnix::new(&path.path)?)?;
        listen(&socket, BACKLOG)?;
        let listener = UnixListener::from_std(OwnedFd::into(socket))?;
        Ok(Self { listener, path })
    }

    /// Waits for who connects.
    pub(super) async fn accept(&self) -> io::Result<tokio::net::UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // One that stays is as good as one that a killed daemon left.
        let _ = fs::remove_file(&self.path.path);
    }
}

/// Connects to the daemon that writes a store; `None` where none does, or none that listens.
///
/// # Errors
/// The socket is another user's, or the directory cannot be read.
pub(super) fn connect(store: &Path) -> io::Result<Option<UnixStream>> {
    let path = match SocketPath::in_store(store) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        path => path?,
    };
    match UnixStream::connect(&path.path) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl SocketPath {
    fn in_store(store: &Path) -> io::Result<Self> {
        let dir = File::open(store)?;
        let path = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(FILE_NAME);
        Ok(Self { path, _dir: dir })
    }
}

/// Removes the socket of a daemon that was killed: this process owns the store, so that no other one listens there.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Its name, in the directory of the store.
const FILE_NAME: &str = "varved.socket";

/// How many may wait to be heard.
const BACKLOG: i32 = 8;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_socket_is_its_users_alone_and_goes_with_the_daemon() {
        let runtime = runtime();
        let _entered = runtime.enter();
        let dir = tempfile::tempdir().unwrap();
        assert!(connect(&dir.path().join("nowhere")).unwrap().is_none());
        assert!(connect(dir.path()).unwrap().is_none());
        let socket = ControlSocket::bind(dir.path()).unwrap();
        let path = dir.path().join(FILE_NAME);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(connect(dir.path()).unwrap().is_some());
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn the_socket_of_a_killed_daemon_is_replaced_and_nothing_else_is() {
        let runtime = runtime();
        let _entered = runtime.enter();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a killed daemon's");
        assert!(connect(dir.path()).unwrap().is_none());
        drop(ControlSocket::bind(dir.path()).unwrap());
        fs::write(&path, "dear").unwrap();
        assert_eq!(ControlSocket::bind(dir.path()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"dear");
    }

    #[test]
    fn a_store_may_be_deeper_than_a_path_of_a_socket() {
        let runtime = runtime();
        let _entered = runtime.enter();
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a".repeat(100)).join("b".repeat(100));
        fs::create_dir_all(&deep).unwrap();
        let _socket = ControlSocket::bind(&deep).unwrap();
        assert!(connect(&deep).unwrap().is_some());
    }
}
