//! Whether a host admits a device, under which epoch, and from which sequence on. A pure decision: the daemon and the
//! simulator make it alike.

use heapless::Vec;
use varve_core::{DeviceSequence, Epoch, Lane};

use crate::chain::Chain;
use crate::message::{Hello, Refusal};

/// What a store knows of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownDevice {
    /// The store's own incarnation, never 0.
    pub incarnation: u64,
    /// The device's latest epoch, if the store has any.
    pub latest: Option<KnownEpoch>,
    /// A session with this device is live on another port.
    pub live_elsewhere: bool,
}

/// What a store holds of a device's epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownEpoch {
    /// The epoch.
    pub epoch: Epoch,
    /// No event will be added to it.
    pub closed: bool,
    /// Its cursors, lane by lane.
    pub lanes: Vec<LaneCursor, { Lane::COUNT }>,
}

/// How far a host is in one lane of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCursor {
    /// The next sequence that it lacks.
    pub next: DeviceSequence,
    /// The chain at that sequence.
    pub chain: Chain,
}

/// On what terms a device is admitted. Nothing of it may be stored before [`HostEvent::Session`](crate::HostEvent):
/// only then has the device taken the terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The store's incarnation.
    pub incarnation: u64,
    /// The epoch that the device's events belong to.
    pub epoch: Epoch,
    /// The device numbers what it holds from 0.
    pub rebase: bool,
    /// Where the host goes on, lane by lane, after the rebase if any: as many lanes as the device has.
    pub lanes: Vec<LaneCursor, { Lane::COUNT }>,
    /// The store does not have the epoch yet.
    pub opens: bool,
    /// The earlier epoch that ends unknown, since its device has begun another.
    pub closes: Option<Epoch>,
}

/// Decides on a [`Hello`]:
///
/// | the device has | the store has | the device is |
/// |---|---|---|
/// | no epoch | any | admitted to the epoch after the latest |
/// | an epoch of another store | any | admitted to the epoch after the latest, rebased |
/// | an epoch of this store | none or an older one | admitted to its own: the store lost it, or never knew |
/// | the latest epoch | it, open | admitted to go on; refused where it emitted less than is stored |
/// | the latest epoch, or an older one | it, closed | refused |
pub fn decide(known: &KnownDevice, hello: &Hello<'_>) -> Result<Admission, Refusal> {
    if known.live_elsewhere {
        return Err(Refusal::DuplicateDevice);
    }
    let latest = known.latest.as_ref();
    let stored = latest.map_or(Epoch(0), |latest| latest.epoch);
    let open = latest.filter(|latest| !latest.closed).map(|latest| latest.epoch);
    if hello.incarnation != known.incarnation || hello.epoch == Epoch(0) {
        let epoch = Epoch(stored.0.checked_add(1).ok_or(Refusal::Full)?);
        let rebase = hello.epoch != Epoch(0);
        return Ok(Admission { rebase, closes: open, ..fresh(known, hello, epoch) });
    }
    match latest {
        Some(latest) if latest.epoch == hello.epoch && !latest.closed => resume(known, latest, hello),
        Some(latest) if latest.epoch >= hello.epoch => Err(Refusal::EpochClosed),
        _ => Ok(Admission { closes: open, ..fresh(known, hello, hello.epoch) }),
    }
}

/// An epoch from its start.
fn fresh(known: &KnownDevice, hello: &Hello<'_>, epoch: Epoch) -> Admission {
    let lanes = hello.lanes.iter().map(|_| LaneCursor::default()).collect();
    Admission { incarnation: known.incarnation, epoch, rebase: false, lanes, opens: true, closes: None }
}

/// The latest epoch from where the store is.
fn resume(known: &KnownDevice, latest: &KnownEpoch, hello: &Hello<'_>) -> Result<Admission, Refusal> {
    let mut admission = Admission { opens: false, ..fresh(known, hello, latest.epoch) };
    for (index, cursor) in latest.lanes.iter().enumerate() {
        match (admission.lanes.get_mut(index), hello.lanes.get(index)) {
            (Some(lane), Some(held)) if cursor.next <= held.next => *lane = *cursor,
            (None, _) if cursor.next == DeviceSequence(0) => {}
            _ => return Err(Refusal::Behind),
        }
    }
    Ok(admission)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{HeldLane, ResetReason};
    use varve_core::DeviceId;

    const STORE: u64 = 77;

    fn hello(incarnation: u64, epoch: u32, oldest: u64, next: u64) -> Hello<'static> {
        Hello {
            version_min: 1,
            version_max: 1,
            features: 0,
            discover: 1,
            nonce: 2,
            session: 0,
            device: DeviceId(5),
            incarnation,
            epoch: Epoch(epoch),
            reset: ResetReason::Unknown,
            tick_hz: 1,
            now: 0,
            lanes: [HeldLane { oldest: DeviceSequence(oldest), next: DeviceSequence(next) }]
                .into_iter()
                .collect(),
            channels: Vec::new(),
        }
    }

    fn known(epoch: u32, closed: bool, next: u64) -> KnownDevice {
        let cursor = LaneCursor { next: DeviceSequence(next), chain: Chain(9) };
        let latest = KnownEpoch { epoch: Epoch(epoch), closed, lanes: [cursor].into_iter().collect() };
        KnownDevice { incarnation: STORE, latest: Some(latest), live_elsewhere: false }
    }

    fn unknown() -> KnownDevice {
        KnownDevice { incarnation: STORE, latest: None, live_elsewhere: false }
    }

    fn terms(known: &KnownDevice, hello: &Hello<'_>) -> (u32, bool, u64, bool, Option<u32>) {
        let admission = decide(known, hello).unwrap();
        assert_eq!((admission.incarnation, admission.lanes.len()), (STORE, 1));
        let closes = admission.closes.map(|epoch| epoch.0);
        (admission.epoch.0, admission.rebase, admission.lanes[0].next.0, admission.opens, closes)
    }

    #[test]
    fn a_device_without_an_epoch_gets_the_one_after_the_latest() {
        assert_eq!(terms(&unknown(), &hello(0, 0, 0, 9)), (1, false, 0, true, None));
        assert_eq!(terms(&known(4, false, 7), &hello(0, 0, 0, 9)), (5, false, 0, true, Some(4)));
        assert_eq!(terms(&known(4, true, 7), &hello(0, 0, 0, 9)), (5, false, 0, true, None));
    }

    #[test]
    fn a_device_of_another_store_is_rebased() {
        assert_eq!(terms(&known(4, false, 7), &hello(STORE + 1, 9, 3, 9)), (5, true, 0, true, Some(4)));
    }

    #[test]
    fn a_device_goes_on_where_the_store_is() {
        assert_eq!(terms(&known(4, false, 7), &hello(STORE, 4, 5, 9)), (4, false, 7, false, None));
        assert_eq!(decide(&known(4, false, 7), &hello(STORE, 4, 5, 9)).unwrap().lanes[0].chain, Chain(9));
        assert_eq!(terms(&known(4, false, 7), &hello(STORE, 4, 5, 7)), (4, false, 7, false, None));
        assert_eq!(decide(&known(4, false, 7), &hello(STORE, 4, 5, 6)), Err(Refusal::Behind));
    }

    #[test]
    fn an_epoch_that_the_store_lost_is_opened_again() {
        assert_eq!(terms(&unknown(), &hello(STORE, 4, 5, 9)), (4, false, 0, true, None));
        assert_eq!(terms(&known(3, false, 7), &hello(STORE, 4, 5, 9)), (4, false, 0, true, Some(3)));
    }

    #[test]
    fn a_closed_or_older_epoch_is_refused() {
        assert_eq!(decide(&known(4, true, 7), &hello(STORE, 4, 5, 9)), Err(Refusal::EpochClosed));
        assert_eq!(decide(&known(4, false, 7), &hello(STORE, 3, 5, 9)), Err(Refusal::EpochClosed));
    }

    #[test]
    fn a_device_that_is_live_elsewhere_is_refused() {
        let known = KnownDevice { live_elsewhere: true, ..unknown() };
        assert_eq!(decide(&known, &hello(0, 0, 0, 0)), Err(Refusal::DuplicateDevice));
    }

    #[test]
    fn epochs_end_with_their_number_space() {
        assert_eq!(decide(&known(u32::MAX, false, 7), &hello(0, 0, 0, 0)), Err(Refusal::Full));
    }

    #[test]
    fn a_lane_that_the_device_no_longer_has_must_be_empty() {
        let mut known = known(4, false, 7);
        let latest = known.latest.as_mut().unwrap();
        latest.lanes.push(LaneCursor::default()).unwrap();
        assert!(decide(&known, &hello(STORE, 4, 5, 9)).is_ok());
        known.latest.as_mut().unwrap().lanes[1].next = DeviceSequence(1);
        assert_eq!(decide(&known, &hello(STORE, 4, 5, 9)), Err(Refusal::Behind));
    }
}
