//! A type of local events, without the type.

use crate::{DescriptorHash, Event, LayoutHash};

/// What the store needs of a type of local events.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventType {
    /// The type's name, for messages.
    pub(super) name: &'static str,
    /// What its archived bytes mean.
    pub(super) descriptor: &'static [u8],
    /// The hash of that.
    pub(super) descriptor_hash: DescriptorHash,
    /// Its layout.
    pub(super) layout: LayoutHash,
    /// How many bytes the archived type takes, apart from what it points to.
    pub(super) root_len: usize,
}

impl EventType {
    /// That of `T`.
    pub(super) fn of<T: Event>() -> Self {
        Self {
            name: std::any::type_name::<T>(),
            descriptor: T::DESCRIPTOR,
            descriptor_hash: T::DESCRIPTOR_HASH,
            layout: T::LAYOUT_HASH,
            root_len: size_of::<T::Archived>(),
        }
    }
}
