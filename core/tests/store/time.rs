//! Every event has a time: by its device's clock where that can be told, else by the host's.

use std::time::{SystemTime, UNIX_EPOCH};

use varve_core::{
    ClockMapping, DeviceSequence, Epoch, Event, EventTime, GlobalSequence, HostClock, StreamId, TimeColumn,
};

use crate::{DEVICE, LANE, Reading, archived, binding, device_batch, new_dir, open, reading, sealed};

fn utc_now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}

#[test]
fn a_local_event_has_the_time_of_its_append() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let before = utc_now_us();
    varve.stream::<u8, 1>("bytes").unwrap().append(StreamId(0), &1).unwrap();
    let after = utc_now_us();
    let snapshot = varve.snapshot().unwrap();
    let event = snapshot.iter_from(GlobalSequence(0)).unwrap().next().unwrap().unwrap();
    let EventTime { utc_us, uncertainty_us } = event.time().unwrap();
    let slack = uncertainty_us.expect("the clock of a machine that runs tests is set") as i64;
    assert!((before - slack..=after + slack).contains(&utc_us), "{before} {utc_us} {after}");
    assert_eq!(event.ticks(), None);
}

#[test]
fn a_devices_event_has_the_time_of_its_clock() {
    let dir = new_dir();
    let varve = open(&dir);
    let channels = [binding::<Reading>("climate", StreamId(1))];
    let batch = |ticks: [u64; 2]| {
        sealed(LANE, TimeColumn::Delta, &ticks.map(|ticks| (0, ticks, archived(&reading(ticks)))))
    };
    let host_us = HostClock.now_us();
    let mapping = |first, ticks, host_us| ClockMapping {
        device: DEVICE,
        epoch: Epoch(1),
        lane: LANE,
        first: DeviceSequence(first),
        ticks,
        tick_hz: 1_000,
        host_us,
        uncertainty_us: 250,
    };
    let (unmapped, mapped, later) = (batch([100, 200]), batch([1_000, 1_500]), batch([2_000, 9_000]));
    let mut append = varve.begin();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    append.descriptor(Reading::DESCRIPTOR).unwrap();
    let mut first = device_batch(&channels, 0, &unmapped);
    first.ingest_us = host_us;
    append.device_batch(first).unwrap();
    append.clock(mapping(2, 1_000, host_us)).unwrap();
    append.device_batch(device_batch(&channels, 2, &mapped)).unwrap();
    append.commit().unwrap();
    let mut append = varve.begin();
    append.clock(mapping(4, 2_000, host_us + 5_000_000)).unwrap();
    append.clock(ClockMapping { tick_hz: 0, ..mapping(5, 0, 0) }).unwrap();
    append.device_batch(device_batch(&channels, 4, &later)).unwrap();
    append.commit().unwrap();

    let snapshot = varve.snapshot().unwrap();
    let events: Vec<_> = snapshot.iter_from(GlobalSequence(0)).unwrap().map(Result::unwrap).collect();
    let times: Vec<_> = events.iter().map(|event| event.time().unwrap()).collect();
    let since: Vec<_> = times.iter().map(|time| time.utc_us - times[0].utc_us).collect();
    assert_eq!(
        since,
        [0, 0, 0, 500_000, 5_000_000, 12_000_000],
        "before it is mapped, the host's time counts"
    );
    let uncertainty = |n: usize| times[n].uncertainty_us.unwrap();
    assert_eq!(uncertainty(2), uncertainty(0) + 250);
    let ticks: Vec<_> = events.iter().map(|event| event.ticks().unwrap()).collect();
    assert_eq!(ticks, [100, 200, 1_000, 1_500, 2_000, 9_000]);
    let ingest = events[5].ingest_time().unwrap();
    assert_eq!(ingest.utc_us - times[0].utc_us, 1_000_004 - host_us as i64);
}
