//! A board against the real `varved`: the emulated one, or the one at `VARVE_HW_PORT`.
//!
//! Each account is balanced by [`BoardAccount`], which also holds every stored event, byte for byte, against the one
//! that the firmware archived.

use std::{
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use varve_core::Varve;
use varve_hw_tests::{Board, BoardAccount, Daemon, PATIENCE};

#[test]
fn a_board_that_is_listened_to_loses_nothing() {
    let Some(mut rig) = Rig::start("a_board_that_is_listened_to_loses_nothing") else { return };
    let early = rig.wait_until("events come", |account| account.temperatures >= 10);
    let late = rig.wait_until("both kinds of events came", |account| {
        account.temperatures >= 1_000 && account.openings >= 50
    });
    assert_eq!(late.lost, early.lost, "lost while the daemon listened: {late:?}");
}

#[test]
fn what_an_outbox_dropped_while_nobody_read_is_in_gaps() {
    let Some(mut rig) = Rig::start("what_an_outbox_dropped_while_nobody_read_is_in_gaps") else { return };
    let before = rig.wait_until("events come", |account| account.temperatures >= 200);
    let mut after = before;
    for pause in OVERFLOW_PAUSES {
        rig.daemon.pause();
        thread::sleep(pause);
        rig.daemon.resume();
        let more = after.temperatures + 200;
        after = rig.wait_until("events come again", |account| account.temperatures >= more);
        if after.lost > before.lost {
            return;
        }
    }
    panic!("the outbox never overflowed: {after:?}");
}

#[test]
fn a_killed_daemon_loses_and_doubles_nothing() {
    let Some(mut rig) = Rig::start("a_killed_daemon_loses_and_doubles_nothing") else { return };
    let mut account = rig.wait_until("events come", |account| account.temperatures >= 10);
    for _ in 0..KILLS {
        rig.kill_and_restart_daemon();
        let more = account.temperatures + 150;
        account = rig.wait_until("events come again", |account| account.temperatures >= more);
    }
    assert_eq!(account.epochs, 1, "the board went on with its epoch: {account:?}");
}

#[test]
fn a_board_that_was_reset_ends_its_epoch_as_unknown() {
    let test = "a_board_that_was_reset_ends_its_epoch_as_unknown";
    let Some(mut rig) = Rig::start(test) else { return };
    let before = rig.wait_until("events come", |account| account.temperatures >= 100);
    if let Err(real) = rig.board.reset() {
        return real.skip(test);
    }
    let more = before.temperatures + 300;
    let after = rig.wait_until("events come again", |account| account.temperatures >= more);
    assert_eq!((after.epochs, after.ends_unknown), (2, 1), "{after:?}");
}

/// A board, the daemon that listens to it, and the directory that the daemon works in.
struct Rig {
    daemon: Daemon,
    board: Board,
    directory: TempDir,
}

impl Rig {
    /// Starts all three, or says that the test of this name is skipped.
    fn start(test: &str) -> Option<Self> {
        Daemon::build();
        let board = Board::connect().map_err(|lacking| lacking.skip(test)).ok()?;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let daemon = Daemon::start(board.port(), directory.path());
        Some(Self { daemon, board, directory })
    }

    fn kill_and_restart_daemon(&mut self) {
        self.daemon.kill();
        self.daemon = Daemon::start(self.board.port(), self.directory.path());
    }

    /// Balances the account again and again until it is as expected.
    fn wait_until(&mut self, what: &str, is_so: impl Fn(&BoardAccount) -> bool) -> BoardAccount {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.board.assert_alive();
            self.daemon.assert_alive();
            let account = self.account();
            if is_so(&account) {
                return account;
            }
            assert!(Instant::now() < deadline, "in vain waited until {what}: {account:?}");
            thread::sleep(POLL);
        }
    }

    fn account(&self) -> BoardAccount {
        // The daemon may not have made the store yet.
        let view = Varve::open_read_only(Daemon::store(self.directory.path())).ok();
        let snapshot = view.map(|view| view.snapshot().expect("a store can be read beside its owner"));
        snapshot.as_ref().map(BoardAccount::balance).unwrap_or_default()
    }
}

/// An outbox of 4 KiB holds little more than a second; a larger one overflows in a later pause.
const OVERFLOW_PAUSES: [Duration; 3] =
    [Duration::from_secs(4), Duration::from_secs(15), Duration::from_secs(60)];
const KILLS: usize = 3;
const POLL: Duration = Duration::from_millis(100);
