//! MessagePack to JSON.
//!
//! | value | JSON |
//! |---|---|
//! | nil, booleans, array | null, the same, array |
//! | integer, float | number; NaN and the infinities are strings |
//! | str | string; `{"base64":".."}` where it is not UTF-8 |
//! | bin | `{"base64":".."}` |
//! | map | object, or `{"map":[[key,value],..]}` where keys are not text or not different |
//! | ext | `{"ext":type,"base64":".."}` |

use super::pieces::{DEPTH_MAX, Input, Map, plain};
use crate::connect::json_text;

/// Appends the JSON of one value; `None` where the bytes are anything else.
pub(super) fn json(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    let mut input = Input { rest: bytes };
    value(out, &mut input, DEPTH_MAX)?;
    input.rest.is_empty().then_some(())
}

fn value(out: &mut Vec<u8>, input: &mut Input<'_>, depth: u32) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    let first = input.byte()?;
    match first {
        0x00..=0x7f => json_text::integer(out, first),
        0xe0..=0xff => json_text::integer(out, first.cast_signed()),
        0x80..=0x8f => map(out, input, u64::from(first & 15), depth)?,
        0x90..=0x9f => array(out, input, u64::from(first & 15), depth)?,
        0xa0..=0xbf => plain(out, input.take(u64::from(first & 31))?),
        0xc0 => out.extend_from_slice(b"null"),
        0xc1 => return None,
        0xc2 => out.extend_from_slice(b"false"),
        0xc3 => out.extend_from_slice(b"true"),
        0xc4..=0xc6 => {
            let length = input.number(1 << (first - 0xc4))?;
            json_text::binary(out, input.take(length)?);
        }
        0xc7..=0xc9 => {
            let length = input.number(1 << (first - 0xc7))?;
            extension(out, input, length)?;
        }
        0xca => json_text::float(out, f64::from(f32::from_bits(u32::try_from(input.number(4)?).ok()?))),
        0xcb => json_text::float(out, f64::from_bits(input.number(8)?)),
        0xcc..=0xcf => json_text::integer(out, input.number(1 << (first - 0xcc))?),
        0xd0 => json_text::integer(out, input.byte()?.cast_signed()),
        0xd1 => json_text::integer(out, u16::try_from(input.number(2)?).ok()?.cast_signed()),
        0xd2 => json_text::integer(out, u32::try_from(input.number(4)?).ok()?.cast_signed()),
        0xd3 => json_text::integer(out, input.number(8)?.cast_signed()),
        0xd4..=0xd8 => extension(out, input, 1 << (first - 0xd4))?,
        0xd9..=0xdb => {
            let length = input.number(1 << (first - 0xd9))?;
            plain(out, input.take(length)?);
        }
        0xdc | 0xdd => {
            let count = input.number(if first == 0xdc { 2 } else { 4 })?;
            array(out, input, count, depth)?;
        }
        0xde | 0xdf => {
            let count = input.number(if first == 0xde { 2 } else { 4 })?;
            map(out, input, count, depth)?;
        }
    }
    Some(())
}

fn array(out: &mut Vec<u8>, input: &mut Input<'_>, count: u64, depth: u32) -> Option<()> {
    out.push(b'[');
    for place in 0..count {
        if place > 0 {
            out.push(b',');
        }
        value(out, input, depth)?;
    }
    out.push(b']');
    Some(())
}

fn map(out: &mut Vec<u8>, input: &mut Input<'_>, count: u64, depth: u32) -> Option<()> {
    let mut map = Map::default();
    for _ in 0..count {
        let (mut key, mut held) = (Vec::new(), Vec::new());
        let is_text = matches!(input.rest.first(), Some(0xa0..=0xbf | 0xd9..=0xdb));
        value(&mut key, input, depth)?;
        value(&mut held, input, depth)?;
        map.push(key, held, is_text);
    }
    map.write(out);
    Some(())
}

fn extension(out: &mut Vec<u8>, input: &mut Input<'_>, length: u64) -> Option<()> {
    let kind = input.byte()?.cast_signed();
    out.extend_from_slice(b"{\"ext\":");
    json_text::integer(out, kind);
    out.extend_from_slice(b",\"base64\":\"");
    json_text::base64(out, input.take(length)?);
    out.extend_from_slice(b"\"}");
    Some(())
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
