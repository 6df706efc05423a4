//! A type of local events, without the type.

use crate::{DescriptorHash, Event, LayoutHash};

/// What the store needs of a type of local events.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct EventType {
    /// The type's name, for messages.
    pub(in crate::store) name: &'static str,
    /// What its archived bytes mean.
    pub(in crate::store) descriptor: &'static [u8],
    /// The hash of that.
    pub(in crate::store) descriptor_hash: DescriptorHash,
    /// Its layout.
    pub(in crate::store) layout: LayoutHash,
    /// How many bytes the archived type takes, apart from what it points to.
    pub(in crate::store) root_len: usize,
}

impl EventType {
    /// That of `T`.
    pub(in crate::store) fn of<T: Event>() -> Self {
        Self {
            name: std::any::type_name::<T>(),
            descriptor: T::DESCRIPTOR,
            descriptor_hash: T::DESCRIPTOR_HASH,
            layout: T::LAYOUT_HASH,
            root_len: size_of::<T::Archived>(),
        }
    }
}
