//! What the tail begins with, as it stands and under mended checksums.

use varve_core::fuzzing;

use crate::Verdict;

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    let _ = fuzzing::check_tail_head(bytes);
    let mut sealed = bytes.to_vec();
    fuzzing::seal_tail_head(&mut sealed);
    if fuzzing::check_tail_head(&sealed).is_some() { Verdict::Accepted } else { Verdict::Refused }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    fuzzing::sample_tail_heads()
}
