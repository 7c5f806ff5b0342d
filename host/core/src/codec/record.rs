//! Small records in frames: manifests, claims, quarantine files. bincode 2, with a limit on what decoding may allocate.

use super::{CodecError, frame};
use bincode::config::{Configuration, Fixint, LittleEndian};
use frame::FrameKind;

/// Largest record, in bytes: as much as a frame takes, since one refused row may be large.
pub const RECORD_BYTES_MAX: usize = frame::PAYLOAD_BYTES_MAX as usize;

const CONFIG: Configuration<LittleEndian, Fixint, bincode::config::Limit<RECORD_BYTES_MAX>> =
    bincode::config::standard().with_fixed_int_encoding().with_limit::<RECORD_BYTES_MAX>();

/// A type that is stored as one framed record.
pub trait Record: bincode::Encode + bincode::Decode<()> {
    /// The kind of its frame.
    const KIND: FrameKind;
}

/// The framed bytes of a record.
///
/// # Errors
/// [`CodecError::Limit`] where it is larger than [`RECORD_BYTES_MAX`].
pub fn encode<R: Record>(record: &R) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    append(&mut out, R::KIND, record)?;
    Ok(out)
}

/// Appends a framed record.
///
/// # Errors
/// As [`encode`].
pub(super) fn append<R: bincode::Encode>(out: &mut Vec<u8>, kind: FrameKind, record: &R) -> Result<(), CodecError> {
    let payload = bincode::encode_to_vec(record, CONFIG).map_err(|error| CodecError::Content(format!("cannot be encoded: {error}")))?;
    if payload.len() > RECORD_BYTES_MAX {
        return Err(CodecError::Limit { what: "a record", claimed: payload.len() as u64, max: RECORD_BYTES_MAX as u64 });
    }
    frame::append(out, kind, |out| out.extend_from_slice(&payload))
}

/// Reads the payload of a record's frame.
pub(super) fn payload<R: bincode::Decode<()>>(payload: &[u8]) -> Result<R, CodecError> {
    let (record, used) =
        bincode::decode_from_slice(payload, CONFIG).map_err(|error| CodecError::Content(format!("cannot be decoded: {error}")))?;
    if used != payload.len() {
        return Err(CodecError::Content(format!("{} bytes are left over after the record", payload.len() - used)));
    }
    Ok(record)
}

/// Reads an object that is one framed record.
///
/// # Errors
/// Bytes that are damaged, foreign, of another kind, or followed by more.
pub fn decode<R: Record>(bytes: &[u8]) -> Result<R, CodecError> {
    let (body, rest) = frame::expect(bytes, R::KIND)?;
    if !rest.is_empty() {
        return Err(CodecError::Content(format!("{} bytes follow the record", rest.len())));
    }
    payload(body)
}
