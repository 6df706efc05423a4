//! What the writer answers to a port: a slot that holds the latest of each answer, and so needs no bound.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use varve_core::{DescriptorHash, DeviceSequence, Lane};
use varve_device_proto::{KnownDevice, Refusal};

/// The answer to [`Request::Know`](crate::request::Request::Know).
#[derive(Debug)]
pub(crate) struct Known {
    /// The question's number.
    pub(crate) question: u64,
    /// The device, or why the store cannot tell.
    pub(crate) device: Result<KnownDevice, StoreRefusal>,
    /// Descriptors that the store lacks.
    pub(crate) missing: Vec<DescriptorHash>,
}

/// What the writer has told a port since the port last looked.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) known: Option<Known>,
    /// Everything below is durable, by lane. It is about the session that was live before `known` was answered.
    pub(crate) durable: [Option<DeviceSequence>; Lane::COUNT],
    /// What the device sent cannot be stored.
    pub(crate) refused: Option<StoreRefusal>,
}

/// Why what a device sent cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreRefusal {
    /// What the device is told.
    pub(crate) reason: Refusal,
    /// What the log is told.
    pub(crate) detail: String,
}

/// The writer's end of the answers to one port.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    news: Mutex<News>,
    notify: Notify,
}

impl Answers {
    /// Tells what the store knows of the device that was asked about.
    pub(crate) fn tell_known(&self, known: Known) {
        self.tell(|news| *news = News { known: Some(known), ..News::default() });
    }

    /// Tells that everything below `next` in the lane is durable.
    pub(crate) fn tell_durable(&self, lane: Lane, next: DeviceSequence) {
        self.tell(|news| {
            if let Some(durable) = news.durable.get_mut(usize::from(lane.0)) {
                *durable = Some(next);
            }
        });
    }

    /// Tells that the device's session must end.
    pub(crate) fn tell_refused(&self, refusal: StoreRefusal) {
        self.tell(|news| news.refused = Some(refusal));
    }

    /// Waits until there are news, and takes them.
    pub(crate) async fn news(&self) -> News {
        self.notify.notified().await;
        self.take()
    }

    /// Takes what has been told since the last time.
    pub(crate) fn take(&self) -> News {
        std::mem::take(&mut self.lock())
    }

    fn tell(&self, change: impl FnOnce(&mut News)) {
        change(&mut self.lock());
        self.notify.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, News> {
        // Nothing panics while it holds the lock; were it so, the news would still be whole.
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_the_latest_of_each_and_begin_anew_with_what_is_known() {
        let answers = Answers::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        answers.tell_durable(Lane(0), DeviceSequence(3));
        answers.tell_durable(Lane(0), DeviceSequence(7));
        let news = runtime.block_on(answers.news());
        assert_eq!(news.durable, [Some(DeviceSequence(7)), None, None, None]);

        answers.tell_durable(Lane(1), DeviceSequence(9));
        let device = KnownDevice { incarnation: 1, latest: None, live_elsewhere: false };
        answers.tell_known(Known { question: 0, device: Ok(device), missing: Vec::new() });
        let news = runtime.block_on(answers.news());
        assert!(news.known.is_some());
        assert_eq!(news.durable, [None; Lane::COUNT]);
    }
}
