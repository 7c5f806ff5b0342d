//! Fields of JSON text by JSON pointers (RFC 6901), found in one pass that checks the text as well.
//!
//! A field is the text of a value as it was written, so that numbers keep every digit. Where an object has a name twice, the last one counts, as
//! in most parsers. Only the path to a field within a field is read a second time.

use serde::Deserialize;
use serde::de::{Deserializer as _, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Pointer to a value in JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    name: String,
    index: Option<usize>,
}

impl Pointer {
    /// Parses `/a/0/b~1c`. The empty text points to the whole value. `None` where the text is no pointer.
    pub fn parse(text: &str) -> Option<Self> {
        let mut tokens = Vec::new();
        if !text.is_empty() {
            for token in text.strip_prefix('/')?.split('/') {
                if !token.split('~').skip(1).all(|rest| rest.starts_with(['0', '1'])) {
                    return None;
                }
                let name = token.replace("~1", "/").replace("~0", "~");
                let is_index = name == "0" || (!name.starts_with('0') && name.bytes().all(|b| b.is_ascii_digit()));
                let index = if is_index { name.parse().ok() } else { None };
                tokens.push(Token { name, index });
            }
        }
        Some(Self { text: text.to_owned(), tokens })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Texts of the values that pointers point to, without space around them; `None` where there is no such value.
///
/// # Errors
/// The text is not one JSON value.
pub fn find<'a, const N: usize>(pointers: [Option<&Pointer>; N], json: &'a str) -> Result<[Option<&'a str>; N], serde_json::Error> {
    let mut found = [None; N];
    let rest = pointers.map(|pointer| pointer.map(|pointer| pointer.tokens.as_slice()));
    descend(rest, &mut found, json)?;
    Ok(found)
}

/// Text of a JSON string, or the JSON text of any other scalar. `Err` names what the value is instead.
pub fn scalar(raw: &str) -> Result<Cow<'_, str>, &'static str> {
    match raw.as_bytes().first() {
        Some(b'"') => {
            let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
            if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
                return Ok(Cow::Borrowed(inner));
            }
            serde_json::from_str::<String>(raw).map(Cow::Owned).map_err(|_| "a string with half a surrogate pair")
        }
        Some(b'{') => Err("an object"),
        Some(b'[') => Err("an array"),
        _ => Ok(Cow::Borrowed(raw)),
    }
}

/// What is left of the path to each field; `None` for one that does not lead this way.
type Paths<'p, const N: usize> = [Option<&'p [Token]>; N];

/// Fields of one JSON value, which is all of the text.
fn descend<'a, const N: usize>(rest: Paths<'_, N>, found: &mut [Option<&'a str>; N], json: &'a str) -> Result<(), serde_json::Error> {
    if rest.iter().flatten().any(|path| path.is_empty()) {
        let whole: &RawValue = serde_json::from_str(json)?;
        for (field, _) in found.iter_mut().zip(rest).filter(|(_, path)| path.is_some_and(<[Token]>::is_empty)) {
            *field = Some(whole.get().trim_ascii());
        }
    }
    let mut text = serde_json::Deserializer::from_str(json);
    let fields = Fields { rest, found };
    match json.trim_ascii_start().as_bytes().first() {
        Some(b'{') => text.deserialize_map(fields)?,
        Some(b'[') => text.deserialize_seq(fields)?,
        _ => drop(IgnoredAny::deserialize(&mut text)?),
    }
    text.end()
}

/// Takes the fields out of one object or array.
struct Fields<'p, 'f, 'a, const N: usize> {
    rest: Paths<'p, N>,
    found: &'f mut [Option<&'a str>; N],
}

impl<'a, const N: usize> Fields<'_, '_, 'a, N> {
    /// Takes them out of a value within this one: the path to a field leads there where `steps` says so.
    fn take(&mut self, steps: impl Fn(&Token) -> bool, raw: &'a RawValue) -> Result<(), serde_json::Error> {
        let mut within: Paths<'_, N> = [None; N];
        for ((field, path), inner) in self.found.iter_mut().zip(self.rest).zip(&mut within) {
            let Some((token, rest)) = path.and_then(<[Token]>::split_first) else { continue };
            if steps(token) {
                *field = rest.is_empty().then_some(raw.get());
                *inner = (!rest.is_empty()).then_some(rest);
            }
        }
        if within.iter().all(Option::is_none) { Ok(()) } else { descend(within, self.found, raw.get()) }
    }

    fn leads(&self, steps: impl Fn(&Token) -> bool) -> bool {
        self.rest.iter().flatten().filter_map(|path| path.first()).any(steps)
    }
}

impl<'a, const N: usize> Visitor<'a> for Fields<'_, '_, 'a, N> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Name<'_>>()? {
            let steps = |token: &Token| token.name.as_bytes() == &*name.0;
            if self.leads(steps) {
                self.take(steps, map.next_value()?).map_err(A::Error::custom)?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut seq: A) -> Result<(), A::Error> {
        for index in 0.. {
            let steps = |token: &Token| token.index == Some(index);
            if self.leads(steps) {
                let Some(raw) = seq.next_element()? else { break };
                self.take(steps, raw).map_err(A::Error::custom)?;
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(())
    }
}

/// Name of a member as bytes: a name with half a surrogate pair is no text, and no field has it.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, [u8]>);

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(pointer: &str, json: &'a str) -> Option<&'a str> {
        let pointer = Pointer::parse(pointer).unwrap();
        super::find([Some(&pointer)], json).ok()?[0]
    }

    #[test]
    fn pointers_find_the_text_of_values() {
        let json = r#" { "a" : [ 1 , {"b~/c": "x\"]}y"} , null ], "s":"t" , "n":-1.50e3,"":{"":7}, "a\u0062":true } "#;
        assert_eq!(find("/a/0", json), Some("1"));
        assert_eq!(find("/a/1/b~0~1c", json), Some(r#""x\"]}y""#));
        assert_eq!(find("/a/2", json), Some("null"));
        assert_eq!(find("/a/3", json), None);
        assert_eq!(find("/a/1", json), Some(r#"{"b~/c": "x\"]}y"}"#));
        assert_eq!(find("/n", json), Some("-1.50e3"));
        assert_eq!(find("//", json), Some("7"));
        assert_eq!(find("/ab", json), Some("true"));
        assert_eq!(find("/s/x", json), None);
        assert_eq!(find("", " 12 "), Some("12"));
        assert_eq!(find("/0", "[]"), None);
        assert_eq!(find("/01", "[1,2]"), None);
    }

    #[test]
    fn the_last_of_two_members_counts() {
        assert_eq!(find("/a", r#"{"a":1,"a":2}"#), Some("2"));
    }

    #[test]
    fn fields_within_fields_are_found_together() {
        let pointers = ["/a", "/a/b", "/c/1", "/a/b/0", "/x", ""].map(|text| Pointer::parse(text).unwrap());
        let json = r#"{"a":{"b":[7]},"c":[1,1e999,3],"\ud800":"\ud800","a":{"b":[8]}}"#;
        let found = super::find(pointers.each_ref().map(Some), json).unwrap();
        assert_eq!(found, [Some(r#"{"b":[8]}"#), Some("[8]"), Some("1e999"), Some("8"), None, Some(json)]);
        let twice = super::find(pointers.each_ref().map(Some), r#"{"a":{"b":[7]},"a":1}"#).unwrap();
        assert_eq!(twice[..4], [Some("1"), None, None, None], "the last of two members counts for all");
        assert_eq!(scalar("\"\\ud800\""), Err("a string with half a surrogate pair"));
    }

    #[test]
    fn text_that_is_not_one_value_is_an_error_where_it_is_read_and_where_it_is_not() {
        let pointers = ["/a", "/a/b"].map(|text| Pointer::parse(text).unwrap());
        for json in ["", "{}x", "{\"a\":}", "{\"b\":tru}", "[1,]", "{\"a\":{\"b\":1}", "{\"a\":{\"b\":1}} {}", "nul", "\u{a0}1"] {
            assert!(super::find(pointers.each_ref().map(Some), json).is_err(), "{json}");
            assert!(super::find([None::<&Pointer>], json).is_err(), "{json}");
        }
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        assert_eq!(Pointer::parse("a"), None);
        assert_eq!(Pointer::parse("/~2"), None);
        assert_eq!(Pointer::parse("/~"), None);
        assert_eq!(Pointer::parse("/~~01"), None);
    }

    #[test]
    fn pointers_agree_with_a_tree() {
        let json = r#"{"a":[{"b":[[],[1,"2",{"c":"d"}],{}]},"e\n",-0],"f":{"g":{"h":false}}}"#;
        let tree: serde_json::Value = serde_json::from_str(json).unwrap();
        for pointer in ["/a/0/b/1/2/c", "/a/0/b/0", "/a/0/b/2", "/a/1", "/a/2", "/f", "/f/g/h", "/f/x", "/a/-", "/a/0/b/1/1"] {
            let found = find(pointer, json).map(|raw| serde_json::from_str::<serde_json::Value>(raw).unwrap());
            assert_eq!(found.as_ref(), tree.pointer(pointer), "{pointer}");
        }
    }

    #[test]
    fn illegal_text_never_panics() {
        for json in ["", "{", "[", "\"", "{\"a\"", "{\"a\":", "[1,", "\"\\", "{]", "}", "[[[[", "{\"a\":\"\\"] {
            for pointer in ["", "/a", "/0", "/a/0"] {
                let _ = find(pointer, json);
            }
        }
    }
}
