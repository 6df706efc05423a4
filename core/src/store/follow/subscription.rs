//! A subscription: what is stored from a place on, then what comes.

use std::fmt;
use std::sync::Arc;

use crate::GlobalSequence;
use crate::store::error::ReadError;
use crate::store::follow::watcher::WriteWatcher;
use crate::store::read::event_view::EventView;
use crate::store::read::global_reader::GlobalIter;
use crate::store::read::snapshot::{NO_END, Snapshot};
use crate::store::read::view::Store;

/// Follows the log from a place on: first what is stored, then what is committed, by whichever process. Every event
/// comes once and in global order, also where the two meet.
///
/// It gives the events in [`Turn`]s of at most [`TURN_EVENTS_MAX`]. Each sees the log as it is when it begins; between
/// turns nothing is held. An event counts as seen once a turn's iterator gave it: what is left of a turn comes again
/// with the next.
///
/// ```
/// use varve_core::{GlobalSequence, StreamId, Varve};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path();
/// let mut varve = Varve::new(path)?;
/// let mut readings = varve.stream::<u16, 2>("readings")?;
/// let mut subscription = varve.subscribe(GlobalSequence(0));
/// readings.append(StreamId(7), &650)?;
/// let mut turn = subscription.next_turn_blocking()?;
/// for event in turn.iter()? {
///     let event = event?;
///     assert_eq!(event.archived::<u16>()?.to_native(), 650);
/// }
/// drop(turn);
/// assert!(subscription.try_next_turn()?.is_none());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Subscription {
    store: Arc<Store>,
    watcher: WriteWatcher,
    next: GlobalSequence,
}

/// The next events of a subscription, one at least. Drop it before waiting for anything: a turn holds a
/// [`Snapshot`].
#[derive(Debug)]
pub struct Turn<'a> {
    snapshot: Snapshot,
    next: &'a mut GlobalSequence,
    end: GlobalSequence,
}

/// Iterates over the events of a turn. In the place of events that cannot be had it gives a [`ReadError::Absent`], and goes
/// on behind them. After any other error it ends, and the next turn begins at the event that it met.
#[derive(Debug)]
pub struct TurnIter<'t> {
    events: GlobalIter<'t>,
    next: &'t mut GlobalSequence,
    end: GlobalSequence,
}

impl Subscription {
    pub(in crate::store) fn new(store: Arc<Store>, from: GlobalSequence) -> Self {
        Self { watcher: store.watcher(), store, next: from }
    }

    /// Waits for the next events, on any async runtime. Dropping the future loses none.
    ///
    /// ```
    /// use varve_core::{GlobalSequence, ReadError, VarveView};
    ///
    /// async fn count(view: &VarveView, up_to: GlobalSequence) -> Result<u64, ReadError> {
    ///     let mut subscription = view.subscribe(GlobalSequence(0));
    ///     let mut events = 0;
    ///     while subscription.next_global_seq() < up_to {
    ///         let mut turn = subscription.next_turn().await?;
    ///         for event in turn.iter()? {
    ///             match event {
    ///                 Ok(_) => events += 1,
    ///                 Err(ReadError::Absent(_)) => {} // retired, shredded, lost: it goes on behind them
    ///                 Err(error) => return Err(error),
    ///             }
    ///         }
    ///     }
    ///     Ok(events)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`VarveView::snapshot`](crate::VarveView::snapshot). A later call tries again.
    pub async fn next_turn(&mut self) -> Result<Turn<'_>, ReadError> {
        let (snapshot, end) = loop {
            match self.look()? {
                Some(found) => break found,
                None => self.watcher.wait_for_global_seq(self.next).await,
            };
        };
        Ok(Turn { snapshot, next: &mut self.next, end })
    }

    /// As [`Subscription::next_turn`], blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`Subscription::next_turn`].
    pub fn next_turn_blocking(&mut self) -> Result<Turn<'_>, ReadError> {
        let (snapshot, end) = loop {
            match self.look()? {
                Some(found) => break found,
                None => self.watcher.wait_for_global_seq_blocking(self.next),
            };
        };
        Ok(Turn { snapshot, next: &mut self.next, end })
    }

    /// The next events, or `None` where there are none yet.
    ///
    /// # Errors
    ///
    /// As [`Subscription::next_turn`].
    pub fn try_next_turn(&mut self) -> Result<Option<Turn<'_>>, ReadError> {
        let found = self.look()?;
        Ok(found.map(|(snapshot, end)| Turn { snapshot, next: &mut self.next, end }))
    }

    /// The place of the event to come.
    pub fn next_global_seq(&self) -> GlobalSequence {
        self.next
    }

    /// Goes on at another place: back, to see events again, or past one that is damaged.
    pub fn seek(&mut self, next: GlobalSequence) {
        self.next = next;
    }

    /// The log as it is now and where the turn ends, if there is anything to see.
    fn look(&self) -> Result<Option<(Snapshot, GlobalSequence)>, ReadError> {
        let snapshot = Snapshot::new(self.store.clone(), NO_END)?;
        let end = snapshot.next_global_seq()?.0.min(self.next.0.saturating_add(TURN_EVENTS_MAX as u64));
        Ok((self.next.0 < end).then_some((snapshot, GlobalSequence(end))))
    }
}

impl Turn<'_> {
    /// Iterates over the events that are left, borrowed from the map.
    ///
    /// # Errors
    ///
    /// [`ReadError::Corrupt`] where the first of them is damaged.
    pub fn iter(&mut self) -> Result<TurnIter<'_>, ReadError> {
        let events = self.snapshot.iter_from(*self.next)?;
        Ok(TurnIter { events, next: self.next, end: self.end })
    }

    /// How many events are left.
    pub fn len(&self) -> usize {
        // Events that cannot be had count as one turn's, however many there are.
        self.end.0.saturating_sub(self.next.0) as usize
    }

    /// Whether all events were seen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'t> Iterator for TurnIter<'t> {
    type Item = Result<EventView<'t>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if *self.next >= self.end {
            return None;
        }
        Some(match self.events.next()? {
            Ok(event) => {
                self.next.0 = event.global_seq.0 + 1;
                Ok(event)
            }
            Err(error) => Err(error.passed_in_log(self.next)),
        })
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("next", &self.next).finish_non_exhaustive()
    }
}

/// The most events of a turn: about as long as one looks at a snapshot.
pub const TURN_EVENTS_MAX: usize = 1024;
