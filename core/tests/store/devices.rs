//! Devices: what they send is stored exactly once, and what is lost is accounted for.

use varve_core::{
    AppendError, Channel, DescriptorHash, DeviceGap, DeviceId, DeviceSequence, Epoch, Event, GapEvent,
    GapReason, GlobalSequence, Lane, LaneMark, Origin, ReadError, RefusedReason, StreamId, StreamSequence,
    TimeColumn, Varve,
};

use crate::{
    DEVICE, Door, LANE, Reading, archived, binding, device_batch, door, new_dir, open, reading, readings,
    sealed,
};

/// Opens the first epoch of the device, and brings the descriptors of both types.
fn admit(varve: &Varve) {
    let mut append = varve.begin();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    assert_eq!(append.descriptor(Reading::DESCRIPTOR).unwrap(), Reading::DESCRIPTOR_HASH);
    append.descriptor(Door::DESCRIPTOR).unwrap();
    append.commit().unwrap();
}

fn next(varve: &Varve) -> u64 {
    varve.device(DEVICE).unwrap().unwrap().lane(LANE).map_or(0, |lane| lane.next.0)
}

fn gap(first: u64, len: u64) -> DeviceGap {
    DeviceGap {
        device: DEVICE,
        epoch: Epoch(1),
        lane: LANE,
        first: DeviceSequence(first),
        len,
        reason: GapReason::OutboxFull,
        chain: 77,
        ingest_us: 5,
    }
}

#[test]
fn a_batch_is_stored_once_however_often_it_comes() {
    let dir = new_dir();
    let mut varve = open(&dir);
    admit(&varve);
    let channels = [binding::<Reading>("climate", StreamId::of_device(DEVICE, 0))];
    let (one, two) = (readings(0, 3), readings(3, 2));
    for round in 0..3 {
        let mut append = varve.begin();
        append.device_batch(device_batch(&channels, 0, &one)).unwrap();
        append.device_batch(device_batch(&channels, 3, &two)).unwrap();
        append.device_batch(device_batch(&channels, 0, &one)).unwrap();
        let committed = append.commit().unwrap();
        assert_eq!((committed.events, committed.duplicates), if round == 0 { (5, 3) } else { (0, 8) });
        let mark = LaneMark { device: DEVICE, epoch: Epoch(1), lane: LANE, next: DeviceSequence(5) };
        assert_eq!(committed.lanes, [mark], "a duplicate is acknowledged all the same");
        assert!(committed.refused.is_empty());
        drop(append);
        if round == 1 {
            drop(varve);
            varve = open(&dir);
        }
    }
    let lane = *varve.device(DEVICE).unwrap().unwrap().lane(LANE).unwrap();
    assert_eq!((lane.next.0, lane.heard.0, lane.gap_total, lane.chain), (5, 5, 0, 4));
    let mut stream = varve.stream::<Reading, 32>("climate").unwrap();
    let events = stream.reader().iter_stream(StreamId::of_device(DEVICE, 0), None).unwrap();
    let bytes: Vec<_> = events.iter().map(|event| event.unwrap().bytes.to_vec()).collect();
    assert_eq!(bytes, (0..5).map(|n| archived(&reading(n))).collect::<Vec<_>>(), "byte for byte");
    stream.append(StreamId(1), &reading(9)).unwrap();
}

#[test]
fn what_does_not_follow_is_refused_and_holds_nothing_else_up() {
    let dir = new_dir();
    let varve = open(&dir);
    admit(&varve);
    let channels = [binding::<Reading>("climate", StreamId(1))];
    let unknown = [binding::<u64>("numbers", StreamId(1))];
    let (three, four, number) =
        (readings(0, 3), readings(0, 4), sealed(LANE, TimeColumn::None, &[(0, 0, vec![0; 8])]));
    let mut append = varve.begin();
    append.device_batch(device_batch(&channels, 1, &three)).unwrap();
    append.device_batch(device_batch(&channels, 0, &three)).unwrap();
    append.device_batch(device_batch(&channels, 1, &four)).unwrap();
    append.device_batch(device_batch(&channels, u64::MAX, &three)).unwrap();
    append.device_batch(device_batch(&unknown, 3, &number)).unwrap();
    let mut early = device_batch(&channels, 3, &three);
    early.epoch = Epoch(2);
    append.device_batch(early).unwrap();
    append.device_gap(gap(9, 1)).unwrap();
    append.device_gap(gap(1, 5)).unwrap();
    let committed = append.commit().unwrap();
    assert_eq!(committed.events, 3);
    let refused: Vec<_> = committed.refused.iter().map(|r| (r.first.0, r.lane.next.0, r.reason)).collect();
    assert_eq!(
        refused,
        [
            (1, 0, RefusedReason::Ahead),
            (1, 3, RefusedReason::Straddles),
            (u64::MAX, 3, RefusedReason::Exhausted),
            (3, 3, RefusedReason::UnknownDescriptor),
            (3, 0, RefusedReason::EpochNotOpen),
            (9, 3, RefusedReason::Ahead),
            (1, 3, RefusedReason::Straddles),
        ]
    );
    assert_eq!(next(&varve), 3);
}

#[test]
fn a_batch_keeps_the_devices_order_over_its_channels() {
    let dir = new_dir();
    let varve = open(&dir);
    admit(&varve);
    let channels = [binding::<Reading>("climate", StreamId(1)), binding::<Door>("doors", StreamId(1))];
    let events: Vec<_> = (0..90u64)
        .map(|n| match n % 3 {
            0 => (1, n, archived(&door(&n.to_string()))),
            _ => (0, n, archived(&reading(n))),
        })
        .collect();
    let batch = sealed(LANE, TimeColumn::DeltaOfDeltas, &events);
    let mut append = varve.begin();
    append.device_batch(device_batch(&channels, 0, &batch)).unwrap();
    append.commit().unwrap();
    let snapshot = varve.snapshot().unwrap();
    let stored: Vec<_> = snapshot.iter_from(GlobalSequence(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(stored.len(), events.len());
    for (stored, (channel, ticks, bytes)) in stored.iter().zip(&events) {
        assert_eq!(stored.payload, bytes);
        assert_eq!(stored.stream_name, channels[usize::from(*channel)].name);
        assert_eq!(stored.ticks(), Some(*ticks));
        let sequence = DeviceSequence(*ticks);
        assert_eq!(
            stored.origin().unwrap(),
            Some(Origin { device: DEVICE, epoch: Epoch(1), lane: LANE, sequence })
        );
    }
}

#[test]
fn a_gap_is_an_event_and_the_account_balances() {
    let dir = new_dir();
    let mut varve = open(&dir);
    admit(&varve);
    let channels = [binding::<Reading>("climate", StreamId(1))];
    let batch = readings(0, 4);
    let mut append = varve.begin();
    append.device_batch(device_batch(&channels, 0, &batch)).unwrap();
    append.device_gap(gap(4, 200_000)).unwrap();
    append.device_gap(gap(4, 200_000)).unwrap();
    append.device_batch(device_batch(&channels, 200_004, &batch)).unwrap();
    let committed = append.commit().unwrap();
    assert_eq!((committed.events, committed.duplicates), (9, 0));
    let lane = *varve.device(DEVICE).unwrap().unwrap().lane(LANE).unwrap();
    assert_eq!((lane.next.0, lane.gap_total, lane.heard.0), (200_008, 200_000, 200_008));
    let mut gaps = varve.stream::<GapEvent, 64>(GapEvent::STREAM).unwrap().reader();
    let id = GapEvent::stream_id(DEVICE, LANE);
    let event = gaps.get_archived(id, StreamSequence(0)).unwrap().unwrap();
    assert_eq!(
        (event.first.to_native(), event.len.to_native(), GapReason::from(&event.reason)),
        (4, 200_000, GapReason::OutboxFull)
    );
    assert!(!event.end_unknown);
    drop(event);
    assert!(gaps.get_archived(id, StreamSequence(1)).unwrap().is_none());
    let snapshot = varve.snapshot().unwrap();
    let origins =
        snapshot.iter_from(GlobalSequence(0)).unwrap().map(|event| event.unwrap().origin().unwrap());
    let sequences: Vec<_> = origins.flatten().map(|origin| origin.sequence.0).collect();
    assert_eq!(sequences, [0, 1, 2, 3, 200_004, 200_005, 200_006, 200_007]);
}

#[test]
fn an_epoch_that_is_lost_ends_with_a_gap_and_takes_nothing_more() {
    let dir = new_dir();
    let mut varve = open(&dir);
    admit(&varve);
    let channels = [binding::<Reading>("climate", StreamId(1))];
    let batch = readings(0, 4);
    let mut append = varve.begin();
    append.device_batch(device_batch(&channels, 0, &batch)).unwrap();
    append
        .close_epoch(DEVICE, Epoch(1), &[(LANE, DeviceSequence(10)), (Lane(2), DeviceSequence(3))], 9)
        .unwrap();
    append.open_epoch(DEVICE, Epoch(2)).unwrap();
    append.close_epoch(DEVICE, Epoch(2), &[], 9).unwrap();
    append.open_epoch(DEVICE, Epoch(3)).unwrap();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    append.close_epoch(DEVICE, Epoch(1), &[(LANE, DeviceSequence(99))], 9).unwrap();
    append.commit().unwrap();
    let record = varve.device(DEVICE).unwrap().unwrap();
    assert_eq!(
        (record.epoch, record.history.len()),
        (Epoch(3), 0),
        "epochs only rise, and leave the history"
    );
    let history: Vec<_> = varve.devices().unwrap()[0]
        .history
        .iter()
        .map(|lane| (lane.epoch.0, lane.lane.0, lane.next.0, lane.gap_total, lane.heard.0, lane.closed))
        .collect();
    assert_eq!(history, [(1, 0, 10, 6, 10, true), (1, 2, 3, 3, 3, true), (2, 0, 0, 0, 0, true)]);
    let mut append = varve.begin();
    append.device_batch(device_batch(&channels, 10, &batch)).unwrap();
    append.device_batch(device_batch(&channels, 0, &batch)).unwrap();
    let committed = append.commit().unwrap();
    assert_eq!((committed.events, committed.duplicates), (0, 4));
    assert_eq!(committed.refused[0].reason, RefusedReason::EpochNotOpen);
    let gaps = varve.stream::<GapEvent, 64>(GapEvent::STREAM).unwrap().reader();
    let gaps = gaps.iter_stream(GapEvent::stream_id(DEVICE, LANE), None).unwrap();
    let gaps: Vec<_> = gaps
        .iter()
        .map(|gap| gap.unwrap().archived)
        .map(|gap| (gap.epoch.to_native(), gap.first.to_native(), gap.len.to_native(), gap.end_unknown))
        .collect();
    assert_eq!(
        gaps,
        [(1, 4, 6, true), (2, 0, 0, true)],
        "where nothing is missing, the end is told all the same"
    );
}

#[test]
fn what_was_heard_of_is_kept_and_never_sinks() {
    let dir = new_dir();
    let varve = open(&dir);
    admit(&varve);
    for heard in [7, 3] {
        let mut append = varve.begin();
        append.heard(DEVICE, Epoch(1), LANE, DeviceSequence(heard)).unwrap();
        append.commit().unwrap();
    }
    let lane = *varve.device(DEVICE).unwrap().unwrap().lane(LANE).unwrap();
    assert_eq!((lane.heard.0, lane.next.0), (7, 0));
}

#[test]
fn lanes_and_devices_count_apart_in_one_commit() {
    let dir = new_dir();
    let varve = open(&dir);
    admit(&varve);
    let other = DeviceId(9);
    let channels = [binding::<Reading>("climate", StreamId(1))];
    let critical: Vec<_> = (0..2).map(|n| (0, 0, archived(&reading(n)))).collect();
    let (bulk, critical) = (readings(0, 3), sealed(Lane(1), TimeColumn::None, &critical));
    let mut append = varve.begin();
    append.open_epoch(other, Epoch(1)).unwrap();
    append.device_batch(device_batch(&channels, 0, &bulk)).unwrap();
    append.device_batch(device_batch(&channels, 0, &critical)).unwrap();
    let mut foreign = device_batch(&channels, 0, &bulk);
    foreign.device = other;
    append.device_batch(foreign).unwrap();
    let committed = append.commit().unwrap();
    assert_eq!(committed.events, 8);
    let marks: Vec<_> = committed.lanes.iter().map(|mark| (mark.device, mark.lane.0, mark.next.0)).collect();
    assert_eq!(marks, [(other, 0, 3), (DEVICE, 0, 3), (DEVICE, 1, 2)]);
    assert_eq!(varve.devices().unwrap().len(), 2);
}

#[test]
fn an_external_descriptor_is_stored_blind_and_read_once_it_comes() {
    let dir = new_dir();
    let varve = open(&dir);
    let channels = [binding::<Door>("doors", StreamId(1))];
    let batch = sealed(LANE, TimeColumn::None, &[(0, 0, archived(&door("Ada")))]);
    let mut append = varve.begin();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    append.external(Door::DESCRIPTOR_HASH).unwrap();
    append.device_batch(device_batch(&channels, 0, &batch)).unwrap();
    assert_eq!(append.commit().unwrap().events, 1);
    let is_described = |varve: &Varve| {
        let snapshot = varve.snapshot().unwrap();
        let event = snapshot.iter_from(GlobalSequence(0)).unwrap().next().unwrap().unwrap();
        assert_eq!(event.descriptor_hash().unwrap(), Door::DESCRIPTOR_HASH);
        assert_eq!(event.archived::<Door>().unwrap().who, "Ada", "who has the type has the descriptor");
        assert!(matches!(event.archived::<Reading>(), Err(ReadError::LayoutMismatch(_))));
        event.schema().unwrap().is_some()
    };
    assert!(!is_described(&varve));
    assert!(varve.schema(Door::DESCRIPTOR_HASH).unwrap().is_none());
    let mut append = varve.begin();
    append.descriptor(Door::DESCRIPTOR).unwrap();
    append.external(Door::DESCRIPTOR_HASH).unwrap();
    append.commit().unwrap();
    assert!(is_described(&varve));
    assert_eq!(varve.schema(Door::DESCRIPTOR_HASH).unwrap().unwrap().name(), "Door");
}

#[test]
fn what_an_append_cannot_take_is_refused_at_once() {
    let dir = new_dir();
    let varve = open(&dir);
    let mut append = varve.begin();
    assert!(matches!(append.descriptor(b"\x01\xffnonsense"), Err(AppendError::Descriptor(_))));
    let batch = sealed(LANE, TimeColumn::None, &[(0, 0, vec![1]), (3, 0, vec![2])]);
    let one = binding::<u8>("bytes", StreamId(1));
    let error = append.device_batch(device_batch(&[one, one, one], 0, &batch)).unwrap_err();
    assert!(matches!(error, AppendError::UnboundChannel { channel: Channel(3) }), "{error}");
    let nameless = binding::<u8>("", StreamId(1));
    let error = append.device_batch(device_batch(&[nameless; 4], 0, &batch)).unwrap_err();
    assert!(matches!(error, AppendError::StreamName { len: 0 }), "{error}");
    let forged = binding::<GapEvent>(GapEvent::STREAM, GapEvent::stream_id(DEVICE, LANE));
    let error = append.device_batch(device_batch(&[forged; 4], 0, &batch)).unwrap_err();
    assert!(matches!(&error, AppendError::SystemStream { name } if name == "varve.gap"), "{error}");
    assert!(append.is_empty());
    assert_eq!(DescriptorHash::of(u8::DESCRIPTOR), u8::DESCRIPTOR_HASH);
}

/// A stream of a device may hold several layouts, for firmware changes; each event is read as its own.
#[test]
fn new_firmware_may_change_a_type_and_old_events_stay_what_they_were() {
    let dir = new_dir();
    let mut varve = open(&dir);
    admit(&varve);
    let (old, new) = ([binding::<Reading>("sensor", StreamId(1))], [binding::<Door>("sensor", StreamId(1))]);
    let (first, second) = (readings(0, 2), sealed(LANE, TimeColumn::None, &[(0, 0, archived(&door("Ada")))]));
    let mut append = varve.begin();
    append.device_batch(device_batch(&old, 0, &first)).unwrap();
    append.device_batch(device_batch(&new, 2, &second)).unwrap();
    append.commit().unwrap();
    let mut readings = varve.stream::<Reading, 32>("sensor").unwrap().reader();
    let mut doors = varve.stream::<Door, 32>("sensor").unwrap().reader();
    assert!(readings.get_archived(StreamId(1), StreamSequence(1)).unwrap().is_some());
    assert!(matches!(
        readings.get_archived(StreamId(1), StreamSequence(2)),
        Err(ReadError::LayoutMismatch(_))
    ));
    assert_eq!(doors.get_archived(StreamId(1), StreamSequence(2)).unwrap().unwrap().who, "Ada");
    assert!(varve.stream::<u64, 8>("sensor").is_err());
}
