//! The bytes of a cell as JSON text, by the encoding that its slot declares. Nothing of a value is lost.
//!
//! | encoding | JSON |
//! |---|---|
//! | `utf8` | string |
//! | `json` | the value itself, as it was written |
//! | `i64-le`, `u64-le`, `f64-le` | number; NaN and the infinities are strings |
//! | `cbor`, `msgpack` | by the tables of [`cbor`] and [`msgpack`] |
//! | `bytes` | string where it is UTF-8, else `{"base64":".."}` |
//!
//! Bytes that are not what is declared are shown as `bytes`, and [`Decoded::as_declared`] is false.

mod cbor;
mod msgpack;
mod pieces;

use crate::connect::json_text;
use pieces::plain;
use reprise_core::description::Encoding;
use serde::de::IgnoredAny;

/// A value as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// One JSON value, without line breaks.
    pub json: String,
    /// The bytes are what their encoding says.
    pub as_declared: bool,
}

/// The JSON of a value.
#[must_use]
pub fn value(encoding: Encoding, bytes: &[u8]) -> Decoded {
    let mut out = Vec::new();
    let as_declared = declared(&mut out, encoding, bytes).is_some();
    if !as_declared {
        out.clear();
        plain(&mut out, bytes);
    }
    // Everything that is written here comes from texts; a lossy reading changes nothing.
    Decoded { json: String::from_utf8_lossy(&out).into_owned(), as_declared }
}

/// The JSON of bytes whose encoding is not declared: keys and items.
#[must_use]
pub fn bytes(bytes: &[u8]) -> String {
    value(Encoding::Bytes, bytes).json
}

fn declared(out: &mut Vec<u8>, encoding: Encoding, bytes: &[u8]) -> Option<()> {
    let eight = || <[u8; 8]>::try_from(bytes).ok();
    match encoding {
        Encoding::Bytes => plain(out, bytes),
        Encoding::Utf8 => json_text::string(out, std::str::from_utf8(bytes).ok()?),
        Encoding::Json => {
            let text = std::str::from_utf8(bytes).ok()?;
            serde_json::from_str::<IgnoredAny>(text).ok()?;
            // Raw line breaks stand only between tokens.
            out.extend(text.trim_ascii().bytes().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { b }));
        }
        Encoding::Cbor => cbor::json(out, bytes)?,
        Encoding::Msgpack => msgpack::json(out, bytes)?,
        Encoding::I64Le => json_text::integer(out, i64::from_le_bytes(eight()?)),
        Encoding::U64Le => json_text::integer(out, u64::from_le_bytes(eight()?)),
        Encoding::F64Le => json_text::float(out, f64::from_le_bytes(eight()?)),
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(encoding: Encoding, bytes: &[u8]) -> (String, bool) {
        let decoded = value(encoding, bytes);
        (decoded.json, decoded.as_declared)
    }

    #[test]
    fn numbers_keep_every_digit() {
        assert_eq!(shown(Encoding::U64Le, &u64::MAX.to_le_bytes()), ("18446744073709551615".into(), true));
        assert_eq!(shown(Encoding::I64Le, &i64::MIN.to_le_bytes()), ("-9223372036854775808".into(), true));
        assert_eq!(shown(Encoding::F64Le, &0.1f64.to_le_bytes()), ("0.1".into(), true));
        assert_eq!(shown(Encoding::F64Le, &f64::NAN.to_le_bytes()), ("\"NaN\"".into(), true));
        let long = "[123456789012345678901234567890,\n1e999]";
        assert_eq!(shown(Encoding::Json, long.as_bytes()), (long.replace('\n', " "), true));
    }

    #[test]
    fn what_is_not_as_declared_is_shown_and_said() {
        assert_eq!(shown(Encoding::I64Le, b"1234567"), ("\"1234567\"".into(), false));
        assert_eq!(shown(Encoding::Utf8, b"\xff"), ("{\"base64\":\"/w==\"}".into(), false));
        assert_eq!(shown(Encoding::Json, b"{"), ("\"{\"".into(), false));
        assert_eq!(shown(Encoding::Json, b""), ("\"\"".into(), false));
        assert_eq!(shown(Encoding::Cbor, b""), ("\"\"".into(), false));
        assert_eq!(shown(Encoding::Msgpack, b"\xc1"), ("{\"base64\":\"wQ==\"}".into(), false));
        assert_eq!(shown(Encoding::Bytes, b"a\xff"), ("{\"base64\":\"Yf8=\"}".into(), true));
    }

    #[test]
    fn any_bytes_give_one_line_of_json() {
        let all = [
            Encoding::Bytes,
            Encoding::Utf8,
            Encoding::Json,
            Encoding::Cbor,
            Encoding::Msgpack,
            Encoding::I64Le,
            Encoding::U64Le,
            Encoding::F64Le,
        ];
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        for _ in 0..20_000 {
            let length = random() % 24;
            let bytes: Vec<u8> = (0..length).map(|_| random()).collect();
            for encoding in all {
                let json = value(encoding, &bytes).json;
                assert!(serde_json::from_str::<IgnoredAny>(&json).is_ok(), "{encoding:?} {bytes:02x?} {json}");
                assert!(!json.contains('\n'));
            }
        }
    }
}
