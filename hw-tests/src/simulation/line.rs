//! One direction of a serial line in virtual time: what goes in as bytes comes out as frames, late, torn, doubled or
//! not at all.
//!
//! ```text
//!            until 00              arrival time → frame
//!  transmit ─────────► open frame ─────────────────────► in flight ─────► poll_arrival
//!                                   faults, one by one
//! ```

use std::collections::BTreeMap;

use fastrand::Rng;

use super::fault::{Fault, FaultCounts, FaultRates};

/// One direction of a line. Times are µs of the world.
#[derive(Debug)]
pub(super) struct Line {
    rng: Rng,
    rates: FaultRates,
    byte_ns: u64,
    latency_us: u64,
    /// What was sent since the last 00.
    open: Vec<u8>,
    /// By arrival, then by the order of sending.
    in_flight: BTreeMap<(u64, u64), Frame>,
    frames_sent: u64,
    busy_until_us: u64,
    last_arrival_us: u64,
    out_until_us: u64,
    counts: FaultCounts,
}

/// Bytes on their way: a frame with its 00, or what a fault made of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// What arrives.
    pub bytes: Vec<u8>,
    /// How many sessions its line had seen when it was sent.
    pub session: u64,
}

impl Line {
    /// A line that takes `byte_ns` for a byte and `latency_us` on top.
    pub(super) fn new(rng: Rng, rates: FaultRates, byte_ns: u64, latency_us: u64) -> Self {
        Self {
            rng,
            rates,
            byte_ns,
            latency_us,
            open: Vec::new(),
            in_flight: BTreeMap::new(),
            frames_sent: 0,
            busy_until_us: 0,
            last_arrival_us: 0,
            out_until_us: 0,
            counts: FaultCounts::default(),
        }
    }

    /// When the sender's next byte finds room.
    pub(super) fn ready_at(&self) -> u64 {
        self.busy_until_us
    }

    /// Takes bytes from the sender, which must have waited until [`Line::ready_at`]. `session` labels the frames
    /// that end within them.
    pub(super) fn transmit(&mut self, now_us: u64, bytes: &[u8], session: u64) {
        self.busy_until_us = now_us + (bytes.len() as u64 * self.byte_ns).div_ceil(1000);
        for &byte in bytes {
            self.open.push(byte);
            if byte == 0 || self.open.len() == OPEN_LEN_MAX {
                let bytes = std::mem::take(&mut self.open);
                self.launch(Frame { bytes, session });
            }
        }
    }

    /// When the next frame arrives, if one is on its way.
    pub(super) fn next_arrival(&self) -> Option<u64> {
        self.in_flight.first_key_value().map(|(&(arrival_us, _), _)| arrival_us)
    }

    /// The next frame that has arrived by now.
    pub(super) fn poll_arrival(&mut self, now_us: u64) -> Option<Frame> {
        let next = self.in_flight.first_entry()?;
        if next.key().0 > now_us { None } else { Some(next.remove()) }
    }

    /// Pulls the cable until then: what is sent meanwhile is lost.
    pub(super) fn cut_until(&mut self, until_us: u64) {
        self.out_until_us = self.out_until_us.max(until_us);
    }

    /// Ends all faults and plugs the cable in. What is on its way still arrives, late as it may be.
    pub(super) fn heal(&mut self) {
        self.rates = FaultRates::NONE;
        self.out_until_us = 0;
    }

    /// How often each fault struck.
    pub(super) fn counts(&self) -> &FaultCounts {
        &self.counts
    }

    /// Sends a whole frame on its way, past the faults.
    fn launch(&mut self, mut frame: Frame) {
        if self.busy_until_us < self.out_until_us {
            return self.counts.count(Fault::Outage);
        }
        if self.in_flight.len() >= IN_FLIGHT_MAX || self.strikes(Fault::Drop) {
            return self.counts.count(Fault::Drop);
        }
        if self.strikes(Fault::Flip) {
            self.flip(&mut frame.bytes);
        }
        if self.strikes(Fault::Cut) {
            frame.bytes.truncate(self.rng.usize(0..frame.bytes.len()));
        }
        if self.strikes(Fault::Noise) {
            let noise = self.rng.usize(1..=NOISE_LEN_MAX);
            let rng = &mut self.rng;
            frame.bytes.splice(0..0, std::iter::repeat_with(|| rng.u8(..)).take(noise));
        }
        if self.strikes(Fault::Duplicate) {
            let again_us = self.late_arrival();
            self.fly(again_us, frame.clone());
        }
        let arrival_us = self.arrival();
        self.fly(arrival_us, frame);
    }

    /// When the frame that is sent now arrives: after the one before it, unless a fault makes it late.
    fn arrival(&mut self) -> u64 {
        if self.strikes(Fault::Delay) || self.strikes(Fault::Reorder) {
            return self.late_arrival();
        }
        self.last_arrival_us = self.last_arrival_us.max(self.busy_until_us + self.latency_us);
        self.last_arrival_us
    }

    /// An arrival out of order: mostly some frames late, at times whole sessions.
    fn late_arrival(&mut self) -> u64 {
        let late_us =
            if self.strikes(Fault::Delay) { self.rng.u64(DELAY_US) } else { self.rng.u64(REORDER_US) };
        self.busy_until_us + self.latency_us + late_us
    }

    fn fly(&mut self, arrival_us: u64, frame: Frame) {
        self.frames_sent += 1;
        self.in_flight.insert((arrival_us, self.frames_sent), frame);
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        for _ in 0..self.rng.usize(1..=FLIPS_MAX) {
            let at = self.rng.usize(0..bytes.len());
            bytes[at] ^= 1 << self.rng.u32(0..8);
        }
    }

    fn strikes(&mut self, fault: Fault) -> bool {
        let strikes = self.rates.strikes(fault, &mut self.rng);
        if strikes {
            self.counts.count(fault);
        }
        strikes
    }
}

/// More frames than this are not on their way at once: the rest is lost.
const IN_FLIGHT_MAX: usize = 4096;

/// A frame without an end is passed on in pieces of this length.
const OPEN_LEN_MAX: usize = 8192;

/// The most bytes of noise before a frame.
const NOISE_LEN_MAX: usize = 40;

/// The most bits that a flip inverts.
const FLIPS_MAX: usize = 3;

/// How late a reordered frame is, in µs.
const REORDER_US: std::ops::Range<u64> = 100..60_000;

/// How late a delayed frame is, in µs: long enough for several sessions to pass.
const DELAY_US: std::ops::Range<u64> = 100_000..25_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(rates: FaultRates) -> Line {
        Line::new(Rng::with_seed(1), rates, 10_000, 500)
    }

    fn arrivals(line: &mut Line) -> Vec<Frame> {
        std::iter::from_fn(|| line.poll_arrival(u64::MAX)).collect()
    }

    #[test]
    fn a_line_without_faults_gives_each_frame_once_in_order() {
        let mut line = line(FaultRates::NONE);
        line.transmit(0, &[1, 2], 0);
        assert_eq!(line.ready_at(), 20, "10 µs a byte");
        line.transmit(20, &[3, 0, 4, 0, 5], 7);
        assert_eq!(
            line.next_arrival(),
            Some(570),
            "the frames end with the transmission, 500 µs before they arrive"
        );
        let frames = arrivals(&mut line);
        assert_eq!(frames, [vec![1, 2, 3, 0], vec![4, 0]].map(|bytes| Frame { bytes, session: 7 }));
    }

    #[test]
    fn each_fault_does_what_its_name_says() {
        let check = |fault: Fault, expected: &dyn Fn(&[Frame]) -> bool| {
            let mut line = line(FaultRates::NONE.with(fault, 1000));
            line.transmit(0, &[1, 2, 3, 4, 0], 0);
            let frames = arrivals(&mut line);
            assert!(expected(&frames), "{fault:?}: {frames:?}");
            assert!(line.counts().of(fault) > 0, "{fault:?}");
        };
        let sent = vec![1, 2, 3, 4, 0];
        check(Fault::Drop, &|frames| frames.is_empty());
        check(Fault::Duplicate, &|frames| {
            frames.len() == 2 && frames.iter().all(|frame| frame.bytes == sent)
        });
        check(Fault::Flip, &|frames| frames[0].bytes.len() == 5 && frames[0].bytes != sent);
        check(Fault::Cut, &|frames| frames[0].bytes.len() < 5 && sent.starts_with(&frames[0].bytes));
        check(Fault::Noise, &|frames| frames[0].bytes.len() > 5 && frames[0].bytes.ends_with(&sent));
    }

    #[test]
    fn a_reordered_frame_is_overtaken_and_a_delayed_one_comes_much_later() {
        for (fault, late_us_min) in [(Fault::Reorder, REORDER_US.start), (Fault::Delay, DELAY_US.start)] {
            let mut line = line(FaultRates::NONE.with(fault, 1000));
            line.transmit(0, &[0], 0);
            line.rates = FaultRates::NONE;
            line.transmit(10, &[9, 0], 0);
            assert_eq!(line.next_arrival(), Some(530), "the second is not held up");
            assert_eq!(arrivals(&mut line).iter().map(|frame| frame.bytes.len()).collect::<Vec<_>>(), [2, 1]);
            assert!(late_us_min >= 100);
        }
    }

    #[test]
    fn a_pulled_cable_loses_what_is_sent_until_it_is_back() {
        let mut line = line(FaultRates::NONE);
        line.cut_until(100);
        line.transmit(0, &[1, 0], 0);
        line.transmit(100, &[2, 0], 0);
        assert_eq!(arrivals(&mut line).len(), 1);
        assert_eq!(line.counts().of(Fault::Outage), 1);
    }
}
