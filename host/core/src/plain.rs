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
            // Soft hyphen, grapheme joiner, Arabic letter mark, fillers of Hangul, vowels of Khmer that are never seen, selectors and
            // separator of Mongolian, zero widths and directions, line and paragraph separators, embeddings and overrides, invisible
            // operators and isolates, another filler of Hangul.
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            // Selectors of variants, byte order mark, the last filler of Hangul, annotations and what is kept for such, controls of
            // shorthand and of music, tags and further selectors.
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// True of what [`is_steering`] names and people write all the same: joiners between two characters of a script that has them, as Persian and
/// Hindi do, and the selector of a variant behind such a character. Never within ASCII, and never two in a row.
fn is_at_home(before: Option<char>, c: char, after: Option<char>) -> bool {
    let is_of_a_script = |c: Option<char>| c.is_some_and(|c| !c.is_ascii() && !c.is_whitespace() && !is_steering(c));
    match c {
        '\u{200c}' | '\u{200d}' => {
            let is_selected = |c: Option<char>| c.is_some_and(|c| matches!(c, '\u{fe00}'..='\u{fe0f}'));
            (is_of_a_script(before) || is_selected(before)) && is_of_a_script(after)
        }
        '\u{fe00}'..='\u{fe0f}' => is_of_a_script(before),
        _ => false,
    }
}

/// The characters of a text, each with whether it is to be escaped.
fn judged(text: &str) -> impl Iterator<Item = (char, bool)> {
    let (mut before, mut chars) = (None, text.chars().peekable());
    std::iter::from_fn(move || {
        let c = chars.next()?;
        let is_escaped = is_steering(c) && !is_at_home(before, c, chars.peek().copied());
        before = Some(c);
        Some((c, is_escaped))
    })
}

/// A text as part of a line: no character of it steers anything or hides, and it is no longer than [`PLAIN_CHARS_MAX`].
#[must_use]
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(PLAIN_CHARS_MAX));
    for (place, judged) in judged(text).enumerate() {
        if place == PLAIN_CHARS_MAX {
            out.push_str(CUT);
            break;
        }
        push(&mut out, judged);
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
    judged(text).for_each(|(c, is_escaped)| push(&mut out, (c, is_escaped && !matches!(c, '\n' | '\t'))));
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
        for (c, is_escaped) in judged(line) {
            if left == 0 {
                out.push_str(CUT);
                return out;
            }
            left -= 1;
            push(&mut out, (c, is_escaped && c != '\t'));
        }
    }
    out
}

fn push(out: &mut String, (c, is_escaped): (char, bool)) {
    if is_escaped { out.extend(c.escape_unicode()) } else { out.push(c) }
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
        let written = ["Ärger, 日本語, עברית 🙂", "می\u{200c}خواهم", "क्\u{200d}ष", "❤\u{fe0f} 👩\u{200d}🚀 🏳\u{fe0f}\u{200d}🌈"];
        for text in written {
            assert_eq!((plain(text), plain_lines(text), plain_page(text)), (text.to_owned(), text.to_owned(), text.to_owned()), "it stays");
        }
    }

    /// Some of what stands there unseen.
    const UNSEEN: &str =
        "\u{34f}\u{115f}\u{1160}\u{17b4}\u{180b}\u{180f}\u{200b}\u{3164}\u{ffa0}\u{fff3}\u{1bca0}\u{1d173}\u{e0100}\u{e0fff}";

    #[test]
    fn nothing_stands_unseen_but_joiners_and_selectors_where_scripts_have_them() {
        for unseen in UNSEEN.chars() {
            let escaped = format!("ä{}ö", unseen.escape_unicode());
            assert_eq!(plain(&format!("ä{unseen}ö")), escaped);
        }
        for (text, shown) in [
            ("pay\u{200d}pal", "pay\\u{200d}pal"),
            ("ä\u{200c}", "ä\\u{200c}"),
            ("\u{200c}ä", "\\u{200c}ä"),
            ("ä\u{200d}\u{200d}ö", "ä\\u{200d}\\u{200d}ö"),
            ("a\u{fe0f}", "a\\u{fe0f}"),
            ("ä\u{fe0f}\u{fe01}", "ä\u{fe0f}\\u{fe01}"),
        ] {
            assert_eq!(plain(text), shown);
        }
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
