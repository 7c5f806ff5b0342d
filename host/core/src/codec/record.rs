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

    /// The version of the format that it is written in, and what that version has after the record itself.
    ///
    /// # Errors
    /// As [`encode`].
    fn rest(&self) -> Result<(u16, Vec<u8>), CodecError> {
        Ok((frame::VERSION, Vec::new()))
    }

    /// Takes in what follows the record in a later version of its format.
    ///
    /// # Errors
    /// Bytes that do not fit the record.
    fn take_rest(&mut self, version: u16, rest: &[u8]) -> Result<(), CodecError> {
        let _ = version;
        if rest.is_empty() { Ok(()) } else { Err(CodecError::Content(format!("{} bytes are left over after the record", rest.len()))) }
    }
}

/// The framed bytes of a record.
///
/// # Errors
/// [`CodecError::Limit`] where it is larger than [`RECORD_BYTES_MAX`].
pub fn encode<R: Record>(record: &R) -> Result<Vec<u8>, CodecError> {
    let (version, rest) = record.rest()?;
    let mut out = Vec::new();
    append_with(&mut out, R::KIND, record, version, &rest)?;
    Ok(out)
}

/// Appends a framed record.
///
/// # Errors
/// As [`encode`].
pub(super) fn append<R: bincode::Encode>(out: &mut Vec<u8>, kind: FrameKind, record: &R) -> Result<(), CodecError> {
    append_with(out, kind, record, frame::VERSION, &[])
}

fn append_with<R: bincode::Encode>(out: &mut Vec<u8>, kind: FrameKind, record: &R, version: u16, rest: &[u8]) -> Result<(), CodecError> {
    let payload = bare(record)?;
    let length = payload.len().saturating_add(rest.len());
    if length > RECORD_BYTES_MAX {
        return Err(CodecError::Limit { what: "a record", claimed: length as u64, max: RECORD_BYTES_MAX as u64 });
    }
    frame::append_as(out, kind, version, |out| {
        out.extend_from_slice(&payload);
        out.extend_from_slice(rest);
    })
}

/// The bytes of a record without a frame.
pub(crate) fn bare<R: bincode::Encode>(record: &R) -> Result<Vec<u8>, CodecError> {
    bincode::encode_to_vec(record, CONFIG).map_err(|error| CodecError::Content(format!("cannot be encoded: {error}")))
}

/// Reads the payload of a record's frame.
pub(crate) fn payload<R: bincode::Decode<()>>(payload: &[u8]) -> Result<R, CodecError> {
    let (record, used) = front(payload)?;
    if used != payload.len() {
        return Err(CodecError::Content(format!("{} bytes are left over after the record", payload.len() - used)));
    }
    Ok(record)
}

/// Reads a record at the front of bytes, and how many it takes.
fn front<R: bincode::Decode<()>>(payload: &[u8]) -> Result<(R, usize), CodecError> {
    bincode::decode_from_slice(payload, CONFIG).map_err(|error| CodecError::Content(format!("cannot be decoded: {error}")))
}

/// Reads an object that is one framed record.
///
/// # Errors
/// Bytes that are damaged, foreign, of another kind, or followed by more.
pub fn decode<R: Record>(bytes: &[u8]) -> Result<R, CodecError> {
    let (frame, after) = frame::expect_any(bytes, R::KIND)?;
    if !after.is_empty() {
        return Err(CodecError::Content(format!("{} bytes follow the record", after.len())));
    }
    let (mut record, used): (R, usize) = front(frame.payload)?;
    record.take_rest(frame.version, &frame.payload[used..])?;
    Ok(record)
}
