//! The event store: one log in LMDB, large blocks, zero-copy reads.
//!
//! [`Varve`] owns a directory and appends; [`VarveView`] reads it, in the same process or beside the owner. Local
//! events go through a typed [`Stream`]; events of devices, with everything that must land with them, through an
//! [`Append`]. FORMAT.md, section 5, specifies every stored byte.

mod absence;
mod append;
mod backup;
mod block;
mod block_cursor;
mod block_walk;
mod catalog;
mod clock;
mod config;
mod consumer;
mod data_file;
mod delta;
mod device;
#[cfg(feature = "encryption")]
mod encryption;
mod environment;
mod error;
mod event_handler;
mod event_type;
mod event_view;
mod events_between;
mod events_of;
mod expected_version;
mod file_system;
mod folder;
#[cfg(feature = "notify")]
mod follower;
mod format;
mod founding;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gap_event;
mod global_reader;
mod known_streams;
mod log_view;
mod merged_streams;
mod owner_lock;
mod pin;
mod pinned;
mod poison_event;
mod processor;
mod quota;
mod random;
mod readability;
mod recovery;
mod restore;
mod retention;
mod rows;
mod run_index;
mod salvage;
mod schema_cache;
mod sealing;
mod snapshot;
mod store_builder;
mod stream;
mod stream_reader;
#[cfg(feature = "notify")]
mod subscription;
mod sync;
mod tables;
mod tail;
mod time_index;
mod transaction;
mod typed_run;
mod validated;
mod varve;
mod verified;
mod verify;
mod view;
#[cfg(feature = "notify")]
mod watcher;
mod writer;

pub use append::{APPEND_BYTES_MAX, APPEND_OPERATIONS_MAX, Append, Committed};
pub use backup::{BackupCounts, BackupError};
pub use block::{BLOCK_LEN_MAX, EVENT_LEN_MAX};
pub use clock::{ClockMapping, EventTime, HostClock};
pub use config::{Config, Durability, MAP_SIZE_MAX, TAIL_LEN_DEFAULT, TAIL_LEN_MAX, TAIL_LEN_MIN};
pub use consumer::CONSUMER_NAME_LEN_MAX;
pub use device::{
    DeviceBatch, DeviceGap, DeviceRecord, LaneMark, LaneRecord, Refused, RefusedReason, StreamBinding,
};
#[cfg(feature = "encryption")]
pub use encryption::{
    Encryption, KEYS_MAX, KeysError, MasterKey, MasterKeyError, SNAPSHOT_OPENED_LEN_MAX, SealedStreams, Suite,
};
pub use error::{
    AppendError, Damage, LayoutMismatch, OpenError, Place, ProcessorError, ReadError, StorageError,
};
pub use event_handler::{Effects, EventHandler, HandlerError};
pub use event_view::{EventView, GlobalEvent, Origin};
pub use events_between::EventsBetween;
pub use events_of::{EventsOf, TypedEvent};
pub use expected_version::ExpectedVersion;
pub use format::FORMAT_VERSION;
pub use gap_event::{ArchivedGapEvent, GapEvent};
pub use global_reader::{GlobalEvents, GlobalEventsBack, GlobalIter, GlobalIterBack, GlobalReader};
pub use log_view::LogView;
pub use merged_streams::{MERGED_STREAMS_MAX, MergedStreams};
pub use pin::Pin;
pub use pinned::Pinned;
pub use poison_event::{ArchivedPoisonEvent, POISON_REASON_LEN_MAX, PoisonEvent};
pub use processor::{HANDLER_ATTEMPTS_MAX, PROCESSOR_TURN_EVENTS_MAX, Processor, Progress};
pub use quota::QUOTA_MIN;
pub use restore::{RestoreError, Restored, restore};
pub use retention::{RetentionPolicy, Retired};
pub use salvage::{SalvageError, SalvageReport, salvage};
pub use snapshot::{Snapshot, StreamInfo};
pub use stream::{Appended, STREAM_NAME_LEN_MAX, Stream};
pub use stream_reader::{
    StreamEvent, StreamEvents, StreamEventsBack, StreamIter, StreamIterBack, StreamReader, StreamView,
    VIEW_RUNS_MAX,
};
#[cfg(feature = "notify")]
pub use subscription::{Subscription, TURN_EVENTS_MAX, Turn, TurnIter};
pub use varve::Varve;
pub use verify::{ChildError, FINDINGS_MAX, Finding, VerifyReport, verify, verify_in_child};
pub use view::VarveView;
#[cfg(feature = "notify")]
pub use watcher::WriteWatcher;
