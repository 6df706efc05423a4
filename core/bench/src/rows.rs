//! The rows of the table, by what is done to measure them.

mod bulk;
mod commits;
mod device_writes;
mod filled;
mod interleaved;
mod reads;
pub(crate) mod recovery;
mod threads;

use crate::aim::Aim;
use crate::sample::{Sample, Sensor};
use crate::session::Session;

/// What is measured, and what Varve is to reach.
#[derive(Debug)]
pub(crate) struct Row {
    /// What `--rows` and the JSON call it.
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    pub(crate) aims: &'static [Aim],
}

/// Which of two figures is the better one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// Rows that are measured together.
struct Family {
    rows: &'static [&'static Row],
    measure: fn(&mut Session),
}

/// Every row, in the order of the table.
pub(crate) fn all() -> impl Iterator<Item = &'static Row> {
    families::<Sensor>().into_iter().flat_map(|family| family.rows).copied()
}

/// Measures every row that is asked for with one type of events.
pub(crate) fn measure<E: Sample>(session: &mut Session) {
    for family in families::<E>() {
        if family.rows.iter().any(|row| session.wants(row)) {
            (family.measure)(session);
        }
    }
}

fn families<E: Sample>() -> [Family; 7] {
    [
        Family { rows: &bulk::ROWS, measure: bulk::measure::<E> },
        Family { rows: &commits::ROWS, measure: commits::measure::<E> },
        Family { rows: &device_writes::ROWS, measure: device_writes::measure::<E> },
        Family { rows: &threads::ROWS, measure: threads::measure::<E> },
        Family { rows: &reads::ROWS, measure: reads::measure::<E> },
        Family { rows: &interleaved::ROWS, measure: interleaved::measure::<E> },
        Family { rows: &recovery::ROWS, measure: recovery::measure::<E> },
    ]
}

impl Row {
    /// A row whose lower figures are the better ones.
    const fn new(key: &'static str, title: &'static str, unit: &'static str, aims: &'static [Aim]) -> Self {
        Self { key, title, unit, better: Better::Lower, aims }
    }

    const fn higher_is_better(self) -> Self {
        Self { better: Better::Higher, ..self }
    }
}

impl Better {
    /// How many times better the first figure is.
    pub(crate) fn ratio(self, figure: f64, than: f64) -> f64 {
        match self {
            Self::Lower => than / figure,
            Self::Higher => figure / than,
        }
    }
}
