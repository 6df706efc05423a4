//! The rows that name things: streams, descriptors, layouts.

use crate::descriptor::Schema;
use crate::store::error::{LayoutMismatch, ReadError};
use crate::store::log::rows::Rows;
use crate::store::log::tables::{RowError, array, key12};
use crate::store::write::event_type::EventType;
use crate::{DescriptorHash, LayoutHash, StreamId};

/// A stream as its row has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct StreamRow<'t> {
    /// The name.
    pub(in crate::store) name: &'t str,
    /// Which stream of the name.
    pub(in crate::store) id: StreamId,
}

/// A descriptor as its row has it.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct DescriptorRow<'t> {
    /// The hash of the bytes.
    pub(in crate::store) hash: DescriptorHash,
    /// What the bytes say of the layout, and the bytes; `None` where they are external.
    pub(in crate::store) known: Option<(LayoutHash, &'t [u8])>,
}

impl<'t> StreamRow<'t> {
    /// Reads the row of a stream.
    pub(in crate::store) fn get(rows: Rows<'t>, stream: u32) -> Result<Self, RowError> {
        let key = stream.to_be_bytes();
        let table = &rows.tables.stream_info;
        let row = rows.get(table, &key)?;
        let row = row.ok_or_else(|| table.damage(&key, "it is missing"))?;
        Ok(Self::parse(row).ok_or_else(|| table.damage(&key, "it names no stream"))?)
    }

    /// Reads a row's value.
    pub(in crate::store) fn parse(row: &'t [u8]) -> Option<Self> {
        let id = StreamId(array(row, 0).map(u64::from_le_bytes)?);
        Some(Self { id, name: std::str::from_utf8(row.get(8..)?).ok()? })
    }

    /// The row's value.
    pub(in crate::store) fn to_row(self) -> Vec<u8> {
        [&self.id.0.to_le_bytes(), self.name.as_bytes()].concat()
    }
}

impl<'t> DescriptorRow<'t> {
    /// Reads the row of a descriptor.
    pub(in crate::store) fn get(rows: Rows<'t>, descriptor: u32) -> Result<Self, RowError> {
        let key = descriptor.to_be_bytes();
        let table = &rows.tables.descriptor;
        let row = rows.get(table, &key)?;
        let row = row.ok_or_else(|| table.damage(&key, "it is missing"))?;
        Ok(Self::parse(row).ok_or_else(|| table.damage(&key, "it is too short"))?)
    }

    /// Reads a row's value.
    pub(in crate::store) fn parse(row: &'t [u8]) -> Option<Self> {
        let layout = LayoutHash(array(row, 0)?);
        let hash = DescriptorHash(array(row, 8)?);
        let bytes = row.get(16..)?;
        Some(Self { hash, known: (!bytes.is_empty()).then_some((layout, bytes)) })
    }

    /// The row's value.
    pub(in crate::store) fn to_row(self) -> Vec<u8> {
        let (layout, bytes) = self.known.unwrap_or((LayoutHash([0; 8]), &[]));
        [&layout.0, &self.hash.0, bytes].concat()
    }

    /// Whether events with this descriptor may be read as `event_type`.
    pub(in crate::store) fn is_readable_as(&self, event_type: &EventType) -> bool {
        match self.known {
            Some((layout, _)) => layout == event_type.layout,
            None => self.hash == event_type.descriptor_hash,
        }
    }

    /// Says that events with this descriptor were to be read, or stored, as `event_type`.
    pub(in crate::store) fn mismatch(
        &self,
        stream: &str,
        id: Option<StreamId>,
        asked: &EventType,
    ) -> Box<LayoutMismatch> {
        let schema = self.known.and_then(|(_, bytes)| Schema::parse(bytes).ok());
        let name = schema.as_ref().map_or_else(|| "an external type".into(), Schema::to_string);
        let schemas = schema.as_ref().zip(Schema::parse(asked.descriptor).ok());
        Box::new(LayoutMismatch {
            stream: stream.into(),
            stream_id: id,
            stored: (name, self.known.map(|(layout, _)| layout)),
            asked: (asked.name.into(), asked.layout),
            difference: schemas.and_then(|(stored, asked)| stored.root_len_for(&asked).err()),
        })
    }
}

/// The number of a stream name.
pub(in crate::store) fn name_number(rows: Rows<'_>, name: &str) -> Result<Option<u32>, RowError> {
    let table = &rows.tables.name;
    number_at(rows.get(table, name.as_bytes())?, || table.damage(name.as_bytes(), "it is no number"))
}

/// The number of a stream of a name.
pub(in crate::store) fn stream_number(
    rows: Rows<'_>,
    name: u32,
    id: StreamId,
) -> Result<Option<u32>, RowError> {
    let key = key12(name, id.0);
    let table = &rows.tables.stream_id;
    number_at(rows.get(table, &key)?, || table.damage(&key, "it is no number"))
}

/// The number of a descriptor.
pub(in crate::store) fn descriptor_number(
    rows: Rows<'_>,
    hash: DescriptorHash,
) -> Result<Option<u32>, RowError> {
    let table = &rows.tables.hash;
    number_at(rows.get(table, &hash.0)?, || table.damage(&hash.0, "it is no number"))
}

/// Whether a stream name holds events of a layout, or of one that suits, or would take its first. The mismatch tells of
/// one that it does hold.
pub(in crate::store) fn check_layout(
    rows: Rows<'_>,
    stream: &str,
    name: u32,
    asked: &EventType,
    suits: impl Fn(&DescriptorRow<'_>) -> bool,
) -> Result<(), CheckLayoutError> {
    let table = &rows.tables.layout;
    if rows.get(table, &key12(name, u64::from_be_bytes(asked.layout.0)))?.is_some() {
        return Ok(());
    }
    let mut mismatch = None;
    for other in rows.within(table, &name.to_be_bytes())? {
        let (key, value) = other?;
        let descriptor = number_at(Some(value), || table.damage(key, "it is no number"))?.unwrap_or(0);
        let row = DescriptorRow::get(rows, descriptor)?;
        if suits(&row) {
            return Ok(());
        }
        mismatch = mismatch.or_else(|| Some(row.mismatch(stream, None, asked)));
    }
    mismatch.map_or(Ok(()), |mismatch| Err(CheckLayoutError::Mismatch(mismatch)))
}

/// Why a layout does not suit a stream name.
pub(in crate::store) enum CheckLayoutError {
    Mismatch(Box<LayoutMismatch>),
    Row(RowError),
}

impl<E: Into<RowError>> From<E> for CheckLayoutError {
    fn from(error: E) -> Self {
        Self::Row(error.into())
    }
}

impl From<CheckLayoutError> for ReadError {
    fn from(error: CheckLayoutError) -> Self {
        match error {
            CheckLayoutError::Mismatch(mismatch) => Self::LayoutMismatch(mismatch),
            CheckLayoutError::Row(error) => error.into(),
        }
    }
}

impl From<CheckLayoutError> for crate::store::error::AppendError {
    fn from(error: CheckLayoutError) -> Self {
        match error {
            CheckLayoutError::Mismatch(mismatch) => Self::LayoutMismatch(mismatch),
            CheckLayoutError::Row(error) => error.into(),
        }
    }
}

fn number_at(
    row: Option<&[u8]>,
    damage: impl FnOnce() -> crate::store::error::Damage,
) -> Result<Option<u32>, RowError> {
    match row {
        None => Ok(None),
        Some(row) => match <[u8; 4]>::try_from(row) {
            Ok(row) => Ok(Some(u32::from_le_bytes(row))),
            Err(_) => Err(damage().into()),
        },
    }
}
