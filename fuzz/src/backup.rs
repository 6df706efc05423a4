//! A backup, as it stands and under mended checksums.

use varve_core::fuzzing;

use crate::Verdict;

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    let _ = fuzzing::check_backup(bytes);
    let mut sealed = bytes.to_vec();
    fuzzing::seal_backup(&mut sealed);
    Verdict::of(&fuzzing::check_backup(&sealed))
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    fuzzing::sample_backups()
}
