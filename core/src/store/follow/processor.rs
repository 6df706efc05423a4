//! A processor: a consumer's work on every event of the log, which resumes where it stood.

use std::fmt;

use crate::store::error::{AppendError, ProcessorError, ReadError};
use crate::store::follow::consumer::check_consumer_name;
use crate::store::follow::event_handler::{Effects, EventHandler};
use crate::store::follow::poison_event::PoisonEvent;
use crate::store::read::snapshot::Snapshot;
use crate::store::read::view::VarveView;
use crate::store::varve::Varve;
use crate::store::write::append::Append;
use crate::{Event, GlobalSequence};

/// Hands every event of the log to an [`EventHandler`], in global order, from the cursor of a named consumer on. A
/// consumer without a cursor begins at the first event.
///
/// It works in turns: up to [`PROCESSOR_TURN_EVENTS_MAX`] events, then one commit of the cursor with all that the
/// handler added to its [`Effects`]. So those are stored exactly once, however often the process ends and whenever.
/// Other work of a handler is done at least once: what was not committed comes again. What was committed does not, so
/// that a handler whose work is in memory alone begins with the cursor moved back to the first event:
/// [`Append::consumer`](crate::Append::consumer).
///
/// An event that the handler refuses comes again at once. After [`HANDLER_ATTEMPTS_MAX`] times it is set aside: the
/// processor stores a [`PoisonEvent`] and goes on. Attempts are counted in this handle, so that an event that ends the
/// process is never set aside. A refused poison event is passed over without another.
///
/// Events that cannot be had it passes over, and [tells the handler](EventHandler::absent).
///
/// A handler sees all streams, those of the system and of its own effects included: it looks at the name.
///
/// ```
/// use varve_core::{Effects, EventView, Processor, StreamId, Varve};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path();
/// let mut varve = Varve::new(path)?;
/// let mut readings = varve.stream::<u16, 2>("readings")?;
/// readings.append_batch(StreamId(7), &[650, 900, 651])?;
///
/// let alarms = varve.stream::<u64, 8>("alarms")?;
/// let watchman = |event: &EventView<'_>, effects: &mut Effects<'_>| {
///     if event.stream_name == "readings" && event.archived::<u16>()?.to_native() > 800 {
///         effects.event(&alarms, event.stream_id, &event.global_seq.0)?;
///     }
///     Ok(())
/// };
/// let mut processor = Processor::new(&varve, "watchman", watchman)?;
/// while processor.try_turn()?.is_some() {}
/// assert_eq!(varve.stream_reader::<u64>("alarms")?.iter_stream(StreamId(7), None)?.iter().count(), 1);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Processor<H> {
    view: VarveView,
    consumer: String,
    handler: H,
    append: Append,
    turn_events_max: usize,
    /// Where the cursor stood when it was last looked at.
    next: GlobalSequence,
    /// The event that the handler refused last, and how often.
    refused: Option<(GlobalSequence, u32)>,
}

/// What a turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// How many events the handler handled.
    pub handled: usize,
    /// How many events it refused for the last time.
    pub set_aside: usize,
    /// How many events it passed over, since they cannot be had.
    pub absent: u64,
    /// Where the cursor stands: all before is handled, set aside or absent.
    pub next: GlobalSequence,
}

/// An event that the handler refused.
struct Refusal {
    reason: String,
    /// Whether it is itself the report of a poison event.
    is_report: bool,
}

impl<H: EventHandler> Processor<H> {
    /// The work of the consumer of that name. One processor at a time should bear it.
    ///
    /// # Errors
    ///
    /// [`AppendError::ConsumerName`].
    pub fn new(varve: &Varve, consumer: &str, handler: H) -> Result<Self, AppendError> {
        check_consumer_name(consumer)?;
        Ok(Self {
            view: varve.view().clone(),
            consumer: consumer.into(),
            handler,
            append: varve.begin(),
            turn_events_max: PROCESSOR_TURN_EVENTS_MAX,
            next: GlobalSequence(0),
            refused: None,
        })
    }

    /// Commits after `events` events at the latest, from 1 to [`PROCESSOR_TURN_EVENTS_MAX`]: what an end of the
    /// process makes come again.
    #[must_use]
    pub fn commit_every(mut self, events: usize) -> Self {
        self.turn_events_max = events.clamp(1, PROCESSOR_TURN_EVENTS_MAX);
        self
    }

    /// Handles the next events and commits; `None` where there are none.
    ///
    /// # Errors
    ///
    /// [`ProcessorError::Read`] at an event that is damaged, once all before it are handled;
    /// [`ProcessorError::Append`] where the commit fails, with [`AppendError::ConsumerMoved`] where somebody else
    /// moved the cursor meanwhile. The next turn begins where the stored cursor stands.
    pub fn try_turn(&mut self) -> Result<Option<Progress>, ProcessorError> {
        self.append.clear();
        let snapshot = self.view.snapshot()?;
        let cursor = snapshot.consumer(&self.consumer)?;
        self.next = match cursor {
            Some(next) => next,
            None => snapshot.first_global_seq()?,
        };
        let mut progress = Progress { next: self.next, ..Progress::default() };
        let refusal = self.handle_events(&snapshot, &mut progress)?;
        // The map may have to grow under the commit, and cannot while this process looks at it.
        drop(snapshot);
        let is_refused = refusal.is_some();
        if let Some(refusal) = refusal {
            self.refuse(&refusal, &mut progress)?;
        }
        let has_moved = progress.next > self.next;
        if has_moved {
            self.commit(cursor, &progress)?;
        }
        Ok((is_refused || has_moved).then_some(progress))
    }

    /// Handles what is there and what comes, on any async runtime, until there is an error. A turn is done while the
    /// future is polled; dropping the future ends the work after a turn.
    ///
    /// # Errors
    ///
    /// As [`Processor::try_turn`]. It can be called again.
    #[cfg(feature = "notify")]
    pub async fn run(&mut self) -> Result<std::convert::Infallible, ProcessorError> {
        let watcher = self.view.watcher();
        loop {
            match self.try_turn()? {
                Some(_) => yield_once().await,
                None => drop(watcher.wait_for_global_seq(self.next).await),
            }
        }
    }

    /// As [`Processor::run`], blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`Processor::run`].
    #[cfg(feature = "notify")]
    pub fn run_blocking(&mut self) -> Result<std::convert::Infallible, ProcessorError> {
        let watcher = self.view.watcher();
        loop {
            if self.try_turn()?.is_none() {
                watcher.wait_for_global_seq_blocking(self.next);
            }
        }
    }

    /// The handler.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// Hands events over until one is refused or the turn is full.
    fn handle_events(
        &mut self,
        snapshot: &Snapshot,
        progress: &mut Progress,
    ) -> Result<Option<Refusal>, ReadError> {
        for event in snapshot.iter_from(progress.next)?.take(self.turn_events_max) {
            let event = match event {
                Ok(event) => event,
                // Nobody can handle them, ever; those behind are to be.
                Err(ReadError::Absent(absence)) => {
                    self.handler.absent(&absence);
                    progress.absent += absence.events();
                    progress.next = absence.log.map_or(progress.next, |range| range.end);
                    continue;
                }
                Err(error) if progress.handled == 0 => return Err(error),
                // What was handled is committed first; the next turn meets the damage at once.
                Err(_) => break,
            };
            let mark = self.append.mark();
            if let Err(error) = self.handler.handle(&event, &mut Effects::new(&mut self.append)) {
                self.append.rewind(mark);
                let is_report = event.stream_name == PoisonEvent::STREAM;
                return Ok(Some(Refusal { reason: error.to_string(), is_report }));
            }
            progress.handled += 1;
            progress.next = GlobalSequence(event.global_seq.0 + 1);
            if self.append.is_half_full() {
                break;
            }
        }
        Ok(None)
    }

    /// Counts the refusal of the next event, and sets it aside the last time.
    fn refuse(&mut self, refusal: &Refusal, progress: &mut Progress) -> Result<(), AppendError> {
        let place = progress.next;
        let before =
            self.refused.filter(|&(refused, _)| refused == place).map_or(0, |(_, attempts)| attempts);
        let attempts = before.saturating_add(1);
        self.refused = Some((place, attempts));
        if attempts < HANDLER_ATTEMPTS_MAX {
            return Ok(());
        }
        if !refusal.is_report {
            let report = PoisonEvent::new(&self.consumer, place, attempts, &refusal.reason);
            self.append.system_event(PoisonEvent::STREAM_ID, &report, PoisonEvent::ARCHIVED_LEN_MAX)?;
        }
        progress.set_aside += 1;
        progress.next = GlobalSequence(place.0 + 1);
        Ok(())
    }

    fn commit(&mut self, cursor: Option<GlobalSequence>, progress: &Progress) -> Result<(), AppendError> {
        self.append.move_consumer(&self.consumer, cursor, progress.next);
        self.append.commit()?;
        self.next = progress.next;
        self.refused = self.refused.filter(|&(refused, _)| refused == progress.next);
        Ok(())
    }
}

/// Lets other tasks run, and the future be dropped, between turns of which none waits.
#[cfg(feature = "notify")]
async fn yield_once() {
    let mut has_yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

impl<H> fmt::Debug for Processor<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processor")
            .field("consumer", &self.consumer)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// The most events of a processor's turn, and so between two commits of its cursor.
pub const PROCESSOR_TURN_EVENTS_MAX: usize = 1024;

/// How often a handler is given an event that it refuses.
pub const HANDLER_ATTEMPTS_MAX: u32 = 5;

// An append may have been full with the effects of earlier events: the second attempt finds it empty.
const _: () = assert!(HANDLER_ATTEMPTS_MAX >= 2);
