//! What looks after a store: folds, retention, shredding, and new master keys.

use std::path::Path;

use fastrand::Rng;
use varve_core::{AppendError, RetentionPolicy, Varve};

use crate::contents::{Contents, EVENTS_KEPT};
use crate::history::{Commit, Step};

impl Commit {
    /// Whether it changes the keys alone, which may be done twice: it comes to the same.
    pub(crate) fn changes_keys(&self) -> bool {
        self.shredded.is_some() || self.master.is_some()
    }

    /// Draws a commit to the store in `dir`, which has these contents, or now and then what looks after it.
    pub(crate) fn draw_any(random: &mut Rng, contents: &Contents, dir: &Path) -> Self {
        match random.u8(..UPKEEP_SHARE) {
            0 => Self::draw_upkeep(random, contents, dir),
            _ => Self::draw(random, contents),
        }
    }

    /// Draws what looks after the store in `dir`, which has these contents.
    pub(crate) fn draw_upkeep(random: &mut Rng, contents: &Contents, dir: &Path) -> Self {
        match random.u8(..8) {
            0..2 => Self { steps: vec![Step::Fold], ..Self::default() },
            2..4 => {
                let events_max = random.u64(EVENTS_KEPT..3 * EVENTS_KEPT);
                Self { steps: vec![Step::Retain { events_max }], ..Self::default() }
            }
            _ => Self::draw_keys(random, contents, dir),
        }
    }

    /// Draws what replaces the file of keys. Nothing of what opened the old one may be left then.
    #[cfg(feature = "encryption")]
    fn draw_keys(random: &mut Rng, contents: &Contents, dir: &Path) -> Self {
        let destroyed = crate::keys::wrapped_keys(dir);
        match random.choice(contents.readings()) {
            Some(id) if random.bool() => {
                Self { steps: vec![Step::Shred { id }], shredded: Some(id), destroyed, ..Self::default() }
            }
            _ => {
                let master = contents.master.wrapping_add(1);
                Self {
                    steps: vec![Step::Rotate { master }],
                    master: Some(master),
                    destroyed,
                    ..Self::default()
                }
            }
        }
    }

    #[cfg(not(feature = "encryption"))]
    fn draw_keys(_: &mut Rng, _: &Contents, _: &Path) -> Self {
        Self { steps: vec![Step::Fold], ..Self::default() }
    }
}

/// Retires what comes before the last so many events. Tells where the log begins since.
pub(crate) fn retain(varve: &Varve, events_max: u64) -> Result<u64, AppendError> {
    let mut policy = RetentionPolicy::default();
    policy.events_max = Some(events_max);
    Ok(varve.retain(&policy)?.first.0)
}

/// One in so many commits looks after the store.
const UPKEEP_SHARE: u8 = 12;
