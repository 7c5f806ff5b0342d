//! MessagePack, read by rmp, as JSON, value by value: a tree of a cell's values could take a hundred times the bytes of the cell.
//!
//! | value | JSON |
//! |---|---|
//! | nil, booleans, array | null, the same, array |
//! | integer, float | number; NaN and the infinities are strings |
//! | str | string; `{"base64":".."}` where it is not UTF-8 |
//! | bin | `{"base64":".."}` |
//! | map | object, or `{"map":[[key,value],..]}` where keys are not text or not different |
//! | ext | `{"ext":type,"base64":".."}` |

use super::pieces::{DEPTH_MAX, Map, plain};
use crate::connect::json_text;
use rmp::Marker;
use rmp::decode::{RmpRead as _, read_marker};

/// Appends the JSON of one value; `None` where the bytes are anything else.
pub(super) fn json(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    let mut input = bytes;
    value(out, &mut input, DEPTH_MAX)?;
    input.is_empty().then_some(())
}

fn value(out: &mut Vec<u8>, input: &mut &[u8], depth: u32) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    let marker = read_marker(input).ok()?;
    match marker {
        Marker::Null => out.extend_from_slice(b"null"),
        Marker::False => out.extend_from_slice(b"false"),
        Marker::True => out.extend_from_slice(b"true"),
        Marker::FixPos(number) => json_text::integer(out, number),
        Marker::FixNeg(number) => json_text::integer(out, number),
        Marker::U8 => json_text::integer(out, input.read_data_u8().ok()?),
        Marker::U16 => json_text::integer(out, input.read_data_u16().ok()?),
        Marker::U32 => json_text::integer(out, input.read_data_u32().ok()?),
        Marker::U64 => json_text::integer(out, input.read_data_u64().ok()?),
        Marker::I8 => json_text::integer(out, input.read_data_i8().ok()?),
        Marker::I16 => json_text::integer(out, input.read_data_i16().ok()?),
        Marker::I32 => json_text::integer(out, input.read_data_i32().ok()?),
        Marker::I64 => json_text::integer(out, input.read_data_i64().ok()?),
        Marker::F32 => json_text::float(out, input.read_data_f32().ok()?.into()),
        Marker::F64 => json_text::float(out, input.read_data_f64().ok()?),
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => plain(out, bytes(marker, input)?),
        Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => json_text::binary(out, bytes(marker, input)?),
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => {
            out.push(b'[');
            for place in 0..length(marker, input)? {
                if place > 0 {
                    out.push(b',');
                }
                value(out, input, depth)?;
            }
            out.push(b']');
        }
        Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => {
            let mut map = Map::default();
            for _ in 0..length(marker, input)? {
                let (mut key, mut held) = (Vec::new(), Vec::new());
                let first = Marker::from_u8(*input.first()?);
                value(&mut key, input, depth)?;
                value(&mut held, input, depth)?;
                map.push(key, held, matches!(first, Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32));
            }
            map.write(out);
        }
        // An extension, or the reserved marker, which has no length.
        _ => {
            let length = length(marker, input)?;
            out.extend_from_slice(b"{\"ext\":");
            json_text::integer(out, input.read_data_i8().ok()?);
            out.extend_from_slice(b",\"base64\":\"");
            json_text::base64(out, input.split_off(..length)?);
            out.extend_from_slice(b"\"}");
        }
    }
    Some(())
}

/// The bytes of a string.
fn bytes<'a>(marker: Marker, input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = length(marker, input)?;
    input.split_off(..length)
}

/// Bytes, values or pairs that belong to a marker.
fn length(marker: Marker, input: &mut &[u8]) -> Option<usize> {
    match marker {
        Marker::FixStr(length) | Marker::FixArray(length) | Marker::FixMap(length) => Some(length.into()),
        Marker::FixExt1 => Some(1),
        Marker::FixExt2 => Some(2),
        Marker::FixExt4 => Some(4),
        Marker::FixExt8 => Some(8),
        Marker::FixExt16 => Some(16),
        Marker::Str8 | Marker::Bin8 | Marker::Ext8 => input.read_data_u8().ok().map(usize::from),
        Marker::Str16 | Marker::Bin16 | Marker::Ext16 | Marker::Array16 | Marker::Map16 => input.read_data_u16().ok().map(usize::from),
        Marker::Str32 | Marker::Bin32 | Marker::Ext32 | Marker::Array32 | Marker::Map32 => {
            input.read_data_u32().ok().and_then(|length| length.try_into().ok())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    fn json(bytes: &[u8]) -> Option<String> {
        let mut out = Vec::new();
        super::json(&mut out, bytes)?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn every_kind_of_value_is_shown() {
        let cases: [(&[u8], &str); 23] = [
            (b"\x7f", "127"),
            (b"\xff", "-1"),
            (b"\xe0", "-32"),
            (b"\xc0", "null"),
            (b"\xc3", "true"),
            (b"\x82\xa1a\x01\xa1b\x92\x02\x03", "{\"a\":1,\"b\":[2,3]}"),
            (b"\x81\x01\x02", "{\"map\":[[1,2]]}"),
            (b"\xde\x00\x01\xa1a\xc2", "{\"a\":false}"),
            (b"\xdf\x00\x00\x00\x00", "{}"),
            (b"\xdc\x00\x01\xc0", "[null]"),
            (b"\xdd\x00\x00\x00\x01\x90", "[[]]"),
            (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
            (b"\xcc\xff", "255"),
            (b"\xd0\x80", "-128"),
            (b"\xd1\x80\x00", "-32768"),
            (b"\xd2\xff\xff\xff\xff", "-1"),
            (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808"),
            (b"\xca\x3f\xc0\x00\x00", "1.5"),
            (b"\xcb\x3f\xf1\x99\x99\x99\x99\x99\x9a", "1.1"),
            (b"\xd9\x02hi", "\"hi\""),
            (b"\xa1\xff", "{\"base64\":\"/w==\"}"),
            (b"\xc4\x02\x01\x02", "{\"base64\":\"AQI=\"}"),
            (b"\xd4\xff\x07", "{\"ext\":-1,\"base64\":\"Bw==\"}"),
        ];
        for (bytes, expect) in cases {
            assert_eq!(json(bytes).as_deref(), Some(expect), "{bytes:02x?}");
        }
        assert_eq!(json(b"\xc7\x03\x05abc").as_deref(), Some("{\"ext\":5,\"base64\":\"YWJj\"}"));
    }

    #[test]
    fn what_is_not_one_value_is_refused() {
        for bytes in [
            &b""[..],
            b"\xc1",
            b"\x00\x00",
            b"\xa2a",
            b"\x91",
            b"\x81\x01",
            b"\xcc",
            b"\xdb\xff\xff\xff\xff",
            b"\xdd\xff\xff\xff\xff",
            b"\xd4\x01",
        ] {
            assert_eq!(json(bytes), None, "{bytes:02x?}");
        }
        assert_eq!(json(&[0x91; 100_000]), None, "too deep");
    }
}
