//! Text that anybody may have written, made harmless for whoever reads it on a terminal, in a log or in JSON.
//!
//! Guests, file names, rows, what a store holds: none of it may move a cursor, hide or reorder what stands beside it, or pass for a line that
//! the host wrote. What could is escaped, not dropped, so that it can still be seen. Nothing here is about bytes that are the output of a
//! job: those are as operators made them.
//!
//! | function | for | line feeds |
//! |---|---|---|
//! | [`plain`] | a name or a message within a line | escaped |
//! | [`plain_lines`] | a message that the host put together | stay; each line but the first is indented |
//! | [`plain_json`] | a finished JSON text | untouched: JSON has escaped them |

use std::borrow::Cow;

/// Characters of one text within a line that are shown; the rest is cut.
pub const PLAIN_CHARS_MAX: usize = 4_096;
/// Characters of one message that are shown; the rest is cut.
pub const MESSAGE_CHARS_MAX: usize = 65_536;
/// What stands for the rest of a text that is cut.
const CUT: &str = " ... (cut)";

/// True of a character that could steer a terminal, end a line, turn the direction of text, or stand there unseen.
#[must_use]
pub fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Soft hyphen, Arabic letter mark, Mongolian vowel separator, zero widths and directions, line and paragraph separators,
            // embeddings and overrides, invisible operators and isolates, byte order mark, annotations, tags.
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A text as part of a line: no character of it steers anything, and it is no longer than [`PLAIN_CHARS_MAX`].
#[must_use]
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(PLAIN_CHARS_MAX));
    for (place, c) in text.chars().enumerate() {
        if place == PLAIN_CHARS_MAX {
            out.push_str(CUT);
            break;
        }
        push(&mut out, c);
    }
    out
}

/// A message of one or several lines: as [`plain`], but line feeds and tabs stay, and every line but the first begins with two spaces, so that
/// nothing within a message passes for another one. No longer than [`MESSAGE_CHARS_MAX`].
#[must_use]
pub fn plain_lines(text: &str) -> String {
    lines(text, "  ")
}

/// As [`plain_lines`], for a text whose lines are all the host's own, such as a table: none is indented, and none is cut.
#[must_use]
pub fn plain_page(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| if matches!(c, '\n' | '\t') { out.push(c) } else { push(&mut out, c) });
    out
}

fn lines(text: &str, indent: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MESSAGE_CHARS_MAX));
    let mut left = MESSAGE_CHARS_MAX;
    for (place, line) in text.split('\n').enumerate() {
        if place > 0 {
            out.push('\n');
            if !line.is_empty() && !line.starts_with(indent) {
                out.push_str(indent);
            }
        }
        for c in line.chars() {
            if left == 0 {
                out.push_str(CUT);
                return out;
            }
            left -= 1;
            if c == '\t' { out.push(c) } else { push(&mut out, c) }
        }
    }
    out
}

fn push(out: &mut String, c: char) {
    if is_steering(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
}

/// A JSON text in which every character that could steer anything is escaped as JSON escapes: it means what it meant. Such characters
/// stand in strings alone, save the white space between members, which stays.
#[must_use]
pub fn plain_json(json: &str) -> Cow<'_, str> {
    let touched = |c: char| is_steering(c) && !matches!(c, '\n' | '\r' | '\t');
    if !json.chars().any(touched) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if touched(c) {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that is known to steer, in one text.
    const EVIL: &str = "a\u{1b}[2J\u{7}\u{8}\r\u{9b}31m\u{85}\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}\u{2028}é";

    #[test]
    fn nothing_that_steers_is_left_in_any_form() {
        let steers = |text: &str| text.chars().any(|c| is_steering(c) && c != '\n' && c != '\t');
        assert!(steers(EVIL));
        for out in [plain(EVIL), plain_lines(EVIL), plain_page(EVIL), plain_json(&format!("{EVIL:?}")).into_owned()] {
            assert!(!steers(&out), "{out:?}");
        }
        assert_eq!(plain("a\u{1b}[2J\u{9b}\n\u{202e}é"), "a\\u{1b}[2J\\u{9b}\\u{a}\\u{202e}é");
        assert_eq!(plain("Ärger, 日本語, עברית 🙂"), "Ärger, 日本語, עברית 🙂", "what people write stays");
    }

    #[test]
    fn a_line_within_a_message_never_passes_for_a_message() {
        assert_eq!(plain_lines("it failed: x\nerror: all is lost\n  help: y"), "it failed: x\n  error: all is lost\n  help: y");
        assert_eq!(plain_lines("a\r\nb\rc"), "a\\u{d}\n  b\\u{d}c");
        assert_eq!(plain_page("one\ntwo\u{1b}\n"), "one\ntwo\\u{1b}\n");
    }

    #[test]
    fn long_texts_are_cut_and_say_so() {
        let long = "\u{1b}".repeat(MESSAGE_CHARS_MAX * 2);
        assert_eq!(plain(&long).matches("\\u{1b}").count(), PLAIN_CHARS_MAX);
        assert!(plain(&long).ends_with(CUT) && plain_lines(&long).ends_with(CUT));
        assert_eq!(plain(&"x".repeat(PLAIN_CHARS_MAX)).len(), PLAIN_CHARS_MAX);
        assert!(plain_lines(&"x\n".repeat(MESSAGE_CHARS_MAX * 2)).len() < MESSAGE_CHARS_MAX * 5);
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value = serde_json::json!({ "text": EVIL, "plain": "é" });
        let shown = plain_json(&value.to_string()).into_owned();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        assert!(shown.contains("\\u202e") && shown.contains("\\udb40"), "{shown}");
        assert!(matches!(plain_json("{\n\t\"a\": 1\r\n}"), Cow::Borrowed(_)));
    }
}
