//! LMDB's table of readers, of as many slots as it says, and of a few.

use varve_core::fuzzing;

use crate::Verdict;

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    let _ = fuzzing::check_reader_table(bytes, 2);
    if fuzzing::check_reader_table(bytes, u32::MAX).is_some() { Verdict::Accepted } else { Verdict::Refused }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    fuzzing::sample_reader_tables()
}
