//! What appends found out about streams, so that the next one need not ask the rows for every event.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::store::write::routes::Routes;
use crate::{DescriptorHash, StreamId, StreamSequence};

/// Streams that took local events: their numbers, which never change, and where they end. At most
/// [`KNOWN_STREAMS_MAX`] of each are remembered.
#[derive(Debug, Default)]
pub(in crate::store) struct KnownStreams {
    routes: Routes<Route>,
    /// By the stream's number.
    ends: HashMap<u32, StreamSequence, RandomState>,
}

/// What an append found, for the writer to learn once the append is written. What a failed one found was perhaps its own,
/// and is dropped.
#[derive(Debug, Default)]
pub(in crate::store) struct FoundStreams {
    /// Those that were not known.
    pub(in crate::store) routes: Vec<(Box<str>, StreamId, DescriptorHash, Route)>,
    /// The number of each stream, and the place after its last event.
    pub(in crate::store) ends: Vec<(u32, StreamSequence)>,
}

/// The numbers of a stream and of the descriptor of its events. The name takes their layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Route {
    pub(in crate::store) stream: u32,
    pub(in crate::store) descriptor: u32,
}

impl KnownStreams {
    /// Where local events of a descriptor go.
    pub(in crate::store) fn route(
        &self,
        name: &str,
        id: StreamId,
        descriptor: DescriptorHash,
    ) -> Option<Route> {
        self.routes.get(name, id, descriptor)
    }

    /// The place after the last event of a stream.
    pub(in crate::store) fn end(&self, stream: u32) -> Option<StreamSequence> {
        self.ends.get(&stream).copied()
    }

    /// Takes over what an append found. Where that is too much, it forgets what it knew before.
    pub(in crate::store) fn learn(&mut self, found: FoundStreams) {
        let FoundStreams { routes, ends } = found;
        if self.routes.len() + routes.len() > KNOWN_STREAMS_MAX {
            self.routes = Routes::default();
        }
        if self.ends.len() + ends.len() > KNOWN_STREAMS_MAX {
            self.ends = HashMap::default();
        }
        if routes.len() <= KNOWN_STREAMS_MAX {
            for (name, id, descriptor, route) in routes {
                self.routes.insert(&name, id, descriptor, route);
            }
        }
        if ends.len() <= KNOWN_STREAMS_MAX {
            self.ends.extend(ends);
        }
    }
}

/// How many routes, and ends of streams, are remembered: less than 1 MiB.
const KNOWN_STREAMS_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: DescriptorHash = DescriptorHash([1; 8]);

    fn found(stream: u32, end: u64) -> FoundStreams {
        let route = Route { stream, descriptor: 2 };
        FoundStreams {
            routes: vec![("a".into(), StreamId(stream.into()), HASH, route)],
            ends: vec![(stream, StreamSequence(end))],
        }
    }

    #[test]
    fn the_last_end_of_a_stream_counts() {
        let mut known = KnownStreams::default();
        known.learn(found(7, 3));
        known.learn(found(7, 5));
        assert_eq!(known.end(7), Some(StreamSequence(5)));
        assert_eq!(known.route("a", StreamId(7), HASH), Some(Route { stream: 7, descriptor: 2 }));
        assert_eq!(known.routes.len(), 1);
        assert_eq!(known.route("a", StreamId(7), DescriptorHash([2; 8])), None);
        assert_eq!(known.route("b", StreamId(7), HASH), None);
    }

    #[test]
    fn no_more_is_remembered_than_the_bound() {
        let mut known = KnownStreams::default();
        for stream in 0..3 * KNOWN_STREAMS_MAX as u32 {
            known.learn(found(stream, 1));
            assert!(known.routes.len() <= KNOWN_STREAMS_MAX && known.ends.len() <= KNOWN_STREAMS_MAX);
            assert_eq!(known.end(stream), Some(StreamSequence(1)), "the latest is known");
        }
    }

    #[test]
    fn an_end_is_never_older_than_what_was_learned_though_that_was_too_much() {
        let mut known = KnownStreams::default();
        known.learn(found(7, 1));
        let ends = (0..=KNOWN_STREAMS_MAX as u32).map(|stream| (stream, StreamSequence(2))).collect();
        known.learn(FoundStreams { routes: Vec::new(), ends });
        assert_eq!(known.end(7), None);
    }
}
