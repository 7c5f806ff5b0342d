//! Values that are written piece by piece, straight to the column that the host will read: integers, text and JSON without `std::fmt`.

use crate::output::{Bytes, Output};
use crate::short;
use itoa::Integer;

/// The decimal digits of an integer, as a key or a value: `out.emit(time, key, Int(total))`. Several times as fast as
/// [`Text`](crate::Text).
#[derive(Debug, Clone, Copy)]
pub struct Int<T>(pub T);

impl<T: Integer + Copy> Bytes for Int<T> {
    #[inline]
    fn append_to(&self, column: &mut Vec<u8>) {
        append_int(column, self.0);
    }
}

impl Output {
    /// Begins a row on the first output. Its value is written piece by piece, and the row ends where the [`Row`] goes out of scope.
    ///
    /// ```
    /// # use reprise_guest::{Description, Encoding::{Json, Utf8}, Operator, Output, Record, export, harness::Harness};
    /// # #[derive(Default)]
    /// # struct Rows;
    /// # impl Operator for Rows {
    /// #     fn describe() -> Description { Description::new("rows").input("in").output("out", Utf8, Json) }
    /// #     fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
    /// out.row(row.time, row.key).int(5u64).text(",").int(-7);
    /// out.row(row.time, row.key).object(|fields| {
    ///     fields.int("count", 5).text("name", "Bob \"the\" Builder").float("mean", 0.5);
    /// });
    /// #         Ok(())
    /// #     }
    /// # }
    /// # export!(Rows);
    /// # let rows = Harness::<Rows>::new("{}").unwrap().process([(0, "k", "")]).unwrap().pairs();
    /// # assert_eq!(rows[0].1, "5,-7");
    /// # assert_eq!(rows[1].1, r#"{"count":5,"name":"Bob \"the\" Builder","mean":0.5}"#.escape_default().to_string());
    /// ```
    #[inline]
    pub fn row(&mut self, time: i64, key: impl Bytes) -> Row<'_> {
        self.row_to(0, time, key)
    }

    /// Begins a row on the output with this index. One that was not declared makes the call fail.
    #[inline]
    pub fn row_to(&mut self, port: u32, time: i64, key: impl Bytes) -> Row<'_> {
        let values = self.take_values(port, key);
        Row { out: self, port, time, values }
    }
}

/// A row whose value is being written. It ends, and is emitted, where it goes out of scope. [`Output::row`] begins one.
#[derive(Debug)]
pub struct Row<'a> {
    out: &'a mut Output,
    port: u32,
    time: i64,
    /// All values of the output, this one last.
    values: Vec<u8>,
}

impl Row<'_> {
    /// Writes bytes as they are: `&[u8]`, byte arrays, text, and whatever else is [`Bytes`].
    #[inline]
    pub fn bytes(&mut self, bytes: impl Bytes) -> &mut Self {
        bytes.append_to(&mut self.values);
        self
    }

    /// Writes text as it is.
    #[inline]
    pub fn text(&mut self, text: &str) -> &mut Self {
        short::append(&mut self.values, text.as_bytes());
        self
    }

    /// Writes an integer in decimal digits, with a sign where it is negative.
    #[inline]
    pub fn int(&mut self, number: impl Integer) -> &mut Self {
        append_int(&mut self.values, number);
        self
    }

    /// Writes a number in the fewest digits that read as the same number, as JSON has it; `null` where it is infinite or not a number.
    #[inline]
    pub fn float(&mut self, number: f64) -> &mut Self {
        append_float(&mut self.values, number);
        self
    }

    /// Writes a JSON text, in quotes and with what has to be escaped in it.
    #[inline]
    pub fn json_text(&mut self, text: &str) -> &mut Self {
        append_json_text(&mut self.values, text);
        self
    }

    /// Writes a JSON object with the fields that `write` gives it.
    #[inline]
    pub fn object(&mut self, write: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        append_object(&mut self.values, write);
        self
    }
}

impl Drop for Row<'_> {
    #[inline]
    fn drop(&mut self) {
        self.out.put_row(self.port, self.time, &mut self.values);
    }
}

/// The fields of a JSON object, in the order in which they are written. Names are not compared: a name that is written twice is there twice.
#[derive(Debug)]
pub struct Object<'a> {
    column: &'a mut Vec<u8>,
    has_fields: bool,
}

impl Object<'_> {
    #[inline]
    fn name(&mut self, name: &str) -> &mut Vec<u8> {
        if std::mem::replace(&mut self.has_fields, true) {
            self.column.push(b',');
        }
        append_json_text(self.column, name);
        self.column.push(b':');
        self.column
    }

    /// A text.
    #[inline]
    pub fn text(&mut self, name: &str, text: &str) -> &mut Self {
        append_json_text(self.name(name), text);
        self
    }

    /// An integer.
    #[inline]
    pub fn int(&mut self, name: &str, number: impl Integer) -> &mut Self {
        append_int(self.name(name), number);
        self
    }

    /// A number; `null` where it is infinite or not a number.
    #[inline]
    pub fn float(&mut self, name: &str, number: f64) -> &mut Self {
        append_float(self.name(name), number);
        self
    }

    /// `true` or `false`.
    #[inline]
    pub fn bool(&mut self, name: &str, value: bool) -> &mut Self {
        short::append(self.name(name), if value { b"true" } else { b"false" });
        self
    }

    /// `null`.
    #[inline]
    pub fn null(&mut self, name: &str) -> &mut Self {
        short::append(self.name(name), b"null");
        self
    }

    /// JSON that is there already, such as a value that is passed on. It is not checked.
    #[inline]
    pub fn json(&mut self, name: &str, json: impl Bytes) -> &mut Self {
        json.append_to(self.name(name));
        self
    }

    /// An object.
    #[inline]
    pub fn object(&mut self, name: &str, write: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        append_object(self.name(name), write);
        self
    }
}

#[inline]
fn append_int(column: &mut Vec<u8>, number: impl Integer) {
    short::append(column, itoa::Buffer::new().format(number).as_bytes());
}

fn append_float(column: &mut Vec<u8>, number: f64) {
    serde_json::to_writer(column, &number).expect("writing a number to memory does not fail");
}

#[inline]
fn append_object(column: &mut Vec<u8>, write: impl FnOnce(&mut Object<'_>)) {
    column.push(b'{');
    write(&mut Object { column, has_fields: false });
    column.push(b'}');
}

/// For each byte what follows the backslash in a JSON text, `u` where it is written as a number; 0 where it stands for itself.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        escapes[byte] = b'u';
        byte += 1;
    }
    escapes[0x08] = b'b';
    escapes[0x09] = b't';
    escapes[0x0a] = b'n';
    escapes[0x0c] = b'f';
    escapes[0x0d] = b'r';
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes
};

/// Looks at each byte once, and copies what needs no escape in runs.
#[inline]
fn append_json_text(column: &mut Vec<u8>, text: &str) {
    column.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| ESCAPES[usize::from(byte)] != 0) {
        short::append(column, &rest[..at]);
        append_escape(column, rest[at]);
        rest = &rest[at + 1..];
    }
    short::append(column, rest);
    column.push(b'"');
}

#[cold]
fn append_escape(column: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    column.extend([b'\\', ESCAPES[usize::from(byte)]]);
    if ESCAPES[usize::from(byte)] == b'u' {
        column.extend([b'0', b'0', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Row<'_>)) -> String {
        let mut out = Output::new(1);
        write(&mut out.row(1, "k"));
        let emitted = out.finish(Ok(())).unwrap().emitted;
        String::from_utf8(emitted.outputs[0].1.values.clone()).unwrap()
    }

    #[test]
    fn pieces_stand_one_after_the_other() {
        let value = written(|row| {
            row.int(u64::MAX).text(",").int(i64::MIN).bytes(b"|").bytes(Int(0u8)).float(0.1).text(" ").float(f64::NAN);
        });
        assert_eq!(value, "18446744073709551615,-9223372036854775808|00.1 null");
    }

    #[test]
    fn rows_end_where_they_go_out_of_scope_and_an_empty_value_is_one() {
        let mut out = Output::new(2);
        out.row(1, "a").int(1);
        out.row_to(1, 2, Int(7)).text("x");
        drop(out.row(3, "c"));
        out.emit(4, "d", "y");
        let outputs = out.finish(Ok(())).unwrap().emitted.outputs;
        let rows = |at: usize| outputs[at].1.rows(0).iter().map(|row| (row.time, row.key, row.value)).collect::<Vec<_>>();
        assert_eq!(rows(0), [(1, b"a".as_slice(), b"1".as_slice()), (3, b"c", b""), (4, b"d", b"y")]);
        assert_eq!(rows(1), [(2, b"7".as_slice(), b"x".as_slice())]);
    }

    #[test]
    fn a_row_on_an_output_that_does_not_exist_fails_the_call() {
        let mut out = Output::new(1);
        out.row_to(3, 0, "k").int(1);
        assert_eq!(out.finish(Ok(())), Err("a row was emitted on output 3, but 1 are declared".to_owned()));
    }

    #[test]
    fn objects_hold_fields_of_every_kind() {
        let value = written(|row| {
            row.object(|fields| {
                fields.int("i", -1).text("t", "a\u{1}\"").bool("b", true).bool("c", false).null("n").json("j", "[1]");
                fields.object("o", |inner| _ = inner.float("f", 1e300)).object("e", |_| ());
            });
        });
        let expected =
            serde_json::json!({"i": -1, "t": "a\u{1}\"", "b": true, "c": false, "n": null, "j": [1], "o": {"f": 1e300}, "e": {}});
        assert_eq!(serde_json::from_str::<serde_json::Value>(&value).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn json_text_is_what_serde_writes(text in any::<String>(), controls in "[\u{0}-\u{30}\\\\]{0,40}") {
            for text in [text, controls] {
                prop_assert_eq!(written(|row| _ = row.json_text(&text)), serde_json::to_string(&text).unwrap());
            }
        }

        #[test]
        fn integers_are_what_they_display(number in any::<i64>(), shift in 0..64u32) {
            let number = number >> shift;
            prop_assert_eq!(written(|row| _ = row.int(number)), number.to_string());
        }
    }
}
