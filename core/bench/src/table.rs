//! The medians of all rounds, side by side.

use crate::measure::{OPERATIONS, Round, Workload};

/// Figures by event type and engine.
pub(crate) struct Table<const ENGINES: usize> {
    engines: [&'static str; ENGINES],
    rounds: Vec<(&'static str, [Vec<Round>; ENGINES])>,
}

impl<const ENGINES: usize> Table<ENGINES> {
    /// A table of these engines; the first is compared with each of the others.
    pub(crate) fn new(engines: [&'static str; ENGINES]) -> Self {
        Self { engines, rounds: Vec::new() }
    }

    /// Adds a round of an engine.
    pub(crate) fn add(&mut self, events: &'static str, engine: usize, round: Round) {
        if self.rounds.last().is_none_or(|(last, _)| *last != events) {
            self.rounds.push((events, std::array::from_fn(|_| Vec::new())));
        }
        let (_, engines) = self.rounds.last_mut().expect("it was pushed above");
        engines[engine].push(round);
    }

    /// Prints the medians, and how many times better the first engine is than each of the others.
    #[allow(clippy::print_stdout)]
    pub(crate) fn print(&self, workload: &Workload) {
        println!("{} events, medians of {} rounds", workload.events, workload.rounds);
        println!();
        let columns: Vec<String> = (0..ENGINES)
            .map(|engine| match engine {
                0 => self.engines[0].to_string(),
                _ => format!("{} | ratio", self.engines[engine]),
            })
            .collect();
        println!("| events | operation | unit | {} |", columns.join(" | "));
        println!("|---|---|---{}|", "|---:".repeat(2 * ENGINES - 1));
        for (events, engines) in &self.rounds {
            for (operation, (name, unit)) in OPERATIONS.iter().enumerate() {
                let medians = engines.each_ref().map(|rounds| median(rounds, operation));
                let figures: Vec<String> = (0..ENGINES)
                    .map(|engine| match engine {
                        0 => format!("{:.1}", medians[0]),
                        _ => format!("{:.1} | {:.1}×", medians[engine], medians[engine] / medians[0]),
                    })
                    .collect();
                println!("| {events} | {name} | {unit} | {} |", figures.join(" | "));
            }
        }
    }
}

fn median(rounds: &[Round], operation: usize) -> f64 {
    let mut figures: Vec<f64> = rounds.iter().map(|round| round[operation]).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
