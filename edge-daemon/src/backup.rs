//! `varved backup` and `varved restore`: a store in one file, and a new store of it.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::process::ExitCode;

use varve_core::{BackupCounts, BackupError, OpenError, RestoreError};

use crate::cli::{BackupArgs, RestoreArgs};
use crate::failure::Failure;
use crate::stdout::Lines;
use crate::store_view::{cannot_open, cannot_read, open_read_only};

/// Backs a store up into a file, which is there whole or not at all, however this process ends. A daemon may be writing
/// the store.
///
/// # Errors
/// The store cannot be read, the file is there already, or it cannot be written.
pub(crate) fn backup(args: &BackupArgs) -> Result<ExitCode, Failure> {
    let unreadable = |error| cannot_read(&args.store, &error);
    let snapshot = open_read_only(&args.store, None)?.snapshot().map_err(unreadable)?;
    let counts = snapshot.back_up_to(&args.to).map_err(|error| match error {
        BackupError::Io(error) => unwritable(&args.to, &error),
        BackupError::Read(error) => unreadable(error),
        error => Failure::new(error, "try again"),
    })?;
    print(&counts)
}

/// Makes a new store of a backup.
///
/// # Errors
/// The backup is broken or cannot be read, or the directory holds something.
pub(crate) fn restore(args: &RestoreArgs) -> Result<ExitCode, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| {
        let what = format!("backup {} cannot be restored: {error}", args.from.display());
        Failure::new(what, "take another backup; nothing was made")
    };
    let file = File::open(&args.from).map_err(|error| unreadable(&error))?;
    let restored = varve_core::restore(BufReader::new(file), &args.store).map_err(|error| match error {
        RestoreError::Open(error @ OpenError::NotEmpty { .. }) => {
            Failure::new(error, "give a directory that is empty or not there")
        }
        RestoreError::Open(error) => cannot_open(&args.store, &error),
        error => unreadable(&error),
    })?;
    print(&restored.counts)
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let remedy = match error.kind() {
        io::ErrorKind::ResourceBusy => "wait for that one, or give another file",
        _ => "give another file, or room for it",
    };
    Failure::new(format!("backup {} cannot be written: {error}", path.display()), remedy)
}

fn print(counts: &BackupCounts) -> Result<ExitCode, Failure> {
    let BackupCounts { events, blocks, rows, .. } = counts;
    let mut lines = Lines::new();
    lines.write(format!(r#"{{"events":{events},"blocks":{blocks},"rows":{rows}}}"#).as_bytes())?;
    lines.flush()?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use varve_core::{StreamId, Varve};

    use super::*;

    #[test]
    fn a_store_is_backed_up_into_a_file_and_restored_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let [store, file, restored] = ["store", "backup", "restored"].map(|name| dir.path().join(name));
        let mut varve = Varve::new(&store).unwrap();
        varve.stream::<u16, 2>("readings").unwrap().append(StreamId(7), &650).unwrap();
        drop(varve);
        backup(&BackupArgs { store: store.clone(), to: file.clone() }).unwrap();
        let again = backup(&BackupArgs { store, to: file.clone() }).unwrap_err();
        assert!(again.to_string().ends_with("give another file, or room for it"), "{again}");
        let args = RestoreArgs { from: file.clone(), store: restored.clone() };
        restore(&args).unwrap();
        assert_eq!(Varve::open_read_only(&restored).unwrap().next_global_seq().unwrap().0, 1);
        let again = restore(&args).unwrap_err();
        assert!(again.to_string().ends_with("give a directory that is empty or not there"), "{again}");
        std::fs::write(&file, "something else").unwrap();
        let broken = restore(&RestoreArgs { from: file, store: dir.path().join("other") }).unwrap_err();
        assert!(broken.to_string().contains("broken at byte 0"), "{broken}");
    }
}
