//! The event store: one log in LMDB, large blocks, zero-copy reads.
//!
//! [`Varve`] owns a directory and appends; [`VarveView`] reads it, in the same process or beside the owner. Local
//! events go through a typed [`Stream`]; events of devices, with everything that must land with them, through an
//! [`Append`]. FORMAT.md, section 5, specifies every stored byte.
//!
//! ```text
//! write ──► tail ──► log      what is appended, what was committed last, and the blocks and rows that it becomes
//!            │        │
//!            └─► read ◄┘      views and snapshots over both
//!                 │
//!               follow        who waits for events and handles them
//!
//! files    the directory and LMDB's environment       upkeep        retention, backup, verify, salvage
//! sealing  what is stored sealed and opened again     encryption    its keys
//! ```

mod config;
#[cfg(feature = "encryption")]
mod encryption;
mod error;
mod files;
mod follow;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod log;
mod read;
mod sealing;
mod sync;
mod tail;
mod upkeep;
mod varve;
mod write;

pub use config::{Config, Durability, MAP_SIZE_MAX, TAIL_LEN_DEFAULT, TAIL_LEN_MAX, TAIL_LEN_MIN};
#[cfg(feature = "encryption")]
pub use encryption::{
    Encryption, KEYS_MAX, KeysError, MasterKey, MasterKeyError, SNAPSHOT_OPENED_LEN_MAX, SealedStreams, Suite,
};
pub use error::{
    Absence, AbsenceReason, AbsentInStream, AppendError, Damage, LayoutMismatch, OpenError, Place,
    ProcessorError, ReadError, StorageError,
};
pub use follow::consumer::CONSUMER_NAME_LEN_MAX;
pub use follow::event_handler::{Effects, EventHandler, HandlerError};
pub use follow::poison_event::{ArchivedPoisonEvent, POISON_REASON_LEN_MAX, PoisonEvent};
pub use follow::processor::{HANDLER_ATTEMPTS_MAX, PROCESSOR_TURN_EVENTS_MAX, Processor, Progress};
#[cfg(feature = "notify")]
pub use follow::subscription::{Subscription, TURN_EVENTS_MAX, Turn, TurnIter};
#[cfg(feature = "notify")]
pub use follow::watcher::WriteWatcher;
pub use log::block::{BLOCK_LEN_MAX, EVENT_LEN_MAX};
pub use log::clock::{ClockMapping, EventTime, HostClock};
pub use log::device::{
    DeviceBatch, DeviceGap, DeviceRecord, LaneMark, LaneRecord, Refused, RefusedReason, StreamBinding,
};
pub use log::format::FORMAT_VERSION;
pub use log::gap_event::{ArchivedGapEvent, GapEvent};
pub use read::event_view::{EventView, GlobalEvent, Origin};
pub use read::events_between::EventsBetween;
pub use read::events_of::{EventsOf, TypedEvent};
pub use read::global_reader::{GlobalEvents, GlobalEventsBack, GlobalIter, GlobalIterBack, GlobalReader};
pub use read::log_view::{LogView, VIEW_STRETCHES_MAX};
pub use read::merged_streams::{MERGED_STREAMS_MAX, MergedStreams};
pub use read::pin::{Pin, ProcessPins};
pub use read::pinned::Pinned;
pub use read::snapshot::{Snapshot, StreamInfo};
pub use read::stream_reader::{
    StreamEvent, StreamEvents, StreamEventsBack, StreamIter, StreamIterBack, StreamReader, StreamView,
    VIEW_RUNS_MAX,
};
pub use read::view::VarveView;
pub use upkeep::backup::{BackupCounts, BackupError};
pub use upkeep::quota::QUOTA_MIN;
pub use upkeep::restore::{RestoreError, Restored, restore};
pub use upkeep::retention::{RetentionPolicy, Retired};
pub use upkeep::salvage::{SalvageError, SalvageReport, salvage};
pub use upkeep::verify::{ChildError, FINDINGS_MAX, Finding, VerifyReport, verify, verify_in_child};
pub use varve::Varve;
pub use write::append::{APPEND_BYTES_MAX, APPEND_OPERATIONS_MAX, Append, Committed};
pub use write::expected_version::ExpectedVersion;
pub use write::stream::{Appended, STREAM_NAME_LEN_MAX, Stream};
