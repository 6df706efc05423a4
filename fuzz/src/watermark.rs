//! What an owner publishes, as it stands and under a mended checksum.

use varve_core::fuzzing;

use crate::Verdict;

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    let _ = fuzzing::check_watermark(bytes);
    let mut sealed = bytes.to_vec();
    fuzzing::seal_watermark(&mut sealed);
    if fuzzing::check_watermark(&sealed).is_some() { Verdict::Accepted } else { Verdict::Refused }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    fuzzing::sample_watermarks()
}
