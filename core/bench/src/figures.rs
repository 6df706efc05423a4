//! What was measured.

use crate::engine::EngineName;
use crate::rows::Row;
use crate::sample::SampleName;

/// The figures of every round.
#[derive(Default)]
pub(crate) struct Figures {
    series: Vec<Series>,
}

/// The figures of one engine in one row, a round each.
pub(crate) struct Series {
    pub(crate) row: &'static Row,
    pub(crate) sample: SampleName,
    pub(crate) engine: EngineName,
    pub(crate) figures: Vec<f64>,
}

impl Figures {
    pub(crate) fn add(&mut self, row: &'static Row, sample: SampleName, engine: EngineName, figure: f64) {
        let series = self.series.iter_mut().find(|series| series.is_of(row, sample, engine));
        match series {
            Some(series) => series.figures.push(figure),
            None => self.series.push(Series { row, sample, engine, figures: vec![figure] }),
        }
    }

    pub(crate) fn series(&self, row: &Row, sample: SampleName, engine: EngineName) -> Option<&Series> {
        self.series.iter().find(|series| series.is_of(row, sample, engine))
    }

    pub(crate) fn median(&self, row: &Row, sample: SampleName, engine: EngineName) -> Option<f64> {
        self.series(row, sample, engine).map(Series::median)
    }
}

impl Series {
    /// The middle figure, or the mean of the two in the middle.
    pub(crate) fn median(&self) -> f64 {
        let mut figures = self.figures.clone();
        figures.sort_by(f64::total_cmp);
        let (low, high) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        (low + high) / 2.0
    }

    fn is_of(&self, row: &Row, sample: SampleName, engine: EngineName) -> bool {
        self.row.key == row.key && self.sample == sample && self.engine == engine
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows;

    #[test]
    fn the_median_is_of_the_figures_in_order() {
        let row = rows::all().next().unwrap();
        let mut figures = Figures::default();
        for (figure, median) in [(9.0, 9.0), (1.0, 5.0), (2.0, 2.0), (3.0, 2.5)] {
            figures.add(row, SampleName::Sensor, EngineName::Varve, figure);
            assert_eq!(figures.median(row, SampleName::Sensor, EngineName::Varve), Some(median));
        }
        assert_eq!(figures.median(row, SampleName::Order, EngineName::Varve), None);
    }
}
