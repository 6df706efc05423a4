//! The medians of all rounds, side by side.

use crate::aim::Verdict;
use crate::arguments::Arguments;
use crate::engine::EngineName;
use crate::figures::Figures;
use crate::rows::{self, Row};
use crate::sample::SampleName;

/// Prints the medians, how many times better Varve is than each of the others, and what it is to reach, as a table in
/// Markdown.
#[allow(clippy::print_stdout)]
pub(crate) fn print(arguments: &Arguments, figures: &Figures) {
    let Arguments { events, rounds, flush_us, .. } = arguments;
    let flushes =
        if *flush_us == 0 { String::new() } else { format!("each flush at least {flush_us} µs, ") };
    println!(
        "{events} events, {flushes}medians of {rounds} rounds. In parentheses: how many times better varve is.\n"
    );
    let lines: Vec<_> = rows::all().flat_map(|row| lines_of(row, figures)).collect();
    let head = Line(HEAD.map(str::to_owned));
    let widths = std::array::from_fn(|column| {
        lines.iter().chain([&head]).map(|line| line.0[column].chars().count()).max().unwrap_or(0)
    });
    head.print(&widths);
    println!("|{}|", widths.map(|width| "-".repeat(width + 2)).join("|"));
    lines.iter().for_each(|line| line.print(&widths));
}

/// How Varve's figures stand to what they are to reach.
pub(crate) fn verdicts(row: &Row, sample: SampleName, figures: &Figures) -> Vec<Verdict> {
    let figure = |engine| figures.median(row, sample, engine);
    let better = |figure, than| row.better.ratio(figure, than);
    row.aims.iter().filter_map(|aim| aim.judge(sample, better, figure)).collect()
}

struct Line([String; COLUMNS]);

impl Line {
    #[allow(clippy::print_stdout)]
    fn print(&self, widths: &[usize; COLUMNS]) {
        let cells = self.0.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        println!("| {} |", cells.collect::<Vec<_>>().join(" | "));
    }
}

fn lines_of(row: &'static Row, figures: &Figures) -> Vec<Line> {
    let samples = [SampleName::Sensor, SampleName::Order];
    let line = |sample| Some(line(row, sample, figures, figures.median(row, sample, EngineName::Varve)?));
    samples.into_iter().filter_map(line).collect()
}

fn line(row: &Row, sample: SampleName, figures: &Figures, varve: f64) -> Line {
    let cell = |engine| match figures.median(row, sample, engine) {
        Some(figure) => format!("{} ({}×)", short(figure), short(row.better.ratio(varve, figure))),
        None => String::new(),
    };
    let floor = [EngineName::FlatFile, EngineName::Memory].map(cell).concat();
    let aims: Vec<_> = verdicts(row, sample, figures).iter().map(Verdict::to_string).collect();
    Line([
        row.title.to_owned(),
        sample.to_string(),
        row.unit.to_owned(),
        short(varve),
        cell(EngineName::Varvedb),
        cell(EngineName::Heed),
        cell(EngineName::Redb),
        cell(EngineName::Sqlite),
        floor,
        aims.join(", "),
    ])
}

/// Three digits that count, or all before the point.
fn short(figure: f64) -> String {
    match figure.abs() {
        0.0..9.995 => format!("{figure:.2}"),
        9.995..99.95 => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}

const COLUMNS: usize = 10;

const HEAD: [&str; COLUMNS] = [
    "row",
    "event",
    "unit",
    "varve",
    "varvedb 0.4.2",
    "heed, an entry an event",
    "redb",
    "SQLite",
    "flat file, memory",
    "aim",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_show_three_digits() {
        for (figure, shown) in [
            (0.0, "0.00"),
            (1.234, "1.23"),
            (9.994, "9.99"),
            (9.996, "10.0"),
            (12.34, "12.3"),
            (99.96, "100"),
            (54_111.4, "54111"),
        ] {
            assert_eq!(short(figure), shown);
        }
    }
}
