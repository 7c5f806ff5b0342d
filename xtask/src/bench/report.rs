//! Results as a table, for a terminal and for a page, and as JSON. Pure.

use serde_json::{Value, json};

use super::machine::Origin;
use super::result::{Measure, ResultRow, shown};

/// The table for a terminal.
pub fn terminal(rows: &[ResultRow]) -> String {
    let width = rows.iter().flat_map(|row| &row.measures).map(|measure| measure.label.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        text.push_str(&format!("\n{} ({})\n", row.title, row.name));
        for measure in &row.measures {
            let (least, most) = measure.range();
            let range = if measure.values.len() > 1 { format!("{} .. {}", shown(least), shown(most)) } else { String::new() };
            let line =
                format!("  {:<width$} {:>9} {:<8} {range:<20} {}", measure.label, shown(measure.value()), measure.unit, target(measure));
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

fn target(measure: &Measure) -> String {
    match (measure.target, measure.is_reached()) {
        (Some(target), Some(true)) => format!("target {}: reached", shown(target)),
        (Some(target), _) => format!("target {}", shown(target)),
        (None, _) => String::new(),
    }
}

/// The page.
pub fn page(origin: &Origin, rows: &[ResultRow]) -> String {
    let [machine, command] = origin.lines();
    let mut text = format!("# Results\n\n{machine};\n{command}.\n\n| | value | range | target |\n|---|---|---|---|\n");
    for row in rows {
        text.push_str(&format!("| **{}** (`{}`) | | | |\n", row.title, row.name));
        for measure in &row.measures {
            let (least, most) = measure.range();
            let range = if measure.values.len() > 1 { format!("{} to {}", shown(least), shown(most)) } else { String::new() };
            let Measure { label, unit, .. } = measure;
            text.push_str(&format!(
                "| {label} | {} {unit} | {range} | {} |\n",
                shown(measure.value()),
                target(measure).replace("target ", "")
            ));
        }
    }
    text
}

/// Everything as JSON.
pub fn json(origin: &Origin, sizes: Value, rows: &[ResultRow]) -> Value {
    json!({ "origin": origin.to_json(), "sizes": sizes, "rows": rows.iter().map(ResultRow::to_json).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::result::TIMES;

    fn rows() -> Vec<ResultRow> {
        let measures = vec![
            Measure::new("native, plain", "us/row", vec![0.1, 0.2, 0.15]),
            Measure::new("reprise / native", TIMES, vec![2.0]).target(1.2),
            Measure::new("memory", TIMES, vec![1.0]).target(1.5),
        ];
        vec![ResultRow { name: "discard", title: "keyed count".into(), measures }]
    }

    #[test]
    fn a_terminal_shows_values_in_columns() {
        let expected = "
keyed count (discard)
  native, plain        0.150 us/row   0.100 .. 0.200
  reprise / native      2.00 x                             target 1.20
  memory                1.00 x                             target 1.50: reached
";
        assert_eq!(terminal(&rows()), expected);
    }

    #[test]
    fn a_page_says_where_it_is_from() {
        let origin = Origin {
            processor: "P".into(),
            processors: 2,
            memory_mib: 4,
            kernel: "6".into(),
            load: "0.1".into(),
            commit: "abc".into(),
            command: "cargo xtask bench".into(),
        };
        let text = page(&origin, &rows());
        assert!(text.starts_with("# Results\n\nP, 2 processors, 4 MiB, Linux 6; load 0.1 at the start;\ncommit abc: cargo xtask bench.\n"));
        assert!(text.contains("| native, plain | 0.150 us/row | 0.100 to 0.200 |  |\n"), "{text}");
        assert!(text.ends_with("| memory | 1.00 x |  | 1.50: reached |\n"), "{text}");
        let value = json(&origin, Value::Null, &rows());
        assert_eq!(value["rows"][0]["measures"][1]["target"], 1.2);
    }
}
