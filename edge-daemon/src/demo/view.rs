//! What a demo shows while it runs.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use rustix::termios::tcgetwinsize;

use super::report::Progress;

/// Shows how far the devices are: a table that is drawn anew on a terminal that has room for it, a line each second
/// elsewhere.
#[derive(Debug)]
pub(crate) struct View {
    kind: Kind,
    drawn_lines: usize,
    shown_s: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Table,
    Lines,
    Nothing,
}

/// How far a demo is.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The time since the start.
    pub(crate) elapsed: Duration,
    /// How many events each device is to offer.
    pub(crate) events: u64,
    /// One row a device.
    pub(crate) rows: Vec<Row>,
    /// Commits so far, and the time that they took together.
    pub(crate) commits: (u64, Duration),
}

/// How far one device is.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Its port.
    pub(crate) port: PathBuf,
    /// What it says itself.
    pub(crate) progress: Progress,
    /// Its events that are durable.
    pub(crate) durable: u64,
    /// Its events in durable gaps.
    pub(crate) gap_events: u64,
    /// Its events that came again and were refused.
    pub(crate) duplicates: u64,
}

impl View {
    /// The view of so many devices that suits standard output, or none if it is `quiet`.
    pub(crate) fn new(quiet: bool, devices: u8) -> Self {
        let has_room =
            |columns: u16, rows: u16| columns >= TABLE_WIDTH && rows > u16::from(devices) + TABLE_FRAME;
        let kind = match tcgetwinsize(rustix::stdio::stdout()) {
            _ if quiet => Kind::Nothing,
            Ok(size) if has_room(size.ws_col, size.ws_row) => Kind::Table,
            _ => Kind::Lines,
        };
        Self { kind, drawn_lines: 0, shown_s: None }
    }

    /// Shows `snapshot`, if it is time to.
    pub(crate) fn show(&mut self, out: &mut impl Write, snapshot: &Snapshot) -> io::Result<()> {
        match self.kind {
            Kind::Nothing => Ok(()),
            Kind::Table => self.draw(out, snapshot),
            Kind::Lines if self.shown_s == Some(snapshot.elapsed.as_secs()) => Ok(()),
            Kind::Lines => {
                self.shown_s = Some(snapshot.elapsed.as_secs());
                writeln!(out, "{}", snapshot.summary())
            }
        }
    }

    fn draw(&mut self, out: &mut impl Write, snapshot: &Snapshot) -> io::Result<()> {
        let table = snapshot.table();
        if self.drawn_lines > 0 {
            write!(out, "\x1b[{}A", self.drawn_lines)?;
        }
        for line in &table {
            writeln!(out, "\r{line}\x1b[K")?;
        }
        self.drawn_lines = table.len();
        out.flush()
    }
}

impl Snapshot {
    fn table(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "  {:<12} {:>9} {:>9} {:>8} {:>8} {:>7}",
            "port", "offered", "durable", "in gaps", "refused", "faults"
        )];
        lines.extend(self.rows.iter().map(|row| {
            format!(
                "  {:<12} {:>9} {:>9} {:>8} {:>8} {:>7}  {}",
                row.port.display(),
                row.progress.offered,
                row.durable,
                row.gap_events,
                row.duplicates,
                row.progress.faults,
                bar(row.durable + row.gap_events, self.events),
            )
        }));
        lines.push(String::new());
        lines.push(format!("  {:.1} s, {}", self.elapsed.as_secs_f64(), self.commits_made()));
        lines
    }

    fn summary(&self) -> String {
        let sum = |number: fn(&Row) -> u64| self.rows.iter().map(number).sum::<u64>();
        format!(
            "{:5.1} s · offered {} · durable {} · in gaps {} · refused as duplicates {} · {}",
            self.elapsed.as_secs_f64(),
            sum(|row| row.progress.offered),
            sum(|row| row.durable),
            sum(|row| row.gap_events),
            sum(|row| row.duplicates),
            self.commits_made(),
        )
    }

    fn commits_made(&self) -> String {
        let (commits, time) = self.commits;
        format!("{commits} commits of {:.1} ms", time.as_secs_f64() * 1_000.0 / commits.max(1) as f64)
    }
}

/// The width of a full bar.
const BAR_WIDTH: u64 = 14;

/// The columns of a table, and its rows beside those of the devices: heading, empty line, commits.
const TABLE_WIDTH: u16 = 78;
const TABLE_FRAME: u16 = 3;

fn bar(done: u64, all: u64) -> String {
    let full = (done.min(all) * BAR_WIDTH).checked_div(all).unwrap_or(BAR_WIDTH);
    (0..BAR_WIDTH).map(|place| if place < full { '█' } else { '░' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(elapsed_ms: u64) -> Snapshot {
        let progress = Progress { offered: 60, dropped: 10, faults: 3 };
        let row =
            Row { port: PathBuf::from("/dev/pts/1"), progress, durable: 40, gap_events: 10, duplicates: 5 };
        Snapshot {
            elapsed: Duration::from_millis(elapsed_ms),
            events: 100,
            rows: vec![row.clone(), row],
            commits: (4, Duration::from_millis(6)),
        }
    }

    #[test]
    fn a_summary_adds_up_the_devices() {
        assert_eq!(
            snapshot(2_500).summary(),
            "  2.5 s · offered 120 · durable 80 · in gaps 20 · refused as duplicates 10 · 4 commits of 1.5 ms"
        );
    }

    #[test]
    fn lines_come_once_a_second_and_a_table_is_drawn_over_itself() {
        let mut out = Vec::new();
        let mut lines = View { kind: Kind::Lines, drawn_lines: 0, shown_s: None };
        for elapsed_ms in [0, 400, 1_100, 1_900] {
            lines.show(&mut out, &snapshot(elapsed_ms)).unwrap();
        }
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 2);

        let mut out = Vec::new();
        let mut table = View { kind: Kind::Table, drawn_lines: 0, shown_s: None };
        table.show(&mut out, &snapshot(0)).unwrap();
        table.show(&mut out, &snapshot(1)).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().matches("\x1b[5A").count(), 1);
    }

    #[test]
    fn a_table_is_no_wider_than_it_says() {
        let widest = snapshot(0).table().iter().map(|line| line.chars().count()).max();
        assert!(widest <= Some(usize::from(TABLE_WIDTH)), "{widest:?}");
    }

    #[test]
    fn a_bar_is_as_full_as_the_work_is_done() {
        assert_eq!(bar(50, 100).matches('█').count(), 7);
        assert_eq!(bar(200, 100).matches('░').count(), 0);
        assert_eq!(bar(0, 0).matches('░').count(), 0);
    }
}
