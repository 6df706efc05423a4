//! The tail journal: the end of the log, one record a commit, until it is folded into LMDB.

mod fold;
#[cfg(test)]
mod golden;
mod journal;
mod published;
mod record;

pub(in crate::store) use fold::{Folded, fold, table_of};
pub(in crate::store) use journal::{Journal, Recovered, SEGMENT_LEN_MAX, SEGMENT_LEN_MIN, SEGMENTS};
pub(in crate::store) use published::{Published, PublishedFile};
pub(in crate::store) use record::{
    Chunk, RECORD_BODY_LEN_MAX, Record, RecordHead, RecordSeed, RecordWriter, TableNumber,
};

/// How many tables there may be.
pub(in crate::store) const TABLES_MAX: u8 = 24;
