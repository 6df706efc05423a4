//! What a store holds of one board, held against what the firmware must have archived.

use std::collections::BTreeMap;

use varve_board_events::{DoorOpened, Temperature};
use varve_core::{BoundedEvent, Epoch, Event, EventView, GapEvent, Snapshot, archive_into};

/// The balanced account of one board's events in one store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BoardAccount {
    /// Temperatures stored.
    pub temperatures: u64,
    /// Openings of doors stored.
    pub openings: u64,
    /// Gaps recorded.
    pub gaps: u64,
    /// Events in these gaps.
    pub lost: u64,
    /// Epochs, one for each start of the board.
    pub epochs: u32,
    /// Epochs of which the log says that their end is unknown.
    pub ends_unknown: u32,
}

impl BoardAccount {
    /// Reads all of a store that has only the events of one board of `boards/`, and balances it.
    ///
    /// # Panics
    /// When an event is not byte for byte the one that the firmware archived, when one is missing without a gap,
    /// there twice or out of order, or when stored events and gaps do not add up to what the device emitted.
    pub fn balance(snapshot: &Snapshot) -> Self {
        let mut ledger = Ledger::default();
        for event in snapshot.iter_from(Default::default()).expect("the log can be read") {
            ledger.enter(&event.expect("the log is whole"));
        }
        ledger.close(snapshot)
    }
}

/// An account while the log is read.
#[derive(Default)]
struct Ledger {
    account: BoardAccount,
    stored: BTreeMap<Epoch, u64>,
    epoch: Epoch,
    /// The counts that the next event of each kind has, if none is lost.
    next_reading: Option<u32>,
    next_opening: Option<u32>,
    /// Events in gaps since the last temperature: temperatures all of them, since openings wait for room.
    lost_readings: u64,
}

impl Ledger {
    fn enter(&mut self, event: &EventView<'_>) {
        match event.stream_name {
            Temperature::STREAM => self.enter_temperature(event),
            DoorOpened::STREAM => self.enter_opening(event),
            GapEvent::STREAM => self.enter_gap(event),
            name => panic!("the board has no stream {name}"),
        }
    }

    fn enter_temperature(&mut self, event: &EventView<'_>) {
        self.enter_origin(event);
        let reading = event.archived::<Temperature>().expect("a temperature").reading.to_native();
        assert_made_of(event, &Temperature::made_up(reading));
        if let Some(next) = self.next_reading {
            let missing = u64::from(reading.checked_sub(next).expect("no reading is doubled or late"));
            assert_eq!(missing, self.lost_readings, "readings missing before reading {reading}, and in gaps");
        }
        self.next_reading = Some(reading + 1);
        self.lost_readings = 0;
        self.account.temperatures += 1;
    }

    fn enter_opening(&mut self, event: &EventView<'_>) {
        self.enter_origin(event);
        let opening = event.archived::<DoorOpened>().expect("an opening").opening.to_native();
        assert_made_of(event, &DoorOpened::made_up(opening));
        if let Some(next) = self.next_opening {
            assert_eq!(opening, next, "openings wait for room, so none is missing");
        }
        self.next_opening = Some(opening + 1);
        self.account.openings += 1;
    }

    fn enter_gap(&mut self, event: &EventView<'_>) {
        let gap = event.archived::<GapEvent>().expect("a gap");
        if gap.end_unknown {
            self.account.ends_unknown += 1;
        } else {
            self.lost_readings += gap.len.to_native();
        }
        self.account.gaps += u64::from(gap.len != 0);
        self.account.lost += gap.len.to_native();
    }

    /// Counts an event of the device; with a new epoch the device counts anew.
    fn enter_origin(&mut self, event: &EventView<'_>) {
        let origin = event.origin().expect("the log is whole").expect("a board's event comes from a device");
        assert!(origin.epoch >= self.epoch, "an epoch that has ended goes on");
        if origin.epoch > self.epoch {
            self.epoch = origin.epoch;
            self.account.epochs += 1;
            (self.next_reading, self.next_opening, self.lost_readings) = (None, None, 0);
        }
        *self.stored.entry(origin.epoch).or_default() += 1;
    }

    /// Events stored + events in gaps = events emitted, epoch by epoch.
    fn close(self, snapshot: &Snapshot) -> BoardAccount {
        for device in snapshot.devices().expect("the devices can be read") {
            for lane in device.expect("the devices are whole").history {
                let stored = self.stored.get(&lane.epoch).copied().unwrap_or(0);
                assert_eq!(stored + lane.gap_total, lane.next.0, "the account of epoch {}", lane.epoch);
            }
        }
        self.account
    }
}

fn assert_made_of<T: BoundedEvent + std::fmt::Debug>(event: &EventView<'_>, made: &T) {
    let mut bytes = vec![0; T::ARCHIVED_LEN_MAX];
    let len = archive_into(made, &mut bytes).expect("room for the largest");
    assert_eq!(event.payload, &bytes[..len], "the bytes of {made:?} at {}", event.global_seq);
}
