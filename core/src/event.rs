//! [`Event`]: what can be archived, stored, sent, and understood by who has never seen its type.

#[cfg(feature = "alloc")]
use alloc::{string::String, vec::Vec};

use rkyv::{Archive, bytecheck::CheckBytes};

use crate::{
    Described, DescriptorHash, EventSerializer, EventValidator, LayoutHash,
    bounded::Bounded,
    descriptor::{descriptor_of, encode, encoded_len},
};

/// A value that a log can hold.
///
/// Derive it beside rkyv's traits, for a struct or an enum without generics. What it holds must be an event too,
/// or derive [`Described`], which asks for no stream.
///
/// ```
/// use rkyv::{Archive, Serialize};
/// use varve_core::Event;
///
/// #[derive(Archive, Serialize, Event)]
/// #[event(stream = "climate")]
/// struct Climate {
///     #[event(unit = "Cel", doc = "at the inlet")]
///     temperature: f32,
///     #[event(unit = "%")]
///     humidity: u8,
/// }
///
/// assert_eq!(Climate::STREAM, "climate");
/// let mut bytes = [0; 5];
/// assert_eq!(varve_core::archive_into(&Climate { temperature: 21.5, humidity: 40 }, &mut bytes), Ok(5));
/// assert_eq!(varve_core::access::<Climate>(&bytes).unwrap().humidity, 40);
/// ```
///
/// Numbers (`usize` aside, which has no one size), `bool`, `char`, arrays and options are events as they are; with
/// the feature `alloc` also `String` and `Vec`.
///
/// What has no layout of its own to describe is refused when it is compiled:
///
/// ```compile_fail,E0277
/// #[derive(rkyv::Archive, rkyv::Serialize, varve_core::Event)]
/// struct Shared {
///     readings: std::rc::Rc<u32>, // the layout of `ArchivedRc<…>` cannot be described
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    note = "derive it beside rkyv's traits: #[derive(rkyv::Archive, rkyv::Serialize, varve_core::Event)]"
)]
pub trait Event:
    Archive<Archived: Described + for<'a> CheckBytes<EventValidator<'a>>>
    + for<'a> rkyv::Serialize<EventSerializer<'a>>
{
    /// The name of the stream that such events go to unless told otherwise; the derive takes
    /// `#[event(stream = "…")]`, or else the name of the type in snake case.
    const STREAM: &'static str;

    /// What the archived bytes mean (FORMAT.md, section 2).
    const DESCRIPTOR: &'static [u8];

    /// Names the layout: kinds, sizes, and the names of fields and variants.
    const LAYOUT_HASH: LayoutHash = {
        assert!(size_of::<Self::Archived>() == Self::Archived::TYPE.archived_len());
        LayoutHash::of(Self::Archived::TYPE)
    };

    /// Names the descriptor.
    const DESCRIPTOR_HASH: DescriptorHash = DescriptorHash::of(Self::DESCRIPTOR);
}

/// Whether a stream of this name is the store's own, as `varve.gap` is: the name begins with `varve.`. Nobody else
/// writes to such a stream; anybody reads it.
///
/// ```
/// assert!(varve_core::is_system_stream("varve.gap") && !varve_core::is_system_stream("varves"));
/// ```
pub const fn is_system_stream(name: &str) -> bool {
    matches!(name.as_bytes(), [b'v', b'a', b'r', b'v', b'e', b'.', ..])
}

/// An event of a known largest size, which an outbox can make room for.
///
/// It is there by itself for every [`Event`] whose parts are all bounded: plain data, and heapless strings and
/// vectors by the adapter `with::Heapless`; not `String`, `Vec` and `Box`.
///
/// ```
/// # use varve_core::{BoundedEvent, Event};
/// fn room_for<T: BoundedEvent>() -> usize {
///     T::ARCHIVED_LEN_MAX
/// }
///
/// #[derive(rkyv::Archive, rkyv::Serialize, Event)]
/// struct Reading {
///     value: Option<u32>,
/// }
///
/// assert_eq!(room_for::<Reading>(), 5);
/// ```
///
/// An event that can grow without bound says so where it meets an outbox, and only there:
///
/// ```compile_fail,E0277
/// # use varve_core::{BoundedEvent, Event};
/// # fn room_for<T: BoundedEvent>() -> usize {
/// #     T::ARCHIVED_LEN_MAX
/// # }
/// #[derive(rkyv::Archive, rkyv::Serialize, Event)]
/// struct Note {
///     text: String,
/// }
///
/// room_for::<Note>(); // `String` has no largest archived size
/// ```
pub trait BoundedEvent: Event + Bounded {
    /// The most bytes that an archived event takes.
    const ARCHIVED_LEN_MAX: usize = {
        assert!(
            Self::BOUND.scratch_len <= crate::SCRATCH_LEN,
            "archiving the event's vectors of strings or vectors takes more scratch than SCRATCH_LEN"
        );
        size_of::<Self::Archived>() + Self::BOUND.out_of_line_len
    };
}

impl<T: Event + Bounded> BoundedEvent for T {}

macro_rules! primitive_events {
    ($($primitive:ident),* $(,)?) => {
        $(impl Event for $primitive {
            const STREAM: &'static str = stringify!($primitive);
            const DESCRIPTOR: &'static [u8] = {
                const LEN: usize = encoded_len(<<$primitive as Archive>::Archived as Described>::TYPE);
                &encode::<LEN>(<<$primitive as Archive>::Archived as Described>::TYPE)
            };
        })*
    };
}

primitive_events!(bool, char, u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64);

impl<T: Event, const N: usize> Event for [T; N] {
    const STREAM: &'static str = "array";
    const DESCRIPTOR: &'static [u8] = descriptor_of::<Self::Archived>();
}

impl<T: Event> Event for Option<T> {
    const STREAM: &'static str = "option";
    const DESCRIPTOR: &'static [u8] = descriptor_of::<Self::Archived>();
}

#[cfg(feature = "alloc")]
impl Event for String {
    const STREAM: &'static str = "string";
    const DESCRIPTOR: &'static [u8] = descriptor_of::<Self::Archived>();
}

#[cfg(feature = "alloc")]
impl<T: Event> Event for Vec<T> {
    const STREAM: &'static str = "vec";
    const DESCRIPTOR: &'static [u8] = descriptor_of::<Self::Archived>();
}
