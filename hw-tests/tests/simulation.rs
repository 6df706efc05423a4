//! The link under every fault: what the devices offered is stored once, in order, or in a gap that tells why not.

use std::env;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use varve_core::{Crc32c, DescriptorHash, DeviceId, DeviceSequence};
use varve_device_proto::{
    DeviceState, FRAME_LEN_MAX, Frame, FrameDecoder, HostState, Kind, KnownEpoch, Refusal, Seal, TRAILER_LEN,
    Welcome,
};
use varve_hw_tests::simulation::{
    Absence, Account, Blow, Coverage, EVENTS_MIN, Failure, Fault, FaultRates, Log, MemoryLog, NoTap, Plot,
    Record, Scenario, Shelf, Standing, StoreLog, Tap, Violation, World,
};

#[test]
fn on_any_line_every_event_is_stored_once_in_order_or_in_a_true_gap() {
    let coverage = explore(|seed| simulate(Scenario::draw(seed), StoreLog::new(incarnation(seed)), NoTap));
    eprintln!("{coverage}");
    if env::var_os("VARVE_TEST_SEED").is_none() {
        assert_everything_occurred(&coverage);
    }
}

fn assert_everything_occurred(coverage: &Coverage) {
    let Coverage { runs, offered, wraps, gap_len_max, sessions_late_max, .. } = *coverage;
    assert!(offered >= runs * EVENTS_MIN, "{offered} events in {runs} runs");
    for fault in Fault::ALL {
        assert!(coverage.faults.of(fault) > 0, "no {fault:?}");
    }
    for state in [DeviceState::Apart, DeviceState::Asking, DeviceState::Starting, DeviceState::Live] {
        assert!(coverage.device_states_at_reset.contains_key(&state), "no device was reset in {state:?}");
    }
    let host_states =
        [HostState::Apart, HostState::Deciding, HostState::Welcoming, HostState::Fetching, HostState::Live];
    for state in host_states {
        assert!(coverage.host_states_at_reset.contains_key(&state), "no host was reset in {state:?}");
    }
    for blow in Blow::ALL {
        assert!(coverage.blows.contains_key(&blow), "no {blow:?}");
    }
    for absence in [Absence::OutboxFull, Absence::DeviceReset, Absence::HostRestored] {
        assert!(coverage.absences.contains_key(&absence), "no gap because of {absence:?}");
    }
    for refusal in [Refusal::Chain, Refusal::DuplicateDevice] {
        assert!(coverage.refusals.contains_key(&u8::from(refusal)), "no clone was refused: {refusal}");
    }
    assert!(wraps > 0, "no sequence passed a multiple of 65,536");
    assert!(gap_len_max >= 200_000, "the longest gap has {gap_len_max} events");
    assert!(sessions_late_max >= 2, "no frame came two sessions late");
}

#[test]
fn an_acknowledgement_before_the_commit_loses_events() {
    let run = |seed| simulate(power_cuts(seed), HastyLog(MemoryLog::new(incarnation(seed))), NoTap);
    // The host believes that it was restored: it lacks what the device has given up.
    find(5, run, |violation| match violation {
        Violation::DurableLost { .. } => true,
        Violation::FalseGap { gap, .. } => gap.reason == Absence::HostRestored,
        _ => false,
    });
}

#[test]
fn a_cursor_outside_the_transaction_doubles_events() {
    let run = |seed| simulate(power_cuts(seed), SplitLog::new(MemoryLog::new(incarnation(seed))), NoTap);
    find(5, run, |violation| matches!(violation, Violation::Doubled { .. }));
}

/// A sound line, a slow disk, and a host whose power fails every other second.
fn power_cuts(seed: u64) -> Scenario {
    let (up, down) = (FaultRates::NONE, FaultRates::NONE);
    let (blows, blow_us_max) = (&[Blow::HostCrash], 4_000_000);
    let plot = Plot::Ordinary;
    Scenario { plot, up, down, flush_us_max: 400_000, blows, blow_us_max, ..Scenario::draw(seed) }
}

#[test]
fn without_the_session_binding_stale_frames_break_the_log() {
    // Short lives of few events, and frames that come late: what comes late often is what should come next.
    let blows = &[Blow::DeviceReset];
    let up = FaultRates::NONE.with(Fault::Delay, 400);
    let run = |seed| {
        let scenario = Scenario {
            plot: Plot::Ordinary,
            up,
            down: FaultRates::NONE,
            latency_us: 100,
            burst_max: 2,
            duration_us: 60_000_000,
            blows,
            blow_us_max: 1_500_000,
            ..Scenario::draw(seed)
        };
        simulate(scenario, MemoryLog::new(incarnation(seed)), Unbound::default())
    };
    find(5, run, |violation| matches!(violation, Violation::FalseGap { .. } | Violation::Doubled { .. }));
}

fn simulate<L: Log, T: Tap>(scenario: Scenario, log: L, tap: T) -> Result<Coverage, Box<Failure>> {
    World::new(scenario, log, tap, &Shelf::new()).run()
}

/// The incarnation of the first store of a run: never 0, as long as real ones.
fn incarnation(seed: u64) -> u64 {
    !seed
}

/// Runs a broken world until the judge says what is broken: within `seeds` seeds.
fn find(
    seeds: u64,
    run: impl Fn(u64) -> Result<Coverage, Box<Failure>>,
    is_expected: impl Fn(&Violation) -> bool,
) {
    let failures = (0..seeds).filter_map(|seed| run(seed).err());
    let mut others = Vec::new();
    for failure in failures {
        if is_expected(&failure.violation) {
            eprintln!("found by seed {}: {}", failure.scenario.seed, failure.violation);
            return;
        }
        others.push(failure.violation);
    }
    panic!("not found within {seeds} seeds, but {others:?}");
}

/// A log that lets its records be acknowledged before they are durable.
struct HastyLog<L>(L);

impl<L: Log> Log for HastyLog<L> {
    fn write(&mut self, now_us: u64, records: &[Record]) -> Standing {
        self.0.write(now_us, records);
        Standing::Durable
    }

    fn incarnation(&self) -> u64 {
        self.0.incarnation()
    }

    fn latest_epoch(&self, device: DeviceId) -> Option<KnownEpoch> {
        self.0.latest_epoch(device)
    }

    fn knows(&self, descriptor: DescriptorHash) -> bool {
        self.0.knows(descriptor)
    }

    fn flush(&mut self) {
        self.0.flush();
    }

    fn crash(&mut self) {
        self.0.crash();
    }

    fn fork(&self) -> Self {
        Self(self.0.fork())
    }

    fn replace(&mut self) {
        self.0.replace();
    }

    fn account(&self) -> Account {
        self.0.account()
    }
}

/// A log whose events are durable a moment before its cursors are.
struct SplitLog {
    log: MemoryLog,
    written: Vec<Record>,
}

impl SplitLog {
    fn new(log: MemoryLog) -> Self {
        Self { log, written: Vec::new() }
    }
}

impl Log for SplitLog {
    fn write(&mut self, _: u64, records: &[Record]) -> Standing {
        let mut after = self.log.fork();
        for record in records {
            after.append(record);
            after.advance(record);
        }
        self.log.adopt_contents(&after);
        self.written.extend_from_slice(records);
        Standing::Volatile
    }

    fn flush(&mut self) {
        for record in std::mem::take(&mut self.written) {
            self.log.advance(&record);
        }
    }

    fn crash(&mut self) {
        self.written.clear();
    }

    fn incarnation(&self) -> u64 {
        self.log.incarnation()
    }

    fn latest_epoch(&self, device: DeviceId) -> Option<KnownEpoch> {
        self.log.latest_epoch(device)
    }

    fn knows(&self, descriptor: DescriptorHash) -> bool {
        self.log.knows(descriptor)
    }

    fn fork(&self) -> Self {
        Self::new(self.log.fork())
    }

    fn replace(&mut self) {
        self.log.replace();
    }

    fn account(&self) -> Account {
        self.log.account()
    }
}

/// Seals the frames of earlier sessions anew for the present one, as if trailers did not name the session.
#[derive(Default)]
struct Unbound {
    /// The sessions of each line, as their welcomes came.
    sessions: [Vec<u32>; 2],
}

impl Tap for Unbound {
    fn pass_up(&mut self, line: usize, frame: &mut Vec<u8>) {
        self.unbind(line, frame);
    }

    fn pass_down(&mut self, line: usize, frame: &mut Vec<u8>) {
        self.unbind(line, frame);
        self.note_welcome(line, frame);
    }
}

impl Unbound {
    fn unbind(&mut self, line: usize, frame: &mut Vec<u8>) {
        let Some((&present, earlier)) = self.sessions[line].split_last() else { return };
        let mut decoder = FrameDecoder::<FRAME_LEN_MAX>::new();
        let (_, Some(Ok(len))) = decoder.decode(frame) else { return };
        let decoded = decoder.frame(len);
        let Some(stale) = Frame::new_checked(decoded) else { return };
        for turn in 0..TURNS {
            let first = DeviceSequence(turn << 16);
            for &session in earlier {
                let (was, is) = match Kind::from_byte(stale.kind_byte()) {
                    Some(Kind::Batch) => (Seal::Batch(session, first), Seal::Batch(present, first)),
                    _ => (Seal::Session(session), Seal::Session(present)),
                };
                if stale.is_sealed_with(was) {
                    *frame = sealed_anew(decoded, is);
                    return;
                }
            }
        }
    }

    fn note_welcome(&mut self, line: usize, frame: &[u8]) {
        let mut decoder = FrameDecoder::<FRAME_LEN_MAX>::new();
        let (_, Some(Ok(len))) = decoder.decode(frame) else { return };
        let welcome = Frame::new_checked(decoder.frame(len));
        let welcome = welcome.filter(|frame| frame.is_sealed_with(Seal::Handshake));
        if let Some(welcome) = welcome.filter(|frame| frame.kind_byte() == Kind::Welcome as u8)
            && let Ok((Welcome { session, .. }, _)) = postcard::take_from_bytes(welcome.body())
            && self.sessions[line].last() != Some(&session)
        {
            self.sessions[line].push(session);
        }
    }
}

/// The frame on the wire with a trailer of that seal.
fn sealed_anew(decoded: &[u8], seal: Seal) -> Vec<u8> {
    let (sealed, _) = decoded.split_at(decoded.len() - TRAILER_LEN);
    let mut crc: Crc32c = seal.begin();
    crc.update(sealed);
    let mut frame = cobs::encode_vec(&[sealed, &crc.finish().to_le_bytes()].concat());
    frame.push(0);
    frame
}

/// How many turns of 16 bits the sequences of a run may have made.
const TURNS: u64 = 8;

/// Runs the seeds that the environment asks for, on all cores: 100 times `VARVE_TEST_SCALE`, or only `VARVE_TEST_SEED`.
fn explore(run: impl Fn(u64) -> Result<Coverage, Box<Failure>> + Sync) -> Coverage {
    let number = |name| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds = match number("VARVE_TEST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..SEEDS * number("VARVE_TEST_SCALE").unwrap_or(1),
    };
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new(Coverage::default());
    let failed = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                while let Some(seed) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds.end)
                {
                    match run(seed) {
                        Ok(coverage) => total.lock().unwrap().add(&coverage),
                        Err(failure) => {
                            next.store(seeds.end, Ordering::Relaxed);
                            failed.lock().unwrap().get_or_insert(failure);
                        }
                    }
                }
            });
        }
    });
    if let Some(failure) = failed.into_inner().unwrap() {
        panic!("{failure}\nrun it again with VARVE_TEST_SEED={}", failure.scenario.seed);
    }
    total.into_inner().unwrap()
}

/// How many seeds a plain run explores.
const SEEDS: u64 = 100;
