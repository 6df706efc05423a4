//! The system stream of poison events: what a consumer could not handle is reported, not lost.

use crate::store::follow::consumer::CONSUMER_NAME_LEN_MAX;
use crate::store::log::block::EVENT_LEN_MAX;
use crate::{GlobalSequence, StreamId};

/// An event that a consumer's handler refused too often, and that was set aside. It is stored like any event, in the
/// stream [`PoisonEvent::STREAM`](crate::Event::STREAM) with the id [`PoisonEvent::STREAM_ID`].
#[derive(Clone, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, crate::Event)]
#[event(stream = "varve.poison")]
pub struct PoisonEvent {
    /// The consumer's name.
    #[event(doc = "the consumer's name")]
    pub consumer: String,
    /// The place of the event that was set aside.
    #[event(doc = "the place of the event that was set aside")]
    pub global_seq: u64,
    /// How often the handler was given the event.
    #[event(doc = "how often the handler was given the event")]
    pub attempts: u32,
    /// What the handler said the last time, at most [`POISON_REASON_LEN_MAX`] bytes of it.
    #[event(doc = "what the handler said the last time")]
    pub reason: String,
}

impl PoisonEvent {
    /// The one stream of the name.
    pub const STREAM_ID: StreamId = StreamId(0);

    /// The most bytes that one takes when archived: its texts, and two numbers and two references.
    pub(in crate::store) const ARCHIVED_LEN_MAX: usize = CONSUMER_NAME_LEN_MAX + POISON_REASON_LEN_MAX + 64;

    pub(in crate::store) fn new(
        consumer: &str,
        global_seq: GlobalSequence,
        attempts: u32,
        reason: &str,
    ) -> Self {
        let reason = &reason[..reason.floor_char_boundary(POISON_REASON_LEN_MAX)];
        Self { consumer: consumer.into(), global_seq: global_seq.0, attempts, reason: reason.into() }
    }
}

/// The most bytes of a reason that are kept.
pub const POISON_REASON_LEN_MAX: usize = 512;

const _: () = assert!(PoisonEvent::ARCHIVED_LEN_MAX <= EVENT_LEN_MAX);
