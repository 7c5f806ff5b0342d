//! Few bytes as two words: how short keys are compared and hashed without a loop or a call.

/// So many bytes are few.
pub(super) const BYTES_MAX: usize = 16;

/// Eight bytes from `at`, least significant first.
#[inline]
pub(super) fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a slice of eight"))
}

/// Four bytes from `at`.
#[inline]
fn half(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a slice of four")))
}

/// At most 16 bytes as two words, padded with zeros. Reads whole words that overlap, and shifts out what was read twice.
#[inline]
pub(super) fn words(bytes: &[u8]) -> Option<[u64; 2]> {
    let length = bytes.len();
    Some(match length {
        0 => [0, 0],
        1..4 => {
            let byte = |at: usize| u64::from(bytes[at]) << (8 * at);
            [byte(0) | byte(length / 2) | byte(length - 1), 0]
        }
        4..=8 => [half(bytes, 0) | (half(bytes, length - 4) >> (8 * (8 - length))) << 32, 0],
        9..=BYTES_MAX => [word(bytes, 0), word(bytes, length - 8) >> (8 * (BYTES_MAX - length))],
        _ => return None,
    })
}
