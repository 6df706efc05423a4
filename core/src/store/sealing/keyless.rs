//! What a build without the feature `encryption` seals and opens: nothing.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use heed::RwTxn;

use super::refuse_keys;
use crate::store::config::Config;
use crate::store::error::{AppendError, OpenError, ReadError};
use crate::store::files::environment::Environment;
use crate::store::log::block::{Block, BlockWriter, Run};
use crate::store::log::rows::Rows;
use crate::store::log::tables::Tables;
use crate::store::read::snapshot::Snapshot;
use crate::{StreamId, StreamSequence};

/// No keys.
#[derive(Debug)]
pub(in crate::store) struct Sealing;

/// No stream that an append seals.
pub(in crate::store) struct AppendSealing<'w>(PhantomData<&'w Sealing>);

impl Sealing {
    /// Refuses a store that has keys.
    pub(in crate::store) fn open(
        dir: &Path,
        _: &Config,
        environment: &Arc<Environment>,
    ) -> Result<Self, OpenError> {
        refuse_keys(dir, environment).map(|()| Self)
    }

    pub(in crate::store) fn note_keys(&self, _: &Tables, _: &mut RwTxn<'_>) -> heed::Result<()> {
        Ok(())
    }

    /// A reader sees what is plain.
    pub(in crate::store) fn open_read_only(
        _: &Path,
        _: &Config,
        _: &Arc<Environment>,
    ) -> Result<Self, OpenError> {
        Ok(Self)
    }

    pub(in crate::store) fn append(&self) -> AppendSealing<'_> {
        AppendSealing(PhantomData)
    }

    /// The run as it is where it is plain.
    pub(in crate::store) fn open_run<'s>(
        &self,
        snapshot: &'s Snapshot,
        block: &Block<'s>,
        index: usize,
    ) -> Result<Run<'s>, ReadError> {
        let run = block.run(index)?;
        if run.is_sealed() { Err(super::sealed(snapshot, &run)) } else { Ok(run) }
    }
}

impl AppendSealing<'_> {
    pub(in crate::store) fn admit(
        &mut self,
        _: u32,
        _: &str,
        _: StreamId,
        _: StreamSequence,
    ) -> Result<bool, AppendError> {
        Ok(false)
    }

    pub(in crate::store) fn seal(&self, _: Rows<'_>, _: &mut BlockWriter) -> Result<(), AppendError> {
        Ok(())
    }

    pub(in crate::store) fn store_keys(&self) -> Result<(), AppendError> {
        Ok(())
    }
}

/// Nothing is sealed, and no key is wanted.
pub(in crate::store) fn is_want_of_keys(_: &AppendError) -> bool {
    false
}
