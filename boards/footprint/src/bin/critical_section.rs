//! Runs a device's link against a host's on one chip and prints how many instructions the outbox spends with
//! interrupts off: longer than that no interrupt waits for it.
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
use varve_footprint::Sample;

#[entry]
fn main() -> ! {
    start_counting(Peripherals::take().expect("taken once").SYST);
    let clock = Calibration::measure();
    let samples = OUTBOX.channel::<Sample>(0).expect("the table has this type there");

    let mut pushes = 0;
    let mut pushed = 0;
    while samples.try_push(u64::from(pushes), &Sample::made_up(pushes)).is_ok() {
        pushes += 1;
        if pushes == TYPICAL_PUSH {
            pushed = clock.instructions(LONGEST.load(Ordering::Relaxed));
        }
        if pushes < TYPICAL_PUSH {
            LONGEST.store(0, Ordering::Relaxed);
        }
    }
    println!("  {:>6}  an event of 20 bytes is pushed into an open batch", pushed);
    clock.print("at most, while a batch is sealed and another opened for it");

    let _ = samples.try_push(0, &Sample::made_up(0));
    clock.print("an event is dropped, the outbox being full");

    let rig = singleton!(: Rig = Rig::new()).expect("taken once");
    rig.enter_session();
    clock.print("a session is entered with a full outbox");
    rig.exchange();
    clock.print("a full outbox is sent");
    rig.make_durable();
    clock.print("what is durable is forgotten");
    exit(if OUTBOX.stats().held_bytes < RING_LEN / 2 { 0 } else { 1 })
}

/// A device and a host with a perfect line between them, in a time of their own, in microseconds.
struct Rig {
    device: DeviceLink<'static, TimedMutex, RING_LEN, SLOTS>,
    host: HostLink,
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
            let up = self.device.poll_transmit(self.now, &mut piece);
            self.host_handles(&piece[..up]);
            let down = self.host.poll_transmit(self.now, &mut piece);
            self.device.handle_bytes(self.now, &piece[..down]);
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

/// The longest critical section since it was last set to 0, in ticks of SysTick.
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

    /// Prints the longest critical section since the last time.
    fn print(&self, what: &str) {
        let longest = LONGEST.load(Ordering::Relaxed);
        LONGEST.store(0, Ordering::Relaxed);
        println!("  {:>6}  {}", self.instructions(longest), what);
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
/// This push is one of many into the same batch.
const TYPICAL_PUSH: u32 = 10;
const LOOP_INSTRUCTIONS: u32 = 200;
const SYSTICK_MAX: u32 = 0xFF_FFFF;
