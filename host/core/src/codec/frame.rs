//! The frame around everything stored: what it is, which version, how long, and a checksum.
//!
//! ```text
//! offset  size  field (integers least significant byte first)
//!      0     8  magic "REPRISE\0"
//!      8     2  kind
//!     10     2  version
//!     12     4  zero
//!     16     8  length of the payload in bytes
//!     24     8  XXH3-64 of bytes 8..24 and the payload
//!     32     -  payload
//! ```

use super::CodecError;
use xxhash_rust::xxh3::Xxh3Default;

/// First bytes of every frame.
pub const MAGIC: [u8; 8] = *b"REPRISE\0";
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 32;
/// Largest payload of one frame, in bytes.
pub const PAYLOAD_BYTES_MAX: u64 = 1 << 30;
/// The format version that this host writes, of every kind but manifests with parked input.
pub const VERSION: u16 = 1;
/// The format version of manifests with parked input.
pub const VERSION_PARKED: u16 = 2;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum FrameKind {
    /// A checkpoint's manifest.
    Manifest = 1,
    /// The claim of a generation.
    Claim = 2,
    /// Head of a snapshot object.
    SnapshotHead = 3,
    /// Cells of one slot.
    Chunk = 4,
    /// End of a snapshot object, with its totals.
    SnapshotEnd = 5,
    /// Rows that were refused.
    Quarantine = 6,
    /// A request to a running host.
    Request = 7,
    /// Rows whose calls failed.
    Fault = 8,
    /// A failed call with all that led to it.
    Capsule = 9,
    /// Rows in quarantine that were dropped.
    Dropped = 10,
    /// A request to send rows of the quarantine again.
    Replay = 11,
    /// Rows of the quarantine that were sent again.
    Replayed = 12,
    /// A request to end the pause of an operator.
    Resume = 13,
    /// The life of a job in its store.
    Identity = 14,
    /// Head of parked input.
    ParkedHead = 15,
    /// Rows or a watermark of parked input.
    ParkedItem = 16,
    /// End of parked input, with its totals.
    ParkedEnd = 17,
    /// A request to give up parked input.
    Unpark = 18,
}

/// The newest format version of a kind that this host reads.
fn newest(kind: u16) -> u16 {
    if kind == FrameKind::Manifest as u16 { VERSION_PARKED } else { VERSION }
}

fn checksum(head: &[u8], payload: &[u8]) -> u64 {
    let mut hash = Xxh3Default::new();
    hash.update(head);
    hash.update(payload);
    hash.digest()
}

/// Appends a frame to `out`. `write` appends the payload; the head is filled in afterwards, so the payload is not copied.
///
/// # Errors
/// [`CodecError::Limit`] where the payload is too long; `out` is as before then.
pub fn append(out: &mut Vec<u8>, kind: FrameKind, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), CodecError> {
    append_as(out, kind, VERSION, write)
}

/// As [`append`], in a version of the format.
pub(super) fn append_as(out: &mut Vec<u8>, kind: FrameKind, version: u16, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), CodecError> {
    let start = out.len();
    out.resize(start + HEADER_BYTES, 0);
    write(out);
    let length = (out.len() - start - HEADER_BYTES) as u64;
    if length > PAYLOAD_BYTES_MAX {
        out.truncate(start);
        return Err(CodecError::Limit { what: "a frame", claimed: length, max: PAYLOAD_BYTES_MAX });
    }
    out[start..start + 8].copy_from_slice(&MAGIC);
    out[start + 8..start + 10].copy_from_slice(&(kind as u16).to_le_bytes());
    out[start + 10..start + 12].copy_from_slice(&version.to_le_bytes());
    out[start + 16..start + 24].copy_from_slice(&length.to_le_bytes());
    let sum = checksum(&out[start + 8..start + 24], &out[start + HEADER_BYTES..]);
    out[start + 24..start + 32].copy_from_slice(&sum.to_le_bytes());
    Ok(())
}

/// A verified frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its kind, as a number: the reader decides which kinds belong where.
    pub kind: u16,
    /// Its format version, from 1 to the newest of its kind.
    pub version: u16,
    /// Its payload.
    pub payload: &'a [u8],
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// Reads the first frame of `bytes` and returns it with what follows it.
///
/// # Errors
/// Truncated, foreign, newer, too long or damaged bytes.
pub fn read(bytes: &[u8]) -> Result<(Frame<'_>, &[u8]), CodecError> {
    if bytes.len() < HEADER_BYTES {
        return Err(CodecError::Truncated { what: "a frame's head", needed: HEADER_BYTES as u64, found: bytes.len() as u64 });
    }
    if bytes[..8] != MAGIC {
        let mut found = [0; 8];
        found.copy_from_slice(&bytes[..8]);
        return Err(CodecError::Magic { found });
    }
    let (kind, version, zero) = (u16_at(bytes, 8), u16_at(bytes, 10), &bytes[12..16]);
    let (length, expected) = (u64_at(bytes, 16), u64_at(bytes, 24));
    if length > PAYLOAD_BYTES_MAX {
        return Err(CodecError::Limit { what: "a frame", claimed: length, max: PAYLOAD_BYTES_MAX });
    }
    let rest = &bytes[HEADER_BYTES..];
    if (rest.len() as u64) < length {
        return Err(CodecError::Truncated { what: "a frame's payload", needed: length, found: rest.len() as u64 });
    }
    let (payload, rest) = rest.split_at(length as usize);
    let found = checksum(&bytes[8..24], payload);
    if found != expected {
        return Err(CodecError::Checksum { expected, found });
    }
    let max = newest(kind);
    if version == 0 || version > max || zero != [0; 4] {
        return Err(CodecError::Version { found: version, max });
    }
    Ok((Frame { kind, version, payload }, rest))
}

/// Reads the first frame, which must be of `kind`.
///
/// # Errors
/// As [`read`], and [`CodecError::Kind`].
pub fn expect(bytes: &[u8], kind: FrameKind) -> Result<(&[u8], &[u8]), CodecError> {
    expect_any(bytes, kind).map(|(frame, rest)| (frame.payload, rest))
}

/// As [`expect`], with the version of the frame.
pub(super) fn expect_any(bytes: &[u8], kind: FrameKind) -> Result<(Frame<'_>, &[u8]), CodecError> {
    let (frame, rest) = read(bytes)?;
    if frame.kind != kind as u16 {
        return Err(CodecError::Kind { expected: kind as u16, found: frame.kind });
    }
    Ok((frame, rest))
}

/// Reads frames of one kind up to the one that ends them, and nothing may follow that in the `whole`. Gives what they hold, and the payload of the last one.
///
/// # Errors
/// As [`read`]; frames of other kinds, more than so many, and those of `item`.
pub(super) fn sequence<'a, T>(
    mut rest: &'a [u8],
    (kind, end): (FrameKind, FrameKind),
    (whole, what, max): (&str, &'static str, usize),
    item: impl Fn(&'a [u8]) -> Result<T, CodecError>,
) -> Result<(Vec<T>, &'a [u8]), CodecError> {
    let mut items = Vec::new();
    loop {
        let (frame, after) = read(rest)?;
        rest = after;
        if frame.kind == kind as u16 {
            if items.len() >= max {
                return Err(CodecError::Limit { what, claimed: max as u64 + 1, max: max as u64 });
            }
            items.push(item(frame.payload)?);
            continue;
        }
        if frame.kind != end as u16 {
            return Err(CodecError::Kind { expected: end as u16, found: frame.kind });
        }
        if !rest.is_empty() {
            return Err(CodecError::Content(format!("{} bytes follow {whole}", rest.len())));
        }
        return Ok((items, frame.payload));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        append(&mut out, FrameKind::Manifest, |out| out.extend_from_slice(payload)).unwrap();
        out
    }

    proptest! {
        #[test]
        fn a_frame_comes_back(payload in proptest::collection::vec(any::<u8>(), 0..200), tail in proptest::collection::vec(any::<u8>(), 0..9)) {
            let mut bytes = framed(&payload);
            bytes.extend_from_slice(&tail);
            prop_assert_eq!(expect(&bytes, FrameKind::Manifest).unwrap(), (&payload[..], &tail[..]));
        }

        #[test]
        fn any_flipped_bit_and_any_cut_is_noticed(payload in proptest::collection::vec(any::<u8>(), 0..64), at in any::<proptest::sample::Index>(), bit in 0..8u8) {
            let good = framed(&payload);
            let mut bytes = good.clone();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(read(&bytes).is_err());
            prop_assert!(read(&good[..at]).is_err());
        }
    }

    #[test]
    fn another_kind_is_refused() {
        assert_eq!(expect(&framed(b"x"), FrameKind::Claim), Err(CodecError::Kind { expected: 2, found: 1 }));
    }
}
