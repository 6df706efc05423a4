//! What a verification found, and the form in which a child tells it.

use std::fmt;
use std::io::{self, Write};

use crate::store::error::Damage;

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// How many blocks were read.
    pub blocks: u64,
    /// How many runs they have.
    pub runs: u64,
    /// How many events they hold.
    pub events: u64,
    /// How many events were lost to damage before, and were set aside by a salvage.
    pub lost_events: u64,
    /// How many rows of all tables were read.
    pub rows: u64,
    /// How many streams there are.
    pub streams: u64,
    /// How many descriptors there are.
    pub descriptors: u64,
    /// How many devices there are.
    pub devices: u64,
    /// What is wrong: at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How many findings there were in all.
    pub findings_total: u64,
}

/// Something that cannot be right.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Where: as a [`Place`](crate::Place) prints itself, or a part of the store.
    pub place: String,
    /// What is wrong with it.
    pub reason: String,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings_total == 0
    }

    /// Writes the report for [`verify_in_child`](crate::verify_in_child) to read.
    ///
    /// # Errors
    ///
    /// What `out` says.
    pub fn write_to(&self, mut out: impl Write) -> io::Result<()> {
        writeln!(out, "{FIRST_LINE}")?;
        for (name, count) in COUNTS.iter().zip(self.counts()) {
            writeln!(out, "{name} {count}")?;
        }
        for Finding { place, reason } in &self.findings {
            writeln!(out, "{FINDING}\t{}\t{}", one_line(place), one_line(reason))?;
        }
        writeln!(out, "{LAST_LINE}")?;
        out.flush()
    }

    /// Reads what [`VerifyReport::write_to`] wrote, or as much of it as there is, and tells whether that is all. What a
    /// program says before is passed over.
    pub(super) fn read(text: &str) -> (Self, bool) {
        let mut report = Self::default();
        for line in text.lines().skip_while(|&line| line != FIRST_LINE) {
            if line == LAST_LINE {
                return (report, true);
            }
            let mut fields = line.split('\t');
            match (fields.next(), fields.next(), fields.next()) {
                (Some(FINDING), Some(place), Some(reason)) if report.findings.len() < FINDINGS_MAX => {
                    report.findings.push(Finding { place: place.into(), reason: reason.into() });
                }
                (Some(count), None, None) => report.set_count(count),
                _ => {}
            }
        }
        (report, false)
    }

    pub(super) fn add(&mut self, damage: &Damage) {
        self.add_text(damage.place.to_string(), damage.reason.to_owned());
    }

    pub(super) fn add_text(&mut self, place: String, reason: String) {
        self.findings_total += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { place, reason });
        }
    }

    fn counts(&self) -> [u64; COUNTS.len()] {
        [
            self.blocks,
            self.runs,
            self.events,
            self.lost_events,
            self.rows,
            self.streams,
            self.descriptors,
            self.devices,
            self.findings_total,
        ]
    }

    fn set_count(&mut self, line: &str) {
        let Some((name, count)) = line.split_once(' ') else { return };
        let Ok(count) = count.parse() else { return };
        let field = match name {
            "blocks" => &mut self.blocks,
            "runs" => &mut self.runs,
            "events" => &mut self.events,
            "lost-events" => &mut self.lost_events,
            "rows" => &mut self.rows,
            "streams" => &mut self.streams,
            "descriptors" => &mut self.descriptors,
            "devices" => &mut self.devices,
            "findings" => &mut self.findings_total,
            _ => return,
        };
        *field = count;
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in COUNTS.iter().zip(self.counts()) {
            writeln!(f, "{count:>12} {name}")?;
        }
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))?;
        match self.findings_total - self.findings.len() as u64 {
            0 => Ok(()),
            more => writeln!(f, "and {more} more"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damaged {}: {}", self.place, self.reason)
    }
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ")
}

/// The most findings that a report lists.
pub const FINDINGS_MAX: usize = 100;

const COUNTS: [&str; 9] =
    ["blocks", "runs", "events", "lost-events", "rows", "streams", "descriptors", "devices", "findings"];
const FIRST_LINE: &str = "varve verify 1";
const LAST_LINE: &str = "end";
const FINDING: &str = "damaged";
