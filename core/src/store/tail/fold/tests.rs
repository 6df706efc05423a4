//! Folds of random logs against the logs themselves, event by event with all that is known of each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::store::config::{Config, Durability};
use crate::store::files::environment::Environment;
use crate::store::files::owner_lock::OwnerLock;
use crate::store::log::block::{Run, quarantined};
use crate::store::log::clock::StoredMapping;
use crate::store::log::run_index::RunIndex;
use crate::store::tail::record::{RecordHead, RecordSeed, RecordWriter};

/// An event with all that a reader can tell of it.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    key: RunKey,
    stream_seq: u64,
    device_seq: u64,
    ticks: Option<u64>,
    ingest_us: u64,
    domain: u32,
    /// The place of the row of `clock` that its ticks go by.
    mapped_from: Option<u64>,
    bytes: Vec<u8>,
}

/// A log in records, and what it holds.
#[derive(Default)]
struct Log {
    records: Vec<Record>,
    entries: Vec<Entry>,
    /// Every row that was put, by table and key: its last value.
    rows: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
}

/// A store in a directory of its own.
struct Store {
    environment: Arc<Environment>,
    block: BlockWriter,
    _dir: tempfile::TempDir,
}

#[test]
fn a_folded_log_reads_as_it_was_written_however_the_folds_fell() {
    for seed in 0..scaled(60) {
        let mut random = fastrand::Rng::with_seed(seed);
        let log = random_log(&mut random);
        let mut store = Store::new();
        let mut at = 0;
        while at < log.records.len() {
            let n = random.usize(1..=40).min(log.records.len() - at);
            let records = &log.records[at..at + n];
            at += n;
            let folded = Folded { generation: at as u64, commit: at as u64 };
            if random.u8(..4) == 0 {
                store.fold_cut_off(records, folded).unwrap();
            }
            store.fold(records, folded).unwrap();
            store.check_index(seed);
        }
        assert_eq!(store.entries(), log.entries, "seed {seed}");
        store.check_rows(&log, seed);
        store.check_lens(seed);
        assert_eq!(store.folded().commit, log.records.len() as u64, "seed {seed}");
    }
}

#[test]
fn small_commits_become_large_blocks_with_one_run_a_stream() {
    let mut log = LogWriter::new();
    for commit in 0..400 {
        let stream = commit % 4 + 1;
        log.block.begin(log.next, 1);
        (0..16).for_each(|_| log.push(local(stream), 0, None, &[stream as u8; 40]));
        log.commit();
    }
    let mut store = Store::new();
    let log = log.log;
    let (first, second) = log.records.split_at(20);
    store.fold(first, Folded { generation: 1, commit: 20 }).unwrap();
    store.fold(second, Folded { generation: 2, commit: 400 }).unwrap();
    assert_eq!(store.entries(), log.entries);
    let runs: Vec<usize> = store.blocks().iter().map(|(_, block)| parse(block).runs()).collect();
    // 400 × 16 × 40 bytes in four blocks.
    assert_eq!(runs, [4; 4]);
    assert_eq!(store.index().len(), 16);
}

#[test]
fn a_new_row_of_the_clock_ends_the_runs_of_its_lane_alone() {
    let mut log = LogWriter::new();
    let (lane, other) = (device(1, 7), device(2, 8));
    log.push(lane, 0, Some(10), b"a");
    log.push(other, 0, Some(10), b"b");
    log.commit();
    log.put_clock(lane, 1);
    log.push(lane, 1, Some(20), b"c");
    log.push(other, 1, Some(20), b"d");
    log.commit();
    let mut store = Store::new();
    store.fold(&log.log.records, Folded { generation: 1, commit: 2 }).unwrap();
    assert_eq!(store.entries(), log.log.entries);
    assert_eq!(
        store.entries().iter().map(|entry| entry.mapped_from).collect::<Vec<_>>(),
        [None, None, Some(1), None]
    );
    assert_eq!(parse(&store.blocks()[0].1).runs(), 3);
}

#[test]
fn a_gap_ends_all_runs_of_its_lane() {
    let mut log = LogWriter::new();
    let (lane, sibling) = (device(1, 7), device(1, 8));
    log.push(lane, 0, Some(10), b"a");
    log.push(sibling, 1, Some(11), b"b");
    log.commit();
    log.push(sibling, 9, Some(20), b"c");
    log.push(lane, 10, Some(21), b"d");
    log.commit();
    let mut store = Store::new();
    store.fold(&log.log.records, Folded { generation: 1, commit: 2 }).unwrap();
    assert_eq!(store.entries(), log.log.entries);
    assert_eq!(parse(&store.blocks()[0].1).runs(), 4);
}

#[test]
fn a_run_that_was_ended_without_a_trace_stays_ended() {
    let mut log = LogWriter::new();
    let lane = device(1, 7);
    for (seq, bytes) in [b"a", b"b", b"c", b"d", b"e"].into_iter().enumerate() {
        match seq {
            1 | 3 => log.block.close_runs(lane.device, lane.epoch, lane.lane),
            2 | 4 => log.commit(),
            _ => {}
        }
        log.push(lane, seq as u64, Some(10 * seq as u64), bytes);
    }
    log.commit();
    // One after the other, and at once.
    for together in [1, 3] {
        let mut store = Store::new();
        for (index, records) in log.log.records.chunks(together).enumerate() {
            let commit = ((index + 1) * together) as u64;
            store.fold(records, Folded { generation: 1, commit }).unwrap();
            store.check_index(0);
        }
        assert_eq!(store.entries(), log.log.entries);
        let block = &store.blocks()[0].1;
        let counts: Vec<_> = (0..3).map(|run| parse(block).run(run).unwrap().count()).collect();
        assert_eq!(counts, [1, 2, 2], "{together}");
    }
}

#[test]
fn a_block_that_stands_in_for_lost_events_does_not_go_on() {
    let mut log = LogWriter::new();
    log.next = GlobalSequence(9);
    log.first = log.next;
    log.push(local(1), 0, None, b"event");
    log.commit();
    let mut store = Store::new();
    let lost = quarantined(GlobalSequence(0), 9, &[]);
    let mut txn = store.environment.write().unwrap();
    store.environment.tables().block.put(&mut txn, &0u64.to_be_bytes(), &lost).unwrap();
    txn.commit().unwrap();
    store.fold(&log.log.records, Folded { generation: 1, commit: 1 }).unwrap();
    let blocks: Vec<_> = store.blocks().iter().map(|(first, block)| (first.0, parse(block).len())).collect();
    assert_eq!(blocks, [(0, 9), (9, 1)]);
    assert_eq!(store.blocks()[0].1, lost);
}

#[test]
fn a_change_of_the_clock_domain_ends_the_block() {
    let mut log = LogWriter::new();
    for domain in [1, 1, 2, 2, 3] {
        log.domain = domain;
        log.push(local(1), 0, None, b"event");
        log.commit();
    }
    let mut store = Store::new();
    store.fold(&log.log.records[..3], Folded { generation: 1, commit: 3 }).unwrap();
    store.fold(&log.log.records[3..], Folded { generation: 2, commit: 5 }).unwrap();
    assert_eq!(store.entries(), log.log.entries);
    let blocks: Vec<_> =
        store.blocks().iter().map(|(_, block)| (parse(block).domain(), parse(block).len())).collect();
    assert_eq!(blocks, [(1, 2), (2, 2), (3, 1)]);
}

#[test]
fn a_damaged_last_block_stays_as_it_is_and_the_log_goes_on_behind_it() {
    let mut log = LogWriter::new();
    for _ in 0..2 {
        log.push(local(1), 0, None, b"event");
        log.commit();
    }
    let mut store = Store::new();
    store.fold(&log.log.records[..1], Folded { generation: 1, commit: 1 }).unwrap();
    let (key, mut block) = store.blocks().remove(0);
    *block.last_mut().unwrap() ^= 1;
    let mut txn = store.environment.write().unwrap();
    store.environment.tables().block.put(&mut txn, &key.0.to_be_bytes(), &block).unwrap();
    txn.commit().unwrap();
    store.fold(&log.log.records[1..], Folded { generation: 2, commit: 2 }).unwrap();
    let blocks = store.blocks();
    assert_eq!((blocks.len(), &blocks[0].1), (2, &block));
    assert_eq!(read(parse(&blocks[1].1), &BTreeMap::new()), log.log.entries[1..]);
}

#[test]
fn records_that_do_not_follow_are_refused() {
    let mut log = LogWriter::new();
    for _ in 0..3 {
        log.push(local(1), 0, None, b"event");
        log.commit();
    }
    let mut store = Store::new();
    store.fold(&log.log.records[..1], Folded { generation: 1, commit: 1 }).unwrap();
    let refused = store.fold(&log.log.records[2..], Folded { generation: 2, commit: 3 });
    assert!(matches!(refused, Err(AppendError::Corrupt(_))), "{refused:?}");
    assert_eq!(store.folded(), Folded { generation: 1, commit: 1 });
}

#[test]
fn a_damaged_block_of_the_tail_is_refused() {
    let mut log = LogWriter::new();
    log.push(local(1), 0, None, b"event");
    log.commit();
    let mut block = blocks(&log.log.records[0]).next().unwrap().to_vec();
    *block.last_mut().unwrap() ^= 1;
    let refused = Store::new().fold(&[record_of(&block).unwrap()], Folded { generation: 1, commit: 1 });
    assert!(matches!(refused, Err(AppendError::Corrupt(_))), "{refused:?}");
}

#[test]
fn a_last_block_beyond_the_number_space_is_an_error() {
    let mut log = LogWriter::new();
    log.push(local(1), 0, None, b"event");
    log.commit();
    let mut store = Store::new();
    let mut past = BlockWriter::new();
    past.begin(GlobalSequence(u64::MAX), 1);
    let meta =
        EventMeta { stream_seq: StreamSequence(0), device_seq: DeviceSequence(0), ticks: 0, ingest_us: 0 };
    assert!(past.push_archived(&local(1), &mut LatestRun::default(), &meta, b"event"));
    let mut block = Vec::new();
    past.finish(&mut block);
    let mut txn = store.environment.write().unwrap();
    store.environment.tables().block.put(&mut txn, &u64::MAX.to_be_bytes(), &block).unwrap();
    txn.commit().unwrap();
    let refused = store.fold(&log.log.records, Folded { generation: 1, commit: 1 });
    assert!(matches!(refused, Err(AppendError::Corrupt(_))), "{refused:?}");
}

#[test]
fn rows_of_tables_that_follow_from_the_blocks_are_refused() {
    for table in [1, 2, 200] {
        let mut log = LogWriter::new();
        log.record.row(TableNumber(table), &[0; 8], b"row");
        log.commit();
        let refused = Store::new().fold(&log.log.records, Folded { generation: 1, commit: 1 });
        assert!(matches!(refused, Err(AppendError::Corrupt(_))), "{refused:?}");
    }
}

#[test]
fn no_record_makes_the_fold_panic() {
    let mut store = Store::new();
    for seed in 0..scaled(200) {
        let mut random = fastrand::Rng::with_seed(seed);
        let log = random_log(&mut random);
        let Some(good) = log.records.iter().find_map(|record| blocks(record).next()) else { continue };
        for _ in 0..100 {
            let mut block = good.to_vec();
            for _ in 0..random.usize(1..4) {
                // Most of what a fold goes by stands at the front.
                let front = if random.bool() { 400 } else { usize::MAX };
                let at = random.usize(..block.len().min(front));
                block[at] ^= 1 << random.u8(..8);
            }
            if let Some(record) = record_of(&with_checksum(block)) {
                let _ = store.fold_cut_off(&[record], Folded { generation: 1, commit: 1 });
            }
        }
    }
}

#[test]
fn what_is_folded_comes_back_from_its_row() {
    let folded = Folded { generation: 0x0102_0304_0506_0708, commit: 9 };
    assert_eq!(folded.to_row(), [8, 7, 6, 5, 4, 3, 2, 1, 9, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(Folded::parse(&folded.to_row()), Some(folded));
    assert_eq!(Folded::parse(&[0; 15]), None);
    assert_eq!(Store::new().folded(), Folded::default());
}

impl Store {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config { map_size: Some(1 << 26), ..Config::default() };
        config.durability = Durability::Relaxed;
        let owner = OwnerLock::acquire(dir.path()).unwrap();
        let environment = Arc::new(Environment::open(dir.path(), &config, owner).unwrap());
        Self { environment, block: BlockWriter::new(), _dir: dir }
    }

    fn fold(&mut self, records: &[Record], folded: Folded) -> Result<(), AppendError> {
        let (mut txn, tables) = (self.environment.write()?, self.environment.tables());
        fold(&mut txn, tables, records.iter(), folded, &mut self.block)?;
        Ok(txn.commit()?)
    }

    /// As [`Store::fold`], but the transaction is cut off.
    fn fold_cut_off(&mut self, records: &[Record], folded: Folded) -> Result<(), AppendError> {
        let (mut txn, tables) = (self.environment.write()?, self.environment.tables());
        fold(&mut txn, tables, records.iter(), folded, &mut self.block)
    }

    fn folded(&self) -> Folded {
        Folded::read(self.environment.tables(), self.environment.read().unwrap().txn()).unwrap()
    }

    fn rows(&self, table: &Table) -> Vec<(Vec<u8>, Vec<u8>)> {
        let read = self.environment.read().unwrap();
        let rows = table.from(read.txn(), &[0]).unwrap();
        rows.map(Result::unwrap).map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }

    fn blocks(&self) -> Vec<(GlobalSequence, Vec<u8>)> {
        let rows = self.rows(&self.environment.tables().block);
        rows.into_iter().map(|(key, value)| (GlobalSequence(long_number(&key, 0).unwrap()), value)).collect()
    }

    fn index(&self) -> Vec<RunIndex> {
        let rows = self.rows(&self.environment.tables().stream);
        rows.iter().map(|(key, value)| RunIndex::parse(key, value).unwrap()).collect()
    }

    fn entries(&self) -> Vec<Entry> {
        let mut clock = BTreeMap::new();
        for (key, _) in self.rows(&self.environment.tables().clock) {
            let rows: &mut BTreeSet<u64> = clock.entry(key[..LANE_KEY_LEN].to_vec()).or_default();
            rows.insert(long_number(&key, LANE_KEY_LEN).unwrap());
        }
        let mut next = GlobalSequence(0);
        let mut entries = Vec::new();
        for (first, bytes) in self.blocks() {
            assert_eq!(first, next);
            let block = Block::new_checked(first, &bytes).unwrap();
            next = block.end().unwrap();
            entries.extend(read(block, &clock));
        }
        entries
    }

    /// The index has one row for each run of each block, and no other.
    fn check_index(&self, seed: u64) {
        let mut expected = Vec::new();
        for (first, bytes) in self.blocks() {
            let block = parse(&bytes);
            expected.extend((0..block.runs()).map(|index| {
                let run = block.run(index).unwrap();
                let (stream, count) = (run.stream(), run.count());
                RunIndex { stream, first: run.first(), block: first, run: index as u16, count }
            }));
        }
        expected.sort_by_key(|row| (row.stream, row.first));
        assert_eq!(self.index(), expected, "seed {seed}");
    }

    fn check_rows(&self, log: &Log, seed: u64) {
        let read = self.environment.read().unwrap();
        for ((table, key), value) in &log.rows {
            let table = table_of(self.environment.tables(), TableNumber(*table)).unwrap();
            assert_eq!(table.get(read.txn(), key).unwrap(), Some(value.as_slice()), "seed {seed}");
        }
    }

    /// No block is short but the last of its domain, and those before one that the next event did not fit.
    fn check_lens(&self, seed: u64) {
        let blocks = self.blocks();
        for pair in blocks.windows(2) {
            let is_last = parse(&pair[0].1).domain() != parse(&pair[1].1).domain();
            assert!(is_last || pair[0].1.len() >= CONTINUED_LEN_MAX, "seed {seed}: a short block");
        }
    }
}

/// Writes a log as an append does, block by block, and keeps what it should read as.
struct LogWriter {
    log: Log,
    block: BlockWriter,
    record: RecordWriter,
    next: GlobalSequence,
    first: GlobalSequence,
    domain: u32,
    ingest_us: u64,
    stream_ends: BTreeMap<u32, u64>,
}

impl LogWriter {
    fn new() -> Self {
        Self {
            log: Log::default(),
            block: BlockWriter::new(),
            record: RecordWriter::new(),
            next: GlobalSequence(0),
            first: GlobalSequence(0),
            domain: 1,
            ingest_us: 1_000_000,
            stream_ends: BTreeMap::new(),
        }
    }

    fn push(&mut self, key: RunKey, device_seq: u64, ticks: Option<u64>, bytes: &[u8]) {
        let key = RunKey { timed: ticks.is_some(), ..key };
        if self.block.len() == 0 {
            self.block.begin(self.next, self.domain);
        }
        let mapped_from = self.mapped_from(key, device_seq);
        let stream_end = self.stream_ends.entry(key.stream).or_default();
        let meta = EventMeta {
            stream_seq: StreamSequence(*stream_end),
            device_seq: DeviceSequence(device_seq),
            ticks: ticks.unwrap_or(0),
            ingest_us: self.ingest_us,
        };
        if !self.block.push_archived(&key, &mut LatestRun::default(), &meta, bytes) {
            self.record.block(|out| self.block.finish(out));
            self.block.begin(self.next, self.domain);
            assert!(self.block.push_archived(&key, &mut LatestRun::default(), &meta, bytes));
        }
        self.next.0 += 1;
        self.log.entries.push(Entry {
            key,
            stream_seq: *stream_end,
            device_seq,
            ticks,
            ingest_us: self.ingest_us,
            domain: self.domain,
            mapped_from,
            bytes: bytes.to_vec(),
        });
        *stream_end += 1;
    }

    fn mapped_from(&self, key: RunKey, device_seq: u64) -> Option<u64> {
        if key.device == 0 {
            return None;
        }
        let place = |seq| mapping_key(key.device, key.epoch, key.lane, DeviceSequence(seq)).to_vec();
        let mut rows = self.log.rows.range((12, place(0))..=(12, place(device_seq)));
        rows.next_back().and_then(|((_, row), _)| long_number(row, LANE_KEY_LEN))
    }

    fn put(&mut self, table: u8, key: &[u8], value: &[u8]) {
        self.record.row(TableNumber(table), key, value);
        self.log.rows.insert((table, key.to_vec()), value.to_vec());
    }

    fn put_clock(&mut self, lane: RunKey, first: u64) {
        self.block.close_runs(lane.device, lane.epoch, lane.lane);
        let row =
            StoredMapping { domain: self.domain, ticks: 0, tick_hz: 1000, host_us: 0, uncertainty_us: 0 };
        let key = mapping_key(lane.device, lane.epoch, lane.lane, DeviceSequence(first));
        self.put(12, &key, &row.to_row());
    }

    fn commit(&mut self) {
        if self.block.len() > 0 {
            self.record.block(|out| self.block.finish(out));
            self.block.begin(self.next, self.domain);
        }
        let commit = self.log.records.len() as u64 + 1;
        let events = (self.next.0 - self.first.0) as u32;
        let head = RecordHead { generation: 1, commit, first: self.first, events, ..RecordHead::default() };
        self.log.records.push(parse_record(&mut self.record, head).unwrap());
        self.record.begin();
        self.first = self.next;
    }
}

/// Commits of local and device events of all kinds, with gaps, clocks, changes of the descriptor and of the domain.
fn random_log(random: &mut fastrand::Rng) -> Log {
    let mut log = LogWriter::new();
    let lens = [0, 1, 19, 42, 300, 4_000].map(|len| if random.bool() { len } else { 24 });
    let mut descriptors = [1; 8];
    let mut lane_ends = [0u64; 3];
    for _ in 0..random.usize(1..300) {
        log.ingest_us = log.ingest_us.wrapping_add(random.u64(..3_000)).wrapping_sub(random.u64(..500));
        if random.u8(..50) == 0 {
            log.domain += 1;
        }
        for _ in 0..random.usize(..4) {
            let stream = random.usize(1..8);
            let len = lens[stream % lens.len()] + if stream == 3 { random.usize(..5) } else { 0 };
            let bytes: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
            if random.u8(..20) == 0 {
                descriptors[stream] = random.u32(1..3);
            }
            let n = if len < 100 && random.u8(..30) == 0 { 400 } else { random.usize(1..20) };
            for _ in 0..n {
                let key = RunKey { descriptor: descriptors[stream], ..local(stream as u32) };
                if stream < 4 {
                    log.push(key, 0, None, &bytes);
                    continue;
                }
                let slot = stream % 3;
                let lane = device(slot as u32 + 1, stream as u32);
                let (seq, key) = (lane_ends[slot], RunKey { descriptor: key.descriptor, ..lane });
                log.push(key, seq, (stream != 6).then_some(random.u64(..)), &bytes);
                lane_ends[slot] += 1;
            }
            if stream >= 4 && random.u8(..6) == 0 {
                let slot = stream % 3;
                let lane = device(slot as u32 + 1, stream as u32);
                match random.u8(..3) {
                    0 => log.put_clock(lane, lane_ends[slot]),
                    // A gap, which may be of no events.
                    _ => {
                        log.block.close_runs(lane.device, lane.epoch, lane.lane);
                        lane_ends[slot] += random.u64(..3);
                    }
                }
            }
        }
        if random.u8(..3) == 0 {
            let next = log.next.0;
            log.put(14, b"consumer", &next.to_le_bytes());
        }
        log.commit();
    }
    log.log
}

/// Reads a block as FORMAT.md has it: the place of an event in its lane is that of the one before plus 1, but where
/// its run begins.
fn read(block: Block<'_>, clock: &BTreeMap<Vec<u8>, BTreeSet<u64>>) -> Vec<Entry> {
    let runs: Vec<_> = (0..block.runs()).map(|index| block.run(index).unwrap()).collect();
    let mut ticks: Vec<_> = runs.iter().map(Run::ticks).collect();
    let mut taken = vec![0; runs.len()];
    let mut lanes = HashMap::new();
    let times = block.ingest_times().flat_map(|(time, n)| std::iter::repeat_n(time, n as usize));
    let mut times = times.take(block.len() as usize);
    let mut entries = Vec::new();
    let mut order = block.order();
    while entries.len() < block.len() as usize {
        let (index, n) = block.next_pair(&mut order).unwrap();
        for _ in 0..n {
            let (run, key) = (&runs[index], RunKey::of(&runs[index]));
            let mut entry = Entry {
                key,
                stream_seq: run.first().0 + taken[index] as u64,
                device_seq: 0,
                ticks: run.is_timed().then(|| ticks[index].next().unwrap()),
                ingest_us: times.next().unwrap(),
                domain: block.domain(),
                mapped_from: None,
                bytes: run.event(taken[index]).unwrap().to_vec(),
            };
            if let Some(Origin { device, epoch, lane, first }) = run.origin() {
                let next = lanes.entry((device, epoch, lane)).or_insert(first.0);
                entry.device_seq = if taken[index] == 0 { first.0 } else { *next };
                *next = entry.device_seq + 1;
                let rows = clock.get(&mapping_key(device, epoch, lane, first)[..LANE_KEY_LEN]);
                entry.mapped_from = rows.and_then(|rows| rows.range(..=first.0).next_back()).copied();
            }
            taken[index] += 1;
            entries.push(entry);
        }
    }
    entries
}

fn parse(block: &[u8]) -> Block<'_> {
    Block::new_checked(first_of(block), block).unwrap()
}

fn first_of(block: &[u8]) -> GlobalSequence {
    GlobalSequence(array(block, 16).map(u64::from_le_bytes).unwrap())
}

/// The block with its checksum put right.
fn with_checksum(mut block: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&block[12..]);
    block[8..12].copy_from_slice(&crc.to_le_bytes());
    block
}

/// A record of one block; `None` where not even a record takes it.
fn record_of(block: &[u8]) -> Option<Record> {
    let events = array(block, 24).map(u32::from_le_bytes)?;
    let mut record = RecordWriter::new();
    record.block(|out| out.extend_from_slice(block));
    let head = RecordHead { first: first_of(block), events, ..RecordHead::default() };
    parse_record(&mut record, head).ok()
}

fn parse_record(record: &mut RecordWriter, head: RecordHead) -> Result<Record, &'static str> {
    let seed = RecordSeed::new(1, head.generation);
    Record::parse(record.finish(head, seed).into(), seed)
}

fn local(stream: u32) -> RunKey {
    RunKey { stream, descriptor: 1, device: 0, epoch: Epoch(0), lane: Lane(0), timed: false, sealed: false }
}

fn device(device: u32, stream: u32) -> RunKey {
    RunKey { stream, descriptor: 1, device, epoch: Epoch(3), lane: Lane(1), timed: true, sealed: false }
}

/// `cases` at scale 10, a tenth of them by default.
fn scaled(cases: u64) -> u64 {
    let scale = std::env::var("VARVE_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1);
    (cases * scale).div_ceil(10).max(1)
}
