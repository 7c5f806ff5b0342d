//! Durations and sizes as people write them: `"500ms"`, `"256MiB"`. One whole number and one unit, nothing else.

use std::fmt::Write;
use std::time::Duration;

/// In the order in which a duration is shown; days are read alone.
const DURATION_UNITS: [(&str, u64); 5] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1), ("d", 86_400_000)];
/// In the order in which a size is shown: powers of 1,024 where they fit, else powers of 1,000.
const SIZE_UNITS: [(&str, u64); 7] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000), ("B", 1)];

/// Why a text is not a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not digits followed by letters.
    #[error("is not a whole number followed by a unit")]
    Form,
    /// Letters that are no unit, or none at all.
    #[error("has no unit that is known")]
    Unit,
    /// More than 64 bits hold.
    #[error("is too large")]
    Large,
}

fn parse(text: &str, units: &[(&str, u64)]) -> Result<u64, QuantityError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() || !unit.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Err(QuantityError::Form);
    }
    let (_, factor) = units.iter().find(|(name, _)| *name == unit).ok_or(QuantityError::Unit)?;
    // Only digits are left, so the one way to fail is size.
    let number: u64 = number.parse().map_err(|_| QuantityError::Large)?;
    number.checked_mul(*factor).ok_or(QuantityError::Large)
}

/// Reads a duration: a whole number of `ms`, `s`, `m`, `h` or `d`.
///
/// ```
/// # use reprise_core::topology::duration;
/// assert_eq!(duration("2m"), Ok(std::time::Duration::from_secs(120)));
/// assert!(duration("1.5s").is_err());
/// ```
///
/// # Errors
/// Anything else.
pub fn duration(text: &str) -> Result<Duration, QuantityError> {
    parse(text, &DURATION_UNITS).map(Duration::from_millis)
}

/// Reads a number of bytes: a whole number of `B`, `KiB`, `MiB`, `GiB` (powers of 1,024) or `KB`, `MB`, `GB` (powers of 1,000).
///
/// ```
/// # use reprise_core::topology::size;
/// assert_eq!(size("64KiB"), Ok(65_536));
/// assert_eq!(size("64KB"), Ok(64_000));
/// ```
///
/// # Errors
/// Anything else.
pub fn size(text: &str) -> Result<u64, QuantityError> {
    parse(text, &SIZE_UNITS)
}

fn show(amount: u64, units: &[(&str, u64)], zero: &str) -> String {
    match units.iter().find(|(_, factor)| amount >= *factor && amount.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", amount / factor),
        None => zero.to_owned(),
    }
}

/// A short text that [`duration`] reads back as the same, in whole milliseconds.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATION_UNITS, "0s")
}

/// A short text that [`size`] reads back as the same.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    show(bytes, &SIZE_UNITS, "0B")
}

/// A number with its thousands apart.
#[must_use]
pub fn show_count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        // Writing to a string cannot fail.
        let _ = out.write_char(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_need_a_whole_number_and_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for (text, error) in [
            ("", QuantityError::Form),
            ("ms", QuantityError::Form),
            ("1.5s", QuantityError::Form),
            ("-1s", QuantityError::Form),
            ("1 s", QuantityError::Form),
            ("1", QuantityError::Unit),
            ("1S", QuantityError::Unit),
            ("99999999999999999999s", QuantityError::Large),
            ("18446744073709551615h", QuantityError::Large),
        ] {
            assert_eq!(duration(text), Err(error), "{text}");
        }
    }

    #[test]
    fn sizes_know_powers_of_two_and_of_ten() {
        assert_eq!(size("1GiB"), Ok(1 << 30));
        assert_eq!(size("1GB"), Ok(1_000_000_000));
        assert_eq!(size("7B"), Ok(7));
        assert_eq!(show_size(64 * 1024), "64KiB");
        assert_eq!(show_size(64_000), "64KB");
        assert_eq!(show_size(1_023), "1023B");
        assert_eq!(size("1mb"), Err(QuantityError::Unit));
        assert_eq!(size("17179869184GiB"), Err(QuantityError::Large));
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        assert_eq!(show_count(0), "0");
        assert_eq!(show_count(999), "999");
        assert_eq!(show_count(4096), "4,096");
        assert_eq!(show_count(1_234_567), "1,234,567");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_the_same(millis in 0..u64::MAX / 2, bytes: u64) {
            let time = Duration::from_millis(millis);
            prop_assert_eq!(duration(&show_duration(time)), Ok(time));
            prop_assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = (duration(&text), size(&text));
        }
    }
}
