//! Results as an SVG: for each row a block of bars, the longest as wide as the picture. Ratios are numbers of the table, and no bars. Pure.

use super::result::{Measure, ResultRow, TIMES, shown};

const WIDTH: usize = 900;
const LABEL_WIDTH: usize = 330;
const VALUE_WIDTH: usize = 110;
const BAR_HEIGHT: usize = 14;
const LINE_HEIGHT: usize = 19;
const TITLE_HEIGHT: usize = 30;
const MARGIN: usize = 16;

/// The picture.
pub fn svg(rows: &[ResultRow]) -> String {
    let mut body = String::new();
    let mut top = MARGIN;
    for row in rows {
        body.push_str(&format!("<text x=\"{MARGIN}\" y=\"{}\" class=\"title\">{}</text>\n", top + 14, escaped(&row.title)));
        top += TITLE_HEIGHT - 6;
        for measure in row.measures.iter().filter(|measure| measure.unit != TIMES) {
            let most = row.measures.iter().filter(|other| other.unit == measure.unit).map(Measure::value).fold(0.0, f64::max);
            bar(&mut body, measure, most, top);
            top += LINE_HEIGHT;
        }
        top += 12;
    }
    let style = "text{font:12px sans-serif;fill:#222}.title{font-weight:bold;font-size:13px}.native{fill:#9aa5b1}.host{fill:#2f6f9f}";
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" width=\"{WIDTH}\" height=\"{top}\">\n<style>{style}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

fn bar(body: &mut String, measure: &Measure, most: f64, top: usize) {
    let room = (WIDTH - LABEL_WIDTH - VALUE_WIDTH - MARGIN) as f64;
    let width = if most > 0.0 { (measure.value() / most * room).clamp(0.0, room) } else { 0.0 };
    let class = if measure.label.starts_with("native") { "native" } else { "host" };
    let (text, base) = (escaped(&measure.label), top + BAR_HEIGHT - 3);
    body.push_str(&format!("<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{text}</text>\n", LABEL_WIDTH - 8));
    body.push_str(&format!("<rect x=\"{LABEL_WIDTH}\" y=\"{top}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" class=\"{class}\"/>\n"));
    let value = format!("{} {}", shown(measure.value()), measure.unit);
    body.push_str(&format!("<text x=\"{:.1}\" y=\"{base}\">{value}</text>\n", LABEL_WIDTH as f64 + width + 6.0));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values_and_ratios_are_none() {
        let measures = vec![
            Measure::new("native, plain", "us/row", vec![1.0]),
            Measure::new("reprise", "us/row", vec![4.0]),
            Measure::new("reprise / native", TIMES, vec![4.0]),
            Measure::new("reprise: memory", "MB", vec![9.0]),
        ];
        let picture = svg(&[ResultRow { name: "a", title: "less < more".into(), measures }]);
        assert!(picture.contains("less &lt; more"));
        for part in
            ["width=\"111.0\" height=\"14\" class=\"native\"", "width=\"444.0\" height=\"14\" class=\"host\"", ">4.00 us/row<", ">9.00 MB<"]
        {
            assert!(picture.contains(part), "{part} in {picture}");
        }
        assert!(!picture.contains("reprise / native"));
        assert_eq!(picture.matches("<rect x").count(), 3);
    }
}
