//! Every figure, for other programs.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use crate::aim::Verdict;
use crate::arguments::Arguments;
use crate::engine::EngineName;
use crate::figures::Figures;
use crate::rows::{self, Row};
use crate::sample::SampleName;
use crate::table::verdicts;

/// Writes the figures of each round, their medians, and how the aims were met.
///
/// # Errors
///
/// Where the file cannot be written.
pub(crate) fn write(path: &Path, arguments: &Arguments, figures: &Figures) -> io::Result<()> {
    let rows: Vec<_> = rows::all().flat_map(|row| rows_of(row, figures)).collect();
    let Arguments { events, rounds, flush_us, .. } = arguments;
    let all = json!({ "events": events, "rounds": rounds, "flush_us": flush_us, "rows": rows });
    let mut file = File::create(path)?;
    serde_json::to_writer_pretty(&mut file, &all)?;
    file.write_all(b"\n")
}

fn rows_of(row: &'static Row, figures: &Figures) -> Vec<Value> {
    let of_sample = |&sample: &SampleName| {
        let engines: Map<_, _> = EngineName::value_variants()
            .iter()
            .filter_map(|&engine| figures.series(row, sample, engine))
            .map(|series| {
                let value = json!({ "median": series.median(), "rounds": series.figures });
                (series.engine.key().to_owned(), value)
            })
            .collect();
        let aims = verdicts(row, sample, figures);
        let aim = |verdict: &Verdict| json!({ "aim": verdict.to_string(), "is_met": verdict.is_met });
        let aims: Vec<_> = aims.iter().map(aim).collect();
        let value = json!({
            "row": row.key, "title": row.title, "unit": row.unit, "event": sample.to_string(),
            "engines": engines, "aims": aims,
        });
        (!engines.is_empty()).then_some(value)
    };
    SampleName::value_variants().iter().filter_map(of_sample).collect()
}
