use tempfile::TempDir;
use varve_core::{
    BatchWriter, Channel, Config, DeviceSequence, Durability, Epoch, Event, QUOTA_MIN, RetentionPolicy,
    StreamId, TimeColumn,
};

use super::*;
use crate::answers::News;
use crate::port_line::{PortLine, lines};
use crate::quota::BYTES_MAX;
use crate::request::{ChannelTerms, ClockReading, LaneTerms};

/// A writer that is driven by hand, and the ports that ask it.
struct Bench {
    writer: Writer,
    lines: Vec<PortLine>,
    _dir: TempDir,
}

impl Bench {
    fn new(ports: usize) -> Self {
        Self::with_store(ports, Config::default(), None, |_| {})
    }

    /// Of a store that `prepare` has prepared, and that retires what it may only when it is told to.
    fn with_store(
        ports: usize,
        mut config: Config,
        retention: Option<RetentionPolicy>,
        prepare: impl FnOnce(&mut Varve),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        config.durability = Durability::Relaxed;
        let mut varve = Varve::with_config(dir.path(), config).unwrap();
        prepare(&mut varve);
        let (lines, answers, requests) = lines(ports);
        let port = |answers| WriterPort::new(answers, Arc::default());
        let ports = answers.into_iter().map(port).collect();
        let store_room = StoreRoom::new(dir.path(), retention);
        let writer =
            Writer::new(Arc::new(varve), store_room, requests, ports, Duration::ZERO, Arc::default());
        Self { writer, lines, _dir: dir }
    }

    fn take_in(&mut self, port: usize, request: Request) {
        self.lines[port].send(request);
        let Arrival::Request(envelope) = self.writer.requests.next_before(Instant::now()) else {
            unreachable!("it was just sent")
        };
        self.writer.take_in(envelope).unwrap();
    }

    fn news(&self, port: usize) -> News {
        self.writer.ports[port].answers.take()
    }

    fn know(&mut self, port: usize) -> Known {
        self.take_in(
            port,
            Request::Know { question: 1, device: DEVICE, descriptors: vec![u16::DESCRIPTOR_HASH] },
        );
        self.news(port).known.unwrap()
    }
}

const DEVICE: DeviceId = DeviceId(5);

fn begin(epoch: u32) -> Request {
    let ends = LaneTerms { stored: DeviceSequence(0), heard: DeviceSequence(9) };
    Request::Begin(Arc::new(Terms {
        device: DEVICE,
        epoch: Epoch(epoch),
        opens: true,
        closes: epoch.checked_sub(1).filter(|&closed| closed > 0).map(Epoch),
        channels: vec![ChannelTerms {
            name: "depth".into(),
            id: StreamId(1),
            descriptor: u16::DESCRIPTOR_HASH,
            external: false,
        }],
        lanes: vec![ends],
        clock: ClockReading { ticks: 0, tick_hz: 1_000, host_us: 1, uncertainty_us: 1 },
        begun_us: 1,
    }))
}

fn batch(first: u64, events: u64) -> Request {
    let mut bytes = vec![0; 256];
    let mut writer = BatchWriter::new(Lane(0), TimeColumn::None);
    for n in 0..events {
        let archive = |room: &mut [u8]| {
            room[..2].copy_from_slice(&(n as u16).to_le_bytes());
            Some(2)
        };
        writer.try_push(&mut bytes, Channel(0), 0, archive).unwrap();
    }
    let sealed = writer.seal(&mut bytes);
    let bytes = bytes[sealed].to_vec();
    Request::Batch { first: DeviceSequence(first), events, chain: 1, ingest_us: 2, bytes }
}

#[test]
fn durable_is_told_only_after_the_commit_and_with_the_room_given_back() {
    let mut bench = Bench::new(1);
    assert_eq!(bench.know(0).missing, [u16::DESCRIPTOR_HASH]);
    bench.take_in(0, begin(1));
    bench.take_in(0, Request::Descriptor(u16::DESCRIPTOR.to_vec()));
    bench.take_in(0, batch(0, 3));
    assert_eq!(bench.news(0).durable[0], None);
    assert!(bench.lines[0].quota().bytes_left() < BYTES_MAX);

    bench.writer.commit().unwrap();
    assert_eq!(bench.news(0).durable[0], Some(DeviceSequence(3)));
    assert_eq!(bench.lines[0].quota().bytes_left(), BYTES_MAX);
    assert_eq!(bench.writer.varve.next_global_seq().unwrap().0, 3);
    let known = bench.know(0);
    assert_eq!(known.device.unwrap().latest.unwrap().lanes[0].next, DeviceSequence(3));
    assert_eq!(known.missing, []);
}

#[test]
fn what_a_device_sent_before_is_known_when_it_says_hello_again() {
    let mut bench = Bench::new(1);
    bench.know(0);
    bench.take_in(0, begin(1));
    bench.take_in(0, Request::Descriptor(u16::DESCRIPTOR.to_vec()));
    bench.take_in(0, batch(0, 2));
    let known = bench.know(0);
    assert_eq!(known.device.unwrap().latest.unwrap().lanes[0].next, DeviceSequence(2));
}

#[test]
fn a_device_is_live_on_one_port_until_that_lets_it_go() {
    let mut bench = Bench::new(2);
    assert!(!bench.know(0).device.unwrap().live_elsewhere);
    assert!(bench.know(1).device.unwrap().live_elsewhere);
    assert!(!bench.know(0).device.unwrap().live_elsewhere, "it may say hello again where it is");
    bench.take_in(0, Request::End { heard: Vec::new() });
    assert!(!bench.know(1).device.unwrap().live_elsewhere);
    assert!(bench.know(0).device.unwrap().live_elsewhere);
}

#[test]
fn an_epoch_that_ends_unknown_leaves_what_was_heard_of_as_a_gap() {
    let mut bench = Bench::new(1);
    bench.know(0);
    bench.take_in(0, begin(1));
    bench.take_in(0, Request::Descriptor(u16::DESCRIPTOR.to_vec()));
    bench.take_in(0, batch(0, 3));
    bench.take_in(0, Request::End { heard: vec![DeviceSequence(12)] });
    bench.know(0);
    bench.take_in(0, begin(2));
    bench.writer.commit().unwrap();
    let record = bench.writer.varve.devices().unwrap().remove(0);
    assert_eq!(record.epoch, Epoch(2));
    let closed = record.history.iter().find(|lane| lane.epoch == Epoch(1)).unwrap();
    assert_eq!((closed.next, closed.gap_total, closed.closed), (DeviceSequence(12), 9, true));
}

#[test]
fn what_does_not_follow_is_refused_and_harms_no_other_port() {
    let mut bench = Bench::new(2);
    bench.know(0);
    bench.take_in(0, begin(1));
    bench.take_in(0, Request::Descriptor(u16::DESCRIPTOR.to_vec()));
    bench.take_in(0, batch(7, 1));
    bench.writer.commit().unwrap();
    let news = bench.news(0);
    assert_eq!(
        (news.refused.map(|refused| refused.reason), bench.news(1).refused),
        (Some(Refusal::Malformed), None)
    );
    bench.take_in(0, batch(0, 1));
    bench.writer.commit().unwrap();
    assert_eq!(bench.writer.varve.next_global_seq().unwrap().0, 0, "the session is over");
}

#[test]
fn a_descriptor_that_is_none_or_is_missing_ends_the_session() {
    let mut bench = Bench::new(1);
    bench.know(0);
    bench.take_in(0, begin(1));
    bench.take_in(0, Request::Descriptor(vec![0xff; 9]));
    assert_eq!(bench.news(0).refused.map(|refused| refused.reason), Some(Refusal::Descriptor));

    bench.know(0);
    bench.take_in(0, begin(1));
    bench.take_in(0, batch(0, 1));
    bench.writer.commit().unwrap();
    assert_eq!(bench.news(0).refused.map(|refused| refused.reason), Some(Refusal::Descriptor));
}

/// A store that may take 4 MiB of events, and has.
fn full_bench(retention: Option<RetentionPolicy>) -> Bench {
    let mut config = Config::default();
    config.quota = Some(QUOTA_MIN);
    let mut bench = Bench::with_store(1, config, retention, |varve| {
        let mut filler = varve.stream::<[u8; 4096], 4096>("filler").unwrap();
        while filler.append(StreamId(0), &[0; 4096]).is_ok() {}
    });
    bench.know(0);
    bench.take_in(0, begin(1));
    bench.take_in(0, Request::Descriptor(u16::DESCRIPTOR.to_vec()));
    bench.take_in(0, batch(0, 3));
    bench
}

#[test]
fn a_full_store_acknowledges_nothing_and_takes_what_came_once_there_is_room() {
    let mut bench = full_bench(None);
    let varve = bench.writer.varve.view().clone();
    let stored = varve.next_global_seq().unwrap();
    bench.lines[0].send(batch(3, 2));
    let left = bench.lines[0].quota().bytes_left();
    let error = bench.writer.append.commit().unwrap_err();
    assert!(is_full(&error), "{error}");
    assert!(!bench.writer.store_room.handle_full(&bench.writer.varve, &error).is_zero());
    assert_eq!(bench.news(0).durable[0], None);
    assert_eq!(bench.lines[0].quota().bytes_left(), left);
    assert_eq!(varve.next_global_seq().unwrap(), stored);

    let mut policy = RetentionPolicy::default();
    policy.events_max = Some(100);
    bench.writer.varve.retain(&policy).unwrap();
    bench.writer.commit().unwrap();
    assert_eq!(bench.news(0).durable[0], Some(DeviceSequence(3)));
    assert_eq!(varve.next_global_seq().unwrap().0, stored.0 + 3);
}

#[test]
fn a_full_store_retires_what_it_may_before_it_says_that_it_is_full() {
    let mut policy = RetentionPolicy::default();
    policy.events_max = Some(100);
    let mut bench = full_bench(Some(policy));
    bench.writer.commit().unwrap();
    assert_eq!(bench.news(0).durable[0], Some(DeviceSequence(3)));
}

#[test]
fn a_writer_whose_ports_are_gone_does_not_wait_for_room() {
    let mut bench = full_bench(None);
    let varve = bench.writer.varve.view().clone();
    let stored = varve.next_global_seq().unwrap();
    bench.lines[0].send(batch(3, 2));
    bench.lines.clear();
    bench.writer.run().unwrap();
    assert_eq!(varve.next_global_seq().unwrap(), stored);
}
