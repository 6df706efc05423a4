//! What a store must hold: the log as a list, and what every device and consumer has come to.

use std::collections::{BTreeMap, HashMap};

use varve_core::{DeviceId, Event, GapEvent, GapReason, Lane, RefusedReason, StreamId};

use super::operation::BatchPlace;
use crate::archived;

/// The log as a list, and all that stands beside it.
#[derive(Clone, Default)]
pub(super) struct Oracle {
    pub(super) log: Vec<Entry>,
    /// The first event that is not retired.
    pub(super) first: u64,
    /// By device, epoch and lane.
    pub(super) lanes: BTreeMap<(u64, u32, u8), Account>,
    /// The latest epoch of each device.
    pub(super) epochs: BTreeMap<u64, u32>,
    pub(super) consumers: HashMap<&'static str, u64>,
    /// How many events each stream has.
    versions: HashMap<Stream, u64>,
    /// How many events of each stream were shredded, if any were.
    shredded: HashMap<Stream, u64>,
}

/// A stream's name and id.
pub(super) type Stream = (&'static str, u64);

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) id: u64,
    /// Its place in the stream.
    pub(super) seq: u64,
    pub(super) bytes: Vec<u8>,
    /// The device, its epoch and lane, and its sequence there.
    pub(super) origin: Option<(u64, u32, u8, u64)>,
}

/// A lane of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Account {
    pub(super) next: u64,
    pub(super) lost: u64,
    pub(super) heard: u64,
    pub(super) chain: u32,
    pub(super) closed: bool,
}

/// The events of each stream, the retired ones too.
pub(super) type Streams<'a> = BTreeMap<Stream, StreamEvents<'a>>;

/// The events of a stream.
#[derive(Default)]
pub(super) struct StreamEvents<'a> {
    /// `None` where an event was shredded.
    pub(super) events: Vec<Option<&'a [u8]>>,
    /// How many of them are retired.
    pub(super) first: usize,
}

impl Oracle {
    /// The place of the next event.
    pub(super) fn next(&self) -> u64 {
        self.log.len() as u64
    }

    /// The events that are not retired.
    pub(super) fn kept(&self) -> &[Entry] {
        &self.log[self.first as usize..]
    }

    /// The events by their streams.
    pub(super) fn streams(&self) -> Streams<'_> {
        let mut streams = Streams::new();
        for (global, entry) in (0..).zip(&self.log) {
            let stream = streams.entry((entry.name, entry.id)).or_default();
            stream.events.push((!self.is_shredded(entry)).then_some(&entry.bytes));
            stream.first += usize::from(global < self.first);
        }
        streams
    }

    /// How many events a stream has.
    pub(super) fn version(&self, name: &str, id: u64) -> u64 {
        self.versions.get(&(name, id)).copied().unwrap_or(0)
    }

    /// Whether an event was shredded.
    pub(super) fn is_shredded(&self, entry: &Entry) -> bool {
        self.shredded.get(&(entry.name, entry.id)).is_some_and(|&end| entry.seq < end)
    }

    /// What an event shows of itself.
    pub(super) fn slot<'e>(&self, entry: &'e Entry) -> Option<(&'e str, u64, &'e [u8])> {
        (!self.is_shredded(entry)).then_some((entry.name, entry.id, &entry.bytes))
    }

    /// Shreds what a stream holds.
    #[cfg(feature = "encryption")]
    pub(super) fn shred(&mut self, stream: Stream) {
        self.shredded.insert(stream, self.version(stream.0, stream.1));
    }

    /// The log as it was when a backup was taken. What was shredded since is gone there too.
    pub(super) fn restored_from(&self, backed_up: &Self) -> Self {
        Self { shredded: self.shredded.clone(), ..backed_up.clone() }
    }

    pub(super) fn push_local(&mut self, name: &'static str, id: u64, bytes: Vec<u8>) {
        self.push((name, id), bytes, None);
    }

    fn push(&mut self, stream: Stream, bytes: Vec<u8>, origin: Option<(u64, u32, u8, u64)>) {
        let version = self.versions.entry(stream).or_default();
        let (name, id) = stream;
        let seq = std::mem::replace(version, *version + 1);
        // Where a longer log was shredded, this event is none of it.
        self.shredded.entry(stream).and_modify(|end| *end = seq.min(*end));
        self.log.push(Entry { name, id, seq, bytes, origin });
    }

    /// Where a batch of `len` events begins that has this place.
    pub(super) fn first_of_batch(&self, lane: (u64, u32, u8), len: u64, place: BatchPlace) -> u64 {
        let next = self.lanes.get(&lane).map_or(0, |account| account.next);
        match place {
            BatchPlace::Next => next,
            BatchPlace::Again => next.checked_sub(len).unwrap_or(next),
            BatchPlace::Ahead => next + 7,
        }
    }

    /// Takes a batch of channels' streams and bytes, as the store must; what comes again changes nothing.
    pub(super) fn push_batch(
        &mut self,
        lane: (u64, u32, u8),
        first: u64,
        chain: u32,
        events: &[(&'static str, Vec<u8>)],
    ) -> Option<RefusedReason> {
        let len = events.len() as u64;
        if let Some(refused) = self.refuses(lane, first, len) {
            return refused;
        }
        self.pass(lane, len, chain);
        let (device, epoch, number) = lane;
        let id = StreamId::of_device(DeviceId(device), number).0;
        for (seq, (name, bytes)) in (first..).zip(events) {
            let origin = Some((device, epoch, number, seq));
            self.push((name, id), bytes.clone(), origin);
        }
        None
    }

    /// Takes a gap where the lane's next event belongs.
    pub(super) fn push_gap(
        &mut self,
        lane: (u64, u32, u8),
        len: u64,
        chain: u32,
        reason: GapReason,
    ) -> Option<RefusedReason> {
        let first = self.lanes.get(&lane).map_or(0, |account| account.next);
        if let Some(refused) = self.refuses(lane, first, len) {
            return refused;
        }
        self.pass(lane, len, chain);
        self.lanes.entry(lane).or_default().lost += len;
        self.push_gap_event(lane, first, len, reason, false);
        None
    }

    /// Ends the latest epoch of a device that told of `unheard` events more in its first lane.
    pub(super) fn close_epoch(&mut self, device: u64, unheard: u64) {
        let epoch = self.epochs[&device];
        let heard = self.heard_with(device, unheard);
        let first_lane = self.lanes.entry((device, epoch, 0)).or_default();
        if !first_lane.closed {
            first_lane.heard = first_lane.heard.max(heard);
        }
        let open: Vec<_> = self.lanes.range((device, epoch, 0)..=(device, epoch, 3)).collect();
        let open: Vec<_> =
            open.into_iter().filter(|lane| !lane.1.closed).map(|lane| (*lane.0, *lane.1)).collect();
        for (lane, Account { next, heard, lost, chain, .. }) in open {
            let len = heard.saturating_sub(next);
            let account = Account { next: next + len, lost: lost + len, heard, chain, closed: true };
            self.lanes.insert(lane, account);
            self.push_gap_event(lane, next, len, GapReason::DeviceReset, true);
        }
    }

    /// The sequence after the last event that a device told of, where it tells of `unheard` more.
    pub(super) fn heard_with(&self, device: u64, unheard: u64) -> u64 {
        let lane = (device, self.epochs[&device], 0);
        self.lanes.get(&lane).map_or(0, |account| account.next) + unheard
    }

    /// Whether a lane takes nothing at `first`: with a reason, or since it has it already. Either way it is known from
    /// then on.
    fn refuses(&mut self, lane: (u64, u32, u8), first: u64, len: u64) -> Option<Option<RefusedReason>> {
        let account = *self.lanes.entry(lane).or_default();
        if account.next >= first + len {
            return Some(None);
        }
        if account.next != first {
            let reason = if first > account.next { RefusedReason::Ahead } else { RefusedReason::Straddles };
            return Some(Some(reason));
        }
        account.closed.then_some(Some(RefusedReason::EpochNotOpen))
    }

    fn pass(&mut self, lane: (u64, u32, u8), len: u64, chain: u32) {
        let account = self.lanes.entry(lane).or_default();
        account.next += len;
        account.heard = account.heard.max(account.next);
        account.chain = chain;
    }

    fn push_gap_event(
        &mut self,
        lane: (u64, u32, u8),
        first: u64,
        len: u64,
        reason: GapReason,
        end_unknown: bool,
    ) {
        let (device, epoch, lane) = lane;
        let event = GapEvent { device, epoch, lane, reason, end_unknown, first, len };
        let id = GapEvent::stream_id(DeviceId(device), Lane(lane)).0;
        self.push_local(GapEvent::STREAM, id, archived(&event));
    }
}
