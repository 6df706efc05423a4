//! What appends found out about streams, so that the next one need not ask the rows for every event.

use crate::store::write::routes::Routes;
use crate::{DescriptorHash, StreamId, StreamSequence};

/// Streams that took events: the numbers of local ones, which never change, and where they end. At most
/// [`KNOWN_STREAMS_MAX`] of each are remembered.
#[derive(Debug)]
pub(in crate::store) struct KnownStreams {
    routes: Routes<Route>,
    /// A stream by its number, modulo their number, and the place after its last event; 0 is no stream's number.
    ends: Box<[(u32, StreamSequence)]>,
    found: FoundStreams,
}

/// What an append found, to be known once it is written. What a failed one found was perhaps its own.
#[derive(Debug)]
struct FoundStreams {
    /// Those that were not known.
    routes: Vec<(Box<str>, StreamId, DescriptorHash, Route)>,
    /// The ends of streams as the append leaves them.
    ends: Vec<StreamSequence>,
    /// The streams that have them.
    streams: Vec<FoundStream>,
    /// Where in `streams` the last one of a number modulo [`KNOWN_STREAMS_MAX`] stands: one of an earlier append, where
    /// that is no stream of such a number.
    latest: Box<[usize]>,
}

#[derive(Clone, Copy, Debug)]
struct FoundStream {
    stream: u32,
    /// What `latest` told before.
    before: usize,
}

/// The numbers of a stream and of the descriptor of its events. The name takes their layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Route {
    pub(in crate::store) stream: u32,
    pub(in crate::store) descriptor: u32,
}

impl KnownStreams {
    /// Begins an append: what one before it found, and did not write, is forgotten.
    pub(in crate::store) fn begin(&mut self) {
        self.found.clear();
    }

    /// Where local events of a descriptor go, if an earlier append found it.
    pub(in crate::store) fn route(
        &self,
        name: &str,
        id: StreamId,
        descriptor: DescriptorHash,
    ) -> Option<Route> {
        self.routes.get(name, id, descriptor)
    }

    /// The place after the last event of a stream, if an earlier append found it.
    #[inline]
    pub(in crate::store) fn end(&self, stream: u32) -> Option<StreamSequence> {
        let (known, end) = self.ends[place_of(stream)];
        (known == stream).then_some(end)
    }

    /// Notes where local events of a descriptor go.
    pub(in crate::store) fn add_route(
        &mut self,
        name: &str,
        id: StreamId,
        descriptor: DescriptorHash,
        route: Route,
    ) {
        self.found.routes.push((name.into(), id, descriptor, route));
    }

    /// Where this append keeps the end of a stream, if it does.
    #[inline]
    pub(in crate::store) fn slot(&self, stream: u32) -> Option<usize> {
        self.found.slot(stream)
    }

    /// Keeps the end of a stream, which had none yet, and returns where.
    #[inline]
    pub(in crate::store) fn add(&mut self, stream: u32, end: StreamSequence) -> usize {
        self.found.add(stream, end)
    }

    /// The end of a stream as this append leaves it.
    pub(in crate::store) fn end_at(&self, slot: usize) -> StreamSequence {
        self.found.ends[slot]
    }

    /// That end, to be moved.
    #[inline]
    pub(in crate::store) fn end_mut(&mut self, slot: usize) -> &mut StreamSequence {
        &mut self.found.ends[slot]
    }

    /// All those ends by their slots, to be moved.
    pub(in crate::store) fn ends_mut(&mut self) -> &mut [StreamSequence] {
        &mut self.found.ends
    }

    /// Takes over what the append found, which is written. Where that is too much, it forgets what it knew before.
    pub(in crate::store) fn learn(&mut self) {
        let Self { routes: known, ends, found } = self;
        if known.len() + found.routes.len() > KNOWN_STREAMS_MAX {
            *known = Routes::default();
        }
        if found.routes.len() <= KNOWN_STREAMS_MAX {
            for (name, id, descriptor, route) in found.routes.drain(..) {
                known.insert(&name, id, descriptor, route);
            }
        }
        for (&FoundStream { stream, .. }, &end) in found.streams.iter().zip(&found.ends) {
            ends[place_of(stream)] = (stream, end);
        }
        found.clear();
    }
}

impl FoundStreams {
    #[inline]
    fn slot(&self, stream: u32) -> Option<usize> {
        let place = place_of(stream);
        let mut slot = self.latest[place];
        loop {
            let found = self.streams.get(slot).filter(|found| place_of(found.stream) == place)?;
            if found.stream == stream {
                return Some(slot);
            }
            slot = found.before;
        }
    }

    #[inline]
    fn add(&mut self, stream: u32, end: StreamSequence) -> usize {
        let slot = self.ends.len();
        let before = std::mem::replace(&mut self.latest[place_of(stream)], slot);
        // One of an earlier append may be the number of a later slot of this one, which is not before it.
        let before = if before < slot { before } else { NO_SLOT };
        self.ends.push(end);
        self.streams.push(FoundStream { stream, before });
        slot
    }

    /// Forgets everything, and keeps the memory for as many as are remembered.
    fn clear(&mut self) {
        self.routes.clear();
        self.ends.clear();
        self.streams.clear();
        self.routes.shrink_to(KNOWN_STREAMS_MAX);
        self.ends.shrink_to(KNOWN_STREAMS_MAX);
        self.streams.shrink_to(KNOWN_STREAMS_MAX);
    }
}

impl Default for KnownStreams {
    fn default() -> Self {
        let ends = vec![(0, StreamSequence(0)); KNOWN_STREAMS_MAX].into();
        let latest = vec![NO_SLOT; KNOWN_STREAMS_MAX].into();
        let found = FoundStreams { routes: Vec::new(), ends: Vec::new(), streams: Vec::new(), latest };
        Self { routes: Routes::default(), ends, found }
    }
}

/// The place of a stream among [`KNOWN_STREAMS_MAX`], which it shares with others.
fn place_of(stream: u32) -> usize {
    stream as usize % KNOWN_STREAMS_MAX
}

/// How many routes, and ends of streams, are remembered: less than 1 MiB.
const KNOWN_STREAMS_MAX: usize = 4_096;

/// No append keeps so many ends.
const NO_SLOT: usize = usize::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: DescriptorHash = DescriptorHash([1; 8]);

    fn learn(known: &mut KnownStreams, streams: impl IntoIterator<Item = u32>, end: u64) {
        known.begin();
        for stream in streams {
            known.add_route("a", StreamId(stream.into()), HASH, Route { stream, descriptor: 2 });
            let slot = known.add(stream, StreamSequence(0));
            *known.end_mut(slot) = StreamSequence(end);
        }
        known.learn();
    }

    #[test]
    fn the_last_end_of_a_stream_counts() {
        let mut known = KnownStreams::default();
        learn(&mut known, [7], 3);
        learn(&mut known, [7], 5);
        assert_eq!(known.end(7), Some(StreamSequence(5)));
        assert_eq!(known.route("a", StreamId(7), HASH), Some(Route { stream: 7, descriptor: 2 }));
        assert_eq!(known.routes.len(), 1);
        assert_eq!(known.route("a", StreamId(7), DescriptorHash([2; 8])), None);
        assert_eq!(known.route("b", StreamId(7), HASH), None);
    }

    #[test]
    fn what_a_failed_append_found_is_forgotten() {
        let mut known = KnownStreams::default();
        known.add_route("a", StreamId(7), HASH, Route { stream: 7, descriptor: 2 });
        let slot = known.add(7, StreamSequence(3));
        assert_eq!((known.slot(7), known.end_at(slot), known.end(7)), (Some(slot), StreamSequence(3), None));
        known.begin();
        assert_eq!(known.slot(7), None);
        known.learn();
        assert_eq!((known.end(7), known.route("a", StreamId(7), HASH)), (None, None));
    }

    #[test]
    fn an_append_keeps_one_end_of_a_stream_whichever_share_a_place() {
        let mut known = KnownStreams::default();
        let max = KNOWN_STREAMS_MAX as u32;
        for round in 0..4 {
            let order = [7, max + 7, 8, 2 * max + 7, 9, 3 * max + 7].map(|stream| stream + round % 2 * 2);
            known.begin();
            for (slot, &stream) in order.iter().enumerate() {
                assert!(order[slot..].iter().all(|&stream| known.slot(stream).is_none()), "{round}");
                assert_eq!(known.add(stream, StreamSequence(stream.into())), slot);
                assert!((0..=slot).all(|slot| known.slot(order[slot]) == Some(slot)), "{round}");
            }
            assert!((0..6).all(|slot| known.end_at(slot) == StreamSequence(order[slot].into())));
            assert_eq!(known.slot(order[0] + 4 * max), None, "one of an earlier append leads nowhere");
        }
    }

    #[test]
    fn no_more_is_remembered_than_the_bound() {
        let mut known = KnownStreams::default();
        for stream in 1..3 * KNOWN_STREAMS_MAX as u32 {
            learn(&mut known, [stream], 1);
            assert!(known.routes.len() <= KNOWN_STREAMS_MAX);
            assert_eq!(known.end(stream), Some(StreamSequence(1)), "the latest is known");
        }
        assert_eq!(known.end(1), None, "another took its place");
    }

    #[test]
    fn an_end_is_never_older_than_what_was_learned_though_that_was_too_much() {
        let mut known = KnownStreams::default();
        learn(&mut known, [7], 1);
        learn(&mut known, 1..=2 * KNOWN_STREAMS_MAX as u32, 2);
        assert_eq!(known.end(7), None, "another took its place");
        let capacity = known.found.ends.capacity().max(known.found.streams.capacity());
        assert!(capacity <= KNOWN_STREAMS_MAX, "the memory is given back");
    }
}
