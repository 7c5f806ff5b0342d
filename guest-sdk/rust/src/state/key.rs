//! Keys of state: how they are kept, compared and hashed.
//!
//! Keys of up to 16 bytes stand in the entry itself, padded with zeros, and are hashed and compared as two words; longer ones are boxed.
//! The hash is the same in every run: nothing an operator does may depend on chance. It is made to spread keys, not to withstand
//! people who choose keys that collide; the host's deadline is the defence there.

use super::short::{self, word};

/// Odd numbers with no pattern in their bits (from the fractional parts of the square roots of 2, 3, 5 and 7).
const MIX: [u64; 4] = [0x6a09_e667_f3bc_c909, 0xbb67_ae85_84ca_a73b, 0x3c6e_f372_fe94_f82b, 0xa54f_f53a_5f1d_36f1];

/// A key as it is looked up.
#[derive(Clone, Copy)]
pub(super) struct Sought<'a> {
    bytes: &'a [u8],
    words: [u64; 2],
    pub(super) hash: u32,
}

impl<'a> Sought<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        match short::words(bytes) {
            Some(words) => Self { bytes, words, hash: fold(mix(mix(bytes.len() as u64, words[0]), words[1])) },
            None => Self { bytes, words: [0; 2], hash: fold(hash_long(bytes)) },
        }
    }
}

/// A key as it is kept.
#[derive(Debug, PartialEq)]
pub(super) enum Key {
    Short(u8, [u8; short::BYTES_MAX]),
    Long(Box<[u8]>),
}

impl Key {
    pub(super) fn new(sought: Sought<'_>) -> Self {
        let [low, high] = sought.words.map(u64::to_le_bytes);
        match sought.bytes.len() {
            length @ 0..=short::BYTES_MAX => {
                let mut bytes = [0; short::BYTES_MAX];
                bytes[..8].copy_from_slice(&low);
                bytes[8..].copy_from_slice(&high);
                Self::Short(length as u8, bytes)
            }
            _ => Self::Long(sought.bytes.into()),
        }
    }

    #[inline]
    pub(super) fn is(&self, sought: &Sought<'_>) -> bool {
        match self {
            Self::Short(length, bytes) => {
                usize::from(*length) == sought.bytes.len() && word(bytes, 0) == sought.words[0] && word(bytes, 8) == sought.words[1]
            }
            Self::Long(bytes) => **bytes == *sought.bytes,
        }
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Short(length, bytes) => &bytes[..usize::from(*length)],
            Self::Long(bytes) => bytes,
        }
    }

    pub(super) fn hash(&self) -> u32 {
        Sought::new(self.as_slice()).hash
    }
}

#[inline]
fn mix(state: u64, word: u64) -> u64 {
    let mut mixed = (state ^ word ^ MIX[3]).wrapping_mul(MIX[0]);
    mixed ^= mixed >> 32;
    mixed = mixed.wrapping_mul(MIX[1]);
    mixed ^ (mixed >> 29)
}

/// Half as many bits.
#[inline]
fn fold(hash: u64) -> u32 {
    (hash ^ hash >> 32) as u32
}

/// Hash of a key that is not short: words in two lanes, then the last 16 bytes, which may overlap.
fn hash_long(bytes: &[u8]) -> u64 {
    let (mut one, mut two) = (MIX[2], bytes.len() as u64);
    let mut at = 0;
    while at + 16 < bytes.len() {
        one = mix(one, word(bytes, at));
        two = mix(two, word(bytes, at + 8));
        at += 16;
    }
    let last = bytes.len() - 16;
    mix(mix(one, word(bytes, last)), mix(two, word(bytes, last + 8)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn keys_of_every_length_come_back() {
        let bytes: Vec<u8> = (1..=40).collect();
        for length in 0..=bytes.len() {
            let sought = Sought::new(&bytes[..length]);
            let key = Key::new(sought);
            assert_eq!(key.as_slice(), &bytes[..length]);
            assert!(key.is(&sought));
            assert_eq!(key.hash(), sought.hash);
        }
    }

    #[test]
    fn keys_that_differ_anywhere_are_not_equal() {
        for length in 1..=40 {
            let bytes = vec![7u8; length];
            let key = Key::new(Sought::new(&bytes));
            for at in 0..length {
                let mut other = bytes.clone();
                other[at] = 8;
                assert!(!key.is(&Sought::new(&other)), "length {length}, byte {at}");
                assert_ne!(key.hash(), Sought::new(&other).hash, "length {length}, byte {at}");
            }
            assert!(!key.is(&Sought::new(&vec![7u8; length + 1])));
            assert!(!Key::new(Sought::new(&vec![0u8; length])).is(&Sought::new(&vec![0u8; length - 1])));
        }
    }

    #[test]
    fn the_hash_spreads_numbered_keys_at_both_ends() {
        for prefix in ["", "user-", "a-prefix-that-makes-the-key-long-"] {
            let hashes: Vec<u32> = (0..4096).map(|n| Sought::new(format!("{prefix}{n}").as_bytes()).hash).collect();
            let low = hashes.iter().map(|hash| hash & 0xfff).collect::<BTreeSet<_>>().len();
            let high = hashes.iter().map(|hash| hash >> 20).collect::<BTreeSet<_>>().len();
            // 4096 random draws from 4096 places hit about 63 % of them.
            assert!(low > 2400 && high > 2400, "{prefix}: {low} and {high}");
        }
    }
}
