//! Adapters for fields whose type rkyv does not know: `#[rkyv(with = …)]`.

use core::{error::Error, fmt};

use heapless::{LenType, String, Vec};
use rkyv::{
    Archive, Deserialize, Place, Serialize,
    rancor::{Fallible, Source},
    ser::{Allocator, Writer},
    string::{ArchivedString, StringResolver},
    vec::{ArchivedVec, VecResolver},
    with::{ArchiveWith, DeserializeWith, SerializeWith},
};

use crate::bounded::{Bound, Bounded, BoundedWith};

/// Archives a heapless `String<N>` as a `String`, and a heapless `Vec<T, N>` as a `Vec<T>`: byte for byte the same.
///
/// ```
/// use rkyv::{Archive, Serialize};
/// use varve_core::{BoundedEvent, Event, with::Heapless};
///
/// #[derive(Archive, Serialize, Event)]
/// struct Message {
///     #[rkyv(with = Heapless)]
///     text: heapless::String<32>,
///     #[rkyv(with = Heapless)]
///     samples: heapless::Vec<i16, 4>,
/// }
///
/// assert_eq!(Message::ARCHIVED_LEN_MAX, 8 + 8 + 32 + 4 * 2);
/// ```
///
/// An option of either takes rkyv's `Map<Heapless>`. To deserialize a value that holds more than `N` is an error
/// ([`CapacityExceeded`]).
pub struct Heapless;

impl<L: LenType, const N: usize> ArchiveWith<String<N, L>> for Heapless {
    type Archived = ArchivedString;
    type Resolver = StringResolver;

    fn resolve_with(field: &String<N, L>, resolver: StringResolver, out: Place<ArchivedString>) {
        ArchivedString::resolve_from_str(field.as_str(), resolver, out);
    }
}

impl<S, L: LenType, const N: usize> SerializeWith<String<N, L>, S> for Heapless
where
    S: Fallible<Error: Source> + Writer + ?Sized,
{
    fn serialize_with(field: &String<N, L>, serializer: &mut S) -> Result<StringResolver, S::Error> {
        ArchivedString::serialize_from_str(field.as_str(), serializer)
    }
}

impl<D, L: LenType, const N: usize> DeserializeWith<ArchivedString, String<N, L>, D> for Heapless
where
    D: Fallible<Error: Source> + ?Sized,
{
    fn deserialize_with(archived: &ArchivedString, _: &mut D) -> Result<String<N, L>, D::Error> {
        String::try_from(archived.as_str()).map_err(|_| Source::new(CapacityExceeded))
    }
}

impl<L: LenType, const N: usize> BoundedWith<String<N, L>> for Heapless {
    const BOUND: Bound =
        Bound { out_of_line_len: if N > size_of::<ArchivedString>() { N } else { 0 }, scratch_len: 0 };
}

impl<T: Archive, L: LenType, const N: usize> ArchiveWith<Vec<T, N, L>> for Heapless {
    type Archived = ArchivedVec<T::Archived>;
    type Resolver = VecResolver;

    fn resolve_with(field: &Vec<T, N, L>, resolver: VecResolver, out: Place<Self::Archived>) {
        ArchivedVec::resolve_from_slice(field.as_slice(), resolver, out);
    }
}

impl<S, T: Serialize<S>, L: LenType, const N: usize> SerializeWith<Vec<T, N, L>, S> for Heapless
where
    S: Fallible + Writer + Allocator + ?Sized,
{
    fn serialize_with(field: &Vec<T, N, L>, serializer: &mut S) -> Result<VecResolver, S::Error> {
        ArchivedVec::serialize_from_slice(field.as_slice(), serializer)
    }
}

impl<D, T: Archive, L: LenType, const N: usize> DeserializeWith<ArchivedVec<T::Archived>, Vec<T, N, L>, D>
    for Heapless
where
    D: Fallible<Error: Source> + ?Sized,
    T::Archived: Deserialize<T, D>,
{
    fn deserialize_with(
        archived: &ArchivedVec<T::Archived>,
        deserializer: &mut D,
    ) -> Result<Vec<T, N, L>, D::Error> {
        let mut items = Vec::new();
        for item in archived.iter() {
            let item = item.deserialize(deserializer)?;
            items.push(item).map_err(|_| <D::Error as Source>::new(CapacityExceeded))?;
        }
        Ok(items)
    }
}

impl<T: Archive + Bounded, L: LenType, const N: usize> BoundedWith<Vec<T, N, L>> for Heapless {
    /// While a vector is archived, a resolver for each element waits in the scratch, beside what the elements take.
    const BOUND: Bound = {
        let resolvers_len = N * size_of::<T::Resolver>();
        let padding_max = if resolvers_len > 0 { align_of::<T::Resolver>() - 1 } else { 0 };
        Bound {
            out_of_line_len: N * (size_of::<T::Archived>() + T::BOUND.out_of_line_len),
            scratch_len: resolvers_len + padding_max + T::BOUND.scratch_len,
        }
    };
}

/// The archived value holds more than the heapless type can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapacityExceeded;

impl fmt::Display for CapacityExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the archived value holds more than the heapless type can")
    }
}

impl Error for CapacityExceeded {}
