//! Why an event is not there: retired by retention, quarantined by a salvage, or lost to damage that nobody has seen yet.

use crate::store::error::{Damage, Place, ReadError};
use crate::store::log::run_index::RunIndex;
use crate::store::log::tables::key12;
use crate::store::read::snapshot::Snapshot;
use crate::{GlobalSequence, StreamSequence};

impl Snapshot {
    /// Why no block holds the event at `global`, which is before the end of the log.
    pub(in crate::store) fn why_absent(&self, global: GlobalSequence) -> ReadError {
        match self.first_global_seq() {
            Ok(first) if global < first => ReadError::Retired { first },
            Ok(_) => Damage { place: Place::Event(global), reason: "no block holds it" }.into(),
            Err(error) => error,
        }
    }

    /// Why no run holds the event at `seq` of a stream, which is before the stream's end.
    pub(in crate::store) fn why_absent_of(&self, stream: u32, seq: StreamSequence) -> ReadError {
        match self.first_of(stream) {
            Ok(first) if seq < first => ReadError::StreamRetired { first },
            Ok(_) => self.tables().stream.damage(&key12(stream, seq.0), "no run holds it").into(),
            Err(error) => error,
        }
    }

    /// Why the block of a run is missing, which a row of the index locates.
    pub(in crate::store) fn why_missing(&self, row: &RunIndex) -> ReadError {
        match self.first_global_seq() {
            Ok(retained) if row.block < retained => self.why_absent_of(row.stream, row.first),
            Ok(_) => self.tables().block.damage(&row.block.0.to_be_bytes(), "it is missing").into(),
            Err(error) => error,
        }
    }

    /// The first event of a stream that retention left; the stream's end where there is none.
    pub(in crate::store) fn first_of(&self, stream: u32) -> Result<StreamSequence, ReadError> {
        let retained = self.first_global_seq()?;
        if retained == GlobalSequence(0) {
            return Ok(StreamSequence(0));
        }
        let mut first = StreamSequence(0);
        for row in self.rows().within(&self.tables().stream, &stream.to_be_bytes())? {
            let (key, value) = row?;
            let index = self.run_index(key, value)?;
            if index.block >= retained {
                return Ok(index.first);
            }
            // What follows a run that is retired is in the log, or in the tail, or still to come.
            first = index.end().unwrap_or(first);
        }
        Ok(first)
    }
}
