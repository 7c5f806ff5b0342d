//! Few bytes as two words: how they are compared, hashed and copied without a loop or a call.

/// So many bytes are few.
pub(crate) const BYTES_MAX: usize = 16;

/// Eight bytes from `at`, least significant first.
#[inline]
pub(crate) fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a slice of eight"))
}

/// Four bytes from `at`.
#[inline]
fn half(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a slice of four")))
}

/// At most 16 bytes as two words, padded with zeros. Reads whole words that overlap, and shifts out what was read twice.
#[inline]
pub(crate) fn words(bytes: &[u8]) -> Option<[u64; 2]> {
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

/// Appends bytes to a column. In Wasm a copy of unknown length is a call into the host, which takes longer than to write two words.
#[inline]
pub(crate) fn append(column: &mut Vec<u8>, bytes: &[u8]) {
    let Some([low, high]) = words(bytes) else { return column.extend_from_slice(bytes) };
    let end = column.len() + bytes.len();
    let mut padded = [0; BYTES_MAX];
    padded[..8].copy_from_slice(&low.to_le_bytes());
    padded[8..].copy_from_slice(&high.to_le_bytes());
    column.extend_from_slice(&padded);
    column.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length_are_appended() {
        let bytes: Vec<u8> = (1..=40).collect();
        let (mut column, mut expected) = (Vec::new(), Vec::new());
        for length in 0..=bytes.len() {
            append(&mut column, &bytes[..length]);
            expected.extend_from_slice(&bytes[..length]);
            assert_eq!(column, expected);
        }
    }
}
