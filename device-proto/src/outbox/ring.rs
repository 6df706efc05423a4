//! The memory of an outbox: one open batch, and what is held behind it, in a ring of bytes.
//!
//! ```text
//! bytes   ……│ batch 3 │ open batch →        ……│ batch 1 │ batch 2 │……
//!                     head                     tail
//! held    batch 1 · gap · batch 2 · batch 3
//! ```
//!
//! A batch never wraps: where the end of the ring cuts it short it is sealed, and the next one begins at the front.
//!
//! **Invariant:** while the last thing held is not a growing gap, a slot for one is free. So a drop can always be
//! recorded.

use heapless::Deque;
use varve_core::{BatchWriter, Channel, DeviceSequence, Lane, TimeColumn, crc32c};

use super::held::{Held, What};
use crate::chain::Chain;
use crate::frame::BATCH_LEN_MAX;
use crate::message::{GapReason, HeldLane};

#[derive(Debug)]
pub(crate) struct Ring<const BYTES: usize, const SLOTS: usize> {
    bytes: [u8; BYTES],
    held: Deque<Held, SLOTS>,
    open: BatchWriter,
    /// Where the open batch begins, if it has an event.
    open_at: usize,
    /// Behind the last sealed batch.
    head: usize,
    /// The sequence that the next event will have.
    next: DeviceSequence,
    /// The chain at the oldest sequence held.
    chain: Chain,
}

impl<const BYTES: usize, const SLOTS: usize> Ring<BYTES, SLOTS> {
    /// The longest batch that it seals: no more than a third of the ring, so that one is filled while one is under way.
    pub(crate) const BATCH_LEN_MAX: usize = if BYTES / 3 < BATCH_LEN_MAX { BYTES / 3 } else { BATCH_LEN_MAX };

    pub(crate) const fn new(time: TimeColumn) -> Self {
        assert!(SLOTS >= SLOTS_MIN, "an outbox needs 4 slots");
        assert!(BYTES >= BYTES_MIN && BYTES <= u32::MAX as usize, "an outbox needs 192 bytes");
        Self {
            bytes: [0; BYTES],
            held: Deque::new(),
            open: BatchWriter::new(Lane(0), time),
            open_at: 0,
            head: 0,
            next: DeviceSequence(0),
            chain: Chain::START,
        }
    }

    /// Archives an event into the open batch, sealing it and opening another where it is full. `None`: no room.
    pub(crate) fn try_push(
        &mut self,
        channel: Channel,
        ticks: u64,
        archive: &mut impl FnMut(&mut [u8]) -> Option<usize>,
    ) -> Option<DeviceSequence> {
        let pushed = (!self.open.is_empty() && self.push_at(self.open_at, channel, ticks, archive))
            || self.push_into_new(channel, ticks, archive);
        pushed.then(|| self.advance())
    }

    fn push_into_new(
        &mut self,
        channel: Channel,
        ticks: u64,
        archive: &mut impl FnMut(&mut [u8]) -> Option<usize>,
    ) -> bool {
        self.seal();
        if SLOTS - self.held.len() < 2 {
            return false;
        }
        let wraps = self.tail().is_some_and(|tail| tail < self.head);
        self.push_at(self.head, channel, ticks, archive)
            || (wraps && self.push_at(0, channel, ticks, archive))
    }

    fn push_at(
        &mut self,
        at: usize,
        channel: Channel,
        ticks: u64,
        archive: &mut impl FnMut(&mut [u8]) -> Option<usize>,
    ) -> bool {
        let end = self.region_end(at);
        let pushed = self.open.try_push(&mut self.bytes[at..end], channel, ticks, archive).is_ok();
        if pushed {
            self.open_at = at;
        }
        pushed
    }

    /// Gives a sequence to an event that is lost, and lets the gap grow by it.
    pub(crate) fn skip(&mut self, lost: GapReason) -> DeviceSequence {
        self.seal();
        let full = self.held.is_full();
        match self.held.back_mut() {
            // Where no slot is left for a second gap, the first one's reason stands for both.
            Some(Held { count, what: What::Gap { reason, growing: true }, .. })
                if *reason == lost || full =>
            {
                *count += 1;
            }
            _ => {
                let gap =
                    Held { first: self.next, count: 1, what: What::Gap { reason: lost, growing: true } };
                let recorded = self.held.push_back(gap);
                debug_assert!(recorded.is_ok(), "a slot is kept for the gap");
            }
        }
        self.advance()
    }

    /// 2⁶⁴ events take longer than any device lives.
    fn advance(&mut self) -> DeviceSequence {
        let sequence = self.next;
        self.next = DeviceSequence(sequence.0 + 1);
        sequence
    }

    /// Seals the open batch, if it has an event.
    pub(crate) fn seal(&mut self) {
        let count = self.open.len() as u64;
        if count == 0 {
            return;
        }
        let end = self.region_end(self.open_at);
        let range = self.open.seal(&mut self.bytes[self.open_at..end]);
        let what =
            What::Batch { offset: (self.open_at + range.start) as u32, len: range.len() as u16, crc: None };
        self.head = self.open_at + range.end;
        let sealed = Held { first: DeviceSequence(self.next.0 - count), count, what };
        let kept = self.held.push_back(sealed);
        debug_assert!(kept.is_ok(), "an open batch has a slot");
    }

    /// Where the region of a batch that begins at `at` ends.
    fn region_end(&self, at: usize) -> usize {
        let free_end = self.tail().filter(|tail| *tail >= at).unwrap_or(BYTES);
        free_end.min(at + Self::BATCH_LEN_MAX)
    }

    /// Where the oldest sealed batch begins.
    fn tail(&self) -> Option<usize> {
        self.held.iter().find_map(|held| match held.what {
            What::Batch { offset, .. } => Some(offset as usize),
            What::Gap { .. } => None,
        })
    }

    pub(crate) fn span(&self) -> HeldLane {
        let open_first = DeviceSequence(self.next.0 - self.open.len() as u64);
        HeldLane { oldest: self.held.front().map_or(open_first, |held| held.first), next: self.next }
    }

    pub(crate) fn open_len(&self) -> usize {
        self.open.len()
    }

    /// Whether a batch may be sealed before it is full: many small ones would leave no slot for large ones.
    pub(crate) fn may_seal_early(&self) -> bool {
        self.held.len() < SLOTS / 2
    }

    /// What begins at `first`, for its transmission. A growing gap stops to grow; it stays back while no slot is left
    /// for the next one.
    pub(crate) fn take(&mut self, first: DeviceSequence) -> Option<Held> {
        let may_freeze = !self.held.is_full();
        let held = self.held.iter_mut().find(|held| held.first == first)?;
        if let What::Gap { growing, .. } = &mut held.what {
            *growing = *growing && !may_freeze;
            if *growing {
                return None;
            }
        }
        Some(*held)
    }

    /// What is held of `[from, to)`.
    pub(crate) fn between(&self, from: DeviceSequence, to: DeviceSequence) -> impl Iterator<Item = &Held> {
        self.held.iter().filter(move |held| held.first >= from && held.end() <= to)
    }

    /// Copies bytes of a batch from `offset` on.
    pub(crate) fn copy(&self, offset: usize, out: &mut [u8]) {
        out.copy_from_slice(&self.bytes[offset..offset + out.len()]);
    }

    /// Keeps the CRC of the batch that begins at `first`.
    pub(crate) fn set_crc(&mut self, first: DeviceSequence, batch_crc: u32) {
        if let Some(Held { what: What::Batch { crc, .. }, .. }) =
            self.held.iter_mut().find(|held| held.first == first)
        {
            *crc = Some(batch_crc);
        }
    }

    /// The boundary at or before `sequence`, and the chain there. Each batch whose CRC is not known yet, since it was
    /// never sent, is read for it.
    pub(crate) fn chain_at(&mut self, sequence: DeviceSequence) -> (DeviceSequence, Chain) {
        let mut first = self.span().oldest;
        let mut chain = self.chain;
        let Self { bytes, held, .. } = self;
        for held in held.iter_mut().take_while(|held| held.end() <= sequence) {
            chain = chain_after(bytes, held, chain);
            first = held.end();
        }
        (first, chain)
    }

    /// Whether `sequence` is where something held begins or the last thing sealed ends.
    pub(crate) fn is_boundary(&self, sequence: DeviceSequence) -> bool {
        sequence == self.span().oldest || self.held.iter().any(|held| held.end() == sequence)
    }

    /// Forgets all that ends at or before `durable`. `true` if there was any.
    pub(crate) fn release(&mut self, durable: DeviceSequence) -> bool {
        let before = self.held.len();
        while let Some(oldest) = self.held.front_mut().filter(|held| held.end() <= durable) {
            self.chain = chain_after(&self.bytes, oldest, self.chain);
            self.held.pop_front();
        }
        if self.tail().is_none() && self.open.is_empty() {
            self.head = 0;
        }
        before != self.held.len()
    }

    /// Numbers what is held from 0, in a new epoch.
    pub(crate) fn renumber(&mut self) {
        let oldest = self.span().oldest.0;
        for held in &mut self.held {
            held.first.0 -= oldest;
        }
        self.next.0 -= oldest;
        self.chain = Chain::START;
    }

    /// How many events are held, and how many bytes their batches take; the open batch counts as sealed now.
    pub(crate) fn fill(&self) -> (u64, usize) {
        let open = (self.open.len() as u64, self.open.sealed_len());
        self.held.iter().fold(open, |(events, bytes), held| match held.what {
            What::Batch { len, .. } => (events + held.count, bytes + usize::from(len)),
            What::Gap { .. } => (events, bytes),
        })
    }
}

/// The chain behind `held`, whose CRC is made up where it is not known.
fn chain_after(bytes: &[u8], held: &mut Held, chain: Chain) -> Chain {
    if let What::Batch { offset, len, crc: crc @ None } = &mut held.what {
        *crc = Some(crc32c(&bytes[*offset as usize..][..usize::from(*len)]));
    }
    held.chain_after(chain).unwrap_or(chain)
}

/// An open batch, a gap behind it, and one of each under way.
const SLOTS_MIN: usize = 4;
/// Room for three batches of one event of a few bytes.
const BYTES_MIN: usize = 192;
