//! Batches survive the way from the writer to the view, in every shape, and no bytes make the view panic.

use varve_core::{
    BATCH_EVENTS_MAX, BATCH_EXTENT_MAX, Batch, BatchWriter, Channel, Lane, PushError, TimeColumn,
};

/// xorshift64*: small, seeded, and the same on every host.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Emitted {
    channel: Channel,
    ticks: u64,
    bytes: Vec<u8>,
}

fn push(writer: &mut BatchWriter, region: &mut [u8], event: &Emitted) -> Result<(), PushError> {
    writer.try_push(region, event.channel, event.ticks, |room| {
        room.get_mut(..event.bytes.len())?.copy_from_slice(&event.bytes);
        Some(event.bytes.len())
    })
}

fn read(bytes: &[u8], time: TimeColumn) -> Vec<Emitted> {
    let batch = Batch::new_checked(bytes).expect("a sealed batch is valid");
    let events: Vec<_> = batch
        .events()
        .map(|event| {
            assert_eq!(event.ticks.is_some(), time != TimeColumn::None);
            Emitted { channel: event.channel, ticks: event.ticks.unwrap_or(0), bytes: event.bytes.to_vec() }
        })
        .collect();
    assert_eq!(events.len(), batch.len());
    events
}

fn random_event(
    random: &mut Random,
    time: TimeColumn,
    channels: u64,
    lengths: u64,
    ticks: &mut u64,
) -> Emitted {
    let channel = Channel(random.below(channels) as u8);
    let len = match lengths {
        0 => 19,
        1 => 3 + 7 * usize::from(channel.0),
        _ => random.below(40) as usize,
    };
    *ticks = match time {
        TimeColumn::None => 0,
        TimeColumn::One => 77,
        _ if random.below(50) == 0 => random.next(),
        _ => ticks.wrapping_add(random.below(300)),
    };
    Emitted { channel, ticks: *ticks, bytes: (0..len).map(|_| random.next() as u8).collect() }
}

#[test]
fn a_batch_yields_what_was_pushed_in_every_shape() {
    for seed in 1..=2_000 {
        let mut random = Random(seed);
        let time = [TimeColumn::None, TimeColumn::One, TimeColumn::Delta, TimeColumn::DeltaOfDeltas]
            [random.below(4) as usize];
        let (channels, lengths) = (1 + random.below(4), random.below(3));
        let lane = Lane(random.below(4) as u8);
        let mut region = vec![0; 40 + random.below(3_000) as usize];
        let mut writer = BatchWriter::new(lane, time);
        let (mut pushed, mut ticks) = (Vec::new(), random.next());
        for _ in 0..random.below(300) {
            let event = random_event(&mut random, time, channels, lengths, &mut ticks);
            match push(&mut writer, &mut region, &event) {
                Ok(()) => pushed.push(event),
                Err(error) => {
                    assert_eq!(error, if pushed.is_empty() { PushError::TooLarge } else { PushError::Full });
                    if time != TimeColumn::Delta {
                        ticks = pushed.last().map_or(ticks, |event| event.ticks);
                    }
                }
            }
        }
        assert_eq!(writer.len(), pushed.len(), "seed {seed}");
        let foretold = writer.sealed_len();
        let range = writer.seal(&mut region);
        assert!(writer.is_empty());
        assert_eq!(range.len(), foretold, "seed {seed}");
        if !pushed.is_empty() {
            assert_eq!(Batch::new_checked(&region[range.clone()]).unwrap().lane(), lane);
            assert_eq!(read(&region[range], time), pushed, "seed {seed}");
        }
    }
}

#[test]
fn one_channel_of_one_length_costs_four_bytes() {
    let mut region = [0; 1_285];
    let mut writer = BatchWriter::new(Lane(0), TimeColumn::None);
    let event = Emitted { channel: Channel(3), ticks: 0, bytes: vec![0xa5; 20] };
    for _ in 0..64 {
        push(&mut writer, &mut region, &event).unwrap();
    }
    assert_eq!(writer.seal(&mut region).len(), 64 * 20 + 4);
}

#[test]
fn interleaved_channels_cost_two_bytes_a_run() {
    let mut region = [0; 1_400];
    let mut writer = BatchWriter::new(Lane(0), TimeColumn::None);
    for index in 0..32 {
        let event = Emitted {
            channel: Channel(index % 2),
            ticks: 0,
            bytes: vec![1; 10 + 6 * usize::from(index % 2)],
        };
        push(&mut writer, &mut region, &event).unwrap();
    }
    // Header 5 (the extent takes 2 bytes), a length for each of 2 channels, 32 runs.
    assert_eq!(writer.seal(&mut region).len(), 5 + 16 * 26 + 2 + 32 * 2);
}

#[test]
fn a_periodic_source_costs_about_one_byte_of_time_an_event() {
    let mut region = [0; 1_400];
    let mut writer = BatchWriter::new(Lane(0), TimeColumn::DeltaOfDeltas);
    let mut random = Random(9);
    for index in 0..100 {
        let ticks = 86_400_000_000 + index * 10_000 + random.below(50);
        push(&mut writer, &mut region, &Emitted { channel: Channel(0), ticks, bytes: vec![0; 4] }).unwrap();
    }
    let time = writer.seal(&mut region).len() - 4 - 400;
    assert!(time <= 110 + 60, "{time} bytes of time");
}

#[test]
fn a_batch_ends_at_256_events_and_a_push_that_fails_changes_nothing() {
    let mut region = [0; 1_000];
    let mut writer = BatchWriter::new(Lane(1), TimeColumn::None);
    let event = Emitted { channel: Channel(0), ticks: 0, bytes: vec![7] };
    for _ in 0..BATCH_EVENTS_MAX {
        push(&mut writer, &mut region, &event).unwrap();
    }
    assert_eq!(push(&mut writer, &mut region, &event), Err(PushError::Full));
    let stranger = Emitted { channel: Channel(16), ..event.clone() };
    assert_eq!(push(&mut writer, &mut region, &stranger), Err(PushError::Channel));
    let range = writer.seal(&mut region);
    assert_eq!(read(&region[range], TimeColumn::None), vec![event; BATCH_EVENTS_MAX]);
}

#[test]
fn a_batch_ends_where_its_extent_no_longer_fits_the_header() {
    let mut region = vec![0; 20_000];
    let mut writer = BatchWriter::new(Lane(0), TimeColumn::None);
    let event = Emitted { channel: Channel(0), ticks: 0, bytes: vec![7; 127] };
    for _ in 0..129 {
        push(&mut writer, &mut region, &event).unwrap();
    }
    assert_eq!(129 * 127, BATCH_EXTENT_MAX);
    assert_eq!(push(&mut writer, &mut region, &event), Err(PushError::Full));
    let range = writer.seal(&mut region);
    assert_eq!(read(&region[range], TimeColumn::None).len(), 129);
}

#[test]
fn no_bytes_make_the_view_panic() {
    let mut random = Random(0x5eed);
    let mut accepted = 0;
    for _ in 0..200_000 {
        let mut bytes = [0u8; 24];
        let len = random.below(24) as usize;
        for byte in &mut bytes[..len] {
            *byte = if random.below(3) == 0 { random.next() as u8 } else { random.below(4) as u8 };
        }
        if let Ok(batch) = Batch::new_checked(&bytes[..len]) {
            accepted += 1;
            assert_eq!(batch.events().count(), batch.len());
        }
    }
    assert!(
        accepted > 1_000,
        "only {accepted} of the random batches were valid: the test looks at too little"
    );
}

#[test]
fn golden_batches_have_not_changed() {
    let golden = include_str!("golden/batches.txt");
    let mut checked = 0;
    for line in golden.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, hex) = line.split_once(':').expect("name: hex bytes");
        let expected: Vec<u8> =
            hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        let (lane, time, events) = golden_case(name);
        let mut region = [0; 256];
        let mut writer = BatchWriter::new(lane, time);
        for event in &events {
            push(&mut writer, &mut region, event).unwrap();
        }
        let range = writer.seal(&mut region);
        assert_eq!(format!("{:02x?}", &region[range]), format!("{expected:02x?}"), "{name}");
        assert_eq!(read(&expected, time), events, "{name}");
        checked += 1;
    }
    assert_eq!(checked, 6);
}

/// The events behind each line of `golden/batches.txt`.
fn golden_case(name: &str) -> (Lane, TimeColumn, Vec<Emitted>) {
    let event =
        |channel, ticks, bytes: &[u8]| Emitted { channel: Channel(channel), ticks, bytes: bytes.to_vec() };
    match name {
        "stride" => (
            Lane(0),
            TimeColumn::None,
            vec![event(5, 0, &[1, 2]), event(5, 0, &[3, 4]), event(5, 0, &[5, 6])],
        ),
        "one time, lane 2" => (Lane(2), TimeColumn::One, vec![event(0, 300, &[1]), event(0, 300, &[2])]),
        "delta" => (
            Lane(0),
            TimeColumn::Delta,
            vec![event(0, 1_000, &[1]), event(0, 1_010, &[2]), event(0, 1_005, &[3])],
        ),
        "delta of deltas" => (
            Lane(0),
            TimeColumn::DeltaOfDeltas,
            vec![event(0, 1_000, &[1]), event(0, 1_100, &[2]), event(0, 1_200, &[3]), event(0, 1_299, &[4])],
        ),
        "several channels" => (
            Lane(0),
            TimeColumn::None,
            vec![event(2, 0, &[1]), event(2, 0, &[2]), event(0, 0, &[3, 3]), event(2, 0, &[4])],
        ),
        "lengths" => (
            Lane(0),
            TimeColumn::Delta,
            vec![event(1, 0, b"on"), event(1, 1, b""), event(1, 130, b"offline")],
        ),
        other => panic!("no case named {other}"),
    }
}
