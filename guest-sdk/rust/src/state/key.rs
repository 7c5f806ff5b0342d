//! Keys of state: how they are kept, compared and hashed.
//!
//! A key of up to 39 bytes stands in its entry, in as many bytes as all keys of a table have room for; longer ones are boxed. What an entry
//! has to say beside its key and value is in the last of those bytes.
//!
//! The hash is the same in every run: nothing an operator does may depend on chance. It is made to spread keys, not to withstand
//! people who choose keys that collide; the host's deadline is the defence there.

use crate::short::{self, word};

/// Odd numbers with no pattern in their bits (from the fractional parts of the square roots of 2, 3, 5 and 7).
const MIX: [u64; 4] = [0x6a09_e667_f3bc_c909, 0xbb67_ae85_84ca_a73b, 0x3c6e_f372_fe94_f82b, 0xa54f_f53a_5f1d_36f1];

/// A key as it is looked up.
#[derive(Clone, Copy)]
pub(super) struct Sought<'a> {
    pub(super) bytes: &'a [u8],
    /// The bytes, where they are few.
    words: [u64; 2],
    pub(super) hash: u64,
}

impl<'a> Sought<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        match short::words(bytes) {
            Some(words) => Self { bytes, words, hash: hash_short(bytes.len(), words) },
            None => Self { bytes, words: [0; 2], hash: hash_long(bytes) },
        }
    }
}

/// A key as an entry keeps it, and whether the entry is live. An entry that is not live is a tombstone, or free.
pub(super) trait StoredKey {
    /// The key of an entry that is not live. The table has room for it.
    fn new(sought: Sought<'_>) -> Self;

    fn is(&self, sought: &Sought<'_>) -> bool;

    fn bytes(&self) -> &[u8];

    fn is_live(&self) -> bool;

    fn set_live(&mut self, live: bool);

    /// In place of a key: the place of another free entry.
    fn free(next: u32) -> Self;

    /// That place.
    fn next_free(&self) -> u32;

    fn hash(&self) -> u64;
}

/// A key of at most `N - 1` bytes, padded with zeros. The last byte is its length, and whether the entry is live.
#[derive(Debug)]
pub(super) struct Packed<const N: usize>([u8; N]);

const LIVE: u8 = 0x80;

impl<const N: usize> Packed<N> {
    #[inline]
    fn len(&self) -> usize {
        usize::from(self.0[N - 1] & !LIVE)
    }
}

impl<const N: usize> StoredKey for Packed<N> {
    #[inline]
    fn new(sought: Sought<'_>) -> Self {
        let mut bytes = [0; N];
        if N > short::BYTES_MAX {
            bytes[..sought.bytes.len()].copy_from_slice(sought.bytes);
        } else {
            bytes[..8].copy_from_slice(&sought.words[0].to_le_bytes());
            bytes[N - 8..].copy_from_slice(&sought.words[(N / 8 - 1) % 2].to_le_bytes());
        }
        bytes[N - 1] = sought.bytes.len() as u8;
        Self(bytes)
    }

    #[inline]
    fn is(&self, sought: &Sought<'_>) -> bool {
        if N > short::BYTES_MAX {
            return self.len() == sought.bytes.len() && equal(&self.0[..sought.bytes.len()], sought.bytes);
        }
        let [low, high] = sought.words;
        let length = (sought.bytes.len() as u64) << 56;
        let last = word(&self.0, N - 8) & !(u64::from(LIVE) << 56);
        if N == 8 { last == low | length } else { word(&self.0, 0) == low && last == high | length }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.0[..self.len()]
    }

    #[inline]
    fn hash(&self) -> u64 {
        if N > short::BYTES_MAX {
            return Sought::new(self.bytes()).hash;
        }
        let last = word(&self.0, N - 8) << 8 >> 8;
        hash_short(self.len(), if N == 8 { [last, 0] } else { [word(&self.0, 0), last] })
    }

    #[inline]
    fn is_live(&self) -> bool {
        self.0[N - 1] & LIVE != 0
    }

    #[inline]
    fn set_live(&mut self, live: bool) {
        self.0[N - 1] = self.0[N - 1] & !LIVE | if live { LIVE } else { 0 };
    }

    fn free(next: u32) -> Self {
        let mut bytes = [0; N];
        bytes[..4].copy_from_slice(&next.to_le_bytes());
        Self(bytes)
    }

    fn next_free(&self) -> u32 {
        u32::from_le_bytes([self.0[0], self.0[1], self.0[2], self.0[3]])
    }
}

/// A key of any length.
#[derive(Debug)]
pub(super) struct Boxed {
    bytes: Box<[u8]>,
    live: bool,
}

impl StoredKey for Boxed {
    fn new(sought: Sought<'_>) -> Self {
        Self { bytes: sought.bytes.into(), live: false }
    }

    #[inline]
    fn is(&self, sought: &Sought<'_>) -> bool {
        *self.bytes == *sought.bytes
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn hash(&self) -> u64 {
        Sought::new(&self.bytes).hash
    }

    #[inline]
    fn is_live(&self) -> bool {
        self.live
    }

    #[inline]
    fn set_live(&mut self, live: bool) {
        self.live = live;
    }

    fn free(next: u32) -> Self {
        Self { bytes: next.to_le_bytes().into(), live: false }
    }

    fn next_free(&self) -> u32 {
        u32::from_le_bytes((*self.bytes).try_into().expect("a free place holds four bytes"))
    }
}

/// Whether two slices of one length, of 16 bytes or more, are the same.
#[inline]
fn equal(one: &[u8], other: &[u8]) -> bool {
    let last = other.len() - 8;
    (0..last).step_by(8).all(|at| word(one, at) == word(other, at)) && word(one, last) == word(other, last)
}

/// The words are multiplied side by side; twice folded, every bit of them reaches every bit of the hash.
#[inline]
fn hash_short(length: usize, words: [u64; 2]) -> u64 {
    let low = (words[0] ^ MIX[2]).wrapping_mul(MIX[0]);
    let high = (words[1] ^ MIX[3] ^ length as u64).wrapping_mul(MIX[1]);
    let mut mixed = low ^ high.rotate_left(32);
    mixed = (mixed ^ mixed >> 32).wrapping_mul(MIX[3]);
    mixed ^ mixed >> 29
}

#[inline]
fn mix(state: u64, word: u64) -> u64 {
    let mut mixed = (state ^ word ^ MIX[3]).wrapping_mul(MIX[0]);
    mixed ^= mixed >> 32;
    mixed = mixed.wrapping_mul(MIX[1]);
    mixed ^ (mixed >> 29)
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

    fn comes_back<K: StoredKey>(bytes: &[u8]) {
        let sought = Sought::new(bytes);
        let mut key = K::new(sought);
        for live in [false, true, false] {
            key.set_live(live);
            assert_eq!(key.bytes(), bytes);
            assert_eq!(key.is_live(), live);
            assert!(key.is(&sought));
            assert_eq!(key.hash(), sought.hash);
        }
    }

    fn differs<K: StoredKey>(bytes: &[u8]) {
        let key = K::new(Sought::new(bytes));
        for at in 0..bytes.len() {
            let mut other = bytes.to_vec();
            other[at] ^= 8;
            assert!(!key.is(&Sought::new(&other)), "{bytes:?}, byte {at}");
            assert_ne!(key.hash(), Sought::new(&other).hash, "{bytes:?}, byte {at}");
        }
    }

    /// Checks a key of each length with each kind that has room for it.
    macro_rules! of_each_kind {
        ($check:ident) => {
            let bytes: Vec<u8> = (1..=80).collect();
            for length in 0..=bytes.len() {
                match length {
                    0..8 => $check::<Packed<8>>(&bytes[..length]),
                    8..16 => $check::<Packed<16>>(&bytes[..length]),
                    16..24 => $check::<Packed<24>>(&bytes[..length]),
                    24..40 => $check::<Packed<40>>(&bytes[..length]),
                    _ => {}
                }
                $check::<Boxed>(&bytes[..length]);
            }
        };
    }

    #[test]
    fn keys_of_every_length_come_back() {
        of_each_kind!(comes_back);
    }

    #[test]
    fn keys_that_differ_anywhere_are_not_equal() {
        of_each_kind!(differs);
    }

    #[test]
    fn keys_of_zeros_differ_by_their_length() {
        for length in 1..16 {
            let (shorter, longer) = (vec![0; length - 1], vec![0; length]);
            assert!(!Packed::<16>::new(Sought::new(&shorter)).is(&Sought::new(&longer)));
            assert_ne!(Sought::new(&shorter).hash, Sought::new(&longer).hash);
        }
    }

    #[test]
    fn the_hash_spreads_numbered_keys_in_all_of_its_bits() {
        for prefix in ["", "user-", "a-prefix-that-makes-the-key-long-"] {
            let hashes: Vec<u64> = (0..4096).map(|n| Sought::new(format!("{prefix}{n}").as_bytes()).hash).collect();
            for shift in [0, 8, 20, 32, 52] {
                let different = hashes.iter().map(|hash| hash >> shift & 0xfff).collect::<BTreeSet<_>>().len();
                // 4096 random draws from 4096 places hit about 63 % of them.
                assert!(different > 2400, "{prefix}: {different} from bit {shift}");
            }
        }
    }
}
