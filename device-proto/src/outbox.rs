//! The outbox: where a device's events wait until the host has them for good.

mod channel;
mod held;
mod ring;

pub use channel::OutboxChannel;
pub use held::GAP_CREDIT;
pub(crate) use held::{Held, What};

use core::cell::RefCell;
use core::future::{Future, poll_fn};
use core::task::{Poll, Waker};

use embassy_sync::blocking_mutex::{Mutex, raw::RawMutex};
use embassy_sync::waitqueue::{MultiWakerRegistration, WakerRegistration};
use varve_core::{BoundedEvent, CHANNELS_MAX, Channel, DeviceSequence, GapReason, TimeColumn};

use crate::ChannelInfo;
use crate::chain::Chain;
use crate::message::HeldLane;
use ring::Ring;

/// A bounded queue of events in batches: tasks and interrupts push into it, a [`DeviceLink`](crate::DeviceLink) sends
/// from it, and what the host has made durable leaves it.
///
/// `RING` is its capacity in bytes; `SLOTS` is how many batches and gaps it holds at once: 16 suit a ring of 4 KiB.
/// Sequences are allotted at the attempt to push, so that an event for which there was no room leaves a gap that the
/// host records.
///
/// Each push archives the event inside one critical section of `M`. Reading for transmission takes it for 64 bytes at
/// a time.
///
/// A `static` outbox costs its size in flash too, since its first value is not all zeros; where that is too much, make
/// it when the program starts, in a `StaticCell` say.
///
/// ```
/// use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
/// use varve_core::{DeviceSequence, TimeColumn};
/// use varve_device_proto::{ChannelInfo, Outbox};
///
/// static CHANNELS: [ChannelInfo; 1] = [ChannelInfo::of::<u32>(0)];
/// static OUTBOX: Outbox<CriticalSectionRawMutex, 4096, 16> = Outbox::new(&CHANNELS, TimeColumn::Delta);
///
/// let counts = OUTBOX.channel::<u32>(0).unwrap();
/// assert_eq!(counts.try_push(1_000, &17), Ok(DeviceSequence(0)));
/// assert_eq!(OUTBOX.stats().held_events, 1);
/// ```
pub struct Outbox<M: RawMutex, const RING: usize, const SLOTS: usize> {
    channels: &'static [ChannelInfo],
    shared: Mutex<M, RefCell<Shared<RING, SLOTS>>>,
}

struct Shared<const RING: usize, const SLOTS: usize> {
    ring: Ring<RING, SLOTS>,
    offered: u64,
    dropped: u64,
    /// Something new is to be sent since the runner last looked.
    news: bool,
    runner: WakerRegistration,
    waiting: MultiWakerRegistration<PUSHERS_MAX>,
}

/// What an outbox has counted since it was made, and what it holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct OutboxStats {
    /// Events that were given a sequence, whether kept or dropped.
    pub offered: u64,
    /// Events of them for which there was no room. Each is in a gap.
    pub dropped: u64,
    /// Events held now, the open batch's included.
    pub held_events: u64,
    /// Bytes that their batches take now.
    pub held_bytes: usize,
}

/// An event was not kept. It has a sequence nonetheless, and is in a gap that the host will record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Dropped {
    /// The sequence that no event will have.
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    pub sequence: DeviceSequence,
    /// Why.
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    pub reason: GapReason,
}

/// Why an event was not archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    NoRoom,
    Unarchivable,
}

impl<M: RawMutex, const RING: usize, const SLOTS: usize> Outbox<M, RING, SLOTS> {
    /// The longest batch that this outbox seals.
    pub const BATCH_LEN_MAX: usize = Ring::<RING, SLOTS>::BATCH_LEN_MAX;

    /// An empty outbox of these channels; the batches tell the events' times in this way.
    ///
    /// # Panics
    ///
    /// At compile time in a `static`: where there is no channel or more than 16, or one whose name has no byte or more
    /// than 64 or begins with `varve.`, whose descriptor has more than 4,096, or whose lane is not 0.
    pub const fn new(channels: &'static [ChannelInfo], time: TimeColumn) -> Self {
        assert!(!channels.is_empty() && channels.len() <= CHANNELS_MAX, "a device has 1 to 16 channels");
        let mut index = 0;
        while index < channels.len() {
            channels[index].check();
            index += 1;
        }
        let shared = Shared {
            ring: Ring::new(time),
            offered: 0,
            dropped: 0,
            news: false,
            runner: WakerRegistration::new(),
            waiting: MultiWakerRegistration::new(),
        };
        Self { channels, shared: Mutex::new(RefCell::new(shared)) }
    }

    /// The channel table.
    pub const fn channels(&self) -> &'static [ChannelInfo] {
        self.channels
    }

    /// The channel of this index, or `None` where there is none, its table row is of another type than `T`, or the
    /// largest `T` does not fit a batch.
    pub fn channel<T: BoundedEvent>(&self, index: usize) -> Option<OutboxChannel<'_, T, M, RING, SLOTS>> {
        let info = self.channels.get(index)?;
        let fits = T::ARCHIVED_LEN_MAX + BATCH_OVERHEAD_MAX <= Self::BATCH_LEN_MAX;
        (info.descriptor_hash == T::DESCRIPTOR_HASH && fits)
            .then(|| OutboxChannel::new(self, Channel(index as u8)))
    }

    /// What it has counted and holds.
    pub fn stats(&self) -> OutboxStats {
        self.lock(|shared| {
            let (held_events, held_bytes) = shared.ring.fill();
            OutboxStats { offered: shared.offered, dropped: shared.dropped, held_events, held_bytes }
        })
    }

    /// Whether everything that was offered is settled: durable at the host, or in a gap that is. A device may then
    /// switch itself off and lose nothing.
    pub fn is_empty(&self) -> bool {
        let HeldLane { oldest, next } = self.span();
        oldest == next
    }

    /// Waits until something new is to be sent. One task waits: the one that runs the link.
    pub fn wait_for_news(&self) -> impl Future<Output = ()> + '_ {
        poll_fn(|context| {
            self.lock(|shared| {
                if core::mem::take(&mut shared.news) {
                    return Poll::Ready(());
                }
                shared.runner.register(context.waker());
                Poll::Pending
            })
        })
    }

    fn push(
        &self,
        channel: Channel,
        ticks: u64,
        archive: impl FnMut(&mut [u8]) -> Result<usize, Refused>,
    ) -> Result<DeviceSequence, Dropped> {
        self.lock(|shared| match shared.try_push(channel, ticks, archive) {
            Ok(sequence) => Ok(sequence),
            Err(Refused::NoRoom) => Err(shared.drop_event(GapReason::OutboxFull)),
            Err(Refused::Unarchivable) => Err(shared.drop_event(GapReason::Unarchivable)),
        })
    }

    /// As [`push`](Self::push), but `None` where there is no room, and then `waker` is called once there may be.
    fn push_or_register(
        &self,
        channel: Channel,
        ticks: u64,
        archive: impl FnMut(&mut [u8]) -> Result<usize, Refused>,
        waker: &Waker,
    ) -> Option<Result<DeviceSequence, Dropped>> {
        self.lock(|shared| match shared.try_push(channel, ticks, archive) {
            Ok(sequence) => Some(Ok(sequence)),
            Err(Refused::NoRoom) => {
                shared.waiting.register(waker);
                None
            }
            Err(Refused::Unarchivable) => Some(Err(shared.drop_event(GapReason::Unarchivable))),
        })
    }

    fn lock<R>(&self, work: impl FnOnce(&mut Shared<RING, SLOTS>) -> R) -> R {
        self.shared.lock(|shared| work(&mut shared.borrow_mut()))
    }
}

/// What a link asks of its outbox.
impl<M: RawMutex, const RING: usize, const SLOTS: usize> Outbox<M, RING, SLOTS> {
    pub(crate) fn span(&self) -> HeldLane {
        self.lock(|shared| shared.ring.span())
    }

    pub(crate) fn has_open_batch(&self) -> bool {
        self.lock(|shared| shared.ring.open_len() > 0 && shared.ring.may_seal_early())
    }

    pub(crate) fn seal(&self) {
        self.lock(|shared| shared.ring.seal());
    }

    pub(crate) fn take(&self, first: DeviceSequence) -> Option<Held> {
        self.lock(|shared| shared.ring.take(first))
    }

    /// The credit that `[from, to)` takes.
    pub(crate) fn credit_between(&self, from: DeviceSequence, to: DeviceSequence) -> u32 {
        self.lock(|shared| shared.ring.between(from, to).map(Held::credit).sum())
    }

    pub(crate) fn has_gap_between(&self, from: DeviceSequence, to: DeviceSequence) -> bool {
        self.lock(|shared| shared.ring.between(from, to).any(|held| matches!(held.what, What::Gap { .. })))
    }

    pub(crate) fn copy(&self, offset: usize, out: &mut [u8]) {
        self.lock(|shared| shared.ring.copy(offset, out));
    }

    pub(crate) fn set_crc(&self, first: DeviceSequence, crc: u32) {
        self.lock(|shared| shared.ring.set_crc(first, crc));
    }

    pub(crate) fn chain_at(&self, sequence: DeviceSequence) -> (DeviceSequence, Chain) {
        self.lock(|shared| shared.ring.chain_at(sequence))
    }

    pub(crate) fn is_boundary(&self, sequence: DeviceSequence) -> bool {
        self.lock(|shared| shared.ring.is_boundary(sequence))
    }

    pub(crate) fn release(&self, durable: DeviceSequence) {
        self.lock(|shared| {
            if shared.ring.release(durable) {
                shared.waiting.wake();
            }
        });
    }

    pub(crate) fn renumber(&self) {
        self.lock(|shared| shared.ring.renumber());
    }
}

impl<const RING: usize, const SLOTS: usize> Shared<RING, SLOTS> {
    fn try_push(
        &mut self,
        channel: Channel,
        ticks: u64,
        mut archive: impl FnMut(&mut [u8]) -> Result<usize, Refused>,
    ) -> Result<DeviceSequence, Refused> {
        let mut refused = Refused::NoRoom;
        let sealed_before = self.ring.open_len() == 0;
        let pushed =
            self.ring.try_push(channel, ticks, &mut |room| archive(room).map_err(|why| refused = why).ok());
        if pushed.is_some() {
            self.offered += 1;
        }
        if sealed_before || self.ring.open_len() <= 1 {
            self.tell_runner();
        }
        pushed.ok_or(refused)
    }

    fn drop_event(&mut self, reason: GapReason) -> Dropped {
        let sequence = self.ring.skip(reason);
        self.offered += 1;
        self.dropped += 1;
        self.tell_runner();
        Dropped { sequence, reason }
    }

    fn tell_runner(&mut self) {
        self.news = true;
        self.runner.wake();
    }
}

impl core::fmt::Display for Dropped {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.reason {
            GapReason::OutboxFull => write!(f, "the outbox is full: event {} is lost", self.sequence),
            _ => write!(f, "event {} cannot be archived", self.sequence),
        }
    }
}

impl core::error::Error for Dropped {}

/// How many tasks may wait for room at once before they begin to wake each other.
pub const PUSHERS_MAX: usize = 4;

/// What a batch of one event has besides it at most: header, lengths, channel run, ticks.
const BATCH_OVERHEAD_MAX: usize = 5 + 2 + 2 + varve_core::VARINT_LEN_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use core::pin::pin;
    use core::task::Context;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use embassy_sync::blocking_mutex::raw::NoopRawMutex;

    type SmallOutbox = Outbox<NoopRawMutex, 512, 8>;

    static CHANNELS: [ChannelInfo; 2] = [ChannelInfo::of::<u32>(0), ChannelInfo::of::<[u8; 200]>(0)];

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn outbox() -> SmallOutbox {
        Outbox::new(&CHANNELS, TimeColumn::Delta)
    }

    fn fill(outbox: &SmallOutbox) -> Dropped {
        let channel = outbox.channel::<u32>(0).unwrap();
        loop {
            if let Err(dropped) = channel.try_push(0, &7) {
                return dropped;
            }
        }
    }

    #[test]
    fn a_channel_takes_only_its_own_type_and_only_what_fits_a_batch() {
        let outbox = outbox();
        assert!(outbox.channel::<u32>(0).is_some());
        assert!(outbox.channel::<i32>(0).is_none());
        assert!(outbox.channel::<u32>(1).is_none());
        assert!(outbox.channel::<[u8; 200]>(1).is_none(), "a batch here has 170 bytes");
        assert!(outbox.channel::<u32>(2).is_none());
    }

    #[test]
    fn what_was_offered_is_held_or_dropped() {
        let outbox = outbox();
        let dropped = fill(&outbox);
        let stats = outbox.stats();
        assert_eq!(dropped.reason, GapReason::OutboxFull);
        assert_eq!((stats.offered, stats.dropped), (dropped.sequence.0 + 1, 1));
        assert_eq!(stats.held_events, dropped.sequence.0);
        assert!(stats.held_bytes > 300);
    }

    #[test]
    fn a_push_waits_for_room_and_allots_nothing_before() {
        let outbox = outbox();
        let dropped = fill(&outbox);
        let channel = outbox.channel::<u32>(0).unwrap();
        let wakes = Arc::new(Wakes::default());
        let waker = wakes.clone().into();
        let mut context = Context::from_waker(&waker);
        let mut push = pin!(channel.push(0, &8));
        assert!(push.as_mut().poll(&mut context).is_pending());
        assert_eq!(outbox.stats().offered, dropped.sequence.0 + 1);
        outbox.release(dropped.sequence);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        let pushed = push.as_mut().poll(&mut context);
        assert_eq!(pushed, Poll::Ready(Ok(DeviceSequence(dropped.sequence.0 + 1))));
    }

    #[test]
    fn the_runner_hears_of_the_first_event_and_of_a_full_batch() {
        let outbox = outbox();
        let channel = outbox.channel::<u32>(0).unwrap();
        let wakes = Arc::new(Wakes::default());
        let waker = wakes.clone().into();
        let mut context = Context::from_waker(&waker);
        let mut poll = || pin!(outbox.wait_for_news()).poll(&mut context).is_ready();
        assert!(!poll());
        channel.try_push(0, &1).unwrap();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert!(poll() && !poll());
        channel.try_push(0, &2).unwrap();
        assert!(!poll(), "a second event of the same batch is no news");
        while outbox.lock(|shared| shared.ring.open_len()) > 1 {
            assert!(!poll());
            channel.try_push(0, &3).unwrap();
        }
        assert!(poll());
    }

    #[test]
    fn an_outbox_is_empty_when_all_is_settled() {
        let outbox = outbox();
        assert!(outbox.is_empty());
        let dropped = fill(&outbox);
        outbox.release(dropped.sequence);
        assert!(!outbox.is_empty(), "the gap is not settled");
        outbox.release(DeviceSequence(dropped.sequence.0 + 1));
        assert!(outbox.is_empty());
    }
}
