//! [`Bounded`]: how many bytes a value can take beyond the archived value itself.

use core::{
    num::{
        NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroI128, NonZeroU8, NonZeroU16, NonZeroU32,
        NonZeroU64, NonZeroU128,
    },
    time::Duration,
};

use rkyv::with::{ArchiveWith, Map};

/// A type whose values, archived, have a largest size. `#[derive(Event)]` and `#[derive(Described)]` implement it
/// where every field does.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no largest archived size",
    label = "can grow without bound",
    note = "an outbox holds only events of a known largest size: use heapless::String<N> and \
            heapless::Vec<T, N> with #[rkyv(with = varve_core::with::Heapless)]"
)]
pub trait Bounded {
    /// The bound.
    const BOUND: Bound;
}

/// An adapter (`#[rkyv(with = …)]`) under which an `F` has a largest size.
#[diagnostic::on_unimplemented(
    message = "under the adapter `{Self}` a `{F}` has no largest archived size",
    note = "an outbox holds only events of a known largest size"
)]
pub trait BoundedWith<F: ?Sized>: ArchiveWith<F> {
    /// The bound.
    const BOUND: Bound;
}

/// How many bytes a value can take beyond the archived value itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Bytes that it points to.
    pub out_of_line_len: usize,
    /// Bytes of scratch while it is archived.
    pub scratch_len: usize,
}

impl Bound {
    /// Nothing: plain data.
    pub const NONE: Self = Self { out_of_line_len: 0, scratch_len: 0 };

    /// Of two values that are there together.
    pub const fn and(self, other: Self) -> Self {
        Self {
            out_of_line_len: self.out_of_line_len + other.out_of_line_len,
            scratch_len: longest(self.scratch_len, other.scratch_len),
        }
    }

    /// Of two values of which one is there.
    pub const fn or(self, other: Self) -> Self {
        Self {
            out_of_line_len: longest(self.out_of_line_len, other.out_of_line_len),
            scratch_len: longest(self.scratch_len, other.scratch_len),
        }
    }

    /// Of `count` values that are there together.
    pub const fn times(self, count: usize) -> Self {
        Self { out_of_line_len: self.out_of_line_len * count, scratch_len: self.scratch_len }
    }
}

const fn longest(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

macro_rules! plain_data {
    ($($ty:ty),* $(,)?) => {
        $(impl Bounded for $ty {
            const BOUND: Bound = Bound::NONE;
        })*
    };
}

plain_data! {
    (), bool, char, u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64, Duration,
    NonZeroU8, NonZeroU16, NonZeroU32, NonZeroU64, NonZeroU128,
    NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroI128,
}

impl<T: Bounded> Bounded for Option<T> {
    const BOUND: Bound = T::BOUND;
}

impl<T: Bounded, const N: usize> Bounded for [T; N] {
    const BOUND: Bound = T::BOUND.times(N);
}

macro_rules! tuples {
    ($(($($element:ident),*);)*) => {
        $(impl<$($element: Bounded),*> Bounded for ($($element,)*) {
            const BOUND: Bound = Bound::NONE$(.and($element::BOUND))*;
        })*
    };
}

tuples! {
    (A);
    (A, B);
    (A, B, C);
    (A, B, C, D);
    (A, B, C, D, E);
    (A, B, C, D, E, F);
    (A, B, C, D, E, F, G);
    (A, B, C, D, E, F, G, H);
}

impl<A: BoundedWith<F>, F> BoundedWith<Option<F>> for Map<A> {
    const BOUND: Bound = A::BOUND;
}

impl<A: BoundedWith<F>, F, const N: usize> BoundedWith<[F; N]> for Map<A> {
    const BOUND: Bound = A::BOUND.times(N);
}
