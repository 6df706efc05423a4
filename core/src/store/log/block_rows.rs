//! The rows of a block: the block itself, where its runs stand, and when its events happened.

use heed::RwTxn;

use crate::store::log::block::BlockWriter;
use crate::store::log::run_index::RunIndex;
use crate::store::log::tables::{RowError, Tables};
use crate::store::log::time_index;

/// Writes the rows of a block that is complete, over those of one that it goes on with. Returns the block's length.
pub(in crate::store) fn put(
    tables: &Tables,
    txn: &mut RwTxn<'_>,
    block: &BlockWriter,
) -> Result<usize, RowError> {
    let (first, extent) = (block.first(), block.extent());
    tables.block.put_filled(txn, &first.0.to_be_bytes(), extent.len, |place| block.fill(&extent, place))?;
    for (run, (stream, first_of_run, count)) in block.runs().enumerate() {
        let index = RunIndex { stream, first: first_of_run, block: first, run: run as u16, count };
        tables.stream.put(txn, &index.key(), &index.value())?;
    }
    time_index::put(tables, txn, first)?;
    Ok(extent.len)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::store::config::{Config, Durability};
    use crate::store::files::environment::Environment;
    use crate::store::files::owner_lock::OwnerLock;
    use crate::store::log::block::{EventMeta, RunKey};
    use crate::{DeviceSequence, Epoch, GlobalSequence, Lane, StreamSequence};

    #[test]
    fn a_block_of_any_length_stands_there_as_it_is_written_elsewhere() {
        let (environment, _dir) = environment();
        let tables = environment.tables();
        let mut txn = environment.write().unwrap();
        let mut random = fastrand::Rng::with_seed(7);
        // In a leaf, on one page, on some, on all that a block has; each over the one before it.
        for events in [1, 20, 100, 500, 2_900, 90] {
            let mut block = BlockWriter::new();
            block.begin(GlobalSequence(5), 1);
            (0..events).for_each(|seq| push(&mut block, &mut random, seq));
            let mut expected = Vec::new();
            block.finish(&mut expected);
            assert_eq!(put(tables, &mut txn, &block).unwrap(), expected.len());
            let stored = tables.block.get(&txn, &5u64.to_be_bytes()).unwrap().unwrap();
            assert!(stored == expected, "{events} events");
        }
    }

    #[test]
    fn a_place_that_is_not_filled_is_an_error() {
        let (environment, _dir) = environment();
        for (len, written) in [(100, 99), (100, 101), (60_000, 59_999), (60_000, 0)] {
            let mut txn = environment.write().unwrap();
            let fill = |place: &mut heed::ReservedSpace<'_>| place.write_all(&vec![1; written]);
            assert!(environment.tables().block.put_filled(&mut txn, b"key", len, fill).is_err());
        }
    }

    /// Pushes the event `seq` of stream 1 or 2, of 16 to 20 bytes.
    fn push(block: &mut BlockWriter, random: &mut fastrand::Rng, seq: u64) {
        let (device, epoch, lane) = (0, Epoch(0), Lane(0));
        let stream = 1 + u32::from(seq % 64 == 3);
        let key = RunKey { stream, descriptor: 1, device, epoch, lane, timed: false, sealed: false };
        let meta = EventMeta {
            stream_seq: StreamSequence(seq),
            device_seq: DeviceSequence(0),
            ticks: 0,
            ingest_us: seq / 100,
        };
        let len = random.usize(16..=20);
        let archive = |out: &mut [u8]| {
            out[..len].fill(random.u8(..));
            Ok(len)
        };
        block.push(&key, &meta, len, archive).unwrap();
    }

    fn environment() -> (Environment, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { durability: Durability::Relaxed, map_size: Some(1 << 24), ..Config::default() };
        let owner = OwnerLock::acquire(dir.path()).unwrap();
        (Environment::open(dir.path(), &config, owner).unwrap(), dir)
    }
}
