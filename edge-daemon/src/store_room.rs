//! The room of the store: what is retired to have some, and what is done and said while there is none.

use std::path::Path;
use std::time::{Duration, Instant};

use tracing::{info, warn};
use varve_core::{AppendError, RetentionPolicy, Varve};

use crate::backoff::Backoff;
use crate::rate_limit::RateLimit;
use crate::state_file::{DaemonState, StateFile};

/// How a store gets room, and who is told that it has none.
#[derive(Debug)]
pub(crate) struct StoreRoom {
    retention: Option<RetentionPolicy>,
    /// When to retire what may go, though nothing is appended.
    due: Instant,
    /// `None` where it could not be made, as on a full disk.
    state: Option<StateFile>,
    /// Why it is full, once that was told; `None` while there is room.
    told: Option<String>,
    attempts: Backoff,
    unretired: RateLimit,
}

/// Whether an append was refused for want of room, of which there may be some again.
pub(crate) const fn is_full(error: &AppendError) -> bool {
    use AppendError::{DiskFull, MapFull, QuotaExceeded};
    matches!(error, DiskFull | MapFull { .. } | QuotaExceeded { .. })
}

impl StoreRoom {
    /// For the store in a directory, which this process owns, with what it is to retire.
    pub(crate) fn new(store: &Path, retention: Option<RetentionPolicy>) -> Self {
        let state = StateFile::create(store)
            .inspect_err(|error| warn!(%error, "`varved status` cannot ask this daemon"))
            .ok();
        let attempts = Backoff::new(ATTEMPT_DELAY_MIN, ATTEMPT_DELAY_MAX);
        let unretired = RateLimit::new(COMPLAINT_PERIOD);
        Self { retention, due: Instant::now(), state, told: None, attempts, unretired }
    }

    /// When [`handle_due`](Self::handle_due) is to be called: at once, then now and then. What is appended retires what
    /// may go, too.
    pub(crate) const fn due(&self) -> Instant {
        self.due
    }

    /// Retires what may go.
    pub(crate) fn handle_due(&mut self, varve: &Varve) {
        self.due = Instant::now() + RETIRE_PERIOD;
        self.retire(varve);
    }

    /// An append was refused: retires what may go, and tells how long to wait before the next attempt. That anything
    /// went is as good as room: nobody is told.
    pub(crate) fn handle_full(&mut self, varve: &Varve, error: &AppendError) -> Duration {
        if self.retire(varve) {
            return Duration::ZERO;
        }
        if self.told.is_none() {
            warn!(%error, "the store is full: nothing is taken in until there is room");
            self.told = Some(error.to_string());
            self.tell_state();
        }
        self.attempts.delay()
    }

    /// There is room.
    pub(crate) fn handle_room(&mut self) {
        self.attempts.reset();
        if self.told.take().is_some() {
            info!("there is room again");
            self.tell_state();
        }
    }

    /// Retires what may go, and tells whether anything did.
    fn retire(&mut self, varve: &Varve) -> bool {
        let Some(policy) = &self.retention else { return false };
        match varve.retain(policy) {
            Ok(retired) => retired.blocks > 0,
            Err(error) => {
                if !is_full(&error)
                    && let Some(times) = self.unretired.admit(Instant::now(), 1)
                {
                    warn!(%error, times, "nothing can be retired");
                }
                false
            }
        }
    }

    fn tell_state(&self) {
        let state = self.told.as_deref().map_or(DaemonState::Serving, DaemonState::Full);
        if let Some(Err(error)) = self.state.as_ref().map(|file| file.tell(state)) {
            warn!(%error, "what `varved status` tells of this daemon is out of date");
        }
    }
}

/// How soon, and how seldom at last, a full store is tried again.
const ATTEMPT_DELAY_MIN: Duration = Duration::from_millis(100);
const ATTEMPT_DELAY_MAX: Duration = Duration::from_secs(2);

/// How often a store is looked through that takes in nothing.
const RETIRE_PERIOD: Duration = Duration::from_secs(3_600);

const COMPLAINT_PERIOD: Duration = Duration::from_secs(60);
