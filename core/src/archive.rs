//! An event becomes bytes, and bytes become an event again, in the one format that every Varve shares.
//!
//! ```text
//! [ what the event points to, in the order of its fields … ][ root: the archived value itself ]
//! 0                                                         len − size_of::<Archived>()     len
//! ```
//!
//! Every archived type has alignment 1, so bytes can lie anywhere. FORMAT.md, section 1, has the layouts.

use core::{error::Error, fmt, mem::MaybeUninit};

use rkyv::{
    api::{
        low::{LowSerializer, LowValidator},
        serialize_using,
    },
    primitive::{ArchivedU16, ArchivedU64, ArchivedUsize},
    rancor::{Source, Trace},
    rend::unaligned::u16_ule,
    ser::{Positional, Serializer, Writer, allocator::SubAllocator},
};

use crate::Event;

/// Archives an event at the front of `out` and returns how many bytes it took.
///
/// Takes no memory but [`SCRATCH_LEN`] bytes of stack; with the feature `alloc`, vectors that need more scratch
/// take it from the heap.
///
/// # Errors
///
/// [`ArchiveError::TooLarge`] where `out` is too short: its contents are then unspecified.
/// [`ArchiveError::Refused`] where scratch runs out or a `with` adapter refuses the value.
#[inline]
pub fn archive_into<T: Event>(event: &T, out: &mut [u8]) -> Result<usize, ArchiveError> {
    let mut scratch = [MaybeUninit::uninit(); SCRATCH_LEN];
    match archive_with_scratch(event, out, &mut scratch) {
        #[cfg(feature = "alloc")]
        Err(ArchiveError::Refused) => archive_with_heap(event, out),
        archived => archived,
    }
}

/// Checks that `bytes` are an archived `T` and borrows it. The root is at the end of `bytes`.
///
/// The check cannot tell two types of plain data apart: compare the [`LayoutHash`](crate::LayoutHash) of where the
/// bytes come from with [`Event::LAYOUT_HASH`] first.
///
/// # Errors
///
/// Where the bytes are too few, or hold what no `T` can be: a pointer out of bounds, a `bool` of 2, text that is
/// not UTF-8.
pub fn access<T: Event>(bytes: &[u8]) -> Result<&T::Archived, AccessError> {
    access_root::<T>(bytes, size_of::<T::Archived>())
}

/// As [`access`], where the root is the front of a later version's, which takes the last `root_len` bytes.
pub(crate) fn access_root<T: Event>(bytes: &[u8], root_len: usize) -> Result<&T::Archived, AccessError> {
    let needed = size_of::<T::Archived>().max(root_len);
    match bytes.len().checked_sub(needed) {
        None => Err(AccessError::TooShort { len: bytes.len(), needed }),
        Some(_) => rkyv::api::low::access_pos::<T::Archived, AccessError>(bytes, bytes.len() - root_len),
    }
}

/// Why an event could not be archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The buffer is shorter than the archived event.
    TooLarge,
    /// Vectors of types with strings or vectors inside need more than [`SCRATCH_LEN`] bytes, or a `with`
    /// adapter refused the value.
    Refused,
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the archived event is larger than the buffer",
            Self::Refused => "the event needs more scratch memory, or an adapter refused a value of it",
        })
    }
}

impl Error for ArchiveError {}

/// Why bytes are not an archived event of the type asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessError {
    /// Fewer bytes than the archived type itself takes.
    TooShort {
        /// The bytes at hand.
        len: usize,
        /// The size of the archived type.
        needed: usize,
    },
    /// A value that the type does not have.
    Invalid,
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { len, needed } => {
                write!(f, "{len} bytes cannot hold an event of at least {needed}")
            }
            Self::Invalid => f.write_str("the bytes are not an archived event of this type"),
        }
    }
}

impl Error for AccessError {}

/// How much stack [`archive_into`] keeps for the vectors of an event; a vector takes 4 bytes of it for each
/// string or vector in each element, and vectors of plain data take none.
///
/// A [`BoundedEvent`](crate::BoundedEvent) that could need more does not compile:
///
/// ```compile_fail,E0080
/// use varve_core::{BoundedEvent, Described, Event, with::Heapless};
///
/// #[derive(rkyv::Archive, rkyv::Serialize, Event)]
/// struct Words(#[rkyv(with = Heapless)] heapless::Vec<Word, 64>);
///
/// #[derive(rkyv::Archive, rkyv::Serialize, Described)]
/// struct Word(#[rkyv(with = Heapless)] heapless::String<16>);
///
/// let room = [0; Words::ARCHIVED_LEN_MAX];
/// ```
pub const SCRATCH_LEN: usize = 256;

/// What [`Event`] asks of a type's `Serialize`: writes to a slice, scratch from a slice, nothing shared.
pub type EventSerializer<'a> = LowSerializer<EventWriter<'a>, SubAllocator<'a>, ArchiveError>;

/// What [`Event`] asks of an archived type's `CheckBytes`.
pub type EventValidator<'a> = LowValidator<'a, AccessError>;

/// Writes an event into a slice.
pub struct EventWriter<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Positional for EventWriter<'_> {
    #[inline]
    fn pos(&self) -> usize {
        self.len
    }
}

impl Writer<ArchiveError> for EventWriter<'_> {
    // Inlined, since the event's own crate knows the length: a copy of a known length is a move or two.
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        let room = self.out.get_mut(self.len..).and_then(|free| free.get_mut(..bytes.len()));
        room.ok_or(ArchiveError::TooLarge)?.copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }
}

fn archive_with_scratch<T: Event>(
    event: &T,
    out: &mut [u8],
    scratch: &mut [MaybeUninit<u8>],
) -> Result<usize, ArchiveError> {
    let mut serializer = Serializer::new(EventWriter { out, len: 0 }, SubAllocator::new(scratch), ());
    serialize_using::<_, ArchiveError>(event, &mut serializer)?;
    Ok(serializer.into_writer().len)
}

/// Tries again with more and more scratch, up to what a buffer of this length can ask for at all: an element of
/// 8 bytes takes at most [`SCRATCH_PER_BYTE`] times as many.
#[cfg(feature = "alloc")]
fn archive_with_heap<T: Event>(event: &T, out: &mut [u8]) -> Result<usize, ArchiveError> {
    let scratch_len_max = out.len().saturating_mul(SCRATCH_PER_BYTE).max(HEAP_SCRATCH_LEN_MIN);
    let mut scratch_len = HEAP_SCRATCH_LEN_MIN;
    loop {
        let mut scratch = alloc::vec![MaybeUninit::uninit(); scratch_len];
        match archive_with_scratch(event, out, &mut scratch) {
            Err(ArchiveError::Refused) if scratch_len < scratch_len_max => {
                scratch_len = scratch_len.saturating_mul(16).min(scratch_len_max);
            }
            archived => return archived,
        }
    }
}

#[cfg(feature = "alloc")]
const HEAP_SCRATCH_LEN_MIN: usize = 16 * 1024;
#[cfg(feature = "alloc")]
const SCRATCH_PER_BYTE: usize = 16;

impl Trace for ArchiveError {
    fn trace<R>(self, _: R) -> Self {
        self
    }
}

impl Source for ArchiveError {
    fn new<T: Error + Send + Sync + 'static>(_: T) -> Self {
        Self::Refused
    }
}

impl Trace for AccessError {
    fn trace<R>(self, _: R) -> Self {
        self
    }
}

impl Source for AccessError {
    fn new<T: Error + Send + Sync + 'static>(_: T) -> Self {
        Self::Invalid
    }
}

// Another crate of the build can switch any of rkyv's three format axes, silently. The bytes are stored for ever.
const _: () = {
    assert!(
        align_of::<ArchivedU64>() == 1,
        "varve-core needs rkyv's feature `unaligned`: another crate of this build selects `aligned`"
    );
    assert!(
        size_of::<ArchivedUsize>() == 4,
        "varve-core needs rkyv's feature `pointer_width_32`: another crate of this build selects another width"
    );
    assert!(usize::BITS >= 32, "archived lengths are 32 bits wide");
};

/// Where this does not compile, another crate of this build selects rkyv's feature `big_endian` (or `aligned`).
const _VARVE_CORE_NEEDS_RKYVS_FEATURE_LITTLE_ENDIAN: fn(ArchivedU16) -> u16_ule = |number| number;

#[cfg(all(test, feature = "heapless"))]
mod tests {
    use super::*;
    use crate::{Bounded, Described, with::Heapless};

    #[derive(rkyv::Archive, rkyv::Serialize, Event)]
    struct Lines(#[rkyv(with = Heapless)] heapless::Vec<Words, 3>);

    #[derive(rkyv::Archive, rkyv::Serialize, Described)]
    struct Words(u8, #[rkyv(with = Heapless)] heapless::Vec<Word, 5>);

    #[derive(rkyv::Archive, rkyv::Serialize, Described)]
    struct Word(#[rkyv(with = Heapless)] heapless::String<12>);

    #[test]
    fn a_bounded_event_takes_no_more_scratch_than_its_bound() {
        let word = || Word("0123456789ab".try_into().unwrap());
        let words = || Words(1, heapless::Vec::from_iter((0..5).map(|_| word())));
        let lines = Lines(heapless::Vec::from_iter((0..3).map(|_| words())));
        let mut out = [0; 1024];

        let needed = 4 * 3 + 4 * 5;
        let mut scratch = [MaybeUninit::uninit(); Lines::BOUND.scratch_len];
        assert!((needed..needed + 8).contains(&scratch.len()));
        assert!(archive_with_scratch(&lines, &mut out, &mut scratch).is_ok());
        let too_little = archive_with_scratch(&lines, &mut out, &mut scratch[..needed - 1]);
        assert_eq!(too_little, Err(ArchiveError::Refused));
    }
}
