//! The firmware that the emulator runs, built by cargo from `boards/`.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{NotHere, artifact};

/// Builds the emulated board's firmware and returns the path of its ELF file.
///
/// The compiler is the one of the directory in `VARVE_FIRMWARE_TOOLCHAIN`, or else the one that `cargo` finds.
///
/// # Errors
/// Where that compiler has no library for the board's target.
///
/// # Panics
/// When the firmware does not compile.
pub(crate) fn build() -> Result<PathBuf, NotHere> {
    let toolchain = Toolchain::from_environment();
    toolchain.require(TARGET)?;
    let mut cargo = toolchain.command("cargo");
    cargo.args(["build", "--locked", "--release"]).current_dir(board_directory());
    Ok(artifact::build(&mut cargo))
}

/// Where the compiler for firmware is.
struct Toolchain {
    directory: Option<PathBuf>,
}

impl Toolchain {
    fn from_environment() -> Self {
        Self { directory: env::var_os("VARVE_FIRMWARE_TOOLCHAIN").map(PathBuf::from) }
    }

    fn require(&self, target: &str) -> Result<(), NotHere> {
        let library = self
            .command("rustc")
            .args(["--print", "target-libdir", "--target", target])
            .output()
            .ok()
            .filter(|output| output.status.success())
            .map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        if library.is_some_and(|library| library.is_dir()) {
            return Ok(());
        }
        Err(NotHere::new(format!(
            "rustc has no library for {target}; `rustup target add {target}` installs it"
        )))
    }

    /// A program of the toolchain, free of what the cargo that runs this test says about its own build: the
    /// board's configuration names the target and the flags.
    fn command(&self, program: &str) -> Command {
        let mut command = match &self.directory {
            Some(directory) => Command::new(directory.join("bin").join(program)),
            None => Command::new(program),
        };
        if let Some(directory) = &self.directory {
            command.env("PATH", path_starting_with(&directory.join("bin")));
        }
        for name in OUTER_BUILD_VARIABLES {
            command.env_remove(name);
        }
        command
    }
}

fn path_starting_with(directory: &Path) -> OsString {
    let inherited = env::var_os("PATH").unwrap_or_default();
    let directories = std::iter::once(directory.to_path_buf()).chain(env::split_paths(&inherited));
    env::join_paths(directories).expect("no directory of PATH has a colon in its name")
}

fn board_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../boards/lm3s6965evb")
}

const TARGET: &str = "thumbv7m-none-eabi";

const OUTER_BUILD_VARIABLES: [&str; 7] = [
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "LD_LIBRARY_PATH",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
];
