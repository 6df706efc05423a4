//! The simplest store that keeps the contract: it admits, appends, and makes durable when told to.

use std::collections::{BTreeMap, BTreeSet};

use varve_core::{Batch, DescriptorHash, DeviceSequence, Epoch, Lane};
use varve_device_proto::admission::decide;
use varve_device_proto::{
    Admission, Chain, GapReason, Hello, HostEvent, HostLink, KnownDevice, KnownEpoch, LaneCursor, LostReason,
    Refusal, Session,
};

pub(crate) const LANE: Lane = Lane(0);
pub(crate) const CREDIT: u32 = 16 * 1024;

#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) incarnation: u64,
    pub(crate) epochs: BTreeMap<u32, StoredEpoch>,
    pub(crate) descriptors: BTreeSet<[u8; 8]>,
    /// What was received and is not durable.
    unsaved: Vec<Unsaved>,
    session: Option<Session>,
    wanted: Vec<[u8; 8]>,
    pub(crate) fetches: bool,
    pub(crate) credit: u32,
    pub(crate) sessions: Vec<Session>,
    pub(crate) lost: Vec<LostReason>,
    pub(crate) refused: Vec<Refusal>,
    pub(crate) statuses: u64,
}

#[derive(Clone, Default)]
pub(crate) struct StoredEpoch {
    pub(crate) cursor: LaneCursor,
    pub(crate) events: Vec<(u64, Vec<u8>)>,
    pub(crate) gaps: Vec<(u64, u64, GapReason)>,
    pub(crate) closed: bool,
}

#[derive(Clone)]
enum Unsaved {
    Open(Admission),
    Batch { epoch: Epoch, first: DeviceSequence, chain: Chain, events: Vec<Vec<u8>> },
    Gap { epoch: Epoch, first: DeviceSequence, len: u64, reason: GapReason, chain: Chain },
}

impl Store {
    pub(crate) fn new(incarnation: u64) -> Self {
        Self {
            incarnation,
            epochs: BTreeMap::new(),
            descriptors: BTreeSet::new(),
            unsaved: Vec::new(),
            session: None,
            wanted: Vec::new(),
            fetches: false,
            credit: CREDIT,
            sessions: Vec::new(),
            lost: Vec::new(),
            refused: Vec::new(),
            statuses: 0,
        }
    }

    /// What a host knows after its restart.
    pub(crate) fn crash(&mut self) {
        self.unsaved.clear();
        self.session = None;
    }

    fn known(&self) -> KnownDevice {
        let latest = self.epochs.last_key_value().map(|(epoch, stored)| KnownEpoch {
            epoch: Epoch(*epoch),
            closed: stored.closed,
            lanes: [stored.cursor].into_iter().collect(),
        });
        KnownDevice { incarnation: self.incarnation, latest, live_elsewhere: false }
    }

    pub(crate) fn decide(&self, hello: &Hello<'_>) -> Result<Admission, Refusal> {
        decide(&self.known(), hello)
    }

    /// Answers every event that waits.
    pub(crate) fn handle_events(&mut self, host: &mut HostLink) {
        loop {
            let reply = match host.poll_event() {
                Some(event) => self.handle_event(event),
                None => return,
            };
            match reply {
                Reply::None => {}
                Reply::Decision(Ok(admission)) => host.admit(admission),
                Reply::Decision(Err(refusal)) => host.refuse(refusal),
                Reply::Open(wanted) => {
                    for hash in wanted {
                        assert!(host.fetch_descriptor(DescriptorHash(hash)));
                    }
                    host.set_credit(LANE, self.credit);
                }
                Reply::Credit => host.set_credit(LANE, self.credit),
            }
        }
    }

    fn handle_event(&mut self, event: HostEvent<'_>) -> Reply {
        match event {
            HostEvent::Hello(hello) => {
                self.wanted = hello.channels.iter().map(|channel| channel.descriptor).collect();
                return Reply::Decision(self.decide(&hello));
            }
            HostEvent::Session(session) => {
                self.unsaved.push(Unsaved::Open(session.admission.clone()));
                self.session = Some(session.clone());
                self.sessions.push(session);
                let wanted =
                    self.wanted.iter().filter(|hash| self.fetches && !self.descriptors.contains(*hash));
                return Reply::Open(wanted.copied().collect());
            }
            HostEvent::FetchedDescriptor { hash, bytes } => {
                assert_eq!(DescriptorHash::of(bytes), hash);
                self.descriptors.insert(hash.0);
            }
            HostEvent::Batch { lane, first, chain, batch } => {
                assert_eq!(lane, LANE);
                self.unsaved.push(Unsaved::Batch {
                    epoch: self.epoch(),
                    first,
                    chain,
                    events: events(&batch),
                });
                return Reply::Credit;
            }
            HostEvent::Gap { lane, first, len, reason, chain } => {
                assert_eq!(lane, LANE);
                self.unsaved.push(Unsaved::Gap { epoch: self.epoch(), first, len, reason, chain });
                return Reply::Credit;
            }
            HostEvent::Status { .. } => self.statuses += 1,
            HostEvent::Lost(reason) => self.lost.push(reason),
            HostEvent::Refused(reason) => self.refused.push(reason),
            _ => unreachable!("every event is known here"),
        }
        Reply::None
    }

    fn epoch(&self) -> Epoch {
        self.session.as_ref().expect("events come in a session").admission.epoch
    }

    /// Makes what was received durable, and says so.
    pub(crate) fn commit(&mut self, host: &mut HostLink) {
        if self.unsaved.is_empty() {
            return;
        }
        for unsaved in core::mem::take(&mut self.unsaved) {
            self.save(unsaved);
        }
        if let Some(session) = &self.session {
            let next = self.epochs[&session.admission.epoch.0].cursor.next;
            host.handle_durable(session.number, LANE, next);
        }
    }

    fn save(&mut self, unsaved: Unsaved) {
        match unsaved {
            Unsaved::Open(admission) => {
                self.epochs.entry(admission.epoch.0).or_default();
                if let Some(closed) = admission.closes.and_then(|epoch| self.epochs.get_mut(&epoch.0)) {
                    closed.closed = true;
                }
            }
            Unsaved::Batch { epoch, first, chain, events } => {
                let stored = self.epochs.get_mut(&epoch.0).expect("the epoch is open");
                if first >= stored.cursor.next {
                    stored.advance(first, events.len() as u64, chain);
                    stored.events.extend((first.0..).zip(events));
                }
            }
            Unsaved::Gap { epoch, first, len, reason, chain } => {
                let stored = self.epochs.get_mut(&epoch.0).expect("the epoch is open");
                if first >= stored.cursor.next {
                    stored.advance(first, len, chain);
                    stored.gaps.push((first.0, len, reason));
                }
            }
        }
    }

    pub(crate) fn latest(&self) -> &StoredEpoch {
        self.epochs.last_key_value().expect("an epoch").1
    }
}

impl StoredEpoch {
    fn advance(&mut self, first: DeviceSequence, len: u64, chain: Chain) {
        assert_eq!(first, self.cursor.next, "what is accepted is next");
        self.cursor = LaneCursor { next: DeviceSequence(first.0 + len), chain };
    }

    /// Events and gaps cover every sequence once.
    pub(crate) fn check_conservation(&self) {
        let in_gaps: u64 = self.gaps.iter().map(|(_, len, _)| len).sum();
        assert_eq!(self.events.len() as u64 + in_gaps, self.cursor.next.0);
        assert!(self.events.is_sorted_by(|(one, _), (next, _)| one < next));
        for (first, len, _) in &self.gaps {
            assert!(!self.events.iter().any(|(sequence, _)| (*first..first + len).contains(sequence)));
        }
    }
}

fn events(batch: &Batch<'_>) -> Vec<Vec<u8>> {
    batch.events().map(|event| event.bytes.to_vec()).collect()
}

enum Reply {
    None,
    Decision(Result<Admission, Refusal>),
    /// A session has begun, and these descriptors are wanted.
    Open(Vec<[u8; 8]>),
    Credit,
}
