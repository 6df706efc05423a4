//! Where local events go, by what they are appended as.

use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};

use foldhash::fast::RandomState;

use crate::{DescriptorHash, StreamId};

/// A value for each stream and descriptor of its local events.
#[derive(Debug)]
pub(in crate::store) struct Routes<V> {
    /// There are few names, and many ids.
    by_name: BTreeMap<Box<str>, HashMap<Target, V, RandomState>>,
    len: usize,
}

/// Which events of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target {
    id: StreamId,
    descriptor: DescriptorHash,
}

impl<V: Copy> Routes<V> {
    /// How many there are.
    pub(in crate::store) fn len(&self) -> usize {
        self.len
    }

    /// That of events of a descriptor in the stream `id` of a name.
    pub(in crate::store) fn get(&self, name: &str, id: StreamId, descriptor: DescriptorHash) -> Option<V> {
        self.by_name.get(name)?.get(&Target { id, descriptor }).copied()
    }

    /// Adds one, or replaces it.
    pub(in crate::store) fn insert(
        &mut self,
        name: &str,
        id: StreamId,
        descriptor: DescriptorHash,
        value: V,
    ) {
        let of_name = match self.by_name.get_mut(name) {
            Some(of_name) => of_name,
            None => self.by_name.entry(name.into()).or_default(),
        };
        self.len += usize::from(of_name.insert(Target { id, descriptor }, value).is_none());
    }
}

impl Hash for Target {
    /// Few events of a stream have another descriptor than the rest.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl<V> Default for Routes<V> {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), len: 0 }
    }
}
