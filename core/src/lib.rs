//! The heart of Varve that firmware and gateway share, and behind the feature `store` the event store.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(not(feature = "store"), forbid(unsafe_code))]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

// The derives name this crate by its path.
extern crate self as varve_core;

mod archive;
mod batch;
mod bounded;
mod crc32c;
pub mod descriptor;
mod event;
mod gap_reason;
mod sequence;
mod sha256;
#[cfg(feature = "store")]
mod store;
mod varint;
#[cfg(feature = "heapless")]
pub mod with;

pub use archive::{
    AccessError, ArchiveError, EventSerializer, EventValidator, EventWriter, SCRATCH_LEN, access,
    archive_into,
};
pub use batch::{
    BATCH_EVENTS_MAX, BATCH_EXTENT_MAX, Batch, BatchError, BatchErrorKind, BatchEvent, BatchWriter,
    CHANNELS_MAX, Events, PushError, TimeColumn,
};
pub use bounded::{Bound, Bounded, BoundedWith};
pub use crc32c::{Crc32c, crc32c};
pub use descriptor::described::Described;
pub use descriptor::hash::{DescriptorHash, LayoutHash};
#[cfg(feature = "alloc")]
pub use descriptor::schema::Schema;
pub use event::{BoundedEvent, Event};
pub use gap_reason::{ArchivedGapReason, GapReason};
#[doc(no_inline)]
pub use rkyv;
pub use sequence::{
    Channel, DeviceId, DeviceSequence, Epoch, GlobalSequence, Lane, StreamId, StreamSequence,
};
pub use sha256::sha256;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use store::fuzzing;
#[cfg(feature = "store")]
pub use store::*;
pub use varint::{VARINT_LEN_MAX, read_varint, unzigzag, write_varint, zigzag};
pub use varve_core_derive::{Described, Event};
