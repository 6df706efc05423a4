//! [`DoorOpened`]: text and a choice with data, now and then.

use core::fmt::Write;

use heapless::String;
use rkyv::{Archive, Serialize};
use varve_core::{Described, Event, with::Heapless};

/// A door was opened.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Event)]
#[event(stream = "door_opened")]
pub struct DoorOpened {
    /// How many openings there were before this one, since the board started.
    #[event(doc = "openings before this one, since the board started")]
    pub opening: u32,
    /// Which door.
    #[rkyv(with = Heapless)]
    #[event(doc = "which door")]
    pub door: String<DOOR_NAME_LEN_MAX>,
    /// How it was opened.
    #[event(doc = "how it was opened")]
    pub by: OpenedBy,
}

/// How a door was opened.
#[derive(Clone, Copy, Debug, PartialEq, Archive, Serialize, Described)]
pub enum OpenedBy {
    /// From inside, by its handle.
    Handle,
    /// With a badge.
    Badge {
        /// The number on the badge.
        #[event(doc = "the number on the badge")]
        number: u32,
    },
    /// Against its lock.
    Force {
        /// The most that the door's sensor felt, in newtons.
        #[event(unit = "N", doc = "the most that was felt")]
        peak: f32,
    },
}

/// The longest name of a door, in bytes.
pub const DOOR_NAME_LEN_MAX: usize = 16;

impl DoorOpened {
    /// What a board without doors reports: twelve doors in turn, opened in each way.
    pub fn made_up(opening: u32) -> Self {
        let mut door = String::new();
        // "cold store 12" has 13 bytes.
        let _ = write!(door, "cold store {}", opening % 12 + 1);
        let by = match opening % 3 {
            0 => OpenedBy::Handle,
            1 => OpenedBy::Badge { number: 70_000 + opening },
            _ => OpenedBy::Force { peak: 300.0 + (opening % 50) as f32 },
        };
        Self { opening, door, by }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use varve_core::BoundedEvent;

    #[test]
    fn every_made_up_door_has_its_whole_name() {
        for opening in 0..12 {
            let name = std::format!("cold store {}", opening + 1);
            assert_eq!(DoorOpened::made_up(opening).door, name.as_str());
        }
    }

    #[test]
    fn an_opening_is_never_longer_than_an_outbox_expects() {
        let longest =
            DoorOpened { door: String::try_from("sixteen bytes ok").unwrap(), ..DoorOpened::made_up(2) };
        let mut bytes = [0; DoorOpened::ARCHIVED_LEN_MAX];
        assert_eq!(varve_core::archive_into(&longest, &mut bytes), Ok(DoorOpened::ARCHIVED_LEN_MAX));
    }
}
