//! Whether the events of a run may be read as a type.

use crate::Event;
use crate::descriptor::Schema;
use crate::store::error::ReadError;
use crate::store::log::block::Run;
use crate::store::log::catalog::DescriptorRow;
use crate::store::read::snapshot::Snapshot;
use crate::store::write::event_type::EventType;

/// Finds how the events of runs are read as one type. It remembers the answer for the last descriptor, which the runs
/// of a stream seldom change.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::store) struct Readability {
    /// A descriptor, and how many bytes the root of its events takes.
    last: Option<(u32, usize)>,
}

impl Readability {
    /// How many bytes the root of an event of the run takes. A `T` is the front of it.
    ///
    /// # Errors
    ///
    /// [`ReadError::LayoutMismatch`] where events of the run's layout cannot be read as a `T`.
    pub(in crate::store) fn root_len<T: Event>(
        &mut self,
        snapshot: &Snapshot,
        run: &Run<'_>,
    ) -> Result<usize, ReadError> {
        if let Some((descriptor, root_len)) = self.last
            && descriptor == run.descriptor()
        {
            return Ok(root_len);
        }
        let row = snapshot.descriptor_row(run.descriptor())?;
        let asked = EventType::of::<T>();
        let Some(root_len) = row.root_len_as(&asked) else {
            let stream = snapshot.stream_row(run.stream())?;
            return Err(ReadError::LayoutMismatch(row.mismatch(stream.name, Some(stream.id), &asked)));
        };
        self.last = Some((run.descriptor(), root_len));
        Ok(root_len)
    }
}

impl DescriptorRow<'_> {
    /// How many bytes the root of an event with this descriptor takes, where `event_type` can read its front; `None`
    /// where it cannot, and where an external descriptor hides the layout.
    pub(in crate::store) fn root_len_as(&self, event_type: &EventType) -> Option<usize> {
        if self.is_readable_as(event_type) {
            return Some(event_type.root_len);
        }
        let (stored, asked) = self.schemas(event_type)?;
        stored.root_len_for(&asked).ok()
    }

    /// Whether who reads events with this descriptor can read those of `event_type`: it is a later version.
    pub(in crate::store) fn reads(&self, event_type: &EventType) -> bool {
        self.schemas(event_type).is_some_and(|(stored, asked)| asked.root_len_for(&stored).is_ok())
    }

    fn schemas(&self, event_type: &EventType) -> Option<(Schema, Schema)> {
        let stored = Schema::parse(self.known?.1).ok()?;
        Some((stored, Schema::parse(event_type.descriptor).ok()?))
    }
}
