//! What a host makes of the messages inside a session.

use varve_core::{Batch, Channel, DeviceSequence, Lane, crc32c};

use super::{Machine, Outcome, Pending};
use crate::chain::Chain;
use crate::frame::SHORT_SEQUENCE_LEN;
use crate::host::fetch::PieceOutcome;
use crate::host::lane::Verdict;
use crate::message::{self, DescriptorPiece, Gap, NextSequence, Refusal, Status};
use crate::outbox::GAP_CREDIT;
use crate::short_sequence::ShortSequence;

impl Machine {
    /// The lane and the first sequence of a batch, before its frame has been checked.
    pub(super) fn batch_target(&self, body: &[u8]) -> Option<(Lane, DeviceSequence)> {
        let (short, batch) = body.split_first_chunk::<SHORT_SEQUENCE_LEN>()?;
        let lane = Lane(batch.first()? >> 5 & 3);
        let expected = self.lanes.get(usize::from(lane.0))?.next;
        Some((lane, ShortSequence(u16::from_le_bytes(*short)).expand(expected)))
    }

    pub(super) fn handle_batch(
        &mut self,
        lane: Lane,
        first: DeviceSequence,
        body: &[u8],
        frame_len: usize,
    ) -> Outcome {
        let bytes = &body[SHORT_SEQUENCE_LEN..];
        let Ok(batch) = Batch::new_checked(bytes) else {
            return Outcome::Refused(Refusal::Malformed);
        };
        let of_lane = |channel: Channel| self.peer.channels.get(usize::from(channel.0)) == Some(&lane);
        if !batch.events().all(|event| of_lane(event.channel)) {
            return Outcome::Refused(Refusal::Malformed);
        }
        let count = batch.len() as u64;
        let link = |chain: Chain| chain.after_batch(crc32c(bytes));
        self.accept(lane, first, count, bytes.len() as u32, link, |chain| Pending::Batch {
            lane,
            first,
            chain,
            frame_len,
        })
    }

    pub(super) fn handle_gap(&mut self, body: &[u8]) -> Outcome {
        let Some(Gap { lane, first, len, reason }) = message::read(body) else {
            return Outcome::Refused(Refusal::Malformed);
        };
        let link = |chain: Chain| chain.after_gap(first, len, reason);
        self.accept(lane, first, len, GAP_CREDIT, link, |chain| Pending::Gap {
            lane,
            first,
            len,
            reason,
            chain,
        })
    }

    /// Accepts what takes `count` sequences from `first` on, if it is next.
    fn accept(
        &mut self,
        lane: Lane,
        first: DeviceSequence,
        count: u64,
        credit: u32,
        link: impl FnOnce(Chain) -> Chain,
        event: impl FnOnce(Chain) -> Pending,
    ) -> Outcome {
        let fetching = !self.fetches.is_empty();
        let (Some(end), Some(lane)) = (first.checked_add(count), self.lanes.get_mut(usize::from(lane.0)))
        else {
            return Outcome::Refused(Refusal::Malformed);
        };
        if count == 0 {
            return Outcome::Refused(Refusal::Malformed);
        }
        let verdict = lane.judge(first, end, credit, fetching, link);
        let chain = lane.chain;
        match verdict {
            Verdict::Accepted => {
                let event = event(chain);
                match event {
                    Pending::Batch { .. } => {
                        self.stats.batches += 1;
                        self.stats.events += count;
                    }
                    _ => self.stats.gaps += 1,
                }
                self.tell(event);
            }
            Verdict::Duplicate => self.stats.duplicates += 1,
            Verdict::OutOfOrder => self.stats.out_of_order += 1,
            Verdict::OverCredit => self.stats.over_credit += 1,
            Verdict::Overlap => return Outcome::Refused(Refusal::Chain),
        }
        Outcome::Taken
    }

    pub(super) fn handle_descriptor(&mut self, body: &[u8]) -> Outcome {
        let Some(piece) = message::read::<DescriptorPiece<'_>>(body) else {
            return Outcome::Refused(Refusal::Malformed);
        };
        match self.fetches.handle_piece(&piece) {
            PieceOutcome::Ignored => return Outcome::Ignored,
            PieceOutcome::Kept => {}
            PieceOutcome::Failed => return Outcome::Refused(Refusal::Descriptor),
            PieceOutcome::Complete(hash, len) => {
                // With the last descriptor the credit becomes true.
                self.lanes.iter_mut().for_each(|lane| lane.ack_due = true);
                self.tell(Pending::Descriptor { hash, len });
            }
        }
        Outcome::Taken
    }

    pub(super) fn handle_status(&mut self, now: u64, body: &[u8]) -> Outcome {
        let Some(status) = message::read::<Status>(body) else {
            return Outcome::Refused(Refusal::Malformed);
        };
        for (lane, NextSequence(next)) in self.lanes.iter_mut().zip(&status.lanes) {
            lane.heard = lane.heard.max(*next);
        }
        self.tell(Pending::Status { ticks: status.now, received_us: now });
        Outcome::Taken
    }
}
