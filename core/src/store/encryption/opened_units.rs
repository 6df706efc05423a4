//! What a snapshot has opened, and lends until it is dropped.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use zeroize::Zeroizing;

/// The plain events and columns of sealed runs, each in memory of its own that neither moves nor changes. They are wiped
/// when they are dropped.
///
/// ```text
/// shelf 0: 64 units    shelf 1: 128 units    shelf 2: 256 units    …    each made when its first unit comes
/// ```
pub(in crate::store) struct OpenedUnits {
    shelves: [OnceLock<Box<[OnceLock<OpenedUnit>]>>; SHELVES],
    index: Mutex<Index>,
}

/// A unit's plain bytes.
pub(in crate::store) type OpenedUnit = Zeroizing<Box<[u8]>>;

/// Which unit stands where.
#[derive(Default)]
struct Index {
    /// By the stream's number and the unit's first event.
    places: HashMap<(u32, u64), usize>,
    /// The bytes of all.
    len: usize,
}

/// There is no room for another unit.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) struct Full;

impl OpenedUnits {
    /// Nothing is opened yet.
    pub(in crate::store) fn new() -> Self {
        Self { shelves: [const { OnceLock::new() }; SHELVES], index: Mutex::default() }
    }

    /// The unit of a stream that begins with the event at `first`, which `open` opens where that is not done yet.
    pub(in crate::store) fn get<E: From<Full>>(
        &self,
        stream: u32,
        first: u64,
        open: impl FnOnce() -> Result<OpenedUnit, E>,
    ) -> Result<&[u8], E> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let next = index.places.len();
        let place = match index.places.get(&(stream, first)) {
            Some(&place) => place,
            None => {
                let unit = open()?;
                if index.len + unit.len() > SNAPSHOT_OPENED_LEN_MAX || next >= UNITS_MAX {
                    return Err(Full.into());
                }
                index.len += unit.len();
                index.places.insert((stream, first), next);
                self.slot(next).get_or_init(|| unit);
                next
            }
        };
        Ok(self.slot(place).get().expect("what the index names is there"))
    }

    fn slot(&self, place: usize) -> &OnceLock<OpenedUnit> {
        let shelf = (place / FIRST_SHELF_LEN + 1).ilog2() as usize;
        let len = FIRST_SHELF_LEN << shelf;
        let units = self.shelves[shelf].get_or_init(|| (0..len).map(|_| OnceLock::new()).collect());
        &units[place - (len - FIRST_SHELF_LEN)]
    }
}

impl fmt::Debug for OpenedUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedUnits").finish_non_exhaustive()
    }
}

/// The most bytes of sealed events that one snapshot opens, 64 MiB: what it has opened it keeps, since it lends it.
pub const SNAPSHOT_OPENED_LEN_MAX: usize = 64 << 20;

const FIRST_SHELF_LEN: usize = 64;
const SHELVES: usize = 16;

/// How many units the shelves hold.
const UNITS_MAX: usize = FIRST_SHELF_LEN * ((1 << SHELVES) - 1);

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(byte: u8, len: usize) -> OpenedUnit {
        Zeroizing::new(vec![byte; len].into())
    }

    #[test]
    fn what_is_lent_stays_where_it_is_while_more_is_opened() {
        let units = OpenedUnits::new();
        let lent: Vec<&[u8]> = (0..1000u64)
            .map(|first| units.get::<Full>(7, first, || Ok(unit(first as u8, 3))).unwrap())
            .collect();
        for (first, lent) in lent.iter().enumerate() {
            assert_eq!(*lent, [first as u8; 3]);
            let again = units.get::<Full>(7, first as u64, || panic!("it was opened before")).unwrap();
            assert!(std::ptr::eq(*lent, again));
        }
    }

    #[test]
    fn a_snapshot_opens_so_much_and_no_more() {
        let units = OpenedUnits::new();
        assert_eq!(units.get::<Full>(1, 0, || Ok(unit(1, SNAPSHOT_OPENED_LEN_MAX))).unwrap().len(), 64 << 20);
        assert_eq!(units.get::<Full>(1, 1, || Ok(unit(1, 1))), Err(Full));
        assert!(units.get::<Full>(1, 0, || Ok(unit(1, 0))).is_ok(), "what was opened is there");
    }

    #[test]
    fn every_place_has_a_slot_of_its_own() {
        let units = OpenedUnits::new();
        for place in [0, 1, 63, 64, 191, 192, 447, 448, 5000] {
            units.slot(place).set(unit(place as u8, 8)).map_err(|_| place).unwrap();
        }
        const { assert!(UNITS_MAX > 4_000_000) };
    }
}
