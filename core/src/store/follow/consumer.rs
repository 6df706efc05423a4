//! The cursors of consumers: how far each has come in the log. FORMAT.md, section 5, specifies the row.

use crate::GlobalSequence;
use crate::store::error::AppendError;
use crate::store::log::rows::Rows;
use crate::store::log::tables::RowError;

/// Where the consumer goes on; `None` before it was ever moved.
pub(in crate::store) fn next_of(rows: Rows<'_>, name: &str) -> Result<Option<GlobalSequence>, RowError> {
    if check_consumer_name(name).is_err() {
        return Ok(None);
    }
    let Some(table) = &rows.tables.consumer else { return Ok(None) };
    let Some(row) = rows.get(table, name.as_bytes())? else { return Ok(None) };
    let next = <[u8; 8]>::try_from(row).map(u64::from_le_bytes);
    let next = next.map_err(|_| table.damage(name.as_bytes(), "it is no cursor of a consumer"))?;
    Ok(Some(GlobalSequence(next)))
}

/// Refuses a name that is empty or too long.
pub(in crate::store) fn check_consumer_name(name: &str) -> Result<(), AppendError> {
    let len = name.len();
    if (1..=CONSUMER_NAME_LEN_MAX).contains(&len) { Ok(()) } else { Err(AppendError::ConsumerName { len }) }
}

/// The longest name of a consumer in bytes.
pub const CONSUMER_NAME_LEN_MAX: usize = 255;
