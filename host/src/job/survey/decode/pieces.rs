//! JSON text that several encodings need: bytes, maps.

use crate::connect::json_text;
use std::collections::BTreeSet;

/// Values within values; deeper ones count as not decodable. `serde_json` has a limit of its own, 128.
pub(super) const DEPTH_MAX: u32 = 64;

/// Appends a string where the bytes are UTF-8, else an object that holds them in Base64.
pub(super) fn plain(out: &mut Vec<u8>, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => json_text::string(out, text),
        Err(_) => json_text::binary(out, bytes),
    }
}

/// Entries of a map: an object where all keys are strings and differ, else `{"map":[[key,value],..]}`.
#[derive(Default)]
pub(super) struct Map {
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    has_other_keys: bool,
}

impl Map {
    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

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
