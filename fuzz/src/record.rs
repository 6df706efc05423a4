//! A record of the tail, as it stands and under mended checksums.

use varve_core::fuzzing;

use crate::Verdict;

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    let _ = fuzzing::check_record(bytes);
    let mut sealed = bytes.to_vec();
    fuzzing::seal_record(&mut sealed);
    Verdict::of(&fuzzing::check_record(&sealed))
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    fuzzing::sample_records()
}
