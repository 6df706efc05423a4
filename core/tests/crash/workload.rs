//! What a program does with a store: random commits of every kind.

use std::sync::Arc;

use fastrand::Rng;
use varve_core::{
    Append, AppendError, Appended, Batch, BatchWriter, Channel, DescriptorHash, DeviceBatch, DeviceGap,
    DeviceId, DeviceSequence, Epoch, Event as _, GapEvent, GapReason, GlobalSequence, Lane, Stream,
    StreamBinding, StreamId, TimeColumn, Varve,
};

use crate::contents::{CONSUMERS, Contents, Event, LaneEnd};
use crate::history::{Commit, Step};
use crate::upkeep::retain;
use crate::{NOTE_LEN_MAX, NOTES, Note, READINGS, Reading, archived};

/// What one thread appends with.
pub(crate) struct Appender {
    readings: Stream<Reading, 19>,
    notes: Stream<Note, NOTE_LEN_MAX>,
    append: Append,
}

impl Appender {
    /// Appends to `varve`.
    pub(crate) fn new(varve: &mut Varve) -> Self {
        Self {
            readings: varve.stream(READINGS).expect("the stream has that layout"),
            notes: varve.stream(NOTES).expect("the stream has that layout"),
            append: varve.begin(),
        }
    }

    /// Stores what the steps say. Returns the place of the first event, or of the next one where there is none.
    pub(crate) fn commit(&mut self, steps: &[Step]) -> Result<GlobalSequence, AppendError> {
        match steps {
            [Step::Readings { id, serials }] => match serials.as_slice() {
                [serial] => self.readings.append(StreamId(*id), &reading(*serial)).map(|(_, global)| global),
                serials => {
                    let events: Vec<_> = serials.iter().map(|&serial| reading(serial)).collect();
                    self.readings.append_batch(StreamId(*id), &events).map(|appended| first_of(&appended))
                }
            },
            [Step::Notes { id, notes }] => {
                let events: Vec<_> = notes.iter().map(note).collect();
                self.notes.append_batch(StreamId(*id), &events).map(|appended| first_of(&appended))
            }
            steps => {
                self.append.clear();
                steps.iter().try_for_each(|step| self.add(step))?;
                self.append.commit().map(|committed| committed.first)
            }
        }
    }

    fn add(&mut self, step: &Step) -> Result<(), AppendError> {
        let Self { readings, notes, append } = self;
        match step {
            Step::Readings { id, serials } => {
                serials.iter().try_for_each(|&serial| append.event(readings, StreamId(*id), &reading(serial)))
            }
            Step::Notes { id, notes: texts } => {
                texts.iter().try_for_each(|text| append.event(notes, StreamId(*id), &note(text)))
            }
            step => add_step(append, step),
        }
    }
}

fn first_of(appended: &Appended) -> GlobalSequence {
    appended.get(0).expect("no batch is empty").1
}

impl Commit {
    /// Draws a commit to a store with these contents.
    pub(crate) fn draw(random: &mut Rng, contents: &Contents) -> Self {
        let mut commit = Self::default();
        match random.u8(..40) {
            0 => commit.add_bulk(random),
            1..10 => commit.add_readings(random, 1),
            10..16 => {
                let count = random.usize(2..=64);
                commit.add_readings(random, count);
            }
            16..20 => commit.add_consumer(random, contents),
            20..34 => {
                commit.add_batch(random, contents);
                if random.bool() {
                    commit.add_consumer(random, contents);
                }
            }
            34..36 => commit.add_gap(random, contents),
            _ => (0..random.usize(2..6)).for_each(|_| match random.bool() {
                true => commit.add_readings(random, 3),
                false => commit.add_note(random),
            }),
        }
        commit
    }

    /// Draws a commit of local events alone.
    pub(crate) fn draw_local(random: &mut Rng) -> Self {
        let mut commit = Self::default();
        match random.u8(..40) {
            0 => commit.add_bulk(random),
            1..30 => commit.add_readings(random, 1),
            30..36 => commit.add_readings(random, 20),
            _ => (0..3).for_each(|_| commit.add_note(random)),
        }
        commit
    }

    /// Draws a commit of local events that does not fit the tail.
    pub(crate) fn draw_bulk(random: &mut Rng) -> Self {
        let mut commit = Self::default();
        commit.add_bulk(random);
        commit
    }

    /// Draws a commit of local events that takes much of the tail, and fits it.
    pub(crate) fn draw_large(random: &mut Rng) -> Self {
        let mut commit = Self::default();
        let count = random.usize(80..120);
        commit.add_notes(random, count, 800);
        commit
    }

    /// Does it. Tells where the log begins since, where that may have changed.
    pub(crate) fn perform(&self, varve: &mut Varve) -> Result<Option<u64>, AppendError> {
        match self.steps.as_slice() {
            [Step::Fold] => varve.fold().map(|()| None),
            [Step::Retain { events_max }] => retain(varve, *events_max).map(Some),
            #[cfg(feature = "encryption")]
            [Step::Shred { id }] => varve.shred(READINGS, StreamId(*id)).map(|()| None),
            #[cfg(feature = "encryption")]
            [Step::Rotate { master }] => varve.rotate_master(&crate::master_key(*master)).map(|()| None),
            steps => Appender::new(varve).commit(steps).map(|_| None),
        }
    }

    fn add_readings(&mut self, random: &mut Rng, count: usize) {
        let id = random.u64(..4);
        let serials: Vec<u64> = (0..count).map(|_| random.u64(..)).collect();
        self.events.extend(serials.iter().map(|&serial| local(READINGS, id, archived(&reading(serial)))));
        self.steps.push(Step::Readings { id, serials });
    }

    fn add_note(&mut self, random: &mut Rng) {
        let len = random.usize(..300);
        self.add_notes(random, 1, len);
    }

    /// More than a record of the tail holds.
    fn add_bulk(&mut self, random: &mut Rng) {
        self.add_notes(random, 400, 800);
    }

    fn add_notes(&mut self, random: &mut Rng, count: usize, len: usize) {
        let id = random.u64(..3);
        let notes: Vec<_> = (0..count).map(|_| (random.u64(..), "n".repeat(len))).collect();
        self.events.extend(notes.iter().map(|text| local(NOTES, id, archived(&note(text)))));
        self.steps.push(Step::Notes { id, notes });
    }

    fn add_consumer(&mut self, random: &mut Rng, contents: &Contents) {
        let name = CONSUMERS[random.usize(..CONSUMERS.len())];
        let next = random.u64(..=contents.events.len() as u64);
        self.consumers.push((name, next));
        self.steps.push(Step::Consumer { name, next });
    }

    /// A batch that is new, or one that was stored before.
    fn add_batch(&mut self, random: &mut Rng, contents: &Contents) {
        let device = random.u64(1..4);
        let lane = contents.lanes.get(&(device, LANE.0)).copied().unwrap_or_default();
        let chain = random.u32(..);
        let id = StreamId::of_device(DeviceId(device), 0).0;
        let mut writer = BatchWriter::new(LANE, TimeColumn::Delta);
        let mut region = vec![0; 8192];
        let mut events = Vec::new();
        for n in 0..random.u64(1..=64) {
            let (channel, stream, bytes) = match random.u8(..4) {
                0 => (1, NOTES, archived(&note(&(random.u64(..), "d".repeat(random.usize(..20)))))),
                _ => (0, READINGS, archived(&reading(random.u64(..)))),
            };
            let copy = |out: &mut [u8]| {
                out.get_mut(..bytes.len())?.copy_from_slice(&bytes);
                Some(bytes.len())
            };
            writer.try_push(&mut region, Channel(channel), n * 10, copy).expect("the batch has room");
            let origin = Some((device, LANE.0, lane.next + n));
            events.push(Arc::new(Event { stream, id, bytes, origin, ticks: Some(n * 10) }));
        }
        let sealed = writer.seal(&mut region);
        let (len, batch) = (events.len() as u64, region[sealed].to_vec());
        let is_again = lane.gap_total == 0 && lane.next >= len && random.u8(..6) == 0;
        let first = if is_again { lane.next - len } else { lane.next };
        if !is_again {
            self.lanes.push(((device, LANE.0), LaneEnd { next: lane.next + len, chain, ..lane }));
            self.events.extend(events);
        }
        self.steps.push(Step::Batch { device, first, chain, batch });
    }

    fn add_gap(&mut self, random: &mut Rng, contents: &Contents) {
        let device = random.u64(1..4);
        let lane = contents.lanes.get(&(device, LANE.0)).copied().unwrap_or_default();
        let (first, len, chain) = (lane.next, random.u64(1..1000), random.u32(..));
        let end = LaneEnd { next: first + len, chain, gap_total: lane.gap_total + len };
        self.lanes.push(((device, LANE.0), end));
        let gap = GapEvent {
            device: DeviceId(device).0,
            epoch: EPOCH.0,
            lane: LANE.0,
            reason: GapReason::OutboxFull,
            end_unknown: false,
            first,
            len,
        };
        self.events.push(local(
            GapEvent::STREAM,
            GapEvent::stream_id(DeviceId(device), LANE).0,
            archived(&gap),
        ));
        self.steps.push(Step::Gap { device, first, len, chain });
    }
}

/// Adds what is not a local event.
fn add_step(append: &mut Append, step: &Step) -> Result<(), AppendError> {
    match step {
        Step::Batch { device, first, chain, batch } => {
            append.descriptor(Reading::DESCRIPTOR)?;
            append.descriptor(Note::DESCRIPTOR)?;
            append.open_epoch(DeviceId(*device), EPOCH)?;
            let id = StreamId::of_device(DeviceId(*device), 0);
            let binding =
                |name, descriptor| StreamBinding { name, id, descriptor: DescriptorHash::of(descriptor) };
            append.device_batch(DeviceBatch {
                device: DeviceId(*device),
                epoch: EPOCH,
                first: DeviceSequence(*first),
                chain: *chain,
                ingest_us: 1_000_000 + *first,
                channels: &[binding(READINGS, Reading::DESCRIPTOR), binding(NOTES, Note::DESCRIPTOR)],
                batch: Batch::new_checked(batch).expect("it was sealed here"),
            })
        }
        Step::Gap { device, first, len, chain } => {
            append.open_epoch(DeviceId(*device), EPOCH)?;
            append.device_gap(DeviceGap {
                device: DeviceId(*device),
                epoch: EPOCH,
                lane: LANE,
                first: DeviceSequence(*first),
                len: *len,
                reason: GapReason::OutboxFull,
                chain: *chain,
                ingest_us: 1_000_000 + *first,
            })
        }
        Step::Consumer { name, next } => append.consumer(name, GlobalSequence(*next)),
        _ => unreachable!("local events are added with their type, and upkeep is no append"),
    }
}

fn local(stream: &'static str, id: u64, bytes: Vec<u8>) -> Arc<Event> {
    Arc::new(Event { stream, id, bytes, origin: None, ticks: None })
}

fn reading(serial: u64) -> Reading {
    Reading { celsius: 21.5, humidity: 40, pressure: 101_325, battery: 3_300, serial }
}

fn note((serial, text): &(u64, String)) -> Note {
    Note { serial: *serial, text: text.clone() }
}

const EPOCH: Epoch = Epoch(1);
const LANE: Lane = Lane(0);
