//! The streams that an append's local events go to.

use std::sync::Arc;

use crate::store::write::event_type::EventType;
use crate::store::write::known_streams::Route;
use crate::store::write::routes::Routes;
use crate::{DescriptorHash, StreamId};

/// The streams that an append names, each once, in the order of their first events. What it named before it was cleared is
/// remembered, since one append is most often like the next.
#[derive(Debug, Default)]
pub(in crate::store) struct LocalStreams {
    remembered: Vec<LocalStream>,
    /// Where in `remembered` a stream stands.
    routes: Routes<usize>,
    /// The one of the last event: it stands in `remembered`, unless there is none.
    latest: usize,
    /// Where in `remembered` those stand that are named.
    named: Vec<usize>,
    /// The bytes of their names.
    names_len: usize,
}

/// Events of one type in the stream `id` of a name.
#[derive(Debug)]
pub(in crate::store) struct LocalStream {
    pub(in crate::store) name: Arc<str>,
    pub(in crate::store) id: StreamId,
    descriptor: DescriptorHash,
    /// Apart, so that what is looked at for each event stands close together.
    pub(in crate::store) event_type: Box<EventType>,
    /// Where they go, once the store holds some.
    pub(in crate::store) route: Option<Route>,
    /// Its number among those that are named, if it is.
    number: Option<u32>,
    /// The one that took the event after its last one: perhaps this one. Any, before it is known.
    then: u32,
}

impl LocalStreams {
    /// The number of a stream, which is the next one where it was not named yet.
    #[inline]
    pub(in crate::store) fn name(
        &mut self,
        name: &Arc<str>,
        id: StreamId,
        descriptor: DescriptorHash,
        event_type: impl FnOnce() -> EventType,
    ) -> u32 {
        let index = match self.guess(name, id, descriptor) {
            Some(index) => index,
            None => self.find(name, id, descriptor, event_type),
        };
        self.latest = index;
        let Self { remembered, named, names_len, .. } = self;
        *remembered[index].number.get_or_insert_with(|| {
            named.push(index);
            *names_len += name.len();
            named.len() as u32 - 1
        })
    }

    /// The stream of a number.
    pub(in crate::store) fn get_mut(&mut self, number: u32) -> &mut LocalStream {
        &mut self.remembered[self.named[number as usize]]
    }

    /// How many are named.
    pub(in crate::store) fn len(&self) -> usize {
        self.named.len()
    }

    /// How many bytes the names of those take.
    pub(in crate::store) fn names_len(&self) -> usize {
        self.names_len
    }

    /// Names no more than the first `len`.
    pub(in crate::store) fn truncate(&mut self, len: usize) {
        for index in self.named.drain(len..) {
            let stream = &mut self.remembered[index];
            stream.number = None;
            self.names_len -= stream.name.len();
        }
    }

    /// Names none. Of many it remembers none either.
    pub(in crate::store) fn clear(&mut self) {
        self.truncate(0);
        if self.remembered.len() > REMEMBERED_MAX {
            *self = Self::default();
        }
    }

    /// Where a stream stands in `remembered`, if that is easily told. Streams often take turns: so the first guess is the
    /// one that came after the latest one before.
    #[inline]
    fn guess(&self, name: &Arc<str>, id: StreamId, descriptor: DescriptorHash) -> Option<usize> {
        let latest = self.remembered.get(self.latest)?;
        let guesses = [latest.then as usize, self.latest];
        guesses.into_iter().find(|&guess| self.remembered[guess].is(name, id, descriptor))
    }

    /// Where a stream stands in `remembered`, now at the latest.
    fn find(
        &mut self,
        name: &Arc<str>,
        id: StreamId,
        descriptor: DescriptorHash,
        event_type: impl FnOnce() -> EventType,
    ) -> usize {
        let index = self.routes.get(name, id, descriptor).unwrap_or_else(|| {
            let index = self.remembered.len();
            self.routes.insert(name, id, descriptor, index);
            self.remembered.push(LocalStream {
                name: name.clone(),
                id,
                descriptor,
                event_type: event_type().into(),
                route: None,
                number: None,
                then: 0,
            });
            index
        });
        self.remembered[self.latest].then = index as u32;
        index
    }
}

impl LocalStream {
    fn is(&self, name: &Arc<str>, id: StreamId, descriptor: DescriptorHash) -> bool {
        let is_named = || Arc::ptr_eq(&self.name, name) || *self.name == **name;
        self.id == id && self.descriptor == descriptor && is_named()
    }
}

/// How many streams are remembered: less than 1 MiB.
const REMEMBERED_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn event_type(descriptor: u8) -> EventType {
        EventType { descriptor_hash: DescriptorHash([descriptor; 8]), ..EventType::of::<u8>() }
    }

    #[test]
    fn each_stream_has_one_number_in_whatever_order_events_come() {
        let mut streams = LocalStreams::default();
        let names = ["a", "b"].map(Arc::<str>::from);
        let all: Vec<_> = (0..8).map(|n| (&names[n % 2], n as u64 / 2 % 2, n as u8 / 4)).collect();
        for round in 0..4 {
            for seed in [1, 3, 5, 7, 3, 1] {
                for turn in 0..8 {
                    let (name, id, descriptor) = all[(turn * seed + round) % 8];
                    let number = streams
                        .name(name, StreamId(id), DescriptorHash([descriptor; 8]), || event_type(descriptor));
                    let stream = streams.get_mut(number);
                    assert!(stream.is(name, StreamId(id), DescriptorHash([descriptor; 8])));
                    assert!(number < 8);
                }
                assert_eq!((streams.len(), streams.names_len()), (8, 8));
            }
            streams.clear();
            assert_eq!((streams.len(), streams.names_len(), streams.remembered.len()), (0, 0, 8));
        }
    }

    #[test]
    fn numbers_are_given_in_order_anew_after_those_that_are_kept() {
        let mut streams = LocalStreams::default();
        let name = |streams: &mut LocalStreams, id| {
            streams.name(&"a".into(), StreamId(id), DescriptorHash([0; 8]), || event_type(0))
        };
        assert_eq!([5, 6, 7, 5].map(|id| name(&mut streams, id)), [0, 1, 2, 0]);
        streams.truncate(1);
        assert_eq!([7, 6, 5].map(|id| name(&mut streams, id)), [1, 2, 0]);
    }

    #[test]
    fn no_more_is_remembered_than_the_bound() {
        let mut streams = LocalStreams::default();
        for id in 0..=REMEMBERED_MAX as u64 {
            assert_eq!(
                streams.name(&"a".into(), StreamId(id), DescriptorHash([0; 8]), || event_type(0)) as u64,
                id
            );
        }
        streams.clear();
        assert_eq!((streams.remembered.len(), streams.routes.len()), (0, 0));
        assert_eq!(streams.name(&"a".into(), StreamId(1), DescriptorHash([0; 8]), || event_type(0)), 0);
    }
}
