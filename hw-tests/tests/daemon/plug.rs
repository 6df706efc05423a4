//! Plugging devices in and out of one port.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// A port's path that leads to one device after another.
pub(crate) struct Plug {
    path: PathBuf,
}

impl Plug {
    pub(crate) fn new(directory: &Path) -> Self {
        Self::named("port", directory)
    }

    pub(crate) fn named(name: &str, directory: &Path) -> Self {
        Self { path: directory.join(name) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leads nowhere. Whoever waits for the port must not find another device there: the system gives the number of a
    /// pseudo-terminal that is gone to the next one.
    pub(crate) fn pull(&mut self) {
        fs::remove_file(&self.path).unwrap();
    }

    pub(crate) fn put(&mut self, port: &Path) {
        let next = self.path.with_extension("next");
        symlink(port, &next).unwrap();
        fs::rename(next, &self.path).unwrap();
    }
}
