//! The events of a block in the making, as they came: side by side, whichever runs they are of.
//!
//! ```text
//! bytes   │ event of run 0 │ event of run 1 │ … │ events of run 0, of a block that was merged │ those of its run 1 │ …
//! pieces  │ run 0, 1 event │ run 1, 1 event │ … │ run 0, 3 events                             │ run 1, 2 events    │ …
//! turns   │ run 0, 1 event │ run 1, 1 event │ … │ run 0, 1 │ run 1, 1 │ run 0, 2 │ run 1, 1   │ …    the global order
//! ```

use std::slice::Iter;

use super::BLOCK_LEN_MAX;
use super::columns::{TickState, varint_len};
use super::run::END_LEN;
use super::writer::COUNT_LEN_MAX;
use crate::write_varint;

/// Events in global order, and which run takes which.
#[derive(Debug)]
pub(super) struct Arrivals {
    /// The events, then room for more.
    bytes: Box<[u8]>,
    len: usize,
    /// The lengths of those that are not among the first of their run that have one length.
    lens: Vec<u16>,
    /// The ticks of those that have any.
    ticks: Vec<u64>,
    pieces: Vec<Piece>,
    turns: Vec<Turn>,
    /// What the order column takes for the turns before the last.
    settled_len: usize,
}

/// Events of one run whose bytes stand together.
#[derive(Clone, Copy, Debug)]
struct Piece {
    run: u16,
    n: u32,
    /// How many bytes they have.
    len: u32,
}

/// Neighbours in the log that are of one run.
#[derive(Clone, Copy, Debug)]
struct Turn {
    run: u16,
    n: u32,
}

/// Where a run's events and columns go, each when its turn comes.
#[derive(Debug)]
pub(super) struct RunRoom {
    /// Whether they go anywhere.
    pub(super) is_wanted: bool,
    /// How many events are yet to come that have the length of the first …
    pub(super) strided: u32,
    /// … which is this.
    pub(super) first_len: u16,
    pub(super) is_timed: bool,
    pub(super) has_ends: bool,
    /// Where the next event goes, its end, and its ticks.
    pub(super) events_at: usize,
    pub(super) ends_at: usize,
    pub(super) ticks_at: usize,
    /// Where the last event ended, and what its ticks left.
    pub(super) end: u16,
    pub(super) tick_state: TickState,
}

impl Arrivals {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; BLOCK_LEN_MAX].into(),
            len: 0,
            lens: Vec::new(),
            ticks: Vec::new(),
            pieces: Vec::new(),
            turns: Vec::new(),
            settled_len: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        (self.len, self.settled_len) = (0, 0);
        self.lens.clear();
        self.ticks.clear();
        self.pieces.clear();
        self.turns.clear();
    }

    /// The events, as they came.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The events, to be filled in.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// The run that took the last event; any, where there is none.
    pub(super) fn latest_run(&self) -> usize {
        self.turns.last().map_or(0, |turn| turn.run.into())
    }

    /// Room for `room` bytes behind the events there are.
    #[inline]
    pub(super) fn spare(&mut self, room: usize) -> &mut [u8] {
        &mut self.bytes[self.len..][..room]
    }

    /// Adds `n` events of a run, of `len` bytes together, which were written to the front of the room.
    #[inline]
    pub(super) fn add(&mut self, run: usize, n: u32, len: usize) {
        self.add_piece(run, n, len);
        self.add_turn(run, n);
    }

    /// Adds the bytes of such events alone. They get their places in the log by turns that follow.
    #[inline]
    pub(super) fn add_piece(&mut self, run: usize, n: u32, len: usize) {
        self.len += len;
        let len = len as u32;
        match self.pieces.last_mut() {
            Some(last) if usize::from(last.run) == run => (last.n, last.len) = (last.n + n, last.len + len),
            _ => self.pieces.push(Piece { run: run as u16, n, len }),
        }
    }

    /// Gives the next `n` events of a run their places in the log.
    #[inline]
    pub(super) fn add_turn(&mut self, run: usize, n: u32) {
        match self.turns.last_mut() {
            Some(last) if usize::from(last.run) == run => last.n += n,
            last => {
                if let Some(last) = last {
                    self.settled_len += last.pair_len();
                }
                self.turns.push(Turn { run: run as u16, n });
            }
        }
    }

    /// Notes the length of the last event.
    pub(super) fn add_len(&mut self, len: usize) {
        self.lens.push(len as u16);
    }

    /// Adds the ticks of the last event.
    pub(super) fn add_ticks(&mut self, ticks: u64) {
        self.ticks.push(ticks);
    }

    /// What the order column takes at most: the last count may still grow.
    #[inline]
    pub(super) fn order_len_max(&self) -> usize {
        self.settled_len + PAIR_LEN_MAX
    }

    /// What the order column takes.
    pub(super) fn order_len(&self) -> usize {
        self.settled_len + self.turns.last().map_or(0, Turn::pair_len)
    }

    /// Writes the order column to the front of `out`.
    pub(super) fn put_order(&self, out: &mut [u8]) {
        let mut at = 0;
        for &Turn { run, n } in &self.turns {
            // As most are.
            if let Some(pair) = out.get_mut(at..at + 2).filter(|_| u32::from(run) | n < 0x80) {
                pair.copy_from_slice(&[run as u8, n as u8]);
                at += 2;
                continue;
            }
            for value in [run.into(), n.into()] {
                at += put_varint(value, &mut out[at..]);
            }
        }
    }

    /// Writes the events of each run to `out`, from its place among `places` on.
    pub(super) fn distribute_events(&self, places: &mut [u16], out: &mut [u8]) {
        let mut rest = self.bytes();
        for &Piece { run, len, .. } in &self.pieces {
            let place = &mut places[usize::from(run)];
            let (events, after) = rest.split_at(len as usize);
            out[usize::from(*place)..][..events.len()].copy_from_slice(events);
            *place += len as u16;
            rest = after;
        }
    }

    /// Writes the events and columns of each run to its room in `out`.
    pub(super) fn distribute(&self, rooms: &mut [RunRoom], out: &mut [u8]) {
        let (mut at, mut lens, mut ticks) = (0, self.lens.iter(), self.ticks.iter());
        for &Piece { run, n, len } in &self.pieces {
            let room = &mut rooms[usize::from(run)];
            let len = len as usize;
            if room.is_wanted {
                out[room.events_at..][..len].copy_from_slice(&self.bytes[at..][..len]);
                room.events_at += len;
            }
            at += len;
            if room.has_ends {
                room.put_ends(n, &mut lens, out);
            }
            if room.is_timed {
                room.put_ticks(ticks.by_ref().take(n as usize), out);
            }
        }
    }

    /// Overwrites the events of the runs that were wanted.
    #[cfg(any(test, feature = "encryption"))]
    pub(super) fn wipe(&mut self, rooms: &[RunRoom]) {
        let mut at = 0;
        for &Piece { run, len, .. } in &self.pieces {
            if rooms[usize::from(run)].is_wanted {
                self.bytes[at..][..len as usize].fill(0);
            }
            at += len as usize;
        }
    }
}

impl Turn {
    /// What its pair in the order column takes.
    #[inline]
    fn pair_len(&self) -> usize {
        varint_len(self.run.into()) + varint_len(self.n.into())
    }
}

impl RunRoom {
    fn put_ends(&mut self, n: u32, lens: &mut Iter<'_, u16>, out: &mut [u8]) {
        for _ in 0..n {
            let len = match self.strided.checked_sub(1) {
                Some(strided) => {
                    self.strided = strided;
                    self.first_len
                }
                None => *lens.next().expect("it was noted when the event came"),
            };
            if self.is_wanted {
                self.end += len;
                out[self.ends_at..][..END_LEN].copy_from_slice(&self.end.to_le_bytes());
                self.ends_at += END_LEN;
            }
        }
    }

    fn put_ticks<'a>(&mut self, ticks: impl Iterator<Item = &'a u64>, out: &mut [u8]) {
        for &ticks in ticks.filter(|_| self.is_wanted) {
            let (value, state) = self.tick_state.encode(ticks);
            self.ticks_at += put_varint(value, &mut out[self.ticks_at..]);
            self.tick_state = state;
        }
    }
}

/// Writes a varint to the front of `out`, where its length was counted, and returns that.
#[inline]
fn put_varint(value: u64, out: &mut [u8]) -> usize {
    match out {
        // As most are.
        [first, ..] if value < 0x80 => {
            *first = value as u8;
            1
        }
        _ => write_varint(value, out).expect("its length was counted"),
    }
}

/// A pair of a run, of which a block has fewer than 2¹⁶, and a count of events.
pub(super) const PAIR_LEN_MAX: usize = 3 + COUNT_LEN_MAX;

const _: () = assert!(BLOCK_LEN_MAX <= u16::MAX as usize);
