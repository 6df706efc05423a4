//! What appends found out about streams, so that the next one need not ask the rows for every event.

use std::collections::{BTreeMap, HashMap};

use crate::{DescriptorHash, StreamId, StreamSequence};

/// Streams that took local events: their numbers, which never change, and where they end.
///
/// The writer keeps what was written, at most [`KNOWN_STREAMS_MAX`] of each; an append collects what it finds, and the
/// writer learns it once the append is written. What a failed append found was perhaps its own, and is dropped.
#[derive(Debug, Default)]
pub(in crate::store) struct KnownStreams {
    /// There are few names, and many ids.
    routes: BTreeMap<Box<str>, HashMap<(StreamId, DescriptorHash), Route>>,
    routes_len: usize,
    /// By the stream's number.
    ends: HashMap<u32, StreamSequence>,
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
        self.routes.get(name)?.get(&(id, descriptor)).copied()
    }

    /// The place after the last event of a stream.
    pub(in crate::store) fn end(&self, stream: u32) -> Option<StreamSequence> {
        self.ends.get(&stream).copied()
    }

    /// Adds a route.
    pub(in crate::store) fn add_route(
        &mut self,
        name: &str,
        id: StreamId,
        descriptor: DescriptorHash,
        route: Route,
    ) {
        let of_name = match self.routes.get_mut(name) {
            Some(of_name) => of_name,
            None => self.routes.entry(name.into()).or_default(),
        };
        self.routes_len += usize::from(of_name.insert((id, descriptor), route).is_none());
    }

    /// Notes where a stream ends now.
    pub(in crate::store) fn set_end(&mut self, stream: u32, end: StreamSequence) {
        self.ends.insert(stream, end);
    }

    /// Takes over what an append found. Where that is too much, it forgets what it knew before.
    pub(in crate::store) fn learn(&mut self, found: Self) {
        if self.routes_len + found.routes_len > KNOWN_STREAMS_MAX {
            (self.routes, self.routes_len) = Default::default();
        }
        if self.ends.len() + found.ends.len() > KNOWN_STREAMS_MAX {
            self.ends = HashMap::new();
        }
        if found.routes_len <= KNOWN_STREAMS_MAX {
            for (name, routes) in found.routes {
                routes.into_iter().for_each(|((id, hash), route)| self.add_route(&name, id, hash, route));
            }
        }
        if found.ends.len() <= KNOWN_STREAMS_MAX {
            self.ends.extend(found.ends);
        }
    }
}

/// How many routes, and ends of streams, are remembered: less than 1 MiB.
const KNOWN_STREAMS_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: DescriptorHash = DescriptorHash([1; 8]);

    #[test]
    fn the_last_end_of_a_stream_counts() {
        let mut known = KnownStreams::default();
        for end in [3, 5] {
            let mut found = KnownStreams::default();
            found.add_route("a", StreamId(1), HASH, Route { stream: 7, descriptor: 2 });
            found.set_end(7, StreamSequence(end));
            known.learn(found);
        }
        assert_eq!(known.end(7), Some(StreamSequence(5)));
        assert_eq!(known.route("a", StreamId(1), HASH), Some(Route { stream: 7, descriptor: 2 }));
        assert_eq!(known.routes_len, 1);
        assert_eq!(known.route("a", StreamId(1), DescriptorHash([2; 8])), None);
        assert_eq!(known.route("b", StreamId(1), HASH), None);
    }

    #[test]
    fn no_more_is_remembered_than_the_bound() {
        let mut known = KnownStreams::default();
        for stream in 0..3 * KNOWN_STREAMS_MAX as u32 {
            let mut found = KnownStreams::default();
            found.add_route("a", StreamId(stream.into()), HASH, Route { stream, descriptor: 2 });
            found.set_end(stream, StreamSequence(1));
            known.learn(found);
            let held = known.routes.values().map(HashMap::len).sum::<usize>();
            assert!(held == known.routes_len && held <= KNOWN_STREAMS_MAX);
            assert!(known.ends.len() <= KNOWN_STREAMS_MAX);
            assert_eq!(known.end(stream), Some(StreamSequence(1)), "the latest is known");
        }
    }

    #[test]
    fn an_end_is_never_older_than_what_was_learned_though_that_was_too_much() {
        let mut known = KnownStreams::default();
        known.set_end(7, StreamSequence(1));
        let mut found = KnownStreams::default();
        (0..=KNOWN_STREAMS_MAX as u32).for_each(|stream| found.set_end(stream, StreamSequence(2)));
        known.learn(found);
        assert_eq!(known.end(7), None);
    }
}
