//! The board under test: a real one, or the emulated one.

use std::{
    env,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tempfile::TempDir;

use crate::{Cable, Emulator, NotHere, firmware};

/// A running board and the port that it is connected to.
pub struct Board {
    port: PathBuf,
    emulated: Option<Emulated>,
    /// One test at a time has the board: there is one port, or one machine fast enough to emulate.
    _turn: MutexGuard<'static, ()>,
}

impl Board {
    /// Connects to the board at `VARVE_HW_PORT`, or where that is not set starts the emulated one.
    ///
    /// # Errors
    /// Where there is neither: what is lacking on this machine.
    ///
    /// # Panics
    /// When the firmware does not build, or its emulator does not start.
    pub fn connect() -> Result<Self, NotHere> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(port) = env::var_os("VARVE_HW_PORT") {
            return Ok(Self { port: port.into(), emulated: None, _turn: turn });
        }
        Emulator::require()?;
        let emulated = Emulated::start(firmware::build()?);
        Ok(Self { port: emulated.port(), emulated: Some(emulated), _turn: turn })
    }

    /// The port that `varved` opens.
    pub fn port(&self) -> &Path {
        &self.port
    }

    /// Takes the board's power, and gives it back at once. The port goes and comes.
    ///
    /// # Errors
    /// Where the board is a real one: nobody is there to pull its plug.
    pub fn reset(&mut self) -> Result<(), NotHere> {
        let emulated = self.emulated.as_mut();
        let emulated = emulated.ok_or_else(|| NotHere::new("a real board is not reset from here"))?;
        emulated.reset();
        Ok(())
    }

    /// # Panics
    /// When the firmware has ended: it panicked, or ran into a fault.
    pub fn assert_alive(&mut self) {
        if let Some(end) = self.emulated.as_mut().and_then(|emulated| emulated.emulator.ended()) {
            panic!("{end}");
        }
    }
}

/// An emulated board, in the order in which its parts end.
struct Emulated {
    emulator: Emulator,
    _cable: Cable,
    firmware: PathBuf,
    directory: TempDir,
}

impl Emulated {
    fn start(firmware: PathBuf) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (emulator, cable) = switch_on(&firmware, directory.path());
        Self { emulator, _cable: cable, firmware, directory }
    }

    fn reset(&mut self) {
        self.emulator.stop();
        (self.emulator, self._cable) = switch_on(&self.firmware, self.directory.path());
    }

    /// A name that stays, whichever pseudo-terminal it stands for.
    fn port(&self) -> PathBuf {
        self.directory.path().join(PORT_NAME)
    }
}

fn switch_on(firmware: &Path, directory: &Path) -> (Emulator, Cable) {
    let (emulator, uart) = Emulator::start(firmware, directory).expect("the emulator starts");
    let cable = Cable::plug(uart).expect("a pseudo-terminal");
    let port = directory.join(PORT_NAME);
    // There is one after a reset.
    let _ = std::fs::remove_file(&port);
    symlink(cable.port(), &port).expect("a new name in a directory of our own");
    (emulator, cable)
}

const PORT_NAME: &str = "port";

static TURN: Mutex<()> = Mutex::new(());
