//! `varved salvage`: a new store of all that is whole in a damaged one.

use std::process::ExitCode;

use varve_core::{OpenError, SalvageError};

use crate::cli::SalvageArgs;
use crate::failure::Failure;
use crate::stdout::Lines;
use crate::store_view::cannot_open;

/// Salvages a store, which no daemon may be writing, and prints what was saved and what was not. It stays as it is.
///
/// # Errors
/// There is no store, a daemon writes it, or the new directory holds something; or the new store, of which the report is
/// printed all the same, cannot be read to be verified.
pub(crate) fn salvage(args: &SalvageArgs) -> Result<ExitCode, Failure> {
    let (report, verified) = match varve_core::salvage(&args.store, &args.to) {
        Ok(report) => (report, Ok(ExitCode::SUCCESS)),
        Err(SalvageError::Unverified { report, error }) => (*report, Err(cannot_open(&args.to, &error))),
        Err(error) => return Err(failure(args, error)),
    };
    let mut lines = Lines::new();
    lines.write(report.to_string().trim_end().as_bytes())?;
    lines.flush()?;
    verified
}

/// Why nothing was salvaged, and what to do.
fn failure(args: &SalvageArgs, error: SalvageError) -> Failure {
    match error {
        SalvageError::Open(error @ OpenError::NotEmpty { .. }) => {
            Failure::new(error, "give a directory that is empty or not there")
        }
        SalvageError::Open(
            error @ (OpenError::Owned { .. } | OpenError::NotAStore { .. } | OpenError::OtherWordSize { .. }),
        ) => cannot_open(&args.store, &error),
        SalvageError::Open(error) => cannot_open(&args.to, &error),
        error => {
            Failure::new(format!("store {}: {error}", args.store.display()), "check the path and the disk")
        }
    }
}

#[cfg(test)]
mod tests {
    use varve_core::{StreamId, Varve};

    use super::*;

    #[test]
    fn a_store_is_salvaged_into_another_directory() {
        let dir = tempfile::tempdir().unwrap();
        let [store, to] = ["store", "new"].map(|name| dir.path().join(name));
        let args = SalvageArgs { store: store.clone(), to: to.clone() };
        let none = salvage(&args).unwrap_err();
        assert!(none.to_string().contains("nothing of a store"), "{none}");
        let mut varve = Varve::new(&store).unwrap();
        varve.stream::<u16, 2>("readings").unwrap().append(StreamId(7), &650).unwrap();
        let owned = salvage(&args).unwrap_err();
        assert!(owned.to_string().contains("owns this store"), "{owned}");
        drop(varve);
        salvage(&args).unwrap();
        assert_eq!(Varve::open_read_only(&to).unwrap().next_global_seq().unwrap().0, 1);
    }
}
