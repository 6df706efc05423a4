//! Where events go: streams, their names, and the descriptors of what they hold.

use super::{Destination, Transaction};
use crate::store::error::AppendError;
use crate::store::log::block::{LocalRun, RunKey};
use crate::store::log::catalog::{self, DescriptorRow, StreamRow};
use crate::store::log::run_index;
use crate::store::log::tables::{key12, number};
use crate::store::write::append::APPEND_OPERATIONS_MAX;
use crate::store::write::event_type::EventType;
use crate::store::write::expected_version::ExpectedVersion;
use crate::store::write::known_streams::Route;
use crate::{BATCH_EVENTS_MAX, DescriptorHash, Epoch, Lane, LayoutHash, StreamId, StreamSequence};

impl Transaction<'_> {
    /// Refuses to go on where a stream has another version than `expected`. It adds nothing: not even the name.
    pub(in crate::store) fn expect(
        &self,
        name: &str,
        id: StreamId,
        expected: ExpectedVersion,
    ) -> Result<(), AppendError> {
        if expected == ExpectedVersion::Any {
            return Ok(());
        }
        let actual = self.version(name, id)?;
        if expected.is_met_by(actual) {
            return Ok(());
        }
        Err(AppendError::ConcurrencyConflict { stream: name.into(), stream_id: id, expected, actual })
    }

    /// How many events a stream holds, those of this transaction included.
    fn version(&self, name: &str, id: StreamId) -> Result<u64, AppendError> {
        let Some(name) = catalog::name_number(self.rows()?, name)? else { return Ok(0) };
        let Some(stream) = catalog::stream_number(self.rows()?, name, id)? else { return Ok(0) };
        match self.known.slot(stream) {
            Some(slot) => Ok(self.known.end_at(slot).0),
            None => Ok(self.stored_end(stream)?.0),
        }
    }

    /// The place after the last event of a stream that this transaction has not touched.
    fn stored_end(&self, stream: u32) -> Result<StreamSequence, AppendError> {
        match self.known.end(stream) {
            Some(end) => Ok(end),
            None => Ok(run_index::stream_end(self.rows()?, stream)?),
        }
    }

    /// Where a local event of a type goes. A name takes one layout of local events.
    pub(in crate::store) fn local_target(
        &mut self,
        name: &str,
        id: StreamId,
        event_type: &EventType,
    ) -> Result<Destination, AppendError> {
        self.routed_target(name, id, event_type, &mut None)
    }

    /// Where the local events of a type go that are archived already. An earlier append perhaps left the route; this one
    /// leaves that which is stored.
    #[inline(always)]
    pub(in crate::store) fn local_run(
        &mut self,
        name: &str,
        id: StreamId,
        event_type: &EventType,
        stored: &mut Option<Route>,
    ) -> Result<LocalRun, AppendError> {
        let Destination { run, slot } = self.routed_target(name, id, event_type, stored)?;
        super::successor(self.known.end_at(slot).0, APPEND_EVENTS_MAX, "stream sequence")?;
        Ok(LocalRun::new(run, slot))
    }

    /// As [`Transaction::local_target`], with the route that is stored, if one is. It leaves that which will be.
    #[inline(always)]
    fn routed_target(
        &mut self,
        name: &str,
        id: StreamId,
        event_type: &EventType,
        stored: &mut Option<Route>,
    ) -> Result<Destination, AppendError> {
        if stored.is_none() {
            *stored = self.known.route(name, id, event_type.descriptor_hash);
        }
        let route = match *stored {
            Some(route) => route,
            None => self.find_route(name, id, event_type)?,
        };
        self.destination(name, id, route)
    }

    /// Asks the rows where a local event of a type goes, and adds what is new.
    #[cold]
    fn find_route(&mut self, name: &str, id: StreamId, event_type: &EventType) -> Result<Route, AppendError> {
        let hash = event_type.descriptor_hash;
        let descriptor = self.descriptor(hash, Some((event_type.layout, event_type.descriptor)))?;
        let number = self.name(name)?;
        catalog::check_layout(self.rows()?, name, number, event_type, |row| {
            row.is_readable_as(event_type) || row.reads(event_type)
        })?;
        let route = self.route(number, name, id, descriptor)?;
        self.known.add_route(name, id, hash, route);
        Ok(route)
    }

    /// Where the events of a device's channel go; `None` where nobody knows the descriptor.
    pub(in crate::store) fn device_target(
        &mut self,
        name: &str,
        id: StreamId,
        descriptor: DescriptorHash,
    ) -> Result<Option<Destination>, AppendError> {
        let Some(descriptor) = catalog::descriptor_number(self.rows()?, descriptor)? else {
            return Ok(None);
        };
        let number = self.name(name)?;
        let route = self.route(number, name, id, descriptor)?;
        self.destination(name, id, route).map(Some)
    }

    /// The number of a descriptor, which is added if it is new, and completed if it was external. The caller has
    /// checked that the bytes are a descriptor of that layout, and that the hash is theirs.
    pub(in crate::store) fn descriptor(
        &mut self,
        hash: DescriptorHash,
        known: Option<(LayoutHash, &[u8])>,
    ) -> Result<u32, AppendError> {
        match catalog::descriptor_number(self.rows()?, hash)? {
            Some(number) => {
                let row = DescriptorRow::get(self.rows()?, number)?;
                if row.known.is_none() && known.is_some() {
                    let row = DescriptorRow { hash, known }.to_row();
                    self.put(&self.tables.descriptor, &number.to_be_bytes(), &row)?;
                }
                Ok(number)
            }
            None => {
                let number = self.allot(&self.tables.descriptor, "descriptor number")?;
                let row = DescriptorRow { hash, known }.to_row();
                self.put(&self.tables.descriptor, &number.to_be_bytes(), &row)?;
                self.put(&self.tables.hash, &hash.0, &number.to_le_bytes())?;
                Ok(number)
            }
        }
    }

    /// The number of a stream name, which is added if it is new.
    fn name(&mut self, name: &str) -> Result<u32, AppendError> {
        if let Some(number) = catalog::name_number(self.rows()?, name)? {
            return Ok(number);
        }
        let number = self.next_name()?;
        self.put(&self.tables.name, name.as_bytes(), &number.to_le_bytes())?;
        Ok(number)
    }

    /// Names are keyed by their text, so that the last number stands with the last stream id.
    fn next_name(&self) -> Result<u32, AppendError> {
        let last = self.rows()?.last(&self.tables.stream_id)?.and_then(|(key, _)| number(key, 0));
        let number = last.unwrap_or(0).checked_add(1);
        number.ok_or(AppendError::Exhausted { space: "stream name" })
    }

    /// The stream of a name, which is added if it is new.
    fn route(
        &mut self,
        number: u32,
        name: &str,
        id: StreamId,
        descriptor: u32,
    ) -> Result<Route, AppendError> {
        let stream = match catalog::stream_number(self.rows()?, number, id)? {
            Some(stream) => stream,
            None => self.add_stream(number, name, id)?,
        };
        self.add_layout(number, descriptor)?;
        Ok(Route { stream, descriptor })
    }

    /// What the events of a route are made of.
    #[inline(always)]
    fn destination(&mut self, name: &str, id: StreamId, route: Route) -> Result<Destination, AppendError> {
        let Route { stream, descriptor } = route;
        let slot = match self.known.slot(stream) {
            Some(slot) => slot,
            None => {
                let end = self.stored_end(stream)?;
                self.known.add(stream, end)
            }
        };
        let sealed = self.sealing.admit(stream, name, id, self.known.end_at(slot))?;
        let (device, epoch, lane) = (0, Epoch(0), Lane(0));
        let run = RunKey { stream, descriptor, device, epoch, lane, timed: false, sealed };
        Ok(Destination { run, slot })
    }

    fn add_stream(&mut self, number: u32, name: &str, id: StreamId) -> Result<u32, AppendError> {
        let stream = self.allot(&self.tables.stream_info, "stream number")?;
        self.put(&self.tables.stream_id, &key12(number, id.0), &stream.to_le_bytes())?;
        let row = StreamRow { name, id }.to_row();
        self.put(&self.tables.stream_info, &stream.to_be_bytes(), &row)?;
        Ok(stream)
    }

    /// Notes that a name holds events of a descriptor's layout.
    fn add_layout(&mut self, name: u32, descriptor: u32) -> Result<(), AppendError> {
        let row = DescriptorRow::get(self.rows()?, descriptor)?;
        let layout = row.known.map_or([0; 8], |(layout, _)| layout.0);
        let key = key12(name, u64::from_be_bytes(layout));
        if self.rows()?.get(&self.tables.layout, &key)?.is_none() {
            self.put(&self.tables.layout, &key, &descriptor.to_le_bytes())?;
        }
        Ok(())
    }
}

/// More events than one append has: a stream that lacks the places for so many takes no more local ones.
const APPEND_EVENTS_MAX: usize = APPEND_OPERATIONS_MAX * BATCH_EVENTS_MAX;
