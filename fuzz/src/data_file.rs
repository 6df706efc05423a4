//! LMDB's data file, as it is read without LMDB.

use std::io::Write;

use varve_core::fuzzing;

use crate::Verdict;

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    let mut file = tempfile::tempfile().expect("there is room for temporary files");
    file.write_all(bytes).expect("there is room for temporary files");
    if fuzzing::check_data_file(file) { Verdict::Accepted } else { Verdict::Refused }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    fuzzing::sample_data_files()
}
