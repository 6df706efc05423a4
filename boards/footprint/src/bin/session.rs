//! Runs a device's link against a host's on one chip and prints how deep the device's stack gets, and how many
//! instructions the outbox spends with interrupts off: longer than that no interrupt waits for it.
//!
//! The emulator must make each instruction take the same time (`-icount`).
#![no_std]
#![no_main]

use core::{
    arch::asm,
    sync::atomic::{AtomicU32, Ordering},
};

use cortex_m::{
    Peripherals,
    peripheral::{SYST, syst::SystClkSource},
    singleton,
};
use cortex_m_rt::entry;
use embassy_sync::blocking_mutex::raw::{CriticalSectionRawMutex, RawMutex};
use semihosting::{println, process::exit};
use varve_core::{DeviceId, DeviceSequence, Lane, TimeColumn};
use varve_device_proto::{
    Admission, ChannelInfo, DeviceConfig, DeviceLink, HostConfig, HostEvent, HostLink, KnownDevice, Outbox,
    ResetReason, admission,
};
use varve_footprint::{Sample, StackDepth};

#[entry]
fn main() -> ! {
    start_counting(Peripherals::take().expect("taken once").SYST);
    let clock = Calibration::measure();

    println!("  instructions with interrupts off, at most, while");
    let typical = (0..TYPICAL_PUSHES).map(|count| push(count).1).max();
    print(clock.instructions(typical.unwrap_or(0)), "an event of 20 bytes is pushed into an open batch");
    let sealing = (TYPICAL_PUSHES..).map(push).take_while(|(kept, _)| *kept).map(|(_, ticks)| ticks).max();
    print(clock.instructions(sealing.unwrap_or(0)), "a batch is sealed, and another opened for an event");
    print(clock.instructions(push(0).1), "an event is dropped, the outbox being full");

    let rig = singleton!(: Rig = Rig::new()).expect("taken once");
    rig.enter_session();
    print(clock.instructions(take_longest()), "a session is entered with a full outbox");
    rig.exchange();
    print(clock.instructions(take_longest()), "a full outbox is sent");
    rig.make_durable();
    print(clock.instructions(take_longest()), "what is durable is forgotten");

    println!("  bytes of stack touched, at most, while");
    let mut stack = StackDepth::default();
    stack.watch(&mut || _ = push(0));
    print(stack.bytes() as u64, "an event is pushed");
    print(rig.stack.bytes() as u64, "the link handles bytes and makes some");
    exit(if OUTBOX.stats().held_bytes < RING_LEN / 2 { 0 } else { 1 })
}

/// Pushes an event and tells whether it was kept, and the longest critical section meanwhile, in ticks.
fn push(count: u32) -> (bool, u32) {
    let samples = OUTBOX.channel::<Sample>(0).expect("the table has this type there");
    let kept = samples.try_push(u64::from(count), &Sample::made_up(count)).is_ok();
    (kept, take_longest())
}

fn print(value: u64, what: &str) {
    println!("  {:>8}  {}", value, what);
}

/// A device and a host with a perfect line between them, in a time of their own, in microseconds.
struct Rig {
    device: DeviceLink<'static, TimedMutex, RING_LEN, SLOTS>,
    host: HostLink,
    stack: StackDepth,
    now: u64,
    session: u32,
    /// Behind the last event that the host has received.
    received: DeviceSequence,
}

impl Rig {
    fn new() -> Self {
        Self {
            device: DeviceLink::new(CONFIG, &OUTBOX, 0),
            host: HostLink::new(HostConfig { seed: 1 }),
            stack: StackDepth::default(),
            now: 0,
            session: 0,
            received: DeviceSequence(0),
        }
    }

    fn enter_session(&mut self) {
        while self.session == 0 {
            self.exchange();
            self.now += 10_000;
        }
        self.host.set_credit(Lane(0), RING_LEN as u32);
    }

    fn make_durable(&mut self) {
        self.host.handle_durable(self.session, Lane(0), self.received);
        self.exchange();
    }

    /// Moves bytes until neither side has any more.
    fn exchange(&mut self) {
        let mut piece = [0; PIECE_LEN];
        loop {
            let mut up = 0;
            self.stack.watch(&mut || up = self.device.poll_transmit(self.now, &mut piece));
            self.host_handles(&piece[..up]);
            let down = self.host.poll_transmit(self.now, &mut piece);
            self.stack.watch(&mut || self.device.handle_bytes(self.now, &piece[..down]));
            if up + down == 0 {
                return;
            }
        }
    }

    fn host_handles(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.host.handle_bytes(self.now, bytes);
            bytes = &bytes[taken..];
            let mut admitted = None;
            while let Some(event) = self.host.poll_event() {
                match event {
                    HostEvent::Hello(hello) => admitted = admission::decide(&STRANGER, &hello).ok(),
                    HostEvent::Session(session) => self.session = session.number,
                    HostEvent::Batch { first, batch, .. } => {
                        self.received = DeviceSequence(first.0 + batch.len() as u64);
                    }
                    HostEvent::Gap { first, len, .. } => self.received = DeviceSequence(first.0 + len),
                    _ => {}
                }
            }
            self.admit(admitted);
        }
    }

    fn admit(&mut self, admission: Option<Admission>) {
        if let Some(admission) = admission {
            self.host.admit(admission);
        }
    }
}

/// What a host knows of a device that it has never seen.
const STRANGER: KnownDevice = KnownDevice { incarnation: 1, latest: None, live_elsewhere: false };

/// A critical section that takes its own time.
struct TimedMutex(CriticalSectionRawMutex);

// SAFETY: it is the critical section inside, which keeps what the trait asks for.
unsafe impl RawMutex for TimedMutex {
    const INIT: Self = Self(CriticalSectionRawMutex::INIT);

    fn lock<R>(&self, work: impl FnOnce() -> R) -> R {
        self.0.lock(|| {
            let start = SYST::get_current();
            let result = work();
            let ticks = ticks_since(start);
            LONGEST.store(LONGEST.load(Ordering::Relaxed).max(ticks), Ordering::Relaxed);
            result
        })
    }
}

/// The longest critical section since the last time that this was asked, in ticks of SysTick.
fn take_longest() -> u32 {
    let longest = LONGEST.load(Ordering::Relaxed);
    LONGEST.store(0, Ordering::Relaxed);
    longest
}

static LONGEST: AtomicU32 = AtomicU32::new(0);

/// How ticks become instructions.
struct Calibration {
    /// What measuring nothing takes, in ticks.
    nothing: u32,
    /// What a loop of [`LOOP_INSTRUCTIONS`] takes beyond that.
    per_loop: u32,
}

impl Calibration {
    fn measure() -> Self {
        let start = SYST::get_current();
        let nothing = ticks_since(start);
        let start = SYST::get_current();
        // SAFETY: it counts a register down, and touches nothing else.
        unsafe {
            asm!("2: subs {0}, #1", "bne 2b", inout(reg) LOOP_INSTRUCTIONS / 2 => _, options(nomem, nostack))
        };
        Self { nothing, per_loop: ticks_since(start) - nothing }
    }

    fn instructions(&self, ticks: u32) -> u64 {
        let spent = u64::from(ticks.saturating_sub(self.nothing)) * u64::from(LOOP_INSTRUCTIONS);
        spent.div_ceil(u64::from(self.per_loop))
    }
}

fn start_counting(mut systick: SYST) {
    systick.set_clock_source(SystClkSource::Core);
    systick.set_reload(SYSTICK_MAX);
    systick.clear_current();
    systick.enable_counter();
}

/// SysTick counts down.
fn ticks_since(start: u32) -> u32 {
    start.wrapping_sub(SYST::get_current()) & SYSTICK_MAX
}

static OUTBOX: Outbox<TimedMutex, RING_LEN, SLOTS> = Outbox::new(&CHANNELS, TimeColumn::Delta);
static CHANNELS: [ChannelInfo; 1] = [ChannelInfo::of::<Sample>(0)];

const CONFIG: DeviceConfig = DeviceConfig {
    device: DeviceId::from_chip_id(b"footprint"),
    tick_hz: 1_000_000,
    reset: ResetReason::Unknown,
    seed: 0,
};

const RING_LEN: usize = 4096;
const SLOTS: usize = 16;
const PIECE_LEN: usize = 128;
/// So many events all go into the first batch.
const TYPICAL_PUSHES: u32 = 10;
const LOOP_INSTRUCTIONS: u32 = 200;
const SYSTICK_MAX: u32 = 0xFF_FFFF;
