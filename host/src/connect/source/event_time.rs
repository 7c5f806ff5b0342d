//! Event times as text.
//!
//! Numbers may have a sign, a fraction and an exponent; what is finer than a millisecond is cut off towards the past. Without an exponent
//! the arithmetic is exact.

use crate::clock::Clock;
use reprise_core::topology::{FileSource, TimeUnit};

/// Digits behind the point that count; more are read and dropped. 10^-12 s is finer than any unit.
const FRACTION_DIGITS: u32 = 12;
const FRACTION_SCALE: i128 = 10_i128.pow(FRACTION_DIGITS);

/// The latest event time that is taken: so far ahead of the clock.
pub struct Horizon {
    clock: Clock,
    ahead_ms: Option<i64>,
}

impl Horizon {
    /// As the settings say.
    pub fn new(settings: &FileSource, clock: Clock) -> Self {
        let ahead = settings.time_ahead_max.filter(|_| settings.time.is_some());
        Self { clock, ahead_ms: ahead.map(|ahead| i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX)) }
    }

    /// Where it is now, milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.ahead_ms.map_or(i64::MAX, |ahead_ms| self.clock.now_ms().saturating_add(ahead_ms))
    }
}

/// Reads an event time: milliseconds since 1970-01-01T00:00:00Z, or `None` where the text is none or does not fit.
pub fn parse(text: &str, unit: TimeUnit) -> Option<i64> {
    // Numerator and denominator of milliseconds.
    let (up, down) = match unit {
        TimeUnit::Milliseconds => (1, 1),
        TimeUnit::Seconds => (1_000, 1),
        TimeUnit::Microseconds => (1, 1_000),
        TimeUnit::Nanoseconds => (1, 1_000_000),
        TimeUnit::Rfc3339 => return chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis()),
    };
    if let Ok(whole) = text.parse::<i64>() {
        return whole.checked_mul(up).map(|scaled| scaled.div_euclid(down));
    }
    match decimal(text) {
        Some(fixed) => i64::try_from(fixed.checked_mul(i128::from(up))?.div_euclid(FRACTION_SCALE * i128::from(down))).ok(),
        None => float(text, up, down),
    }
}

/// `12.5` as a multiple of 10^-12.
fn decimal(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.')?;
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut value = i128::from(whole.parse::<i64>().ok()?);
    for place in 0..FRACTION_DIGITS as usize {
        let digit = fraction.as_bytes().get(place).map_or(0, |b| b - b'0');
        value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    Some(if negative { -value } else { value })
}

/// A number with an exponent, such as `1.7e9`.
fn float(text: &str, up: i64, down: i64) -> Option<i64> {
    if !text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E')) {
        return None;
    }
    let milliseconds = (text.parse::<f64>().ok()? * up as f64 / down as f64).floor();
    // Both ends are exact as floats; the upper one is just outside.
    (milliseconds >= i64::MIN as f64 && milliseconds < i64::MAX as f64).then_some(milliseconds as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_becomes_milliseconds() {
        assert_eq!(parse("1700000000123", TimeUnit::Milliseconds), Some(1_700_000_000_123));
        assert_eq!(parse("1700000000", TimeUnit::Seconds), Some(1_700_000_000_000));
        assert_eq!(parse("1700000000.1239", TimeUnit::Seconds), Some(1_700_000_000_123));
        assert_eq!(parse("1700000000123999", TimeUnit::Microseconds), Some(1_700_000_000_123));
        assert_eq!(parse("1700000000123999999", TimeUnit::Nanoseconds), Some(1_700_000_000_123));
        assert_eq!(parse("1.7e9", TimeUnit::Seconds), Some(1_700_000_000_000));
        assert_eq!(parse("2026-01-31T12:00:00.5+01:00", TimeUnit::Rfc3339), Some(1_769_857_200_500));
    }

    #[test]
    fn times_before_1970_are_cut_towards_the_past() {
        assert_eq!(parse("-1", TimeUnit::Microseconds), Some(-1));
        assert_eq!(parse("-0.0001", TimeUnit::Seconds), Some(-1));
        assert_eq!(parse("-1.5", TimeUnit::Seconds), Some(-1_500));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in ["", "-", ".", "x", "1e400", "nan", "inf", "--1", "1.-5", "9223372036854775807", "99999999999999999999.5"] {
            assert_eq!(parse(text, TimeUnit::Seconds), None, "{text}");
        }
        assert_eq!(parse("2026-01-31", TimeUnit::Rfc3339), None);
    }
}
