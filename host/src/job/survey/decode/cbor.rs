//! CBOR (RFC 8949), read by minicbor, as JSON. Not its diagnostic form: JSON goes into the answers of `--json`, and minicbor does not
//! escape the quotes of a text there.
//!
//! | item | JSON |
//! |---|---|
//! | integer, float | number; NaN and the infinities are strings |
//! | text, array | string, array; of indefinite length too |
//! | byte string | `{"base64":".."}` |
//! | map | object, or `{"map":[[key,value],..]}` where keys are not text or not different |
//! | tag | `{"tag":number,"value":..}` |
//! | true, false, null | the same |
//! | other simple values | `{"simple":number}` |

use super::pieces::{DEPTH_MAX, Map};
use crate::connect::json_text;
use minicbor::Decoder;
use minicbor::data::Type;

/// Appends the JSON of one item; `None` where the bytes are anything else.
pub(super) fn json(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    let mut decoder = Decoder::new(bytes);
    item(out, &mut decoder, DEPTH_MAX)?;
    (decoder.position() == bytes.len()).then_some(())
}

fn item(out: &mut Vec<u8>, decoder: &mut Decoder<'_>, depth: u32) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    match decoder.datatype().ok()? {
        Type::Bool => out.extend_from_slice(if decoder.bool().ok()? { b"true" } else { b"false" }),
        Type::Null => {
            decoder.null().ok()?;
            out.extend_from_slice(b"null");
        }
        Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => {
            out.extend_from_slice(decoder.int().ok()?.to_string().as_bytes());
        }
        Type::F16 => json_text::float(out, decoder.f16().ok()?.into()),
        Type::F32 => json_text::float(out, decoder.f32().ok()?.into()),
        Type::F64 => json_text::float(out, decoder.f64().ok()?),
        Type::Bytes | Type::BytesIndef => {
            let parts: Result<Vec<&[u8]>, _> = decoder.bytes_iter().ok()?.collect();
            json_text::binary(out, &parts.ok()?.concat());
        }
        Type::String | Type::StringIndef => {
            let text: Result<String, _> = decoder.str_iter().ok()?.collect();
            json_text::string(out, &text.ok()?);
        }
        Type::Array | Type::ArrayIndef => {
            let count = decoder.array().ok()?;
            out.push(b'[');
            let mut place = 0;
            while !ends(decoder, count, place)? {
                if place > 0 {
                    out.push(b',');
                }
                item(out, decoder, depth)?;
                place += 1;
            }
            out.push(b']');
        }
        Type::Map | Type::MapIndef => {
            let count = decoder.map().ok()?;
            let mut map = Map::default();
            while !ends(decoder, count, map.len())? {
                let (mut key, mut value) = (Vec::new(), Vec::new());
                let is_text = matches!(decoder.datatype(), Ok(Type::String | Type::StringIndef));
                item(&mut key, decoder, depth)?;
                item(&mut value, decoder, depth)?;
                map.push(key, value, is_text);
            }
            map.write(out);
        }
        Type::Tag => {
            out.extend_from_slice(b"{\"tag\":");
            json_text::integer(out, decoder.tag().ok()?.as_u64());
            out.extend_from_slice(b",\"value\":");
            item(out, decoder, depth)?;
            out.push(b'}');
        }
        kind @ (Type::Simple | Type::Undefined) => {
            let number = if kind == Type::Simple { decoder.simple() } else { decoder.undefined().map(|()| UNDEFINED) };
            out.extend_from_slice(b"{\"simple\":");
            json_text::integer(out, number.ok()?);
            out.push(b'}');
        }
        Type::Break | Type::Unknown(_) => return None,
    }
    Some(())
}

/// Number of the simple value `undefined`.
const UNDEFINED: u8 = 23;

/// Whether a list of `count` items has all of its `place` items; the break after one of indefinite length is taken.
fn ends(decoder: &mut Decoder<'_>, count: Option<u64>, place: u64) -> Option<bool> {
    let is_end = match count {
        Some(count) => return Some(place == count),
        None => decoder.datatype().ok()? == Type::Break,
    };
    if is_end {
        decoder.set_position(decoder.position() + 1);
    }
    Some(is_end)
}

#[cfg(test)]
mod tests {
    fn json(hex: &str) -> Option<String> {
        let bytes: Vec<u8> = (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        let mut out = Vec::new();
        super::json(&mut out, &bytes)?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_examples_of_the_rfc_hold() {
        // RFC 8949, appendix A.
        for (hex, expect) in [
            ("00", "0"),
            ("1903e8", "1000"),
            ("1bffffffffffffffff", "18446744073709551615"),
            ("3bffffffffffffffff", "-18446744073709551616"),
            ("3903e7", "-1000"),
            ("f97bff", "65504.0"),
            ("f90001", "5.960464477539063e-8"),
            ("f90400", "0.00006103515625"),
            ("f9c400", "-4.0"),
            ("fa47c35000", "100000.0"),
            ("fb3ff199999999999a", "1.1"),
            ("f97c00", "\"Infinity\""),
            ("f97e00", "\"NaN\""),
            ("f4", "false"),
            ("f6", "null"),
            ("f7", "{\"simple\":23}"),
            ("f8ff", "{\"simple\":255}"),
            ("c11a514b67b0", "{\"tag\":1,\"value\":1363896240}"),
            ("4401020304", "{\"base64\":\"AQIDBA==\"}"),
            ("62225c", "\"\\\"\\\\\""),
            ("8301820203820405", "[1,[2,3],[4,5]]"),
            ("a201020304", "{\"map\":[[1,2],[3,4]]}"),
            ("a26161016162820203", "{\"a\":1,\"b\":[2,3]}"),
            ("5f42010243030405ff", "{\"base64\":\"AQIDBAU=\"}"),
            ("7f657374726561646d696e67ff", "\"streaming\""),
            ("9f018202039f0405ffff", "[1,[2,3],[4,5]]"),
            ("bf61610161629f0203ffff", "{\"a\":1,\"b\":[2,3]}"),
            ("a1f97e0001", "{\"map\":[[\"NaN\",1]]}"),
            ("a2616101616102", "{\"map\":[[\"a\",1],[\"a\",2]]}"),
        ] {
            assert_eq!(json(hex).as_deref(), Some(expect), "{hex}");
        }
    }

    #[test]
    fn what_is_not_one_item_is_refused() {
        for hex in [
            "",
            "0000",
            "18",
            "1c",
            "1f",
            "3f",
            "ff",
            "62ff41",
            "61ff",
            "82",
            "8201",
            "a1",
            "a101",
            "9f",
            "5f6161ff",
            "5bffffffffffffffff",
            "c1",
        ] {
            assert_eq!(json(hex), None, "{hex}");
        }
        assert!(json(&("81".repeat(60) + "00")).is_some());
        assert_eq!(json(&("81".repeat(100_000) + "00")), None, "too deep");
    }
}
