//! What a snapshot sees of the tail.

use std::sync::Arc;

use super::generation::{Generation, RowKey, TailRun};
use super::record::Record;
use crate::store::log::block::Block;
use crate::{GlobalSequence, StreamSequence};

/// The generations that LMDB does not hold yet, each with how many of its records count. The log goes on from
/// LMDB's last event through the generations in order.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct TailView {
    /// The earliest first.
    generations: Vec<VisibleGeneration>,
}

/// A generation, and how many of its records count.
#[derive(Clone, Debug)]
pub(in crate::store) struct VisibleGeneration {
    pub(in crate::store) generation: Arc<Generation>,
    pub(in crate::store) records: usize,
}

impl TailView {
    /// A view of generations, the earliest first.
    pub(in crate::store) fn new(generations: Vec<VisibleGeneration>) -> Self {
        Self { generations }
    }

    /// Forgets the generations up to `folded`, which LMDB holds.
    pub(in crate::store) fn without_folded(mut self, folded: u64) -> Self {
        self.generations.retain(|visible| visible.records > 0 && visible.generation.number() > folded);
        self
    }

    /// Whether LMDB holds everything.
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.generations.is_empty()
    }

    /// The number of the first generation.
    pub(in crate::store) fn first_generation(&self) -> Option<u64> {
        self.generations.first().map(|visible| visible.generation.number())
    }

    /// Every record, in order.
    pub(in crate::store) fn records(&self) -> impl Iterator<Item = &Record> {
        self.generations.iter().flat_map(|visible| visible.generation.records(visible.records))
    }

    /// How many bytes its records take.
    pub(in crate::store) fn len(&self) -> u64 {
        self.records().map(|record| record.len() as u64).sum()
    }

    /// The place after the last event, where the tail holds any.
    pub(in crate::store) fn end(&self) -> Option<GlobalSequence> {
        let (first, bytes) = self.block_at_or_before(GlobalSequence(u64::MAX))?;
        Block::new_trusted(first, bytes).and_then(|block| block.end()).ok()
    }

    /// The row at `key`.
    pub(in crate::store) fn row(&self, key: &RowKey) -> Option<(&[u8], &[u8])> {
        self.latest_first(|visible| visible.generation.row(key, visible.records))
    }

    /// The last row at or before `key` of its table.
    pub(in crate::store) fn row_at_or_before(&self, key: &RowKey) -> Option<(&[u8], &[u8])> {
        let rows = self.generations.iter();
        let rows = rows.filter_map(|visible| visible.generation.row_at_or_before(key, visible.records));
        rows.max_by_key(|&(key, _)| key)
    }

    /// The rows whose keys begin with `prefix`: those of an earlier generation before those that replace them.
    pub(in crate::store) fn rows_within(&self, prefix: &RowKey) -> impl Iterator<Item = (&[u8], &[u8])> {
        let generations = self.generations.iter();
        generations.flat_map(|visible| visible.generation.rows_within(prefix, visible.records))
    }

    /// The block of the tail that holds the event at `global`, or else the last one before it.
    pub(in crate::store) fn block_at_or_before(
        &self,
        global: GlobalSequence,
    ) -> Option<(GlobalSequence, &[u8])> {
        self.latest_first(|visible| visible.generation.block_at(global, visible.records))
    }

    /// The last run of a stream that begins at or before `seq`, and its block.
    pub(in crate::store) fn run_at_or_before(
        &self,
        stream: u32,
        seq: StreamSequence,
    ) -> Option<(TailRun, &[u8])> {
        self.latest_first(|visible| {
            let run = visible.generation.run_at_or_before(stream, seq, visible.records)?;
            Some((run, visible.generation.block(run.block)))
        })
    }

    fn latest_first<'t, R>(&'t self, find: impl FnMut(&'t VisibleGeneration) -> Option<R>) -> Option<R> {
        self.generations.iter().rev().find_map(find)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tail::record::{RecordHead, RecordSeed, RecordWriter};

    fn visible(number: u64) -> VisibleGeneration {
        let generation = Generation::new(number, 1);
        let mut record = RecordWriter::new();
        record.begin();
        record.finish(RecordHead { generation: number, ..RecordHead::default() }, RecordSeed::new(1, number));
        generation.push(record.record()).unwrap();
        VisibleGeneration { generation: Arc::new(generation), records: 1 }
    }

    #[test]
    fn a_view_forgets_what_lmdb_holds_and_nothing_else() {
        let view = TailView::new([1, 2, 3].map(visible).to_vec());
        let left = |folded| {
            let left = view.clone().without_folded(folded);
            left.generations.iter().map(|visible| visible.generation.number()).collect::<Vec<_>>()
        };
        assert_eq!([left(0), left(1), left(3)], [vec![1, 2, 3], vec![2, 3], vec![]]);
    }
}
