//! Reading rows that are text, a word of eight bytes at a time.

use crate::short::word;

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = 0x8080_8080_8080_8080;

/// What stands before the first byte that equals `separator`, and what stands behind it.
///
/// ```
/// use reprise_guest::text;
///
/// assert_eq!(text::split_once(b"key,value,time", b','), Some((b"key".as_slice(), b"value,time".as_slice())));
/// assert_eq!(text::split_once(b"key", b','), None);
/// ```
#[inline]
#[must_use]
pub fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = position(bytes, separator)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

#[inline]
fn position(bytes: &[u8], sought: u8) -> Option<usize> {
    let mut at = 0;
    while at + 8 <= bytes.len() {
        // Of the bytes that are zero now, the lowest has its top bit set, and none below it.
        let different = word(bytes, at) ^ ONES.wrapping_mul(u64::from(sought));
        let found = different.wrapping_sub(ONES) & !different & TOPS;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    bytes[at..].iter().position(|&byte| byte == sought).map(|rest| at + rest)
}

/// The 64-bit integer that the bytes are: decimal digits, with or without a sign, and nothing else.
///
/// ```
/// use reprise_guest::text;
///
/// assert_eq!(text::integer(b"-1700000000000"), Some(-1_700_000_000_000));
/// assert_eq!([text::integer(b""), text::integer(b" 7"), text::integer(b"9223372036854775808")], [None; 3]);
/// ```
#[inline]
#[must_use]
pub fn integer(bytes: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    // Up to 18 digits cannot overflow.
    if digits.is_empty() || digits.len() > 18 {
        return integer_slowly(is_negative, digits);
    }
    let (eights, rest) = digits.as_chunks::<8>();
    let mut number = 0;
    for &eight in eights {
        number = number * 100_000_000 + eight_digits(u64::from_le_bytes(eight))?;
    }
    for &digit in rest {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + i64::from(digit);
    }
    Some(if is_negative { -number } else { number })
}

/// The number that eight digits are, the first in the lowest byte: pairs of digits, then pairs of these, then both halves.
#[inline]
fn eight_digits(word: u64) -> Option<i64> {
    let digits = word ^ (ONES * 0x30);
    if (digits | ((digits & !TOPS) + ONES * 0x76)) & TOPS != 0 {
        return None;
    }
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some(((fours * 10_000 + (fours >> 32)) & 0xffff_ffff) as i64)
}

#[cold]
fn integer_slowly(is_negative: bool, digits: &[u8]) -> Option<i64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0i64, |number, digit| {
        let digit = i64::from(digit.wrapping_sub(b'0'));
        let signed = if is_negative { -digit } else { digit };
        (digit <= 9).then(|| number.checked_mul(10)?.checked_add(signed)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_largest_and_smallest_integers_are_read_and_larger_ones_are_not() {
        assert_eq!(integer(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer(b"9223372036854775808"), None);
        assert_eq!(integer(b"00000000000000000000012"), Some(12));
        assert_eq!([integer(b"-"), integer(b"+"), integer(b"--1")], [None; 3]);
    }

    #[test]
    fn a_byte_that_is_no_digit_is_found_at_every_place() {
        for at in 0..16 {
            for byte in (0..=255u8).filter(|byte| !byte.is_ascii_digit()) {
                let mut digits = *b"1234567890123456";
                digits[at] = byte;
                let signed = at == 0 && (byte == b'-' || byte == b'+');
                assert_eq!(integer(&digits).is_some(), signed, "{}", digits.escape_ascii());
            }
        }
    }

    proptest! {
        #[test]
        fn integers_are_read_as_the_standard_library_does(number in any::<i64>(), shift in 0..64u32) {
            let number = number >> shift;
            prop_assert_eq!(integer(number.to_string().as_bytes()), Some(number));
        }

        #[test]
        fn the_first_separator_is_found(
            bytes in proptest::collection::vec(prop_oneof![Just(b','), Just(b'-'), Just(b',' ^ 0x80), any::<u8>()], 0..40),
        ) {
            let at = bytes.iter().position(|&byte| byte == b',');
            prop_assert_eq!(split_once(&bytes, b','), at.map(|at| (&bytes[..at], &bytes[at + 1..])));
        }
    }
}
