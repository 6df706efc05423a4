//! How a host gets the descriptors that it does not know.

use heapless::Deque;
use varve_core::descriptor::DESCRIPTOR_LEN_MAX;
use varve_core::{CHANNELS_MAX, DescriptorHash};

use crate::message::{DescriptorPiece, Fetch};
use crate::timing::{Repetition, TRIES_MAX};

/// The descriptors that are wanted, one of which is being put together.
#[derive(Debug)]
pub(super) struct Fetches {
    wanted: Deque<DescriptorHash, CHANNELS_MAX>,
    bytes: [u8; DESCRIPTOR_LEN_MAX],
    len: usize,
    pub(super) repetition: Repetition,
}

/// What a piece brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PieceOutcome {
    /// It is not the one that was asked for.
    Ignored,
    /// More are to come.
    Kept,
    /// It was the last, and the descriptor has its hash.
    Complete(DescriptorHash, usize),
    /// The device has no such descriptor, or it is not that of its hash, or it is too long.
    Failed,
}

impl Fetches {
    pub(super) const fn new() -> Self {
        Self {
            wanted: Deque::new(),
            bytes: [0; DESCRIPTOR_LEN_MAX],
            len: 0,
            repetition: Repetition::stopped(),
        }
    }

    /// Wants another descriptor; `false` where 16 are wanted already.
    pub(super) fn want(&mut self, hash: DescriptorHash) -> bool {
        if self.wanted.iter().any(|wanted| *wanted == hash) {
            return true;
        }
        if self.wanted.is_empty() {
            self.repetition = Repetition::starting(0);
        }
        self.wanted.push_back(hash).is_ok()
    }

    pub(super) fn clear(&mut self) {
        self.wanted.clear();
        self.len = 0;
        self.repetition = Repetition::stopped();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// The piece to ask for next.
    pub(super) fn next(&self) -> Option<Fetch> {
        self.wanted.front().map(|hash| Fetch { hash: hash.0, offset: self.len as u16 })
    }

    pub(super) fn has_failed(&self, now: u64) -> bool {
        self.repetition.tries() >= TRIES_MAX && self.repetition.is_due(now)
    }

    pub(super) fn handle_piece(&mut self, piece: &DescriptorPiece<'_>) -> PieceOutcome {
        let asked = self.next();
        if asked != Some(Fetch { hash: piece.hash, offset: piece.offset }) {
            return PieceOutcome::Ignored;
        }
        let end = self.len + piece.bytes.len();
        let total = usize::from(piece.total);
        if piece.bytes.is_empty() || end > total || total > DESCRIPTOR_LEN_MAX {
            return PieceOutcome::Failed;
        }
        self.bytes[self.len..end].copy_from_slice(piece.bytes);
        self.len = end;
        self.repetition = Repetition::starting(0);
        if end == total { self.complete() } else { PieceOutcome::Kept }
    }

    fn complete(&mut self) -> PieceOutcome {
        let len = core::mem::take(&mut self.len);
        let hash = DescriptorHash::of(&self.bytes[..len]);
        if self.wanted.pop_front() != Some(hash) {
            return PieceOutcome::Failed;
        }
        if self.wanted.is_empty() {
            self.repetition = Repetition::stopped();
        }
        PieceOutcome::Complete(hash, len)
    }

    /// The descriptor that was announced as complete, until the next piece.
    pub(super) fn descriptor(&self, len: usize) -> &[u8] {
        &self.bytes[..len.min(DESCRIPTOR_LEN_MAX)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece<'a>(hash: DescriptorHash, offset: u16, total: u16, bytes: &'a [u8]) -> DescriptorPiece<'a> {
        DescriptorPiece { hash: hash.0, offset, total, bytes }
    }

    #[test]
    fn a_descriptor_is_put_together_piece_by_piece() {
        let hash = DescriptorHash::of(b"abcdef");
        let mut fetches = Fetches::new();
        assert!(fetches.want(hash) && fetches.want(hash));
        assert_eq!(fetches.handle_piece(&piece(hash, 0, 6, b"abcd")), PieceOutcome::Kept);
        assert_eq!(fetches.next(), Some(Fetch { hash: hash.0, offset: 4 }));
        assert_eq!(fetches.handle_piece(&piece(hash, 0, 6, b"abcd")), PieceOutcome::Ignored);
        assert_eq!(fetches.handle_piece(&piece(hash, 4, 6, b"ef")), PieceOutcome::Complete(hash, 6));
        assert_eq!(fetches.descriptor(6), b"abcdef");
        assert!(fetches.is_empty() && fetches.repetition.due().is_none());
    }

    #[test]
    fn a_descriptor_that_is_not_that_of_its_hash_fails() {
        let hash = DescriptorHash::of(b"abcdef");
        let check = |offset, total, bytes: &[u8]| {
            let mut fetches = Fetches::new();
            fetches.want(hash);
            assert_eq!(fetches.handle_piece(&piece(hash, offset, total, bytes)), PieceOutcome::Failed);
        };
        check(0, 6, b"abcdeg");
        check(0, 0, b"");
        check(0, 2, b"abc");
        check(0, DESCRIPTOR_LEN_MAX as u16 + 1, b"abc");
    }

    #[test]
    fn no_more_are_wanted_than_a_device_has_channels() {
        let mut fetches = Fetches::new();
        let taken = (0..17u8).filter(|n| fetches.want(DescriptorHash([*n; 8]))).count();
        assert_eq!(taken, CHANNELS_MAX);
    }
}
