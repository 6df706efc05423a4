//! The board under test: a real one, or the emulated one.

use std::{
    env,
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

/// The parts of an emulated board, in the order in which they end.
struct Emulated {
    emulator: Emulator,
    cable: Cable,
    _directory: TempDir,
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
        let firmware = firmware::build()?;
        let emulated = Emulated::start(&firmware);
        Ok(Self { port: emulated.cable.port().to_path_buf(), emulated: Some(emulated), _turn: turn })
    }

    /// The port that `varved` opens.
    pub fn port(&self) -> &Path {
        &self.port
    }

    /// # Panics
    /// When the firmware has ended: it panicked, or ran into a fault.
    pub fn assert_alive(&mut self) {
        if let Some(end) = self.emulated.as_mut().and_then(|emulated| emulated.emulator.ended()) {
            panic!("{end}");
        }
    }
}

impl Emulated {
    fn start(firmware: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (emulator, uart) = Emulator::start(firmware, directory.path()).expect("the emulator starts");
        let cable = Cable::plug(uart).expect("a pseudo-terminal");
        Self { emulator, cable, _directory: directory }
    }
}

static TURN: Mutex<()> = Mutex::new(());
