//! JSON text appended to a buffer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Appends a string with its quotes.
pub fn string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a Vec takes everything, and text has nothing that JSON cannot say");
}

/// Appends an integer.
pub fn integer(out: &mut Vec<u8>, number: impl Into<serde_json::Number>) {
    serde_json::to_writer(out, &number.into()).expect("a Vec takes everything, and integers are JSON");
}

/// Appends a float in the shortest text that reads back the same; JSON has no numbers for NaN and the infinities, so those become strings.
pub fn float(out: &mut Vec<u8>, number: f64) {
    match not_finite(number) {
        Some(word) => string(out, word),
        None => serde_json::to_writer(out, &number).expect("a Vec takes everything, and the number is finite"),
    }
}

/// The word for a float that JSON has no number for.
pub fn not_finite(number: f64) -> Option<&'static str> {
    match number {
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ if number.is_nan() => Some("NaN"),
        _ => None,
    }
}

/// Appends the letters of Base64 with padding, without quotes.
pub fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(BASE64.encode(bytes).as_bytes());
}

/// Appends bytes that are no text, as an object that holds them in Base64 with padding.
pub fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(b"{\"base64\":\"");
    base64(out, bytes);
    out.extend_from_slice(b"\"}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_json() {
        let mut out = Vec::new();
        string(&mut out, "a\"\n\u{1}é");
        integer(&mut out, -5_i64);
        float(&mut out, 1e300);
        float(&mut out, f64::NEG_INFINITY);
        float(&mut out, f64::NAN);
        binary(&mut out, b"\xff\xef\xbe\x01");
        assert_eq!(out, "\"a\\\"\\n\\u0001é\"-51e+300\"-Infinity\"\"NaN\"{\"base64\":\"/+++AQ==\"}".as_bytes());
    }
}
