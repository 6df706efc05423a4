//! The judge: holds what a log tells against what really happened.
//!
//! Within one lane of an epoch the log's entries, in global order, must meet end to end from sequence 0 to the cursor:
//! each event once, byte for byte as it was emitted, and each absence with a reason that is true. What follows from
//! that: order, exactly once, and events stored + events in gaps = the highest sequence heard of.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use varve_core::{DeviceId, DeviceSequence, GlobalSequence, Lane, Origin, StreamId, StreamSequence};
use varve_device_proto::Refusal;

use super::account::{Absence, Account, Content, Cursor, Entry, Gap};
use super::emission::Emission;
use super::truth::{EpochKey, LifeId, Tenure, Truth};

/// A law that a log broke.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// The global order has a hole.
    GlobalHole {
        /// The place that should come next.
        expected: GlobalSequence,
        /// The place that came.
        found: GlobalSequence,
    },
    /// The order of a stream has a hole.
    StreamHole {
        /// Where it shows.
        global: GlobalSequence,
        /// The place in the stream that should come next.
        expected: StreamSequence,
        /// The place that came.
        found: StreamSequence,
    },
    /// An event that nobody emitted, or with other bytes.
    Forged {
        /// Where it stands.
        global: GlobalSequence,
    },
    /// An event of a life that did not hold the epoch that it stands in, or that has another sequence there.
    Foreign {
        /// Where it stands.
        global: GlobalSequence,
        /// Whose it is.
        life: LifeId,
    },
    /// An event or a gap that the log held already.
    Doubled {
        /// In which lane of which epoch.
        place: Place,
        /// Where the log should have gone on.
        next: u64,
        /// Where the entry begins.
        found: u64,
    },
    /// Events are missing without a gap.
    Lost {
        /// In which lane of which epoch.
        place: Place,
        /// The first of them.
        next: u64,
        /// The first that is there again.
        found: u64,
    },
    /// A gap whose reason is not true.
    FalseGap {
        /// In which lane of which epoch.
        place: Place,
        /// What the log says.
        gap: Gap,
    },
    /// The device gave up events as durable that the log does not hold.
    DurableLost {
        /// Whose.
        life: LifeId,
        /// How far the log goes.
        next: u64,
        /// How far the device was told that it goes.
        durable: u64,
    },
    /// The cursor does not tell what the entries tell.
    CursorOff {
        /// What the log says.
        cursor: Cursor,
        /// Where the entries end.
        next: u64,
        /// How many of them are in gaps.
        gap_total: u64,
    },
    /// A host refused a device that is what it says.
    Refused {
        /// Which life of it.
        life: LifeId,
        /// Why.
        refusal: Refusal,
    },
    /// A timer asked for the same moment again and again.
    Spinning,
    /// A later epoch of the device has begun, and this one has no end.
    NeverEnded {
        /// The lane of the epoch.
        place: Place,
    },
    /// After the faults had ended the log did not come to hold what the device still had.
    NotCaughtUp {
        /// Whose.
        life: LifeId,
        /// How far the log goes.
        next: u64,
        /// How many events the life offered.
        offered: u64,
    },
}

/// One lane of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The epoch.
    pub epoch: EpochKey,
    /// The lane.
    pub lane: Lane,
}

/// What the log holds of one lane of an epoch, while it is read.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    life: Option<LifeId>,
    next: u64,
    gap_total: u64,
    is_behind_gap: bool,
}

/// Judges the whole of a log. `incarnation` names its store.
///
/// # Errors
///
/// The first law that it broke.
pub(super) fn judge(account: &Account, incarnation: u64, truth: &Truth) -> Result<Verdict, Violation> {
    let mut hearing = Hearing {
        incarnation,
        truth,
        streams: BTreeMap::new(),
        lanes: BTreeMap::new(),
        verdict: Verdict::default(),
    };
    for (index, entry) in account.entries.iter().enumerate() {
        hearing.take_in(index as u64, entry)?;
    }
    hearing.compare_cursors(&account.cursors)?;
    hearing.hold_host_to_its_word()?;
    Ok(hearing.verdict)
}

/// Judges that the log holds everything that a living device ever offered. `tenure`: the epoch that it is in.
///
/// # Errors
///
/// [`Violation::NotCaughtUp`].
pub(super) fn judge_caught_up(
    account: &Account,
    life: LifeId,
    tenure: Option<(EpochKey, Tenure)>,
    truth: &Truth,
) -> Result<(), Violation> {
    let offered = truth.life(life).map_or(0, |life| life.offered);
    let next = tenure.map_or(0, |(epoch, tenure)| {
        let place = Place { epoch, lane: Lane(0) };
        let cursor = account.cursors.iter().find(|cursor| place_of(epoch.incarnation, cursor) == place);
        tenure.base + cursor.map_or(0, |cursor| cursor.next.0)
    });
    if next == offered { Ok(()) } else { Err(Violation::NotCaughtUp { life, next, offered }) }
}

/// What a log that broke no law holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Events of devices.
    pub stored: u64,
    /// Events in gaps.
    pub gap_events: u64,
    /// The longest gap.
    pub gap_len_max: u64,
    /// Events whose sequence has other bits above the low 16 than the event before.
    pub wraps: u64,
    /// Why events are absent, each reason once.
    pub absences: BTreeSet<Absence>,
    /// How far the log goes with each life, as an ordinal.
    pub reached: BTreeMap<LifeId, u64>,
}

struct Hearing<'a> {
    incarnation: u64,
    truth: &'a Truth,
    /// The next place of each stream.
    streams: BTreeMap<(&'a str, StreamId), StreamSequence>,
    lanes: BTreeMap<Place, Progress>,
    verdict: Verdict,
}

impl<'a> Hearing<'a> {
    fn take_in(&mut self, expected: u64, entry: &'a Entry) -> Result<(), Violation> {
        if entry.global.0 != expected {
            let expected = GlobalSequence(expected);
            return Err(Violation::GlobalHole { expected, found: entry.global });
        }
        let stream_next = self.streams.entry(entry.content.stream()).or_default();
        if entry.stream_seq != *stream_next {
            let Entry { global, stream_seq: found, .. } = *entry;
            return Err(Violation::StreamHole { global, expected: *stream_next, found });
        }
        stream_next.0 += 1;
        match &entry.content {
            Content::Event { stream, id, origin, bytes } => {
                let [instance, ..] = id.0.to_le_bytes();
                let emission = Emission::recognise(stream, instance, bytes);
                let emission = emission.filter(|emission| {
                    *id == StreamId::of_device(origin.device, instance)
                        && self.was_kept(emission, origin.device)
                });
                let emission = emission.ok_or(Violation::Forged { global: entry.global })?;
                self.take_in_event(entry.global, origin, &emission)
            }
            Content::Gap(gap) => self.take_in_gap(gap),
        }
    }

    /// Whether a life of that device kept the event.
    fn was_kept(&self, emission: &Emission, device: DeviceId) -> bool {
        self.truth.life(emission.life).is_some_and(|life| {
            let ordinal = emission.ordinal;
            life.device == device && ordinal < life.offered && !life.dropped.covers(&(ordinal..ordinal + 1))
        })
    }

    fn take_in_event(
        &mut self,
        global: GlobalSequence,
        origin: &Origin,
        emission: &Emission,
    ) -> Result<(), Violation> {
        let Origin { device, epoch, lane, sequence: DeviceSequence(sequence) } = *origin;
        let place = Place { epoch: EpochKey { incarnation: self.incarnation, device, epoch }, lane };
        let held = Tenure { life: emission.life, base: emission.ordinal.wrapping_sub(sequence) };
        let progress = self.lanes.entry(place).or_default();
        let life = *progress.life.get_or_insert(emission.life);
        if life != emission.life || !self.truth.tenures(place.epoch).contains(&held) {
            return Err(Violation::Foreign { global, life: emission.life });
        }
        progress.advance(place, sequence..sequence + 1)?;
        self.verdict.stored += 1;
        self.verdict.wraps +=
            u64::from(sequence > 0 && sequence.is_multiple_of(1 << 16) && !progress.is_behind_gap);
        progress.is_behind_gap = false;
        Ok(())
    }

    fn take_in_gap(&mut self, gap: &Gap) -> Result<(), Violation> {
        let epoch = EpochKey { incarnation: self.incarnation, device: gap.device, epoch: gap.epoch };
        let place = Place { epoch, lane: gap.lane };
        let progress = self.lanes.entry(place).or_default();
        progress.advance(place, gap.first.0..gap.first.0 + gap.len)?;
        progress.gap_total += gap.len;
        progress.is_behind_gap |= gap.len > 0;
        self.verdict.gap_events += gap.len;
        self.verdict.absences.extend((gap.len > 0).then_some(gap.reason));
        self.verdict.gap_len_max = self.verdict.gap_len_max.max(gap.len);
        let life = progress.life;
        let is_true = |tenure: &Tenure| self.is_true(gap, tenure);
        let mut tenures =
            self.truth.tenures(epoch).iter().filter(|tenure| life.is_none_or(|life| life == tenure.life));
        if gap.len == 0 || tenures.any(is_true) {
            Ok(())
        } else {
            Err(Violation::FalseGap { place, gap: gap.clone() })
        }
    }

    /// Whether the reason of a gap is true of that tenure.
    fn is_true(&self, gap: &Gap, tenure: &Tenure) -> bool {
        let life = self.truth.life(tenure.life).expect("a tenure names a life");
        let first = tenure.base + gap.first.0;
        let ordinals = first..first + gap.len;
        ordinals.end <= life.offered
            && match gap.reason {
                Absence::OutboxFull => life.dropped.covers(&ordinals),
                Absence::DeviceReset => life.ended && life.may_lack(&ordinals),
                Absence::HostRestored => ordinals.end <= life.forgiven.min(life.oldest),
            }
    }

    fn compare_cursors(&self, cursors: &[Cursor]) -> Result<(), Violation> {
        for cursor in cursors {
            let is_latest = cursors.iter().all(|c| c.device != cursor.device || c.epoch <= cursor.epoch);
            if !is_latest && !cursor.closed {
                return Err(Violation::NeverEnded { place: place_of(self.incarnation, cursor) });
            }
            let found = self.lanes.get(&place_of(self.incarnation, cursor)).copied().unwrap_or_default();
            let is_heard =
                if cursor.closed { cursor.heard == cursor.next } else { cursor.heard >= cursor.next };
            if cursor.next.0 != found.next || cursor.gap_total != found.gap_total || !is_heard {
                return Err(Violation::CursorOff {
                    cursor: *cursor,
                    next: found.next,
                    gap_total: found.gap_total,
                });
            }
        }
        let has_cursor =
            |place: &Place| cursors.iter().any(|cursor| place_of(self.incarnation, cursor) == *place);
        match self.lanes.iter().find(|(place, progress)| progress.next > 0 && !has_cursor(place)) {
            None => Ok(()),
            Some((place, progress)) => Err(Violation::CursorOff {
                cursor: Cursor {
                    device: place.epoch.device,
                    epoch: place.epoch.epoch,
                    lane: place.lane,
                    next: DeviceSequence(0),
                    gap_total: 0,
                    heard: DeviceSequence(0),
                    closed: false,
                },
                next: progress.next,
                gap_total: progress.gap_total,
            }),
        }
    }

    /// What a device gave up must be in the log.
    fn hold_host_to_its_word(&mut self) -> Result<(), Violation> {
        for (id, life) in self.truth.lives() {
            let next = self.reached(id, life.device);
            if next < life.durable && life.forgiven < life.durable {
                return Err(Violation::DurableLost { life: id, next, durable: life.durable });
            }
            self.verdict.reached.insert(id, next);
        }
        Ok(())
    }

    /// How far the log goes with a life, as an ordinal.
    fn reached(&self, life: LifeId, device: DeviceId) -> u64 {
        let epochs = self.truth.epochs_of(self.incarnation, device).filter(|(_, tenure)| tenure.life == life);
        let reached = epochs.filter_map(|(epoch, tenure)| {
            let progress = self.lanes.get(&Place { epoch, lane: Lane(0) })?;
            Some(tenure.base + progress.next)
        });
        reached.max().unwrap_or(0)
    }
}

impl Progress {
    fn advance(&mut self, place: Place, entry: Range<u64>) -> Result<(), Violation> {
        let (next, found) = (self.next, entry.start);
        match found.cmp(&next) {
            std::cmp::Ordering::Less => Err(Violation::Doubled { place, next, found }),
            std::cmp::Ordering::Greater => Err(Violation::Lost { place, next, found }),
            std::cmp::Ordering::Equal => {
                self.next = entry.end;
                Ok(())
            }
        }
    }
}

fn place_of(incarnation: u64, cursor: &Cursor) -> Place {
    let epoch = EpochKey { incarnation, device: cursor.device, epoch: cursor.epoch };
    Place { epoch, lane: cursor.lane }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::emission::{CHANNELS, EMISSION_LEN_MAX};
    use varve_core::Epoch;

    const DEVICE: DeviceId = DeviceId(0xA1);
    const STORE: u64 = 7;
    const LIFE: LifeId = LifeId(0);
    const KEY: EpochKey = EpochKey { incarnation: STORE, device: DEVICE, epoch: Epoch(1) };
    const TENURE: Tenure = Tenure { life: LIFE, base: 0 };

    fn event(life: LifeId, ordinal: u64) -> Content {
        let emission = Emission::of(life, ordinal);
        let info = &CHANNELS[emission.channel as usize];
        let mut bytes = [0; EMISSION_LEN_MAX];
        let len = emission.archive(&mut bytes);
        let id = StreamId::of_device(DEVICE, info.instance);
        let (epoch, lane, sequence) = (KEY.epoch, Lane(0), DeviceSequence(ordinal));
        let origin = Origin { device: DEVICE, epoch, lane, sequence };
        Content::Event { stream: info.name.to_owned(), id, origin, bytes: bytes[..len].to_vec() }
    }

    fn gap(first: u64, len: u64, reason: Absence) -> Content {
        let (epoch, lane, first) = (KEY.epoch, Lane(0), DeviceSequence(first));
        Content::Gap(Gap { device: DEVICE, epoch, lane, first, len, reason })
    }

    /// A life that offered six events, whose outbox dropped the third, and that knows of four durable ones; another
    /// life that held no epoch; and a log that tells all of the first.
    fn honest() -> (Truth, Vec<Content>, Cursor) {
        let mut truth = Truth::default();
        truth.birth(DEVICE);
        truth.birth(DEVICE);
        truth.life_mut(LifeId(1)).offered = 1;
        let life = truth.life_mut(LIFE);
        life.offered = 6;
        life.dropped.push(2);
        life.gave_up(4);
        truth.take_up(KEY, TENURE);
        let mut contents: Vec<Content> = (0..6).map(|ordinal| event(LIFE, ordinal)).collect();
        contents[2] = gap(2, 1, Absence::OutboxFull);
        let (next, heard) = (DeviceSequence(6), DeviceSequence(6));
        let (epoch, lane) = (KEY.epoch, Lane(0));
        (truth, contents, Cursor { device: DEVICE, epoch, lane, next, gap_total: 1, heard, closed: false })
    }

    fn account(contents: &[Content], cursors: &[Cursor]) -> Account {
        Account::of_contents(contents, cursors.to_vec())
    }

    /// Judges a log after `change` to what happened, to what it holds, and to its cursor.
    fn verdict(
        change: impl FnOnce(&mut Truth, &mut Vec<Content>, &mut Cursor),
    ) -> Result<Verdict, Violation> {
        let (mut truth, mut contents, mut cursor) = honest();
        change(&mut truth, &mut contents, &mut cursor);
        judge(&account(&contents, &[cursor]), STORE, &truth)
    }

    #[test]
    fn an_honest_log_is_told_what_it_holds() {
        let verdict = verdict(|_, _, _| {}).unwrap();
        assert_eq!((verdict.stored, verdict.gap_events, verdict.reached[&LIFE]), (5, 1, 6));
    }

    #[test]
    fn each_broken_law_is_named() {
        let place = Place { epoch: KEY, lane: Lane(0) };
        let check = |expected: Violation, change: fn(&mut Truth, &mut Vec<Content>, &mut Cursor)| {
            assert_eq!(verdict(change), Err(expected));
        };
        check(Violation::Forged { global: GlobalSequence(1) }, |_, contents, _| {
            if let Content::Event { bytes, .. } = &mut contents[1] {
                bytes[0] ^= 1;
            }
        });
        check(Violation::Forged { global: GlobalSequence(5) }, |truth, _, _| {
            truth.life_mut(LIFE).offered = 5
        });
        check(Violation::Foreign { global: GlobalSequence(1), life: LifeId(1) }, |_, contents, _| {
            contents[1] = event(LifeId(1), 0);
        });
        check(Violation::Foreign { global: GlobalSequence(1), life: LIFE }, |_, contents, _| {
            if let Content::Event { origin, .. } = &mut contents[1] {
                origin.sequence = DeviceSequence(0);
            }
        });
        check(Violation::Doubled { place, next: 2, found: 1 }, |_, contents, _| {
            contents.insert(2, event(LIFE, 1));
        });
        check(Violation::Lost { place, next: 1, found: 2 }, |_, contents, _| drop(contents.remove(1)));
        check(Violation::DurableLost { life: LIFE, next: 3, durable: 5 }, |_, contents, cursor| {
            contents.truncate(3);
            cursor.next = DeviceSequence(3);
        });
    }

    #[test]
    fn a_hole_in_an_order_is_seen() {
        let (truth, contents, cursor) = honest();
        let account = account(&contents, &[cursor]);
        let mut in_log = account.clone();
        in_log.entries[3].global = GlobalSequence(9);
        let hole = Violation::GlobalHole { expected: GlobalSequence(3), found: GlobalSequence(9) };
        assert_eq!(judge(&in_log, STORE, &truth), Err(hole));
        let mut in_stream = account;
        in_stream.entries[0].stream_seq = StreamSequence(1);
        let (expected, found) = (StreamSequence(0), StreamSequence(1));
        let hole = Violation::StreamHole { global: GlobalSequence(0), expected, found };
        assert_eq!(judge(&in_stream, STORE, &truth), Err(hole));
    }

    #[test]
    fn a_gap_must_tell_the_truth() {
        let is_false = |change: fn(&mut Truth, &mut Vec<Content>, &mut Cursor)| {
            matches!(verdict(change), Err(Violation::FalseGap { .. }))
        };
        assert!(is_false(|_, contents, _| contents[3] = gap(3, 1, Absence::OutboxFull)), "it was kept");
        assert!(is_false(|_, contents, _| contents[5] = gap(5, 1, Absence::DeviceReset)), "the device lives");
        assert!(is_false(|_, contents, _| contents[5] = gap(5, 2, Absence::DeviceReset)), "it never was");
        assert!(is_false(|truth, contents, _| {
            truth.death(LIFE);
            contents[4] = gap(4, 1, Absence::DeviceReset);
        }));
        assert!(is_false(|_, contents, _| contents[4] = gap(4, 1, Absence::HostRestored)), "no host was");
        assert!(is_false(|truth, contents, _| {
            truth.forgive(LIFE, 6);
            contents[5] = gap(5, 1, Absence::HostRestored);
        }));
        let restored = verdict(|truth, contents, cursor| {
            truth.forgive(LIFE, 5);
            contents[4] = gap(4, 1, Absence::HostRestored);
            cursor.gap_total = 2;
        });
        assert_eq!(restored.map(|verdict| verdict.stored), Ok(4));
    }

    #[test]
    fn a_cursor_must_tell_what_the_entries_tell() {
        let is_off = |change: fn(&mut Truth, &mut Vec<Content>, &mut Cursor)| {
            matches!(verdict(change), Err(Violation::CursorOff { .. }))
        };
        assert!(is_off(|_, _, cursor| cursor.next = DeviceSequence(5)));
        assert!(is_off(|_, _, cursor| cursor.gap_total = 0));
        assert!(is_off(|_, _, cursor| cursor.heard = DeviceSequence(5)));
        assert!(is_off(|_, _, cursor| (cursor.closed, cursor.heard) = (true, DeviceSequence(7))));
        assert!(is_off(|_, _, cursor| cursor.epoch = Epoch(2)));
    }

    #[test]
    fn an_epoch_ends_before_the_next_begins() {
        let (truth, contents, cursor) = honest();
        let next = Cursor { epoch: Epoch(2), next: DeviceSequence(0), gap_total: 0, ..cursor };
        let place = Place { epoch: KEY, lane: Lane(0) };
        let broken = judge(&account(&contents, &[cursor, next]), STORE, &truth);
        assert_eq!(broken, Err(Violation::NeverEnded { place }));
    }

    #[test]
    fn nothing_may_be_left_behind_in_the_end() {
        let (truth, contents, cursor) = honest();
        let behind = Cursor { next: DeviceSequence(5), ..cursor };
        let caught_up =
            |cursor| judge_caught_up(&account(&contents, &[cursor]), LIFE, Some((KEY, TENURE)), &truth);
        assert_eq!(caught_up(cursor), Ok(()));
        assert_eq!(caught_up(behind), Err(Violation::NotCaughtUp { life: LIFE, next: 5, offered: 6 }));
    }
}
