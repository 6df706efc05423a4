//! How a host admits a device: from its hello to its start.

use varve_core::{Epoch, GapReason, Lane, is_system_stream};

use super::{Machine, Outcome, Peer, Pending, Phase};
use crate::admission::{Admission, LaneCursor};
use crate::chain::Chain;
use crate::host::lane::HostLane;
use crate::host::{ClockSample, LostReason, Session};
use crate::message::{
    self, CHANNEL_NAME_LEN_MAX, HeldLane, Hello, LaneStart, Refusal, Start, VERSION_MAX, VERSION_MIN,
};

impl Machine {
    pub(super) fn handle_hello(&mut self, now: u64, body: &[u8], frame_len: usize) -> Outcome {
        let Some(prefix) = message::read::<HelloPrefix>(body) else {
            return Outcome::Ignored;
        };
        if let Phase::Welcoming { repetition, .. } = &mut self.phase
            && prefix.nonce == self.peer.nonce
        {
            repetition.hasten(now);
            return Outcome::Taken;
        }
        let hello = message::read::<Hello<'_>>(body);
        if let (Phase::Live { session, .. }, Some(hello)) = (&self.phase, &hello)
            && hello.session == *session
        {
            self.discovery.stop();
            return Outcome::Taken;
        }
        let asked = if prefix.nonce == 0 { None } else { self.discovery.answered(prefix.discover) };
        match (asked, &self.phase) {
            (Some(asked), Phase::Apart | Phase::Live { .. }) => {
                self.handle_answer(now, asked, &prefix, hello.as_ref(), frame_len)
            }
            // Unsolicited. An answer to an older question hastens nothing, or a slow line would never catch up.
            (None, Phase::Apart | Phase::Live { .. }) if prefix.discover == 0 => {
                self.discovery.hasten(now);
                Outcome::Taken
            }
            _ => Outcome::Ignored,
        }
    }

    /// A hello that answers a `Discover` of this host, and is not of the present session.
    fn handle_answer(
        &mut self,
        now: u64,
        asked: u64,
        prefix: &HelloPrefix,
        hello: Option<&Hello<'_>>,
        frame_len: usize,
    ) -> Outcome {
        if matches!(self.phase, Phase::Live { .. }) {
            self.part(now);
            self.tell(Pending::Lost(LostReason::Reset));
        }
        self.discovery.stop();
        self.peer.nonce = prefix.nonce;
        if prefix.version_max < VERSION_MIN || prefix.version_min > VERSION_MAX {
            return Outcome::Refused(Refusal::Version);
        }
        let Some(hello) = hello.filter(|hello| makes_sense(hello)) else {
            return Outcome::Refused(Refusal::Malformed);
        };
        self.peer = Peer {
            device: hello.device,
            nonce: hello.nonce,
            version: hello.version_max.min(VERSION_MAX),
            clock: ClockSample {
                ticks: hello.now,
                tick_hz: hello.tick_hz,
                host_us: asked + now.saturating_sub(asked) / 2,
                uncertainty_us: now.saturating_sub(asked).div_ceil(2),
            },
            held: hello.lanes.clone(),
            channels: hello.channels.iter().map(|channel| channel.lane).collect(),
        };
        self.phase = Phase::Deciding;
        self.tell(Pending::Hello { frame_len });
        Outcome::Taken
    }

    pub(super) fn handle_start(&mut self, now: u64, body: &[u8]) -> Outcome {
        let Some(start) = message::read::<Start>(body) else {
            return Outcome::Refused(Refusal::Malformed);
        };
        let Phase::Welcoming { admission, session, .. } = &self.phase else {
            // It came twice.
            self.lanes.iter_mut().for_each(|lane| lane.ack_due = true);
            return Outcome::Taken;
        };
        if start.lanes.len() != admission.lanes.len() {
            return Outcome::Refused(Refusal::Malformed);
        }
        let starts = || admission.lanes.iter().zip(&self.peer.held).zip(&start.lanes);
        if let Some(refusal) =
            starts().find_map(|((cursor, held), start)| check_start(admission, cursor, held, start))
        {
            return Outcome::Refused(refusal);
        }
        let lanes = starts().map(|((cursor, held), start)| {
            // Of what a device held before a rebase it may have forgotten some since its hello: nothing is known yet.
            let heard = if admission.rebase { start.first } else { held.next };
            HostLane::new(*cursor, start.first, Chain(start.chain), heard)
        });
        self.lanes = lanes.collect();
        let opened = Session {
            number: *session,
            device: self.peer.device,
            admission: admission.clone(),
            clock: self.peer.clock,
        };
        self.stats.sessions += 1;
        self.phase = Phase::Live { session: opened.number, heard_at: now, ack_at: now };
        self.tell(Pending::Session(opened.clone()));
        self.tell_restored_gaps(&opened.admission);
        Outcome::Taken
    }

    /// What the device has forgotten, since this host's store once had it, is a gap.
    fn tell_restored_gaps(&mut self, admission: &Admission) {
        for (index, cursor) in admission.lanes.iter().enumerate() {
            let (next, chain) = (self.lanes[index].next, self.lanes[index].chain);
            if next > cursor.next {
                let len = next.0 - cursor.next.0;
                let reason = GapReason::HostRestored;
                self.tell(Pending::Gap { lane: Lane(index as u8), first: cursor.next, len, reason, chain });
            }
        }
    }
}

/// The fields of a hello that no version changes.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
struct HelloPrefix {
    version_min: u8,
    version_max: u8,
    #[expect(dead_code, reason = "no feature is defined yet")]
    features: u32,
    discover: u32,
    nonce: u32,
}

/// Whether a hello is one that an honest device of a known version sends.
fn makes_sense(hello: &Hello<'_>) -> bool {
    let identity = hello.device.is_valid() && (hello.incarnation == 0) == (hello.epoch == Epoch(0));
    let lanes = !hello.lanes.is_empty() && hello.lanes.iter().all(|lane| lane.oldest <= lane.next);
    let channels = !hello.channels.is_empty()
        && hello.channels.iter().all(|channel| {
            (1..=CHANNEL_NAME_LEN_MAX).contains(&channel.name.len())
                && !is_system_stream(channel.name)
                && usize::from(channel.lane.0) < hello.lanes.len()
        });
    identity && lanes && channels && hello.tick_hz > 0 && hello.nonce != 0
}

/// Why a lane cannot start as the device says, if it cannot.
fn check_start(
    admission: &Admission,
    cursor: &LaneCursor,
    held: &HeldLane,
    start: &LaneStart,
) -> Option<Refusal> {
    // An acknowledgement from before this host was restored may have come after the hello, and made the device forget more.
    let startable = if admission.rebase { 0..=0 } else { held.oldest.0..=held.next.0 };
    if start.first < cursor.next || (start.first == cursor.next && Chain(start.chain) != cursor.chain) {
        Some(Refusal::Chain)
    } else if start.first > cursor.next && !startable.contains(&start.first.0) {
        Some(Refusal::Malformed)
    } else {
        None
    }
}
