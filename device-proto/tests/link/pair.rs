//! A device and a host with a line between them.

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use varve_core::{DeviceId, DeviceSequence, TimeColumn};
use varve_device_proto::{
    ChannelInfo, DeviceConfig, DeviceEvent, DeviceLink, Dropped, HostConfig, HostLink, Outbox, ResetReason,
};

use crate::line::Line;
use crate::store::Store;

pub(crate) static CHANNELS: [ChannelInfo; 2] = [ChannelInfo::of::<u32>(0), ChannelInfo::of::<[u8; 20]>(1)];
pub(crate) const DEVICE: DeviceId = DeviceId(0x00ab_cdef_0123_4567);

pub(crate) type TestOutbox = Outbox<NoopRawMutex, 4096, 16>;

pub(crate) struct Pair {
    pub(crate) now: u64,
    pub(crate) outbox: &'static TestOutbox,
    pub(crate) device: DeviceLink<'static, NoopRawMutex, 4096, 16>,
    pub(crate) host: HostLink,
    pub(crate) store: Store,
    pub(crate) to_host: Line,
    pub(crate) to_device: Line,
    /// How long a commit takes.
    pub(crate) commit_us: u64,
    commit_at: Option<u64>,
    /// The largest piece that either side writes at once.
    pub(crate) piece_len: usize,
    starts: u64,
    /// The value of each event that was kept, by its sequence.
    pub(crate) kept: Vec<(u64, u32)>,
    pub(crate) events: Vec<DeviceEvent>,
}

impl Pair {
    pub(crate) fn new(seed: u64) -> Self {
        let outbox = new_outbox();
        Self {
            now: 0,
            outbox,
            device: DeviceLink::new(device_config(seed), outbox, 0),
            host: HostLink::new(HostConfig { seed: seed.wrapping_mul(31) }),
            store: Store::new(0xfeed),
            to_host: Line::new(seed ^ 0x5555),
            to_device: Line::new(seed ^ 0xaaaa),
            commit_us: 2_000,
            commit_at: None,
            piece_len: 4096,
            starts: seed,
            kept: Vec::new(),
            events: Vec::new(),
        }
    }

    /// A pair whose session has begun.
    pub(crate) fn connected() -> Self {
        let mut pair = Self::new(1);
        pair.run_until("connected", |pair| pair.device.is_connected());
        pair
    }

    pub(crate) fn push(&mut self, value: u32) -> Result<DeviceSequence, Dropped> {
        let pushed = self.outbox.channel::<u32>(0).expect("channel 0 is of u32").try_push(self.now, &value);
        if let Ok(sequence) = pushed {
            self.kept.push((sequence.0, value));
        }
        pushed
    }

    /// Lets both sides speak and hear until nothing is left to do at this moment.
    pub(crate) fn settle(&mut self) {
        let mut buffer = vec![0; self.piece_len];
        loop {
            let mut idle = true;
            let len = self.device.poll_transmit(self.now, &mut buffer);
            if len > 0 {
                self.to_host.write(self.now, &buffer[..len]);
                idle = false;
            }
            let len = self.host.poll_transmit(self.now, &mut buffer);
            if len > 0 {
                self.to_device.write(self.now, &buffer[..len]);
                idle = false;
            }
            self.store.handle_events(&mut self.host);
            while let Some(bytes) = self.to_device.read(self.now) {
                self.device.handle_bytes(self.now, &bytes);
                idle = false;
            }
            while let Some(bytes) = self.to_host.read(self.now) {
                self.hear(&bytes);
                idle = false;
            }
            self.events.extend(core::iter::from_fn(|| self.device.poll_event()));
            if idle {
                return;
            }
        }
    }

    fn hear(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.host.handle_bytes(self.now, bytes);
            bytes = &bytes[taken..];
            self.store.handle_events(&mut self.host);
        }
        self.commit_at.get_or_insert(self.now + self.commit_us.max(1));
    }

    /// Goes on to the next moment at which something happens, `end` at the latest.
    pub(crate) fn advance(&mut self, end: u64) {
        self.settle();
        let moments = [
            self.device.poll_timeout(),
            self.host.poll_timeout(),
            self.to_device.next_at(),
            self.to_host.next_at(),
            self.commit_at,
        ];
        let next = moments.into_iter().flatten().min().unwrap_or(end);
        assert!(next > self.now, "a timer that has run out and does nothing makes a busy loop");
        self.now = next.min(end);
        if self.commit_at.is_some_and(|at| at <= self.now) {
            self.commit_at = None;
            self.store.commit(&mut self.host);
        }
        self.settle();
    }

    pub(crate) fn run(&mut self, us: u64) {
        let end = self.now + us;
        while self.now < end {
            self.advance(end);
        }
        self.settle();
    }

    pub(crate) fn run_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = self.now + 120_000_000;
        while !done(self) {
            assert!(self.now < end, "{what}: not within 2 minutes");
            self.advance(end);
        }
    }

    /// Until the host has made all durable and the device knows it.
    pub(crate) fn drain(&mut self) {
        self.run_until("drained", |pair| pair.device.is_connected() && pair.outbox.is_empty());
        self.run(100_000);
    }

    pub(crate) fn reset_device(&mut self) {
        self.starts += 1;
        self.outbox = new_outbox();
        self.device = DeviceLink::new(device_config(self.starts), self.outbox, self.now);
        self.kept.clear();
    }

    pub(crate) fn restart_host(&mut self) {
        self.starts += 1;
        self.store.crash();
        self.commit_at = None;
        self.host = HostLink::new(HostConfig { seed: self.starts.wrapping_mul(77) });
    }

    /// The events of the latest epoch are those that were kept, each once, and gaps stand for the others.
    pub(crate) fn check_stored(&self) {
        let stored = self.store.latest();
        stored.check_conservation();
        let events: Vec<_> = stored
            .events
            .iter()
            .map(|(sequence, bytes)| (*sequence, u32::from_le_bytes(bytes[..].try_into().expect("a u32"))))
            .collect();
        assert_eq!(events, self.kept);
    }
}

fn new_outbox() -> &'static TestOutbox {
    Box::leak(Box::new(Outbox::new(&CHANNELS, TimeColumn::Delta)))
}

fn device_config(seed: u64) -> DeviceConfig {
    DeviceConfig { device: DEVICE, tick_hz: 1_000_000, reset: ResetReason::Power, seed }
}
