//! The blocks of the log, and the index of their runs.

use super::{Damage, LaneKey, Place, Verification};
use crate::GlobalSequence;
use crate::store::log::block::{Block, Run};
use crate::store::log::run_index::RunIndex;
use crate::store::log::tables::long_number;
use crate::store::log::time_index::TimeRow;

impl<'s> Verification<'s> {
    /// Checks every block, that they join, and that the index locates each of their runs.
    pub(super) fn check_log(&mut self) {
        let mut next = Some(self.retained);
        self.each_row(self.tables().block, |verification, (key, value)| {
            let first = long_number(key, 0).filter(|_| key.len() == 8).ok_or("its key is no sequence")?;
            next = verification.check_block(GlobalSequence(first), value, next);
            Ok(())
        });
        while let Some(block) = next.and_then(|next| self.snapshot.tail_block(next).ok().flatten()) {
            next = self.check_tail_block(&block);
        }
        if next.is_some() && next != self.end {
            self.report.add_text("tail".into(), "it does not go on where LMDB ends".into());
        }
    }

    /// Checks the keys of the blocks, and reads none of them.
    pub(super) fn check_block_keys(&mut self) {
        self.each_row(self.tables().block, |verification, (key, _)| {
            let first = long_number(key, 0).filter(|_| key.len() == 8).ok_or("its key is no sequence")?;
            verification.report.blocks += 1;
            if first < verification.retained.0 { Err("it is retired") } else { Ok(()) }
        });
    }

    /// Checks a block that should begin at `expected`, if that is known, and returns where the next one should.
    fn check_block(
        &mut self,
        first: GlobalSequence,
        value: &'s [u8],
        expected: Option<GlobalSequence>,
    ) -> Option<GlobalSequence> {
        self.report.blocks += 1;
        if expected.is_some_and(|expected| expected != first) {
            let reason = "it does not follow the block before it";
            self.report.add(&Damage { place: Place::Block(first), reason });
        }
        match self.check_whole_block(first, value) {
            Ok(end) => Some(end),
            Err(damage) => {
                (self.lanes, self.knows_all_runs) = (None, false);
                self.report.add(&damage);
                None
            }
        }
    }

    fn check_whole_block(
        &mut self,
        first: GlobalSequence,
        value: &'s [u8],
    ) -> Result<GlobalSequence, Damage> {
        let block = Block::new_checked(first, value)?;
        let end = block.end()?;
        let runs = block.index_rows()?;
        self.report.runs += runs.len() as u64;
        for run in &runs {
            if self.get(self.tables().stream, &run.key()) != Some(&run.value()) {
                self.report.add(&self.tables().stream.damage(&run.key(), "it does not locate its run"));
            }
        }
        if block.is_quarantined() {
            self.report.lost_events += u64::from(block.len());
            self.lanes = None;
            self.knows_all_runs &= runs.iter().map(|run| run.count).sum::<u32>() == block.len();
            return Ok(end);
        }
        self.check_events(&block)?;
        self.check_times(&block);
        Ok(end)
    }

    /// Checks what the index by time says of a block. Where it tells of a part alone, a reader looks into the block.
    fn check_times(&mut self, block: &Block<'s>) {
        let Some(table) = self.tables().time else { return };
        let key = block.first().0.to_be_bytes();
        let row = self.get(table, &key).and_then(|value| TimeRow::parse(&key, value));
        let Some(row) = row.filter(|row| row.events >= block.len()) else { return };
        match TimeRow::of(self.snapshot.rows(), block) {
            Ok(told) if told.as_ref() == Some(&row) => {}
            Ok(_) => self.report.add(&table.damage(&key, "it is not what the block says")),
            Err(error) => self.add_error(table, error.into()),
        }
    }

    /// Checks that each row of the index by time is one, and tells of a block.
    pub(super) fn check_time_index(&mut self) {
        let Some(table) = self.tables().time else { return };
        self.each_row(table, |verification, (key, value)| {
            TimeRow::parse(key, value).ok_or("it tells no times")?;
            if verification.has(verification.tables().block, key) {
                Ok(())
            } else {
                Err("its block is missing")
            }
        });
    }

    /// Checks a block of the tail, whose record was checked when it was read, and returns where it ends.
    fn check_tail_block(&mut self, block: &Block<'s>) -> Option<GlobalSequence> {
        self.report.blocks += 1;
        self.report.runs += block.runs() as u64;
        match self.check_events(block).and_then(|()| block.end()) {
            Ok(end) => Some(end),
            Err(damage) => {
                self.report.add(&damage);
                None
            }
        }
    }

    /// Checks what a block of events refers to.
    fn check_events(&mut self, block: &Block<'s>) -> Result<(), Damage> {
        self.report.events += u64::from(block.len());
        if !self.has(self.tables().domain, &block.domain().to_be_bytes()) {
            self.report.add(&block.damage("its clock domain is missing"));
        }
        for index in 0..block.runs() {
            if let Err(reason) = self.check_run(&block.run(index)?) {
                self.report.add(&block.damage(reason));
            }
        }
        Ok(())
    }

    /// Checks what a run refers to, and counts its events for their lane.
    fn check_run(&mut self, run: &Run<'_>) -> Result<(), &'static str> {
        let tables = self.tables();
        if !self.has(tables.stream_info, &run.stream().to_be_bytes()) {
            return Err("a run's stream is missing");
        }
        if !self.has(tables.descriptor, &run.descriptor().to_be_bytes()) {
            return Err("a run's descriptor is missing");
        }
        let Some(origin) = run.origin() else { return Ok(()) };
        self.count(LaneKey::of(&origin), run.count());
        let cursor = self.lane(LaneKey::of(&origin)).ok_or("a run's lane has no cursor")?;
        match origin.first.0.checked_add(run.count().into()) {
            Some(end) if end <= cursor.next.0 => Ok(()),
            _ => Err("a run goes beyond the cursor of its lane"),
        }
    }

    /// Checks that each row of the index locates a run, and that the runs of a stream join.
    pub(super) fn check_index(&mut self) {
        let mut before: Option<RunIndex> = None;
        self.each_row(self.tables().stream, |verification, row| {
            let index = RunIndex::parse(row.0, row.1).ok_or("it locates no run")?;
            let before = before.replace(index).filter(|before| before.stream == index.stream);
            verification.check_index_row(&index, before.as_ref())
        });
    }

    fn check_index_row(&mut self, row: &RunIndex, before: Option<&RunIndex>) -> Result<(), &'static str> {
        row.end().ok_or("its events are too many")?;
        let begins_rightly = match before {
            Some(before) => before.end() == Some(row.first),
            None => row.first.0 == 0 || self.retained.0 > 0,
        };
        if !begins_rightly && self.reads_blocks && self.knows_all_runs {
            return Err("it does not follow the run before");
        }
        if row.block < self.retained {
            return if before.is_none() { Ok(()) } else { Err("its block is retired") };
        }
        let value = self.get(self.tables().block, &row.block.0.to_be_bytes());
        let value = value.ok_or("its block is missing")?;
        if !self.reads_blocks {
            return Ok(());
        }
        let block = Block::new_trusted(row.block, value);
        // A damaged block was found as such.
        let Ok(rows) = block.and_then(|block| block.index_row(row.run.into())) else { return Ok(()) };
        if rows == *row { Ok(()) } else { Err("it is not what the block says") }
    }
}
