//! What a processor hands each event to.

use std::error::Error;

use crate::store::error::{Absence, AppendError};
use crate::store::read::event_view::EventView;
use crate::store::write::append::Append;
use crate::store::write::stream::Stream;
use crate::{Event, StreamId};

/// The work of a [`Processor`](crate::Processor). A closure of the same shape is one.
///
/// ```
/// use varve_core::{Absence, Effects, EventHandler, EventView, HandlerError, Processor, StreamId, Varve};
///
/// /// Counts what it is given, and what it will never be given.
/// #[derive(Default)]
/// struct Census {
///     events: u64,
///     absent: u64,
/// }
///
/// impl EventHandler for Census {
///     fn handle(&mut self, _: &EventView<'_>, _: &mut Effects<'_>) -> Result<(), HandlerError> {
///         self.events += 1;
///         Ok(())
///     }
///
///     fn absent(&mut self, absence: &Absence) {
///         self.absent += absence.events();
///     }
/// }
///
/// # let dir = tempfile::tempdir()?;
/// let mut varve = Varve::new(dir.path())?;
/// varve.stream::<u16, 2>("readings")?.append_batch(StreamId(7), &[650, 651])?;
/// let mut processor = Processor::new(&varve, "census", Census::default())?;
/// while processor.try_turn()?.is_some() {}
/// assert_eq!((processor.handler().events, processor.handler().absent), (2, 0));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub trait EventHandler {
    /// Handles an event. What it adds to `effects` is stored with the consumer's cursor, exactly once; what else it
    /// does, it does at least once.
    ///
    /// # Errors
    ///
    /// Its own. What the event's effects were is then forgotten, and the event comes again, at most
    /// [`HANDLER_ATTEMPTS_MAX`](crate::HANDLER_ATTEMPTS_MAX) times in all.
    fn handle(&mut self, event: &EventView<'_>, effects: &mut Effects<'_>) -> Result<(), HandlerError>;

    /// Hears of events that cannot be had, in their place in the log: the processor passes over them. Like events, they
    /// come at least once. By default, nothing is done.
    fn absent(&mut self, _: &Absence) {}
}

/// Why a handler could not handle an event.
pub type HandlerError = Box<dyn Error + Send + Sync>;

/// The events that an event leads to. They are stored together with the cursor of the consumer, or not at all.
#[derive(Debug)]
pub struct Effects<'a> {
    append: &'a mut Append,
}

impl<F> EventHandler for F
where
    F: FnMut(&EventView<'_>, &mut Effects<'_>) -> Result<(), HandlerError>,
{
    fn handle(&mut self, event: &EventView<'_>, effects: &mut Effects<'_>) -> Result<(), HandlerError> {
        self(event, effects)
    }
}

impl<'a> Effects<'a> {
    pub(in crate::store) fn new(append: &'a mut Append) -> Self {
        Self { append }
    }

    /// Adds an event.
    ///
    /// # Errors
    ///
    /// As [`Append::event`]. A handler that meets [`AppendError::Full`] gives it back: the event comes again, to an
    /// empty append.
    pub fn event<T: Event, const N: usize>(
        &mut self,
        stream: &Stream<T, N>,
        id: StreamId,
        event: &T,
    ) -> Result<(), AppendError> {
        self.append.event(stream, id, event)
    }
}
