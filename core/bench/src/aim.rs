//! What a figure of Varve's is to reach.

use std::fmt;

use crate::engine::EngineName;
use crate::sample::SampleName;

/// A bound on a row's figure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    /// At least so many times better than a peer, for each type of events.
    Better { than: EngineName, sensor: f64, order: f64 },
    /// At most so many times a floor's figure.
    Within { floor: EngineName, factor: f64 },
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
}

/// How an aim was met.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub(crate) aim: Aim,
    pub(crate) sample: SampleName,
    pub(crate) is_met: bool,
}

impl Aim {
    /// Compares Varve's figure with the bound; `None` where what it is compared with was not measured. `better` tells
    /// how many times better the first figure is than the second.
    pub(crate) fn judge(
        self,
        sample: SampleName,
        better: impl Fn(f64, f64) -> f64,
        figure_of: impl Fn(EngineName) -> Option<f64>,
    ) -> Option<Verdict> {
        let figure = figure_of(EngineName::Varve)?;
        let is_met = match self {
            Self::Better { than, .. } => better(figure, figure_of(than)?) >= self.bound(sample),
            Self::Within { floor, factor } => better(figure_of(floor)?, figure) <= factor,
            Self::AtMost(bound) => figure <= bound,
            Self::AtLeast(bound) => figure >= bound,
        };
        Some(Verdict { aim: self, sample, is_met })
    }

    fn bound(self, of: SampleName) -> f64 {
        match self {
            Self::Better { sensor, order, .. } => match of {
                SampleName::Sensor => sensor,
                SampleName::Order => order,
            },
            Self::Within { factor, .. } => factor,
            Self::AtMost(bound) | Self::AtLeast(bound) => bound,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = self.aim.bound(self.sample);
        match self.aim {
            Aim::Better { than, .. } => write!(f, "≥ {bound}× {}", than.key())?,
            Aim::Within { floor, .. } => write!(f, "≤ {bound}× {}", floor.key())?,
            Aim::AtMost(_) => write!(f, "≤ {bound}")?,
            Aim::AtLeast(_) => write!(f, "≥ {bound}")?,
        }
        f.write_str(if self.is_met { " ✓" } else { " ✗" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Better;

    #[test]
    fn an_aim_is_met_at_its_bound_and_not_beyond() {
        let than_varvedb = Aim::Better { than: EngineName::Varvedb, sensor: 2.0, order: 4.0 };
        let within = Aim::Within { floor: EngineName::FlatFile, factor: 1.5 };
        for (aim, sample, figures, is_met) in [
            (than_varvedb, SampleName::Sensor, (10.0, 20.0), true),
            (than_varvedb, SampleName::Sensor, (10.0, 19.9), false),
            (than_varvedb, SampleName::Order, (10.0, 20.0), false),
            (within, SampleName::Order, (15.0, 10.0), true),
            (within, SampleName::Order, (15.1, 10.0), false),
            (Aim::AtMost(15.0), SampleName::Order, (15.0, 0.0), true),
            (Aim::AtMost(15.0), SampleName::Order, (15.1, 0.0), false),
            (Aim::AtLeast(15.0), SampleName::Order, (15.0, 0.0), true),
            (Aim::AtLeast(15.0), SampleName::Order, (14.9, 0.0), false),
        ] {
            let (varve, other) = figures;
            let figure = |engine| Some(if engine == EngineName::Varve { varve } else { other });
            let better = |figure, than| Better::Lower.ratio(figure, than);
            assert_eq!(aim.judge(sample, better, figure).unwrap().is_met, is_met, "{aim:?} {figures:?}");
        }
    }

    #[test]
    fn an_aim_is_not_judged_against_what_was_not_measured() {
        let aim = Aim::Within { floor: EngineName::Memory, factor: 1.0 };
        let figure = |engine| (engine == EngineName::Varve).then_some(1.0);
        assert!(aim.judge(SampleName::Sensor, |_, _| 1.0, figure).is_none());
    }
}
