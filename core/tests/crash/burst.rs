//! Several threads that commit at once, and share flushes.

use std::sync::Mutex;
use std::thread;

use fastrand::Rng;
use varve_core::{AppendError, Varve};
use varve_disk_shim::Watch;

use crate::history::Commit;
use crate::marks::Mark;
use crate::workload::Appender;

/// What each of the threads commits, with tokens.
pub(crate) struct Burst {
    threads: Vec<Vec<(usize, Commit)>>,
    /// Whether the tail is folded meanwhile.
    folds: bool,
}

impl Burst {
    /// Draws commits that take the tokens from `token` on.
    pub(crate) fn draw(random: &mut Rng, token: usize) -> Self {
        let mut tokens = token..;
        let mut draw_thread = |random: &mut Rng| {
            let commits = 0..random.usize(1..=COMMITS_MAX);
            let commits = commits.map(|_| Commit::draw_local(random)).zip(tokens.by_ref());
            commits.map(|(commit, token)| (token, commit)).collect()
        };
        let threads = (0..random.usize(2..=THREADS_MAX)).map(|_| draw_thread(random)).collect();
        Self { threads, folds: random.u8(..4) == 0 }
    }

    /// Commits. Returns the commits in the order of the log.
    pub(crate) fn perform(
        self,
        varve: &mut Varve,
        watch: &Watch,
    ) -> Result<Vec<(usize, Commit)>, AppendError> {
        let stored = Mutex::new(Vec::new());
        let threads: Vec<_> =
            self.threads.into_iter().map(|commits| (Appender::new(varve), commits)).collect();
        thread::scope(|scope| {
            let running: Vec<_> = threads
                .into_iter()
                .map(|(mut appender, commits)| {
                    let stored = &stored;
                    scope.spawn(move || {
                        commits.into_iter().try_for_each(|(token, commit)| {
                            watch.mark(Mark::Begun(token).number());
                            let first = appender.commit(&commit.steps)?;
                            watch.mark(Mark::Acknowledged(token).number());
                            stored.lock().expect("no thread panics").push((first, token, commit));
                            Ok(())
                        })
                    })
                })
                .collect();
            let folded = if self.folds { varve.fold() } else { Ok(()) };
            let ended = running.into_iter().map(|thread| thread.join().expect("no thread panics"));
            ended.chain([folded]).collect::<Result<(), _>>()
        })?;
        let mut stored = stored.into_inner().expect("no thread panics");
        stored.sort_unstable_by_key(|&(first, ..)| first);
        Ok(stored.into_iter().map(|(_, token, commit)| (token, commit)).collect())
    }
}

/// The most threads that commit at once.
const THREADS_MAX: usize = 4;

/// The most commits of each.
const COMMITS_MAX: usize = 6;
