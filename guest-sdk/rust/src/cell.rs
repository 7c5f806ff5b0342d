//! What a cell of state holds, and how it becomes bytes.

use crate::Encoding;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A type that a cell of state can hold.
///
/// `decode(encode(x))` must give `x` back: a restored operator has to go on exactly as the lost one would have.
///
/// ```
/// use reprise_guest::{Cell, Encoding};
///
/// #[derive(Default)]
/// struct Mean { sum: f64, rows: u64 }
///
/// impl Cell for Mean {
///     const ENCODING: Encoding = Encoding::Bytes;
///
///     fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), String> {
///         self.sum.encode(bytes)?;
///         self.rows.encode(bytes)
///     }
///
///     fn decode(bytes: &[u8]) -> Result<Self, String> {
///         let (sum, rows) = bytes.split_at_checked(8).ok_or("a mean is 16 bytes")?;
///         Ok(Self { sum: f64::decode(sum)?, rows: u64::decode(rows)? })
///     }
/// }
/// ```
pub trait Cell: Default + 'static {
    /// How tools are to read the bytes.
    const ENCODING: Encoding;

    /// Appends the bytes of the cell.
    ///
    /// # Errors
    /// Where the value has no such form; the snapshot fails with this text.
    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), String>;

    /// Makes the cell from its bytes.
    ///
    /// # Errors
    /// Where the bytes are not what `encode` writes; the job does not start, and shows this text.
    fn decode(bytes: &[u8]) -> Result<Self, String>;

    /// Makes the cell from bytes that an older version of the operator wrote, whose slot had that `version`. Where it is not written, cells
    /// of older versions are refused. Cells of newer versions always are.
    ///
    /// # Errors
    /// Where that version is not known, or the bytes are not what it wrote; the job does not start, and shows this text.
    fn migrate(version: u32, bytes: &[u8]) -> Result<Self, String> {
        let _ = (version, bytes);
        Err("write `Cell::migrate` for the type of its cells, or run the version of the operator that wrote them".to_owned())
    }
}

macro_rules! number {
    ($type:ty, $encoding:ident) => {
        impl Cell for $type {
            const ENCODING: Encoding = Encoding::$encoding;

            #[inline]
            fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), String> {
                bytes.extend_from_slice(&self.to_le_bytes());
                Ok(())
            }

            #[inline]
            fn decode(bytes: &[u8]) -> Result<Self, String> {
                match bytes.try_into() {
                    Ok(bytes) => Ok(Self::from_le_bytes(bytes)),
                    Err(_) => Err(format!("expected 8 bytes, found {}", bytes.len())),
                }
            }
        }
    };
}

number!(u64, U64Le);
number!(i64, I64Le);
number!(f64, F64Le);

impl Cell for String {
    const ENCODING: Encoding = Encoding::Utf8;

    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), String> {
        bytes.extend_from_slice(self.as_bytes());
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| error.to_string())
    }
}

impl Cell for Vec<u8> {
    const ENCODING: Encoding = Encoding::Bytes;

    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), String> {
        bytes.extend_from_slice(self);
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        Ok(bytes.to_vec())
    }
}

/// Any value that serde can write as JSON. Floating-point numbers come back exactly; NaN and infinities do not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize + DeserializeOwned + Default + 'static> Cell for Json<T> {
    const ENCODING: Encoding = Encoding::Json;

    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), String> {
        serde_json::to_writer(bytes, &self.0).map_err(|error| error.to_string())
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map(Self).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: Cell + PartialEq + std::fmt::Debug>(value: T) {
        let mut bytes = Vec::new();
        value.encode(&mut bytes).unwrap();
        assert_eq!(T::decode(&bytes).unwrap(), value);
    }

    #[test]
    fn values_come_back_as_they_went_in() {
        round_trip(u64::MAX);
        round_trip(i64::MIN);
        round_trip(-0.1f64);
        round_trip("Grüße".to_owned());
        round_trip(vec![0u8, 255]);
        round_trip(Json(vec![(1u8, "a".to_owned())]));
        round_trip(Json(0.1f64 + 0.2));
    }

    #[test]
    fn numbers_are_eight_bytes_least_significant_first() {
        let mut bytes = Vec::new();
        258u64.encode(&mut bytes).unwrap();
        assert_eq!(bytes, [2, 1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn foreign_bytes_are_refused_with_a_reason() {
        assert_eq!(u64::decode(b"12"), Err("expected 8 bytes, found 2".to_owned()));
        assert!(String::decode(b"\xff").unwrap_err().contains("utf-8"));
        assert!(Json::<u8>::decode(b"{").is_err());
    }
}
