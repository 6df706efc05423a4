//! Doors for the fuzz targets to the parsers of stored bytes. No part of the public interface.

mod backup;
mod block;
mod data_file;
#[cfg(feature = "encryption")]
mod keys;
mod reader_table;
mod record;
mod row;
mod tail_head;
mod watermark;

pub use backup::{check_backup, sample_backups, seal_backup};
pub use block::{check_block, sample_blocks, seal_block, walk_unchecked_block};
pub use data_file::{check_data_file, sample_data_files};
#[cfg(feature = "encryption")]
pub use keys::{check_keys, sample_keys, seal_keys};
pub use reader_table::{check_reader_table, sample_reader_tables};
pub use record::{check_record, sample_records, seal_record};
pub use row::{check_row, sample_rows};
pub use tail_head::{check_tail_head, sample_tail_heads, seal_tail_head};
pub use watermark::{check_watermark, sample_watermarks, seal_watermark};
