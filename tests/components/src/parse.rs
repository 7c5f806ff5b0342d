//! Lines of the benchmark, `key,value,time`: parsed without an allocation.

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
    let (key, rest) = field(bytes).ok_or("expected key,value,time: there is no comma")?;
    let (value, time) = field(rest).ok_or("expected key,value,time: there is only one comma")?;
    if key.is_empty() {
        return Err("the key is empty");
    }
    let value = integer(value).ok_or("the value is not an integer of 64 bits")?;
    let time = integer(time).ok_or("the time is not an integer of 64 bits")?;
    Ok(Line { key, value, time })
}

/// What stands before the first comma, and what after it.
#[inline]
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let comma = bytes.iter().position(|&byte| byte == b',')?;
    Some((&bytes[..comma], &bytes[comma + 1..]))
}

/// A decimal integer, with or without a sign.
#[inline]
fn integer(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    // Up to 18 digits cannot overflow.
    if digits.len() <= 18 {
        let mut number = 0i64;
        for &digit in digits {
            let digit = digit.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            number = number * 10 + i64::from(digit);
        }
        return Some(if negative { -number } else { number });
    }
    digits.iter().try_fold(0i64, |number, digit| {
        let digit = i64::from(digit.wrapping_sub(b'0'));
        let signed = if negative { -digit } else { digit };
        (digit <= 9).then(|| number.checked_mul(10)?.checked_add(signed)).flatten()
    })
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
    fn the_largest_and_smallest_integers_are_read_and_larger_ones_are_not() {
        assert_eq!(integer(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer(b"9223372036854775808"), None);
        assert_eq!(integer(b"00000000000000000000012"), Some(12));
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
