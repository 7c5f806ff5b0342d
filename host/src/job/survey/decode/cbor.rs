//! CBOR (RFC 8949) to JSON.
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

use super::pieces::{DEPTH_MAX, Input, Map};
use crate::connect::json_text;

/// Ends an item of indefinite length.
const BREAK: u8 = 0xff;

/// Appends the JSON of one item; `None` where the bytes are anything else.
pub(super) fn json(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    let mut input = Input { rest: bytes };
    item(out, &mut input, DEPTH_MAX)?;
    input.rest.is_empty().then_some(())
}

/// Number of what follows; `None` inside for indefinite length.
fn argument(input: &mut Input<'_>, low: u8) -> Option<Option<u64>> {
    match low {
        0..=23 => Some(Some(u64::from(low))),
        24..=27 => input.number(1 << (low - 24)).map(Some),
        31 => Some(None),
        _ => None,
    }
}

fn item(out: &mut Vec<u8>, input: &mut Input<'_>, depth: u32) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    let first = input.byte()?;
    let (major, low) = (first >> 5, first & 31);
    if major == 7 {
        return simple(out, input, low);
    }
    let count = argument(input, low)?;
    match major {
        0 => json_text::integer(out, count?),
        1 => out.extend_from_slice((-1 - i128::from(count?)).to_string().as_bytes()),
        2 => json_text::binary(out, &string(input, major, count)?),
        3 => json_text::string(out, &String::from_utf8(string(input, major, count)?).ok()?),
        4 => {
            out.push(b'[');
            let mut place = 0;
            while !ends(input, count, place)? {
                if place > 0 {
                    out.push(b',');
                }
                item(out, input, depth)?;
                place += 1;
            }
            out.push(b']');
        }
        5 => {
            let mut map = Map::default();
            let mut place = 0;
            while !ends(input, count, place)? {
                let (mut key, mut value) = (Vec::new(), Vec::new());
                let is_text = input.rest.first().is_some_and(|first| first >> 5 == 3);
                item(&mut key, input, depth)?;
                item(&mut value, input, depth)?;
                map.push(key, value, is_text);
                place += 1;
            }
            map.write(out);
        }
        _ => {
            out.extend_from_slice(b"{\"tag\":");
            json_text::integer(out, count?);
            out.extend_from_slice(b",\"value\":");
            item(out, input, depth)?;
            out.push(b'}');
        }
    }
    Some(())
}

/// Whether a list of `count` items has all of its `place` items; the break after one of indefinite length is taken.
fn ends(input: &mut Input<'_>, count: Option<u64>, place: u64) -> Option<bool> {
    match count {
        Some(count) => Some(place == count),
        None if *input.rest.first()? == BREAK => input.byte().map(|_| true),
        None => Some(false),
    }
}

/// The bytes of a string; one of indefinite length is made of pieces of the same kind.
fn string(input: &mut Input<'_>, major: u8, count: Option<u64>) -> Option<Vec<u8>> {
    if let Some(count) = count {
        return input.take(count).map(<[u8]>::to_vec);
    }
    let mut whole = Vec::new();
    while !ends(input, None, 0)? {
        let first = input.byte()?;
        if first >> 5 != major {
            return None;
        }
        let count = argument(input, first & 31)??;
        whole.extend_from_slice(input.take(count)?);
    }
    Some(whole)
}

fn simple(out: &mut Vec<u8>, input: &mut Input<'_>, low: u8) -> Option<()> {
    match low {
        20 => out.extend_from_slice(b"false"),
        21 => out.extend_from_slice(b"true"),
        22 => out.extend_from_slice(b"null"),
        25 => json_text::float(out, half(input.number(2)?)),
        26 => json_text::float(out, f64::from(f32::from_bits(u32::try_from(input.number(4)?).ok()?))),
        27 => json_text::float(out, f64::from_bits(input.number(8)?)),
        0..=24 => {
            let number = if low == 24 { input.number(1)? } else { u64::from(low) };
            out.extend_from_slice(b"{\"simple\":");
            json_text::integer(out, number);
            out.push(b'}');
        }
        _ => return None,
    }
    Some(())
}

/// A float of 16 bits (IEEE 754 binary16).
fn half(bits: u64) -> f64 {
    let (exponent, fraction) = ((bits >> 10 & 31) as i32, (bits & 1023) as f64);
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
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
