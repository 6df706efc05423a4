//! The link under every fault: what the devices offered is stored once, in order, or in a gap that tells why not.
//!
//! `VARVE_TEST_SCALE` multiplies the seeds; `VARVE_TEST_SEED` runs one again that a failure has named.

mod hasty_log;
mod seeds;
mod split_log;
mod unbound;

use varve_device_proto::{DeviceState, HostState, Refusal};
use varve_hw_tests::simulation::{
    Absence, Blow, Coverage, EVENTS_MIN, Failure, Fault, FaultRates, Log, MemoryLog, NoTap, Plot, Scenario,
    Shelf, StoreLog, Tap, Violation, World,
};

use hasty_log::HastyLog;
use seeds::{explore, find};
use split_log::SplitLog;
use unbound::Unbound;

#[test]
fn on_any_line_every_event_is_stored_once_in_order_or_in_a_true_gap() {
    let coverage = explore(|seed| simulate(Scenario::draw(seed), StoreLog::new(incarnation(seed)), NoTap));
    eprintln!("{coverage}");
    if !seeds::is_single() {
        assert_everything_occurred(&coverage);
    }
}

fn assert_everything_occurred(coverage: &Coverage) {
    let Coverage { offered_min, wraps, gap_len_max, sessions_late_max, .. } = *coverage;
    assert!(offered_min >= EVENTS_MIN, "only {offered_min} events in a run");
    for fault in Fault::ALL {
        assert!(coverage.faults.of(fault) > 0, "no {fault:?}");
    }
    for state in [DeviceState::Apart, DeviceState::Asking, DeviceState::Starting, DeviceState::Live] {
        assert!(coverage.device_states_at_reset.contains_key(&state), "no device was reset in {state:?}");
    }
    let host_states =
        [HostState::Apart, HostState::Deciding, HostState::Welcoming, HostState::Fetching, HostState::Live];
    for state in host_states {
        assert!(coverage.host_states_at_reset.contains_key(&state), "no host was reset in {state:?}");
    }
    for blow in Blow::ALL {
        assert!(coverage.blows.contains_key(&blow), "no {blow:?}");
    }
    for absence in [Absence::OutboxFull, Absence::DeviceReset, Absence::HostRestored] {
        assert!(coverage.absences.contains_key(&absence), "no gap because of {absence:?}");
    }
    for refusal in [Refusal::Chain, Refusal::DuplicateDevice, Refusal::EpochClosed] {
        assert!(
            coverage.refusals.contains_key(&u8::from(refusal)),
            "nobody was refused because of {refusal}"
        );
    }
    assert!(wraps > 0, "no sequence passed a multiple of 65,536");
    assert!(gap_len_max >= 200_000, "the longest gap has {gap_len_max} events");
    assert!(sessions_late_max >= 2, "no frame came two sessions late");
}

#[test]
fn an_acknowledgement_before_the_commit_loses_events() {
    let run = |seed| simulate(power_cuts(seed), HastyLog(MemoryLog::new(incarnation(seed))), NoTap);
    // The host believes that it was restored: it lacks what the device has given up.
    find(5, run, |violation| match violation {
        Violation::DurableLost { .. } => true,
        Violation::FalseGap { gap, .. } => gap.reason == Absence::HostRestored,
        _ => false,
    });
}

#[test]
fn a_cursor_outside_the_transaction_doubles_events() {
    let run = |seed| simulate(power_cuts(seed), SplitLog::new(MemoryLog::new(incarnation(seed))), NoTap);
    find(5, run, |violation| matches!(violation, Violation::Doubled { .. }));
}

#[test]
fn without_the_session_binding_stale_frames_break_the_log() {
    let run = |seed| simulate(late_frames(seed), MemoryLog::new(incarnation(seed)), Unbound::default());
    // Frames of an earlier life make the log tell of events that never were, or hold some of the earlier twice.
    find(5, run, |violation| matches!(violation, Violation::FalseGap { .. } | Violation::Doubled { .. }));
}

#[test]
fn the_same_worlds_hold_with_nothing_broken() {
    for seed in 0..5 {
        for scenario in [power_cuts(seed), late_frames(seed)] {
            let lived = simulate(scenario, MemoryLog::new(incarnation(seed)), NoTap);
            assert!(lived.is_ok(), "{}", lived.unwrap_err());
        }
    }
}

/// A sound line, a slow disk, and a host whose power fails every other second.
fn power_cuts(seed: u64) -> Scenario {
    Scenario {
        plot: Plot::Ordinary,
        up: FaultRates::NONE,
        down: FaultRates::NONE,
        flush_us_max: 400_000,
        blows: &[Blow::HostCrash],
        blow_us_max: 4_000_000,
        ..Scenario::draw(seed)
    }
}

/// Short lives of few events, and frames that come late: what comes late often is what should come next.
fn late_frames(seed: u64) -> Scenario {
    Scenario {
        plot: Plot::Ordinary,
        up: FaultRates::NONE.with(Fault::Delay, 400),
        down: FaultRates::NONE,
        latency_us: 100,
        burst_max: 2,
        duration_us: 60_000_000,
        blows: &[Blow::DeviceReset],
        blow_us_max: 1_500_000,
        ..Scenario::draw(seed)
    }
}

fn simulate<L: Log, T: Tap>(scenario: Scenario, log: L, tap: T) -> Result<Coverage, Box<Failure>> {
    World::new(scenario, log, tap, &Shelf::default()).run()
}

/// The incarnation of the first store of a run: never 0, as long as real ones.
fn incarnation(seed: u64) -> u64 {
    !seed
}
