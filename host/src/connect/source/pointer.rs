//! JSON pointers (RFC 6901) into JSON text, without building a tree.
//!
//! The text must have been checked to be one JSON value; on anything else the answers mean nothing, but nothing panics. Where an object
//! has a name twice, the last one counts, as in most parsers.

use memchr::memchr2;
use std::borrow::Cow;

/// A pointer, parsed.
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

    /// The text of the value it points to, without space around it.
    pub fn find<'a>(&self, json: &'a str) -> Option<&'a str> {
        let mut walk = Walk { json, at: 0 };
        walk.space();
        for token in &self.tokens {
            let at = match walk.byte()? {
                b'{' => walk.member(&token.name)?,
                b'[' => walk.element(token.index?)?,
                _ => return None,
            };
            walk.at = at;
        }
        let start = walk.at;
        walk.value();
        json.get(start..walk.at)
    }
}

/// The text of a JSON string, or the JSON text of any other scalar. `Err` names what it is instead.
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

struct Walk<'a> {
    json: &'a str,
    at: usize,
}

impl Walk<'_> {
    fn byte(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Past one character that may be there, and space around it.
    fn mark(&mut self, mark: u8) -> bool {
        self.space();
        let found = self.byte() == Some(mark);
        if found {
            self.at += 1;
            self.space();
        }
        found
    }

    /// Past a string; it must start here.
    fn string(&mut self) {
        let bytes = self.json.as_bytes();
        self.at += 1;
        while let Some(found) = memchr2(b'"', b'\\', bytes.get(self.at..).unwrap_or_default()) {
            self.at += found + 1;
            if bytes[self.at - 1] == b'"' {
                return;
            }
            self.at += 1;
        }
        self.at = bytes.len();
    }

    /// Past a value; it must start here. Nesting needs no stack, because the text is known to be legal.
    fn value(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.byte() {
                None => return,
                Some(b'"') => self.string(),
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.at += 1;
                }
                Some(b'}' | b']') => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                }
                Some(b',' | b':' | b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(_) => {
                    while !matches!(self.byte(), None | Some(b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r')) {
                        self.at += 1;
                    }
                }
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Where the value of the last member of this name starts.
    fn member(&mut self, name: &str) -> Option<usize> {
        let mut found = None;
        self.mark(b'{');
        while self.byte() == Some(b'"') {
            let start = self.at;
            self.string();
            let key = scalar(self.json.get(start..self.at)?);
            self.mark(b':');
            if key.is_ok_and(|key| key == name) {
                found = Some(self.at);
            }
            self.value();
            self.mark(b',');
        }
        found
    }

    /// Where the element of this index starts.
    fn element(&mut self, index: usize) -> Option<usize> {
        self.mark(b'[');
        for _ in 0..index {
            self.value();
            if !self.mark(b',') {
                return None;
            }
        }
        (self.byte()? != b']').then_some(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(pointer: &str, json: &'a str) -> Option<&'a str> {
        Pointer::parse(pointer).unwrap().find(json)
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
