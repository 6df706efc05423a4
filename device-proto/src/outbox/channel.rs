//! A channel's end of an outbox: where tasks and interrupts leave events of one type.

use core::future::poll_fn;
use core::marker::PhantomData;
use core::task::Poll;

use embassy_sync::blocking_mutex::raw::RawMutex;
use varve_core::{ArchiveError, BoundedEvent, Channel, DeviceSequence, archive_into};

use super::{Dropped, Outbox, Refused};

/// Takes events of type `T` for one channel of an outbox. It is small and can be copied to each task.
pub struct OutboxChannel<'o, T, M: RawMutex, const RING: usize, const SLOTS: usize> {
    outbox: &'o Outbox<M, RING, SLOTS>,
    channel: Channel,
    event: PhantomData<fn(&T)>,
}

impl<'o, T: BoundedEvent, M: RawMutex, const RING: usize, const SLOTS: usize>
    OutboxChannel<'o, T, M, RING, SLOTS>
{
    pub(super) const fn new(outbox: &'o Outbox<M, RING, SLOTS>, channel: Channel) -> Self {
        Self { outbox, channel, event: PhantomData }
    }

    /// Archives an event that happened at `ticks` into the outbox, from a task or an interrupt, without waiting.
    ///
    /// # Errors
    ///
    /// [`Dropped`] where there is no room. The event has a sequence nonetheless, and the host will be told that it is
    /// missing.
    pub fn try_push(&self, ticks: u64, event: &T) -> Result<DeviceSequence, Dropped> {
        self.outbox.push(self.channel, ticks, |room| archive_into(event, room).map_err(refusal))
    }

    /// Archives an event that happened at `ticks` into the outbox, and waits for room if need be. A future that is
    /// dropped before it is ready has pushed nothing.
    ///
    /// # Errors
    ///
    /// [`Dropped`] where the event cannot be archived at all, so that no wait would help.
    pub async fn push(&self, ticks: u64, event: &T) -> Result<DeviceSequence, Dropped> {
        let archive = |room: &mut [u8]| archive_into(event, room).map_err(refusal);
        poll_fn(|context| match self.outbox.push_or_register(self.channel, ticks, archive, context.waker()) {
            Some(pushed) => Poll::Ready(pushed),
            None => Poll::Pending,
        })
        .await
    }
}

fn refusal(error: ArchiveError) -> Refused {
    match error {
        ArchiveError::TooLarge => Refused::NoRoom,
        _ => Refused::Unarchivable,
    }
}

impl<T, M: RawMutex, const RING: usize, const SLOTS: usize> Clone for OutboxChannel<'_, T, M, RING, SLOTS> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, M: RawMutex, const RING: usize, const SLOTS: usize> Copy for OutboxChannel<'_, T, M, RING, SLOTS> {}
