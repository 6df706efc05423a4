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
use varve_core::{BatchWriter, Channel, DeviceSequence, GapReason, Lane, TimeColumn, crc32c};

use super::held::{Held, What};
use crate::chain::Chain;
use crate::frame::BATCH_LEN_MAX;
use crate::message::HeldLane;

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
        if self.tail().is_none() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nonce::mix;

    extern crate std;
    use std::vec::Vec;

    use varve_core::Batch;

    type SmallRing = Ring<400, 6>;

    const CHANNEL: Channel = Channel(0);

    fn push<const B: usize, const S: usize>(ring: &mut Ring<B, S>, event: &[u8]) -> Option<DeviceSequence> {
        ring.try_push(CHANNEL, 0, &mut |room| {
            room.get_mut(..event.len())?.copy_from_slice(event);
            Some(event.len())
        })
    }

    fn held<const B: usize, const S: usize>(ring: &Ring<B, S>) -> Vec<Held> {
        ring.held.iter().copied().collect()
    }

    /// The events of a held batch.
    fn events<const B: usize, const S: usize>(ring: &Ring<B, S>, held: &Held) -> Vec<Vec<u8>> {
        let What::Batch { offset, len, .. } = held.what else {
            return Vec::new();
        };
        let mut bytes = std::vec![0; usize::from(len)];
        ring.copy(offset as usize, &mut bytes);
        Batch::new_checked(&bytes).unwrap().events().map(|event| event.bytes.to_vec()).collect()
    }

    /// Pushes until nothing fits.
    fn fill(ring: &mut SmallRing) -> u64 {
        let mut pushed = 0;
        while push(ring, &[7; 20]).is_some() {
            pushed += 1;
        }
        pushed
    }

    #[test]
    fn the_oldest_are_released_and_make_room() {
        let mut ring = SmallRing::new(TimeColumn::None);
        let full = fill(&mut ring);
        let oldest = held(&ring)[0];
        assert!(!ring.release(DeviceSequence(oldest.end().0 - 1)), "part of a batch is not released");
        assert!(ring.release(oldest.end()));
        assert_eq!(ring.span(), HeldLane { oldest: oldest.end(), next: DeviceSequence(full) });
        assert!(push(&mut ring, &[8; 20]).is_some());
    }

    #[test]
    fn a_drop_is_recorded_however_full_it_is() {
        let mut ring = SmallRing::new(TimeColumn::None);
        let full = fill(&mut ring);
        for lost in 0..100_000 {
            assert_eq!(ring.skip(GapReason::OutboxFull), DeviceSequence(full + lost));
        }
        let gap = *held(&ring).last().unwrap();
        assert_eq!((gap.first, gap.count), (DeviceSequence(full), 100_000));
    }

    #[test]
    fn a_gap_that_was_sent_does_not_grow() {
        let mut ring = SmallRing::new(TimeColumn::None);
        ring.skip(GapReason::OutboxFull);
        assert_eq!(ring.take(DeviceSequence(0)).unwrap().count, 1);
        ring.skip(GapReason::OutboxFull);
        assert_eq!(held(&ring).iter().map(|held| held.count).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn a_gap_in_the_last_slot_is_not_sent() {
        let mut ring = SmallRing::new(TimeColumn::None);
        for at in 0..5 {
            ring.skip(GapReason::OutboxFull);
            assert!(ring.take(DeviceSequence(at)).is_some());
        }
        ring.skip(GapReason::OutboxFull);
        assert_eq!(ring.take(DeviceSequence(5)), None);
        ring.skip(GapReason::Unarchivable);
        assert!(ring.release(DeviceSequence(1)));
        assert_eq!(ring.take(DeviceSequence(5)).unwrap().count, 2);
        assert_eq!(ring.skip(GapReason::OutboxFull), DeviceSequence(7));
    }

    #[test]
    fn gaps_of_two_reasons_are_two_while_there_is_room() {
        let mut ring = SmallRing::new(TimeColumn::None);
        ring.skip(GapReason::OutboxFull);
        ring.skip(GapReason::Unarchivable);
        assert_eq!(held(&ring).len(), 2);
    }

    #[test]
    fn the_chain_is_the_same_before_and_after_what_led_to_it_is_released() {
        let mut ring = SmallRing::new(TimeColumn::None);
        push(&mut ring, b"one");
        ring.skip(GapReason::OutboxFull);
        push(&mut ring, b"two");
        ring.seal();
        let end = ring.span().next;
        let batch_crc = |n: usize| {
            let What::Batch { offset, len, .. } = held(&ring)[n].what else { unreachable!() };
            crc32c(&ring.bytes[offset as usize..][..usize::from(len)])
        };
        let expected = Chain::START
            .after_batch(batch_crc(0))
            .after_gap(DeviceSequence(1), 1, GapReason::OutboxFull)
            .after_batch(batch_crc(2));
        assert_eq!(ring.chain_at(end), (end, expected));
        ring.release(DeviceSequence(2));
        assert_eq!(ring.chain_at(end), (end, expected));
        ring.release(end);
        assert_eq!(ring.chain_at(end), (end, expected));
    }

    #[test]
    fn a_sequence_inside_a_batch_is_no_boundary() {
        let mut ring = SmallRing::new(TimeColumn::None);
        push(&mut ring, b"one");
        push(&mut ring, b"two");
        ring.seal();
        assert_eq!([0, 1, 2].map(|at| ring.is_boundary(DeviceSequence(at))), [true, false, true]);
        assert_eq!(ring.chain_at(DeviceSequence(1)), (DeviceSequence(0), Chain::START));
    }

    #[test]
    fn renumbering_starts_at_0_with_what_is_held() {
        let mut ring = SmallRing::new(TimeColumn::None);
        let full = fill(&mut ring);
        let oldest = held(&ring)[0].end();
        ring.release(oldest);
        let before = held(&ring);
        ring.renumber();
        assert_eq!(
            ring.span(),
            HeldLane { oldest: DeviceSequence(0), next: DeviceSequence(full - oldest.0) }
        );
        assert_eq!(held(&ring)[1].first.0, before[1].first.0 - oldest.0);
        assert_eq!(ring.chain_at(DeviceSequence(0)), (DeviceSequence(0), Chain::START));
    }

    /// Random pushes, drops, seals and releases against a list.
    #[test]
    fn what_is_held_is_what_was_pushed() {
        let mut ring = SmallRing::new(TimeColumn::Delta);
        let mut expected: Vec<Option<Vec<u8>>> = Vec::new();
        let mut wrapped = 0;
        for step in 0..50_000u64 {
            let random = mix(step);
            match random % 8 {
                0 => ring.seal(),
                1 => {
                    let count = (random >> 8) % (held(&ring).len() as u64 + 1);
                    let durable = held(&ring).get(count as usize).map(|held| held.first);
                    ring.release(durable.unwrap_or_default());
                    let tail = ring.tail().unwrap_or(0);
                    wrapped += u64::from(ring.head < tail);
                }
                _ => {
                    let event = std::vec![random as u8; 1 + (random >> 16) as usize % 40];
                    let pushed = push(&mut ring, &event);
                    let sequence = pushed.unwrap_or_else(|| ring.skip(GapReason::OutboxFull));
                    assert_eq!(sequence.0, expected.len() as u64);
                    expected.push(pushed.map(|_| event));
                }
            }
            if step % 64 == 0 {
                check_held(&ring, &expected);
            }
        }
        assert!(wrapped > 100, "the ring wrapped {wrapped} times");
        assert!(expected.iter().filter(|event| event.is_none()).count() > 100);
    }

    fn check_held(ring: &SmallRing, expected: &[Option<Vec<u8>>]) {
        let mut next = ring.span().oldest;
        for held in held(ring) {
            assert_eq!(held.first, next);
            next = held.end();
            let expected = expected[held.first.0 as usize..held.end().0 as usize].iter();
            let events = events(ring, &held);
            assert_eq!(expected.flatten().cloned().collect::<Vec<_>>(), events);
        }
        assert_eq!(next.0 + ring.open_len() as u64, ring.span().next.0);
    }
}
