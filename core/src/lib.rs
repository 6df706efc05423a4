//! The heart of Varve that firmware and gateway share, and behind the feature `store` the event store.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "std")]
extern crate std;

mod batch;
mod crc32c;
mod sequence;
mod sha256;
mod varint;

pub use batch::{
    BATCH_EVENTS_MAX, BATCH_EXTENT_MAX, Batch, BatchError, BatchErrorKind, BatchEvent, BatchWriter,
    CHANNELS_MAX, Events, PushError, TimeColumn,
};
pub use crc32c::{Crc32c, crc32c};
pub use sequence::{
    Channel, DeviceId, DeviceSequence, Epoch, GlobalSequence, Lane, StreamId, StreamSequence,
};
pub use sha256::sha256;
pub use varint::{VARINT_LEN_MAX, read_varint, unzigzag, write_varint, zigzag};
