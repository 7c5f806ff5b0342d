//! Where output stands still: from the failure of a call to the first row behind the one with poison. Pure.

use std::time::{Duration, Instant};

use super::watched::Heard;

/// A stretch without output, from a failure on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    pub took: Duration,
    /// Calls that failed in it.
    pub failures: u32,
}

/// The stalls of a run. Rows with poison stand before the rows with the numbers `poison`, which rise.
///
/// A failure belongs to the first of them that output had not passed. It has passed one with the first row of the output that is of that number or
/// a later one, since the row with poison itself comes before; where that is dropped, too.
pub fn stalls(heard: impl Iterator<Item = (Instant, Heard)>, poison: impl Iterator<Item = u64>) -> Vec<Stall> {
    let (mut stalls, mut open, mut passed) = (Vec::new(), None::<(Instant, u64, u32)>, None);
    let mut poison = poison.peekable();
    for (at, heard) in heard {
        match heard {
            Heard::Told(event) if event["event"] == "operator-failed" => {
                while poison.next_if(|number| passed.is_some_and(|passed| *number <= passed)).is_some() {}
                match (&mut open, poison.peek()) {
                    (Some((_, _, failures)), _) => *failures += 1,
                    (None, Some(number)) => open = Some((at, *number, 1)),
                    (None, None) => {}
                }
            }
            Heard::Passed { last: Some((number, _)), .. } => {
                passed = Some(number);
                if let Some((since, _, failures)) = open.take_if(|(_, waits_for, _)| number >= *waits_for) {
                    stalls.push(Stall { took: at.saturating_duration_since(since), failures });
                }
            }
            _ => {}
        }
    }
    stalls
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_stall_ends_behind_the_poison() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let failed = |ms| (at(ms), Heard::Told(json!({ "event": "operator-failed" })));
        let passed = |ms, number| (at(ms), Heard::Passed { rows: 1, last: Some((number, 1)) });
        let heard = [
            passed(1, 8),
            failed(10),
            // Rows before the poison come out of smaller calls.
            passed(12, 9),
            failed(13),
            passed(40, 10),
            // This one passed at once.
            passed(50, 25),
            failed(60),
            (at(61), Heard::Told(json!({ "event": "status" }))),
            passed(75, 33),
            failed(80),
        ];
        let expected = [(30, 2), (15, 1)].map(|(ms, failures)| Stall { took: Duration::from_millis(ms), failures });
        assert_eq!(stalls(heard.into_iter(), [10, 20, 30].into_iter()), expected);
    }
}
