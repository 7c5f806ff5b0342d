//! Pieces of JSON text that several encodings need, and the bytes that they are read from.

use crate::connect::json_text;
use std::collections::BTreeSet;

/// Values within values; deeper ones count as not decodable. `serde_json` has a limit of its own, 128.
pub(super) const DEPTH_MAX: u32 = 64;

pub(super) fn plain(out: &mut Vec<u8>, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => json_text::string(out, text),
        Err(_) => json_text::binary(out, bytes),
    }
}

/// Takes bytes from the front, with the order of bytes that CBOR and MessagePack share: most significant first.
pub(super) struct Input<'a> {
    pub rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(count).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    pub fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|one| one[0])
    }

    /// An unsigned number of 1, 2, 4 or 8 bytes.
    pub fn number(&mut self, bytes: u64) -> Option<u64> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

/// Entries of a map: an object where all keys are strings and differ, else `{"map":[[key,value],..]}`.
#[derive(Default)]
pub(super) struct Map {
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    has_other_keys: bool,
}

impl Map {
    /// Appends an entry, of JSON texts. `is_text`: the key is a string by its own encoding.
    pub fn push(&mut self, key: Vec<u8>, value: Vec<u8>, is_text: bool) {
        self.has_other_keys |= !is_text || !key.starts_with(b"\"");
        self.entries.push((key, value));
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        let keys: BTreeSet<&[u8]> = self.entries.iter().map(|(key, _)| key.as_slice()).collect();
        let is_object = !self.has_other_keys && keys.len() == self.entries.len();
        out.extend_from_slice(if is_object { b"{" } else { b"{\"map\":[" });
        for (place, (key, value)) in self.entries.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            let (open, between, close): (&[u8], u8, &[u8]) = if is_object { (b"", b':', b"") } else { (b"[", b',', b"]") };
            out.extend_from_slice(open);
            out.extend_from_slice(key);
            out.push(between);
            out.extend_from_slice(value);
            out.extend_from_slice(close);
        }
        out.extend_from_slice(if is_object { b"}" } else { b"]}" });
    }
}
