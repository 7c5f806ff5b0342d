//! Text by words of 16 bytes: where a field ends, integers from digits and digits from integers. Pure.

/// Bytes of a word; as many must be readable behind the last byte of a text.
pub const WORD_BYTES: usize = 16;

const ONES: u128 = u128::from_ne_bytes([0x01; WORD_BYTES]);
const HIGHS: u128 = u128::from_ne_bytes([0x80; WORD_BYTES]);

/// The 16 bytes from a place on, the first one lowest.
#[inline(always)]
pub fn word(bytes: &[u8], at: usize) -> u128 {
    let bytes: [u8; WORD_BYTES] = bytes[at..at + WORD_BYTES].try_into().expect("a word has 16 bytes");
    u128::from_le_bytes(bytes)
}

/// How many bytes come before the first `byte` of a word; 16 where it is not there.
#[inline(always)]
pub fn find(word: u128, byte: u8) -> usize {
    let found = word ^ (ONES * u128::from(byte));
    let zeros = found.wrapping_sub(ONES) & !found & HIGHS;
    (zeros.trailing_zeros() / 8) as usize
}

/// The number that the first `length` bytes of a word are the digits of, 1 to 15: behind 16 there might be more.
#[inline(always)]
pub fn digits(word: u128, length: usize) -> Option<u64> {
    if length == 0 || length >= WORD_BYTES {
        return None;
    }
    // What is shifted out is behind the digits; what comes in is below '0', and made 0 by the subtraction below.
    let shift = 8 * (WORD_BYTES - length) as u32;
    let zeros = ONES * u128::from(b'0');
    let filled = (word << shift) | (zeros & !(u128::MAX << shift));
    let values = filled ^ zeros;
    // A digit is below 10: adding 118 does not reach the high bit, nor has it that bit.
    if (values.wrapping_add(ONES * 118) | values) & HIGHS != 0 {
        return None;
    }
    Some(eight(values as u64) * 100_000_000 + eight((values >> 64) as u64))
}

/// The number of eight digits, the first one lowest, each in its byte.
#[inline(always)]
fn eight(values: u64) -> u64 {
    let pairs = (values.wrapping_mul(10) + (values >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff
}

/// Appends a number in decimal digits.
#[inline(always)]
pub fn append(out: &mut Vec<u8>, mut number: u64) {
    const PAIRS: [u8; 200] = pairs();
    let mut text = [0; 20];
    let mut at = text.len();
    while number >= 100 {
        let pair = (number % 100) as usize * 2;
        number /= 100;
        at -= 2;
        text[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if number >= 10 {
        let pair = number as usize * 2;
        at -= 2;
        text[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        text[at] = b'0' + number as u8;
    }
    out.extend_from_slice(&text[at..]);
}

const fn pairs() -> [u8; 200] {
    let mut pairs = [0; 200];
    let mut number = 0;
    while number < 100 {
        pairs[number * 2] = b'0' + (number / 10) as u8;
        pairs[number * 2 + 1] = b'0' + (number % 10) as u8;
        number += 1;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padded(text: &str) -> u128 {
        let mut bytes = [b'x'; WORD_BYTES];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        word(&bytes, 0)
    }

    #[test]
    fn the_first_of_a_byte_is_found() {
        assert_eq!([find(padded("ab,c,"), b','), find(padded(","), b','), find(padded("abc"), b',')], [2, 0, 16]);
        assert_eq!(find(padded("0123456789abcde,"), b','), 15);
    }

    #[test]
    fn digits_are_read_and_others_refused() {
        for text in ["0", "7", "1700000000000", "999999999999999", "000000000000012"] {
            assert_eq!(digits(padded(text), text.len()), text.parse().ok(), "{text}");
        }
        for text in ["", "-1", "1x", "/1", ":", "1 ", "\u{7f}1", "1234567890123456"] {
            assert_eq!(digits(padded(text), text.len()), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_written_as_display_does() {
        for number in [0, 9, 10, 99, 100, 12_345, u64::MAX] {
            let mut out = Vec::new();
            append(&mut out, number);
            assert_eq!(String::from_utf8(out).expect("digits are text"), number.to_string());
        }
    }
}
