//! What was measured: rows of the table, each with its measures. Pure.

use serde_json::{Value, json};

use super::statistics::Statistic;

/// A row of the table.
#[derive(Debug, Clone)]
pub struct ResultRow {
    pub name: &'static str,
    pub title: String,
    pub measures: Vec<Measure>,
}

/// One quantity, with a value for each round or for each event.
#[derive(Debug, Clone)]
pub struct Measure {
    pub label: String,
    pub unit: &'static str,
    pub values: Vec<f64>,
    pub statistic: Statistic,
    /// What the value should not exceed, or, of a [`Measure::at_least`], not fall below.
    pub target: Option<f64>,
    is_at_least: bool,
}

/// The unit of ratios.
pub const TIMES: &str = "x";

impl Measure {
    /// A quantity of which the median counts.
    pub fn new(label: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Self {
        Self { label: label.into(), unit, values, statistic: Statistic::MEDIAN, target: None, is_at_least: false }
    }

    /// Another statistic than the median.
    #[must_use]
    pub fn by(self, statistic: Statistic) -> Self {
        Self { statistic, ..self }
    }

    /// What it should not exceed.
    #[must_use]
    pub fn target(self, target: f64) -> Self {
        Self { target: Some(target), ..self }
    }

    /// What it should reach.
    #[must_use]
    pub fn at_least(self, target: f64) -> Self {
        Self { target: Some(target), is_at_least: true, ..self }
    }

    /// What stands for all values.
    pub fn value(&self) -> f64 {
        self.statistic.of(&self.values)
    }

    /// The least and the largest value.
    pub fn range(&self) -> (f64, f64) {
        (self.values.iter().copied().fold(f64::NAN, f64::min), self.values.iter().copied().fold(f64::NAN, f64::max))
    }

    /// Whether the target is reached.
    pub fn is_reached(&self) -> Option<bool> {
        self.target.map(|target| if self.is_at_least { self.value() >= target } else { self.value() <= target })
    }

    fn to_json(&self) -> Value {
        let (least, most) = self.range();
        json!({
            "label": self.label, "unit": self.unit, "value": self.value(), "least": least, "most": most, "count": self.values.len(),
            "statistic": match self.statistic {
                Statistic::Percentile(per_cent) => format!("p{per_cent}"),
                Statistic::Longest => "longest".to_owned(),
            },
            "target": self.target, "reached": self.is_reached(),
        })
    }
}

impl ResultRow {
    /// A row as JSON.
    pub fn to_json(&self) -> Value {
        let measures: Vec<Value> = self.measures.iter().map(Measure::to_json).collect();
        json!({ "name": self.name, "title": self.title, "measures": measures })
    }
}

/// A value with three digits that say something.
pub fn shown(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_three_digits() {
        assert_eq!([0.0312, 1.234, 56.78, 7654.3].map(shown), ["0.031", "1.23", "56.8", "7654"]);
    }

    #[test]
    fn a_target_is_a_bound_on_its_side() {
        let ratio = Measure::new("ratio", TIMES, vec![1.1, 1.3, 1.2]);
        assert_eq!((ratio.value(), ratio.range(), ratio.is_reached()), (1.2, (1.1, 1.3), None));
        assert_eq!(ratio.clone().target(1.2).is_reached(), Some(true));
        assert_eq!(ratio.clone().target(1.1).is_reached(), Some(false));
        assert_eq!(ratio.clone().at_least(1.1).is_reached(), Some(true));
        assert_eq!(ratio.by(Statistic::Longest).to_json()["value"], 1.3);
    }
}
