//! Reading Rust well enough for the rules: without comments and literals, and with the extent of functions.
//!
//! This is no parser. It knows comments (nested), strings (raw, byte), characters and lifetimes, and counts braces.

/// The code with comments and literals overwritten by spaces. Lines and byte offsets stay where they are.
pub fn scrub(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if !follows_word(bytes, at) => raw_string_end(bytes, at).unwrap_or(at),
            b'\'' => character_end(bytes, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    // Every literal was overwritten as a whole, so no character was cut.
    String::from_utf8(out).unwrap_or_default()
}

fn line_end(bytes: &[u8], start: usize) -> usize {
    bytes[start..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| start + length)
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at + 1 < bytes.len() {
        match (bytes[at], bytes[at + 1]) {
            (b'/', b'*') => depth += 1,
            (b'*', b'/') if depth == 1 => return at + 2,
            (b'*', b'/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
    }
    bytes.len()
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of `r"..."` or `r#"..."#`; nothing if this `r` starts none.
fn raw_string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let hashes = bytes[start + 1..].iter().take_while(|byte| **byte == b'#').count();
    let open = start + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let body = &bytes[open + 1..];
    Some(body.windows(close.len()).position(|window| window == close).map_or(bytes.len(), |length| open + 1 + length + close.len()))
}

/// The end of a character literal; nothing for a lifetime.
fn character_end(bytes: &[u8], start: usize) -> Option<usize> {
    let first = *bytes.get(start + 1)?;
    let body = if first == b'\\' { start + 3 } else { start + 1 + width(first) };
    let close = if first == b'\\' { body + bytes.get(body..)?.iter().position(|byte| *byte == b'\'')? } else { body };
    (bytes.get(close) == Some(&b'\'')).then_some(close + 1)
}

/// Length in bytes of the UTF-8 character that starts with `first`.
fn width(first: u8) -> usize {
    match first {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}

/// Whether the byte before belongs to the same word. `br"..."` does not count: a `b` alone is a prefix.
fn follows_word(bytes: &[u8], at: usize) -> bool {
    let is_word = |index: usize| bytes.get(index).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    match at {
        0 => false,
        1 => is_word(0) && bytes[0] != b'b',
        _ => is_word(at - 1) && (bytes[at - 1] != b'b' || is_word(at - 2)),
    }
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// Line of the word `fn`, counted from 1.
    pub line: usize,
    /// Lines from that one to the closing brace.
    pub lines: usize,
}

/// The functions in scrubbed code, inner ones included.
pub fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for start in words(code, "fn") {
        let rest = &code[start + 2..];
        let name: String = rest.trim_start().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
        // A type such as `fn(u32) -> u32` has no name.
        if name.is_empty() {
            continue;
        }
        if let Some(end) = body_end(code, start) {
            let line = 1 + newlines(&code[..start]);
            found.push(Function { name, line, lines: 1 + newlines(&code[start..end]) });
        }
    }
    found
}

fn newlines(code: &str) -> usize {
    code.bytes().filter(|byte| *byte == b'\n').count()
}

/// The offset behind the closing brace of the function that starts here; nothing if it has no body.
fn body_end(code: &str, start: usize) -> Option<usize> {
    let mut braces = 0_usize;
    let mut brackets = 0_usize;
    for (offset, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets = brackets.saturating_sub(1),
            b';' if braces == 0 && brackets == 0 => return None,
            b'{' => braces += 1,
            b'}' if braces == 1 => return Some(offset + 1),
            b'}' => braces = braces.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

/// Offsets of `word` standing alone.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    code.match_indices(word).map(|(offset, _)| offset).filter(move |offset| {
        let before = offset.checked_sub(1).and_then(|index| code.as_bytes().get(index));
        !is_word(before) && !is_word(code.as_bytes().get(offset + word.len()))
    })
}

/// The line of an offset, counted from 1.
pub fn line_of(code: &str, offset: usize) -> usize {
    1 + newlines(&code[..offset])
}

/// Scrubbed code without its test modules: what is compiled into the product.
pub fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(start) = out.find("#[cfg(test)]") {
        let rest = &out[start..];
        let end = match (rest.find('{'), rest.find(';')) {
            (Some(brace), semicolon) if semicolon.is_none_or(|semicolon| brace < semicolon) => body_end(&out, start).unwrap_or(out.len()),
            (_, Some(semicolon)) => start + semicolon + 1,
            _ => out.len(),
        };
        let blank: String = out[start..end].chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..end, &blank);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_overwritten_and_lines_stay() {
        let code = "let a = \"}\\\"{\"; // {\nlet b = r#\"\"{\"#; /* { /* { */ */ let c = '{';\nlet d = b\"{\"; let e = br\"\\\"; let f = '\\'';\nfn g<'a>() {}";
        let clean = scrub(code);
        assert_eq!(clean.len(), code.len());
        assert_eq!(clean.matches('{').count(), 1, "{clean}");
        assert_eq!(newlines(&clean), newlines(code));
        assert!(clean.contains("fn g<'a>() {}"), "{clean}");
    }

    #[test]
    fn words_that_end_in_r_start_no_raw_string() {
        let clean = scrub("for x in y { var\"text\" } 'é' '\\u{1f}' é");
        assert!(clean.contains("for x in y { var") && clean.ends_with("é"), "{clean}");
        assert_eq!(clean.matches('{').count(), 1, "{clean}");
    }

    #[test]
    fn functions_are_measured_from_the_word_fn_to_the_closing_brace() {
        let code =
            "trait T {\n    fn none(&self);\n    fn one(&self) {}\n}\nfn two(f: fn(u32) -> u32, a: [u8; 2]) {\n    if true {\n    }\n}\n";
        let expected = [("one", 3, 1), ("two", 5, 4)];
        assert_eq!(functions(code), expected.map(|(name, line, lines)| Function { name: name.to_owned(), line, lines }));
    }

    #[test]
    fn test_modules_are_left_out_and_what_follows_stays() {
        let code = "a\n#[cfg(test)]\nmod tests {\n    { b }\n}\nc\n#[cfg(test)]\nmod more;\nd";
        let product = without_tests(code);
        assert_eq!(newlines(&product), newlines(code));
        assert_eq!(product.split_whitespace().collect::<Vec<_>>(), ["a", "c", "d"]);
    }

    #[test]
    fn words_stand_alone() {
        assert_eq!(words("unsafe unsafe_code not_unsafe (unsafe)", "unsafe").collect::<Vec<_>>(), [0, 31]);
    }
}
