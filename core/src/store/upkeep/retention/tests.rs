use super::*;
use crate::store::config::{Config, Durability};
use crate::store::files::environment::Environment;
use crate::store::files::owner_lock::OwnerLock;
use crate::store::log::block::{BlockWriter, EventMeta, RunKey};
use crate::store::log::tables::Table;
use crate::{DeviceSequence, Epoch, Lane};

/// A log of blocks of ten events of 1,000 bytes, each block of one stream. A block is taken in one second after the
/// one before it.
struct Log {
    environment: Environment,
    /// The next sequence of each stream.
    next: [u64; 3],
    /// The clock domain of the next block.
    domain: u32,
    _dir: tempfile::TempDir,
}

impl Log {
    /// A log of blocks of stream 1, but for those in `of_stream_2`.
    fn of(blocks: u64, of_stream_2: &[u64]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { durability: Durability::Relaxed, ..Config::default() };
        let owner = OwnerLock::acquire(dir.path()).unwrap();
        let environment = Environment::open(dir.path(), &config, owner).unwrap();
        let mut log = Self { environment, next: [0; 3], domain: 1, _dir: dir };
        log.set_clock(1, 0);
        (0..blocks).for_each(|block| log.append(if of_stream_2.contains(&block) { 2 } else { 1 }));
        log
    }

    fn append(&mut self, stream: u32) {
        let block = self.next.iter().sum::<u64>() / 10;
        let (key, bytes, rows) = ten_events(block, self.domain, stream, self.next[stream as usize]);
        self.next[stream as usize] += 10;
        self.set(|tables, txn| {
            tables.block.put(txn, &key, &bytes).unwrap();
            rows.iter().for_each(|row| tables.stream.put(txn, &row.key(), &row.value()).unwrap());
            time_index::put(tables, txn, GlobalSequence(block * 10)).unwrap();
        });
    }

    /// Lets a domain's clock be off by so much.
    fn set_clock(&self, domain: u32, uncertainty_us: u64) {
        let row = Domain { boot_id: [1; 16], utc_offset_us: UTC_OFFSET_US, uncertainty_us }.to_row();
        self.set(|tables, txn| tables.domain.put(txn, &domain.to_be_bytes(), &row).unwrap());
    }

    fn retire(&self, policy: &RetentionPolicy, now_s: i64) -> Result<Step, RowError> {
        let mut txn = self.environment.write().unwrap();
        let now_utc_us = now_s * 1_000_000 + UTC_OFFSET_US;
        let step = retire(&mut txn, self.environment.tables(), policy, Some(now_utc_us));
        txn.commit().unwrap();
        step
    }

    fn blocks(&self) -> Vec<u64> {
        self.firsts(&self.environment.tables().block)
    }

    /// The blocks that the index by time has a row of.
    fn timed(&self) -> Vec<u64> {
        self.firsts(&self.environment.tables().time.unwrap())
    }

    fn firsts(&self, table: &Table) -> Vec<u64> {
        let txn = self.environment.write().unwrap();
        let rows = table.from(&txn, &[]).unwrap();
        rows.map(|row| long_number(row.unwrap().0, 0).unwrap()).collect()
    }

    /// The rows of the index: the stream, the first sequence and the block.
    fn runs(&self) -> Vec<(u32, u64, u64)> {
        let txn = self.environment.write().unwrap();
        let rows = self.environment.tables().stream.from(&txn, &[]).unwrap();
        let parse = |(key, value)| RunIndex::parse(key, value).unwrap();
        rows.map(|row| parse(row.unwrap())).map(|run| (run.stream, run.first.0, run.block.0)).collect()
    }

    fn set(&self, change: impl FnOnce(&Tables, &mut RwTxn<'_>)) {
        let mut txn = self.environment.write().unwrap();
        change(self.environment.tables(), &mut txn);
        txn.commit().unwrap();
    }
}

fn ten_events(block: u64, domain: u32, stream: u32, next: u64) -> (Vec<u8>, Vec<u8>, Vec<RunIndex>) {
    let mut writer = BlockWriter::new();
    let first = GlobalSequence(block * 10);
    writer.begin(first, domain);
    let key = RunKey {
        stream,
        descriptor: 1,
        device: 0,
        epoch: Epoch(0),
        lane: Lane(0),
        timed: false,
        sealed: false,
    };
    for event in 0..10 {
        let meta = EventMeta {
            stream_seq: StreamSequence(next + event),
            device_seq: DeviceSequence(0),
            ticks: 0,
            ingest_us: block * 1_000_000,
        };
        let archive = |out: &mut [u8]| {
            out[..EVENT_LEN].fill(7);
            Ok(EVENT_LEN)
        };
        writer.push(&key, &meta, EVENT_LEN, archive).unwrap();
    }
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    let rows = Block::new_checked(first, &bytes).unwrap().index_rows().unwrap();
    (first.0.to_be_bytes().to_vec(), bytes, rows)
}

fn events(kept: u64) -> RetentionPolicy {
    RetentionPolicy { events_max: Some(kept), ..RetentionPolicy::default() }
}

const EVENT_LEN: usize = 1000;
const UTC_OFFSET_US: i64 = 1_700_000_000_000_000;

#[test]
fn whole_blocks_go_from_the_front_while_enough_events_remain() {
    let log = Log::of(5, &[]);
    let step = log.retire(&events(25), 0).unwrap();
    assert!(step.is_done);
    assert_eq!((step.retired.blocks, step.retired.events, step.retired.first), (2, 20, GlobalSequence(20)));
    assert_eq!(log.blocks(), [20, 30, 40]);
    assert_eq!(log.runs(), [(1, 20, 20), (1, 30, 30), (1, 40, 40)]);
    assert_eq!(log.timed(), [20, 30, 40]);
    let again = log.retire(&events(25), 0).unwrap().retired;
    assert_eq!((again.blocks, again.first), (0, GlobalSequence(20)), "what is gone is remembered");
}

#[test]
fn the_last_block_stays_whatever_the_policy_says() {
    let log = Log::of(3, &[]);
    assert_eq!(log.retire(&events(0), 0).unwrap().retired.blocks, 2);
    assert_eq!(log.blocks(), [20]);
    assert_eq!(Log::of(0, &[]).retire(&events(0), 0).unwrap().retired, Retired::default());
}

#[test]
fn without_a_limit_nothing_goes() {
    let log = Log::of(3, &[]);
    let policy = RetentionPolicy { consumers: Vec::new(), ..RetentionPolicy::default() };
    assert_eq!(log.retire(&policy, i64::from(u32::MAX)).unwrap().retired.blocks, 0);
}

#[test]
fn a_stream_whose_runs_are_all_gone_keeps_the_row_that_tells_its_end() {
    let log = Log::of(5, &[0, 1]);
    log.retire(&events(20), 0).unwrap();
    assert_eq!(log.runs(), [(1, 10, 30), (1, 20, 40), (2, 10, 10)]);
    let txn = log.environment.write().unwrap();
    let end =
        crate::store::log::run_index::stream_end(Rows::new(log.environment.tables(), &txn, None, None), 2)
            .unwrap();
    assert_eq!(end, StreamSequence(20));
}

#[test]
fn the_row_that_was_kept_goes_with_the_next_run_of_its_stream() {
    let mut log = Log::of(3, &[0]);
    log.retire(&events(0), 0).unwrap();
    [2, 1].into_iter().for_each(|stream| log.append(stream));
    assert_eq!(log.runs(), [(1, 10, 20), (1, 20, 40), (2, 0, 0), (2, 10, 30)]);
    log.retire(&events(0), 0).unwrap();
    assert_eq!(log.runs(), [(1, 20, 40), (2, 10, 30)]);
}

#[test]
fn what_a_consumer_has_yet_to_see_stays() {
    let log = Log::of(5, &[]);
    let policy = RetentionPolicy { consumers: vec!["a".into(), "b".into()], ..events(0) };
    assert_eq!(log.retire(&policy, 0).unwrap().retired.blocks, 0, "consumers that never moved saw nothing");
    let seen = |name: &str, next: u64| {
        log.set(|tables, txn| {
            let table = tables.consumer.unwrap();
            table.put(txn, name.as_bytes(), &next.to_le_bytes()).unwrap();
        });
    };
    seen("a", 40);
    seen("b", 29);
    assert_eq!(log.retire(&policy, 0).unwrap().retired.first, GlobalSequence(20));
    seen("b", 30);
    assert_eq!(log.retire(&policy, 0).unwrap().retired.first, GlobalSequence(30));
}

#[test]
fn what_was_taken_in_too_long_ago_goes_and_only_where_that_is_known() {
    let policy = RetentionPolicy { age_max: Some(Duration::from_secs(10)), ..RetentionPolicy::default() };
    let log = Log::of(5, &[]);
    assert_eq!(log.retire(&policy, 10).unwrap().retired.blocks, 0);
    assert_eq!(log.retire(&policy, 12).unwrap().retired.blocks, 2, "blocks of the seconds 0 and 1");
    let log = Log::of(5, &[]);
    log.set_clock(1, 3_000_000);
    assert_eq!(log.retire(&policy, 13).unwrap().retired.blocks, 0, "a clock may be as far off as it says");
    assert_eq!(log.retire(&policy, 15).unwrap().retired.blocks, 2);
    let log = Log::of(5, &[]);
    log.set_clock(1, u64::MAX);
    assert_eq!(log.retire(&policy, 1_000_000).unwrap().retired.blocks, 0);
    let mut txn = log.environment.write().unwrap();
    let step = retire(&mut txn, log.environment.tables(), &policy, None).unwrap();
    assert_eq!(step.retired.blocks, 0, "nobody knows what time it is");
}

#[test]
fn what_a_clock_that_was_never_set_took_in_is_older_than_what_follows() {
    let policy = RetentionPolicy { age_max: Some(Duration::from_secs(10)), ..RetentionPolicy::default() };
    for lost in [false, true] {
        // Two blocks of a clock that was never set, 20 of another, 3 of one that was.
        let mut log = Log::of(2, &[]);
        for (domain, uncertainty_us, blocks) in [(1, u64::MAX, 0), (2, u64::MAX, 20), (3, 0, 3)] {
            log.domain = domain;
            log.set_clock(domain, uncertainty_us);
            (0..blocks).for_each(|_| log.append(1));
        }
        if lost {
            let stand_in = crate::store::log::block::quarantined(GlobalSequence(0), 10, &[]);
            log.set(|tables, txn| tables.block.put(txn, &0u64.to_be_bytes(), &stand_in).unwrap());
        }
        assert_eq!(
            log.retire(&policy, 22 + 10).unwrap().retired.blocks,
            0,
            "the second 22 is the first known"
        );
        let step = log.retire(&policy, 22 + 11).unwrap();
        assert_eq!((step.retired.blocks, step.is_done), (23, true), "{lost}");
    }
}

#[test]
fn blocks_go_until_the_rest_takes_as_many_bytes_as_it_may() {
    let log = Log::of(40, &[]);
    let len = || {
        let txn = log.environment.write().unwrap();
        log.environment.tables().block.len_on_disk(&txn).unwrap()
    };
    let policy = RetentionPolicy { bytes_max: Some(len() / 2), ..RetentionPolicy::default() };
    let step = log.retire(&policy, 0).unwrap();
    assert!(len() <= policy.bytes_max.unwrap());
    assert!((18..=21).contains(&step.retired.blocks), "{step:?}");
}

#[test]
fn a_step_is_bounded_and_says_that_there_is_more() {
    let log = Log::of(STEP_BLOCKS_MAX + 3, &[]);
    let step = log.retire(&events(0), 0).unwrap();
    assert_eq!((step.retired.blocks, step.is_done), (STEP_BLOCKS_MAX, false));
    let step = log.retire(&events(0), 0).unwrap();
    assert_eq!((step.retired.blocks, step.is_done), (2, true));
}

#[test]
fn a_damaged_block_stays_and_is_an_error() {
    let log = Log::of(4, &[]);
    let key = 10u64.to_be_bytes();
    log.set(|tables, txn| {
        let mut block = tables.block.get(txn, &key).unwrap().unwrap().to_vec();
        block[200] ^= 1;
        tables.block.put(txn, &key, &block).unwrap();
    });
    let step = log.retire(&events(0), 0).unwrap();
    assert_eq!((step.retired.first, step.is_done), (GlobalSequence(10), false), "what is before it goes");
    let damage = match log.retire(&events(0), 0) {
        Err(RowError::Damage(damage)) => damage,
        other => panic!("{other:?}"),
    };
    assert_eq!(damage.place, crate::Place::Block(GlobalSequence(10)));
    assert_eq!(log.blocks(), [10, 20, 30]);
}
