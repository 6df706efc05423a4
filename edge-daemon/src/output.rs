//! Bytes on their way out of a port.

/// Bytes that a link gave and a port has not taken yet.
#[derive(Debug)]
pub(crate) struct Output {
    bytes: [u8; OUTPUT_LEN],
    start: usize,
    end: usize,
}

/// What is polled from a link at once: a few of a host's frames, which are small.
const OUTPUT_LEN: usize = 1024;

impl Output {
    /// No bytes.
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; OUTPUT_LEN], start: 0, end: 0 }
    }

    /// The bytes that are still to go.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Once all have gone, asks `poll_transmit` for more; it returns how many it has put in the buffer.
    pub(crate) fn refill(&mut self, poll_transmit: impl FnOnce(&mut [u8]) -> usize) {
        if self.start == self.end {
            self.start = 0;
            self.end = poll_transmit(&mut self.bytes).min(OUTPUT_LEN);
        }
    }

    /// Tells that `len` of the pending bytes have gone.
    pub(crate) fn advance(&mut self, len: usize) {
        self.start = (self.start + len).min(self.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_in_order_and_are_asked_for_only_when_all_have_gone() {
        let mut output = Output::new();
        output.refill(|free| {
            free[..3].copy_from_slice(b"abc");
            3
        });
        output.advance(2);
        output.refill(|_| unreachable!("a byte is still pending"));
        assert_eq!(output.pending(), b"c");
        output.advance(1);
        output.refill(|_| 0);
        assert_eq!(output.pending(), b"");
    }
}
