//! Lines of the benchmark, `key,value,time`: parsed without an allocation.

use reprise_guest::text;

/// A parsed line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    pub key: &'a [u8],
    pub value: i64,
    pub time: i64,
}

/// Parses a line.
///
/// # Errors
/// What is wrong with it.
#[inline]
pub fn line(bytes: &[u8]) -> Result<Line<'_>, &'static str> {
    let (key, rest) = text::split_once(bytes, b',').ok_or("expected key,value,time: there is no comma")?;
    let (value, time) = text::split_once(rest, b',').ok_or("expected key,value,time: there is only one comma")?;
    if key.is_empty() {
        return Err("the key is empty");
    }
    let value = text::integer(value).ok_or("the value is not an integer of 64 bits")?;
    let time = text::integer(time).ok_or("the time is not an integer of 64 bits")?;
    Ok(Line { key, value, time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_lines_are_read() {
        assert_eq!(line(b"k,-12,1700000000000"), Ok(Line { key: b"k", value: -12, time: 1_700_000_000_000 }));
        assert_eq!(line(b"k,+0,-5").map(|line| (line.value, line.time)), Ok((0, -5)));
    }

    #[test]
    fn bad_lines_are_refused_with_a_reason() {
        for (bad, reason) in [
            ("", "there is no comma"),
            ("k,1", "only one comma"),
            (",1,2", "key is empty"),
            ("k,x,2", "value is not"),
            ("k,1,", "time is not"),
            ("k,1,2,3", "time is not"),
            ("k,-,2", "value is not"),
        ] {
            assert!(line(bad.as_bytes()).unwrap_err().contains(reason), "{bad}");
        }
    }
}
