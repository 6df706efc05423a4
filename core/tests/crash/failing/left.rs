//! Stores as their owners left them.

use fastrand::Rng;
use varve_disk_shim::{Disk, Watch};

use crate::boot::start_anew;
use crate::history::{Commit, History, Progress};
use crate::new_dir;

/// How the last owner of a store ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Closed,
    Killed,
    PowerCut,
}

/// What an owner left.
pub(super) struct Left {
    pub(super) disk: Disk,
    pub(super) history: History,
}

impl Left {
    /// A store of which a part is folded and a part is not.
    pub(super) fn make(end: End) -> Self {
        let (dir, mut random) = (new_dir(), Rng::with_seed(end as u64));
        let watch = Watch::recording(dir.path()).unwrap();
        let mut history = History::new(end == End::Killed);
        let mut varve = history.open(dir.path(), Progress::default()).unwrap();
        for at in 0..COMMITS {
            let commit = match at {
                FOLD_AFTER => Commit::draw_upkeep(&mut random, history.contents(), dir.path()),
                _ => Commit::draw(&mut random, history.contents()),
            };
            let first = history.begin(commit).perform(&mut varve).unwrap();
            first.into_iter().for_each(|first| history.learn_first(first));
        }
        let killed = watch.take_operations();
        drop(varve);
        let closing = watch.take_operations();
        let mut disk = Disk::new();
        killed.iter().for_each(|operation| disk.apply(operation));
        match end {
            End::Closed => closing.iter().for_each(|operation| disk.apply(operation)),
            End::Killed => {}
            End::PowerCut => {
                disk = disk.power_cut(&mut random);
                start_anew(&mut disk);
            }
        }
        Self { disk, history }
    }
}

/// How many commits the store has.
const COMMITS: usize = 40;

/// After how many of them it is looked after.
const FOLD_AFTER: usize = 25;
