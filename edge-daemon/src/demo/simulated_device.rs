//! One simulated device: the outbox and the link that firmware runs, on a pseudo-terminal.

use std::io::{self, Write};
use std::time::Instant;

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use varve_core::{DeviceId, TimeColumn};
use varve_device_proto::{ChannelInfo, DeviceConfig, DeviceLink, Outbox, OutboxChannel, ResetReason};

use super::events::{Climate, Notice, Sample};
use super::faulty_line::FaultyLine;
use super::pace::Pace;
use super::pty::Pty;
use super::report::{Progress, Report};
use crate::cli::SimulateDeviceArgs;

/// Offers events at the pace of its line and keeps them until they are durable, until its standard input is closed.
///
/// # Errors
/// The pseudo-terminal or standard output failed.
pub(crate) fn simulate(args: &SimulateDeviceArgs, reports: &mut impl Write) -> io::Result<()> {
    let pty = Pty::open()?;
    writeln!(reports, "{}", Report::Port(pty.port().to_path_buf()))?;
    reports.flush()?;
    let outbox = DeviceOutbox::new(&CHANNELS, TimeColumn::DeltaOfDeltas);
    let mut device = SimulatedDevice::new(args, &outbox, pty);
    let mut reported_us = 0;
    let mut done = false;
    while !input_is_closed()? {
        device.run_once()?;
        let now_us = device.clock.now_us();
        if !done && (device.is_done() || now_us >= reported_us + REPORT_PERIOD_US) {
            done = device.is_done();
            reported_us = now_us;
            let progress = device.progress();
            writeln!(reports, "{}", if done { Report::Done(progress) } else { Report::Progress(progress) })?;
            reports.flush()?;
        }
    }
    Ok(())
}

/// The id of the simulated device of this number.
pub(crate) fn device_id(number: u32) -> DeviceId {
    DeviceId::from_chip_id(format!("varve simulated device {number}").as_bytes())
}

/// How many events a second fill `load` percent of a line of so many baud.
pub(crate) const fn events_per_second(baud: u32, load: u8) -> u64 {
    bytes_per_second(baud) * load as u64 / (100 * WIRE_BYTES_PER_EVENT)
}

struct SimulatedDevice<'o> {
    clock: Clock,
    outbox: &'o DeviceOutbox,
    climate: Channel<'o, Climate>,
    notice: Channel<'o, Notice>,
    link: DeviceLink<'o, NoopRawMutex, RING_LEN, SLOTS>,
    pty: Pty,
    /// How fast events are offered, and the bytes of the line go.
    event_pace: Pace,
    byte_pace: Pace,
    to_host: FaultyLine,
    from_host: FaultyLine,
    /// What the line has carried and the terminal not yet taken.
    outgoing: Vec<u8>,
    events: u64,
}

impl<'o> SimulatedDevice<'o> {
    fn new(args: &SimulateDeviceArgs, outbox: &'o DeviceOutbox, pty: Pty) -> Self {
        let clock = Clock::start();
        let config = DeviceConfig {
            device: device_id(args.number),
            tick_hz: 1_000_000,
            reset: ResetReason::Power,
            seed: u64::from(std::process::id()) << 32 | u64::from(args.number),
        };
        let line = |way: u64| match args.faults {
            Some(seed) => FaultyLine::faulty(seed.wrapping_mul(2).wrapping_add(way)),
            None => FaultyLine::sound(),
        };
        Self {
            outbox,
            climate: channel(outbox, 0),
            notice: channel(outbox, 1),
            link: DeviceLink::new(config, outbox, clock.now_us()),
            pty,
            event_pace: Pace::new(events_per_second(args.baud, args.load), clock.now_us()),
            byte_pace: Pace::new(bytes_per_second(args.baud), clock.now_us()),
            to_host: line(0),
            from_host: line(1),
            outgoing: Vec::new(),
            events: args.events,
            clock,
        }
    }

    /// Whether every event was offered and nothing is held any more.
    fn is_done(&self) -> bool {
        let stats = self.outbox.stats();
        stats.offered == self.events && self.outbox.is_empty()
    }

    fn progress(&self) -> Progress {
        let stats = self.outbox.stats();
        Progress {
            offered: stats.offered,
            dropped: stats.dropped,
            faults: self.to_host.faults() + self.from_host.faults(),
        }
    }

    /// Offers what is due, sends and receives what can be, and waits for the next thing to do.
    fn run_once(&mut self) -> io::Result<()> {
        self.offer_events();
        self.send()?;
        let ready = self.pty.wait(!self.outgoing.is_empty(), TURN_MS)?;
        if ready.unplugged {
            // Nobody has the port open: what the device sends goes nowhere, and there is nothing to wait on.
            self.outgoing.clear();
            std::thread::sleep(std::time::Duration::from_millis(TURN_MS.into()));
        }
        if ready.readable { self.receive() } else { Ok(()) }
    }

    fn offer_events(&mut self) {
        let now_us = self.clock.now_us();
        let offered = self.outbox.stats().offered;
        let due = self.event_pace.allowed(now_us).min(self.events - offered);
        for nth in offered..offered + due {
            // A dropped event has its sequence nonetheless, and becomes part of a gap.
            let _ = match Sample::nth(nth) {
                Sample::Climate(climate) => self.climate.try_push(now_us, &climate),
                Sample::Notice(notice) => self.notice.try_push(now_us, &notice),
            };
        }
        self.event_pace.take(due);
    }

    fn send(&mut self) -> io::Result<()> {
        let mut buf = [0; CHUNK_LEN];
        loop {
            let now_us = self.clock.now_us();
            let room = usize::try_from(self.byte_pace.allowed(now_us)).unwrap_or(usize::MAX).min(CHUNK_LEN);
            if self.outgoing.is_empty() && room > 0 {
                let len = self.link.poll_transmit(now_us, &mut buf[..room]);
                self.byte_pace.take(len as u64);
                self.to_host.carry(now_us, &buf[..len], &mut self.outgoing);
                if len == 0 {
                    return Ok(());
                }
            }
            let written = self.pty.write(&self.outgoing)?;
            self.outgoing.drain(..written);
            if !self.outgoing.is_empty() || room == 0 {
                return Ok(());
            }
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut buf = [0; CHUNK_LEN];
        let len = self.pty.read(&mut buf)?;
        let mut arrived = Vec::with_capacity(2 * len);
        let now_us = self.clock.now_us();
        self.from_host.carry(now_us, &buf[..len], &mut arrived);
        self.link.handle_bytes(now_us, &arrived);
        Ok(())
    }
}

/// Microseconds since the device started: a device's clock knows no other time.
#[derive(Clone, Copy, Debug)]
struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn now_us(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

type DeviceOutbox = Outbox<NoopRawMutex, RING_LEN, SLOTS>;
type Channel<'o, T> = OutboxChannel<'o, T, NoopRawMutex, RING_LEN, SLOTS>;

static CHANNELS: [ChannelInfo; 2] = [ChannelInfo::of::<Climate>(0), ChannelInfo::of::<Notice>(0)];

/// The outbox of a large microcontroller: at 3 Mbaud it holds 0.2 s.
const RING_LEN: usize = 64 * 1024;
const SLOTS: usize = 256;

/// The longest that a device waits before it looks at its sensors again, in milliseconds.
const TURN_MS: u32 = 1;

/// What goes through the line at once.
const CHUNK_LEN: usize = 4096;

/// How many of a line's bytes one event takes, all told and rounded up.
const WIRE_BYTES_PER_EVENT: u64 = 23;

/// A byte takes ten bits: one to start, eight of its own, one to stop.
const fn bytes_per_second(baud: u32) -> u64 {
    baud as u64 / 10
}

const REPORT_PERIOD_US: u64 = 100_000;

fn channel<T: varve_core::BoundedEvent>(outbox: &DeviceOutbox, index: usize) -> Channel<'_, T> {
    outbox.channel(index).expect("the channel table names the type, and its largest event fits a batch")
}

/// Whether whoever started the device is gone.
fn input_is_closed() -> io::Result<bool> {
    let stdin = rustix::stdio::stdin();
    let mut fds = [PollFd::new(&stdin, PollFlags::empty())];
    match poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(fds[0].revents().contains(PollFlags::HUP)),
        Err(error) => Err(error.into()),
    }
}
