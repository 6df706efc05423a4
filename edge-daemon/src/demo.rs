//! `varved demo`: simulated devices against the daemon, over real pseudo-terminals, and an account that must balance.

mod account;
mod audit;
mod daemon;
mod events;
mod faulty_line;
mod fleet;
mod home;
mod orders;
mod pace;
mod pty;
mod random;
mod report;
mod simulated_device;
mod stall;
mod usage;
mod view;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::cli::DemoArgs;
use crate::failure::Failure;
use crate::store_view::{cannot_read, open_read_only};
use audit::Audit;
use daemon::Daemon;
use fleet::Fleet;
use home::Home;
use orders::Orders;
#[cfg(test)]
pub(crate) use pty::Pty;
pub(crate) use simulated_device::simulate;
use stall::Stall;
use view::View;

/// Runs the demo. The exit code is 0 when the account balances, and 1 when it does not.
///
/// # Errors
/// The demo cannot begin, or stands still.
pub(crate) fn demo(args: &DemoArgs) -> Result<ExitCode, Failure> {
    let home = Home::new(args.store.as_deref())?;
    let orders = Orders::new(args);
    let mut out = io::stdout().lock();
    if !args.json {
        print(writeln!(out, "{orders}\nThe daemon stores them in {}.\n", home.path().display()))?;
    }
    let mut fleet = Fleet::start(orders).map_err(|error| devices_failed(&error))?;
    let mut daemon = Daemon::start(fleet.ports(), orders.baud, home.path())?;
    let mut view = View::new(args.json, args.devices);
    watch(&mut fleet, &mut daemon, |snapshot| print(view.show(&mut out, snapshot)), orders.events)?;
    let mut account = daemon.finish()?;
    account.seed = orders.faults;
    account.disk_bytes = home.disk_bytes()?;
    account.add_devices(&fleet, audit(&home)?);
    if args.json {
        print(writeln!(out, "{}", account.to_json()))?;
    } else {
        print(writeln!(out, "\n{account}{home}"))?;
    }
    Ok(if account.balances() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shows how far the devices are, until they are done or the daemon is told to end.
fn watch(
    fleet: &mut Fleet,
    daemon: &mut Daemon,
    mut show: impl FnMut(&view::Snapshot) -> Result<(), Failure>,
    events: u64,
) -> Result<(), Failure> {
    let mut stall = Stall::new();
    while !fleet.is_done() && daemon.is_running() {
        fleet.poll(Instant::now() + SHOW_PERIOD).map_err(|error| devices_failed(&error))?;
        let snapshot = daemon.snapshot(fleet, events);
        show(&snapshot)?;
        stall.check(&snapshot)?;
    }
    Ok(())
}

/// Reads the closed store anew.
fn audit(home: &Home) -> Result<Audit, Failure> {
    let view = open_read_only(home.path(), None)?;
    Audit::of(&view).map_err(|error| cannot_read(home.path(), &error))
}

const SHOW_PERIOD: Duration = Duration::from_millis(100);

fn devices_failed(error: &io::Error) -> Failure {
    Failure::of_system("the simulated devices failed", error)
}

fn print(outcome: io::Result<()>) -> Result<(), Failure> {
    outcome.map_err(|error| Failure::of_stdout(&error))
}
