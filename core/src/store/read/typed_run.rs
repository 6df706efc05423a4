//! The events of a run as values of a type.
//!
//! One of the three files of the crate with unsafe code, beside `environment.rs` and `pinned.rs`.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use crate::Event;
use crate::archive::access_root;
use crate::store::log::block::{Block, Run, RunEvents, RunEventsIter};
use crate::store::read::validated::{RunAsType, RunTag, ValidatedRuns};

/// A run whose descriptor promises events of type `T`. Where all of them were found to keep that promise they are lent
/// as they are; or else each is checked as it is lent.
#[derive(Debug)]
pub(in crate::store) struct TypedRun<'s, T: Event> {
    events: RunEvents<'s>,
    root: Root<T>,
    /// What stands for the run among those that were found valid; `None` where no more is to be found out.
    unknown: Option<RunTag>,
}

/// Takes the events of a run in order. It ends early where an event is damaged, and must not be asked for more then.
#[derive(Debug)]
pub(in crate::store) struct TypedEvents<'s, T: Event> {
    events: RunEventsIter<'s>,
    root: Root<T>,
}

/// Where the events of a run have their root, and whether they need to be checked.
#[derive(Debug)]
struct Root<T> {
    /// How many bytes before the end of an event its root begins.
    len: u32,
    /// Set only where [`all_valid`] holds for the run whose events it is used for.
    is_valid: bool,
    event_type: PhantomData<fn() -> T>,
}

impl<'s, T: Event> TypedRun<'s, T> {
    /// Takes the run at `index` of a block that was checked. Roots take the last `root_len` bytes, of which a `T` is
    /// the front. It looks at no event: `validated` tells whether they were all found valid before.
    pub(in crate::store) fn new(
        validated: &ValidatedRuns,
        block: &Block<'s>,
        index: u16,
        run: &Run<'s>,
        root_len: usize,
    ) -> Self {
        // No event is longer than that.
        let root_len = u32::try_from(root_len).unwrap_or(u32::MAX);
        let check: fn(&RunEvents<'_>, u32) -> bool = all_valid::<T>;
        let tag = validated.tag(&RunAsType {
            block: block.first(),
            events: block.len(),
            crc: block.crc(),
            run: index,
            root_len,
            check: check as usize,
        });
        let is_valid = validated.contains(tag);
        let root = Root { len: root_len, is_valid, event_type: PhantomData };
        Self { events: run.events(), root, unknown: (!is_valid).then_some(tag) }
    }

    /// A run without events.
    pub(in crate::store) fn none() -> Self {
        Self { events: RunEvents::default(), root: Root::none(), unknown: None }
    }

    /// The events, whatever they are.
    #[inline]
    pub(in crate::store) fn events(&self) -> &RunEvents<'s> {
        &self.events
    }

    /// Whether it is still to be found out if all events are valid.
    #[inline]
    pub(in crate::store) fn is_unknown(&self) -> bool {
        self.unknown.is_some()
    }

    /// Looks at every event, unless that was done: where all are valid, none is checked again.
    pub(in crate::store) fn validate(&mut self, validated: &ValidatedRuns) {
        let Some(tag) = self.unknown.take() else { return };
        self.root.is_valid = all_valid::<T>(&self.events, self.root.len);
        if self.root.is_valid {
            validated.insert(tag);
        }
    }

    /// The event at `index` and its bytes; `None` past the last, or where it is damaged.
    #[inline]
    pub(in crate::store) fn get(&self, index: usize) -> Option<(&'s T::Archived, &'s [u8])> {
        let bytes = self.events.get(index)?;
        Some((self.root.archived(bytes)?, bytes))
    }

    /// The `len` events from `index` on.
    pub(in crate::store) fn iter_range(&self, index: usize, len: usize) -> TypedEvents<'s, T> {
        TypedEvents { events: self.events.iter_range(index, len), root: self.root }
    }
}

impl<T: Event> TypedEvents<'_, T> {
    /// The events of no run.
    pub(in crate::store) fn none() -> Self {
        Self { events: RunEventsIter::default(), root: Root::none() }
    }
}

impl<'s, T: Event> Iterator for TypedEvents<'s, T>
where
    T::Archived: 's,
{
    type Item = (&'s T::Archived, &'s [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.events.next()?;
        Some((self.root.archived(bytes)?, bytes))
    }
}

impl<T: Event> Root<T> {
    /// The root of the events of no run.
    fn none() -> Self {
        Self { len: 0, is_valid: false, event_type: PhantomData }
    }

    /// Lends an event of the run as a `T`; `None` where it is none.
    #[inline]
    fn archived<'s>(&self, bytes: &'s [u8]) -> Option<&'s T::Archived> {
        if !self.is_valid {
            return access_root::<T>(bytes, self.len as usize).ok();
        }
        let root_at = bytes.len().checked_sub(self.len as usize)?;
        // SAFETY: `is_valid` says that `access_root` has lent every event of the run with this root, which is in
        // memory that does not change: LMDB does not write to pages that a transaction reads, and the documentation of
        // `Varve` tells users not to touch its files. `bytes` is one of these events: a run has no others, whether it
        // is indexed or iterated over.
        Some(unsafe { rkyv::api::access_pos_unchecked::<T::Archived>(bytes, root_at) })
    }
}

impl<T> Clone for Root<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Root<T> {}

impl<T: Event> Clone for TypedRun<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Event> Copy for TypedRun<'_, T> {}

/// Whether every event of a run is a `T`.
fn all_valid<T: Event>(events: &RunEvents<'_>, root_len: u32) -> bool {
    let mut events = (0..events.len()).map(|index| events.get(index));
    events.all(|event| event.is_some_and(|bytes| access_root::<T>(bytes, root_len as usize).is_ok()))
}
