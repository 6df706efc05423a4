//! A value borrowed from the map together with the snapshot that keeps it there.
//!
//! One of the three files of the crate with unsafe code, beside `environment.rs` and `typed_run.rs`.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;

use crate::store::error::ReadError;
use crate::store::read::snapshot::Snapshot;

/// A value that lies in the store's map, without a copy: an archived event, or its bytes.
///
/// While it lives the store keeps the pages of its snapshot, so drop it soon: a store that is written to grows
/// meanwhile.
pub struct Pinned<'r, U: ?Sized> {
    value: NonNull<U>,
    /// Boxed, so that what `value` points to does not move with it, wherever it lies.
    _snapshot: Box<Snapshot>,
    _reader: PhantomData<&'r U>,
}

impl<U: ?Sized> Pinned<'_, U> {
    /// Pins what `find` borrows from the snapshot.
    pub(in crate::store) fn find(
        snapshot: Snapshot,
        find: impl for<'s> FnOnce(&'s Snapshot) -> Result<Option<&'s U>, ReadError>,
    ) -> Result<Option<Self>, ReadError> {
        let snapshot = Box::new(snapshot);
        let found = find(&snapshot)?.map(NonNull::from);
        Ok(found.map(|value| Self { value, _snapshot: snapshot, _reader: PhantomData }))
    }
}

impl<U: ?Sized> Deref for Pinned<'_, U> {
    type Target = U;

    fn deref(&self) -> &U {
        // SAFETY: `find` borrowed `value` from the boxed snapshot for as long as that is borrowed, whatever that
        // time is. The box is never moved out of nor borrowed mutably, and is dropped after the last use of
        // `value`; a snapshot keeps what it lends unchanged: LMDB does not write to pages that a transaction reads.
        unsafe { self.value.as_ref() }
    }
}

impl<U: ?Sized> AsRef<U> for Pinned<'_, U> {
    fn as_ref(&self) -> &U {
        self
    }
}

impl<U: ?Sized + fmt::Debug> fmt::Debug for Pinned<'_, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<U: ?Sized + fmt::Display> fmt::Display for Pinned<'_, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<U: ?Sized + PartialEq> PartialEq<U> for Pinned<'_, U> {
    fn eq(&self, other: &U) -> bool {
        **self == *other
    }
}
