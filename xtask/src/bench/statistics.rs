//! Medians, percentiles, and ratios of rounds. Pure.

/// What stands for many values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Statistic {
    /// The value that so many per cent of all do not exceed, by nearest rank.
    Percentile(f64),
    /// The largest.
    Longest,
}

impl Statistic {
    /// The middle value, or the lower of the two in the middle.
    pub const MEDIAN: Self = Self::Percentile(50.0);

    /// The statistic of values in any order; NaN where there are none.
    pub fn of(self, values: &[f64]) -> f64 {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let rank = match self {
            // Whole ranks stay whole, whatever the rounding.
            Self::Percentile(per_cent) => (per_cent * sorted.len() as f64 / 100.0 - 1e-6).ceil() as usize,
            Self::Longest => sorted.len(),
        };
        sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
    }
}

/// The ratio of each round: whatever befell the machine in a round befell both.
pub fn ratios(values: &[f64], against: &[f64]) -> Vec<f64> {
    values.iter().zip(against).map(|(value, against)| value / against).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(Statistic::MEDIAN.of(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(Statistic::MEDIAN.of(&[4.0, 1.0, 2.0, 3.0]), 2.0);
        assert_eq!(Statistic::MEDIAN.of(&[1.0]), 1.0);
        assert!(Statistic::MEDIAN.of(&[]).is_nan());
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let values: Vec<f64> = (1..=1000).map(f64::from).collect();
        let of = |per_cent| Statistic::Percentile(per_cent).of(&values);
        assert_eq!([of(50.0), of(99.0), of(99.9), of(100.0), of(0.0)], [500.0, 990.0, 999.0, 1000.0, 1.0]);
        assert_eq!(Statistic::Longest.of(&values), 1000.0);
        assert_eq!(Statistic::Percentile(99.0).of(&[1.0, 5.0]), 5.0);
    }

    #[test]
    fn rounds_are_compared_one_by_one() {
        assert_eq!(ratios(&[2.0, 9.0], &[1.0, 3.0]), [2.0, 3.0]);
    }
}
