//! A store's file of keys, as it stands and under mended checksums.

use varve_core::fuzzing;

use crate::Verdict;

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    let _ = fuzzing::check_keys(bytes);
    let mut sealed = bytes.to_vec();
    fuzzing::seal_keys(&mut sealed);
    if fuzzing::check_keys(&sealed).is_some() { Verdict::Accepted } else { Verdict::Refused }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    fuzzing::sample_keys()
}
