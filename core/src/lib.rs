//! The heart of Varve that firmware and gateway share, and behind the feature `store` the event store.
//!
//! Both sides share the [`Event`] with its [`descriptor`], the one form in which it is [archived](archive_into), the number spaces
//! ([`GlobalSequence`], [`StreamSequence`], [`DeviceSequence`] and more), and the [`Batch`] that a device seals and the store takes in.
//!
//! | feature | what it adds |
//! |---|---|
//! | none | the above, without the standard library and without an allocator |
//! | `heapless` | fields that are strings and vectors of [heapless](https://docs.rs/heapless) |
//! | `alloc`, `std` | `String` and `Vec` in events; events of any program as JSON, by their descriptors: `Schema` |
//! | `store` (default) | the event store |
//! | `notify` | waiting for events, on any async runtime |
//! | `encryption` | streams that are sealed, and can be forgotten |
#![cfg_attr(feature = "store", doc = include_str!("store/guide.md"))]
#![cfg_attr(feature = "notify", doc = include_str!("store/guide/following.md"))]
#![cfg_attr(feature = "encryption", doc = include_str!("store/guide/sealing.md"))]
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
    BATCH_EVENTS_MAX, BATCH_EXTENT_MAX, Batch, BatchError, BatchErrorKind, BatchEvent, BatchEvents,
    BatchWriter, CHANNELS_MAX, PushError, TimeColumn,
};
pub use bounded::{Bound, Bounded, BoundedWith};
pub use crc32c::{Crc32c, crc32c};
pub use descriptor::described::Described;
pub use descriptor::hash::{DescriptorHash, LayoutHash};
#[cfg(feature = "alloc")]
pub use descriptor::schema::Schema;
pub use event::{BoundedEvent, Event, is_system_stream};
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
