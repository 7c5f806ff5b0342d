//! What a run says of itself, read from its JSON lines. Pure.

use serde_json::Value;

/// The lines that are JSON.
pub fn events(told: &str) -> impl Iterator<Item = Value> {
    told.lines().filter_map(|line| serde_json::from_str(line).ok())
}

/// The longest pause of an instance at the end of an epoch that the lines tell, in microseconds.
pub fn pause_us(told: &str) -> u64 {
    fn longest(value: &Value) -> u64 {
        match value {
            Value::Object(members) => {
                let own = members.get("snapshot_us_max").and_then(Value::as_u64).unwrap_or(0);
                members.values().map(longest).max().unwrap_or(0).max(own)
            }
            Value::Array(entries) => entries.iter().map(longest).max().unwrap_or(0),
            _ => 0,
        }
    }
    events(told).map(|line| longest(&line)).max().unwrap_or(0)
}

/// The bytes of each checkpoint, in their order.
pub fn checkpoints(told: &str) -> Vec<u64> {
    events(told).filter(|line| line["event"] == "checkpoint").map(|line| line["bytes"].as_u64().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pause_of_all_lines_counts() {
        let told = "{\"operators\":{\"a\":{\"snapshot_us_max\":7},\"b\":{\"snapshot_us_max\":900}}}\nno JSON\n{\"snapshot_us_max\":5}\n";
        assert_eq!((pause_us(told), pause_us("")), (900, 0));
    }

    #[test]
    fn checkpoints_come_with_their_bytes() {
        let told = "{\"event\":\"checkpoint\",\"bytes\":5}\n{\"event\":\"status\",\"bytes\":6}\n{\"event\":\"checkpoint\",\"bytes\":7}\n";
        assert_eq!(checkpoints(told), [5, 7]);
    }
}
