//! Where the quotes of a CSV record stand, strictly read.
//!
//! The parser that splits records is lenient: it takes text behind a closing quote as part of the field, and the rest of the input as one
//! field where a quote is never closed. This one only says whether the quotes of a record are sound; it knows no fields and keeps no bytes.
//! A quote within a field that does not begin with one is text, as in `5" pipe`.

use memchr::{memchr, memchr3};

/// Where in a record the next byte lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quotes {
    /// At the start of a field.
    Field,
    /// In a field without quotes.
    Plain,
    /// Between two quotes.
    Open,
    /// Behind a quote that closes the field, or is the first of a pair.
    Closed,
    /// The record is over.
    Over,
    /// Text came behind a closing quote.
    Broken,
}

impl Quotes {
    /// What a whole record ends in.
    pub fn of(record: &[u8], delimiter: u8) -> Self {
        if memchr(b'"', record).is_none() {
            return Self::Plain;
        }
        let mut quotes = Self::Field;
        quotes.feed(record, delimiter);
        quotes
    }

    /// True where the record may end here.
    pub fn are_sound(self) -> bool {
        !matches!(self, Self::Open | Self::Broken)
    }

    /// Goes on with the next bytes of the record.
    pub fn feed(&mut self, bytes: &[u8], delimiter: u8) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            *self = match *self {
                Self::Over | Self::Broken => return,
                Self::Field if byte == b'"' => Self::Open,
                Self::Field | Self::Plain | Self::Closed if matches!(byte, b'\n' | b'\r') => Self::Over,
                Self::Field | Self::Plain | Self::Closed if byte == delimiter => Self::Field,
                Self::Closed if byte == b'"' => Self::Open,
                Self::Closed => Self::Broken,
                Self::Field | Self::Plain => {
                    at += memchr3(b'\n', b'\r', delimiter, &bytes[at..]).unwrap_or(bytes.len() - at);
                    *self = Self::Plain;
                    continue;
                }
                Self::Open => {
                    at += memchr(b'"', &bytes[at..]).unwrap_or(bytes.len() - at);
                    if at < bytes.len() { Self::Closed } else { Self::Open }
                }
            };
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_sound_open_or_broken() {
        for (record, expect) in [
            ("a,b", Quotes::Plain),
            ("a,\"b\"", Quotes::Closed),
            ("\"a\"\"b\",c\r\n", Quotes::Over),
            ("5\" pipe,6\"", Quotes::Plain),
            ("a,\"b\nc", Quotes::Open),
            ("a,\"b\"\"", Quotes::Open),
            ("a,\"b\"c", Quotes::Broken),
            ("a,\"b\" ,c", Quotes::Broken),
            ("\"\"", Quotes::Closed),
            ("\"\",", Quotes::Field),
        ] {
            assert_eq!(Quotes::of(record.as_bytes(), b','), expect, "{record}");
        }
    }

    #[test]
    fn any_cut_gives_the_same() {
        for record in ["\"a\"\"b\",c,\"d\ne\"\n", "a,\"b\"c", "x\"y,\"\"", "\"\"\"\",\"\"\"a"] {
            let bytes = record.as_bytes();
            for cut in 0..bytes.len() {
                let mut quotes = Quotes::Field;
                quotes.feed(&bytes[..cut], b',');
                quotes.feed(&bytes[cut..], b',');
                let mut whole = Quotes::Field;
                whole.feed(bytes, b',');
                assert_eq!(quotes, whole, "{record} at {cut}");
            }
        }
    }
}
