//! What is not certainly a row is none.

use super::{GOOD, REFUSED, assert_ends, place, quarantine, run_with_input, values};
use std::io::Write;

#[test]
fn an_open_quote_swallows_no_rows() {
    let place = place("path = \"in.csv\", format = \"csv\"");
    place.write("in.csv", "id,note\n1,\"five foot\n2,b\n3,c\n4,d\n");
    assert_ends(&place.finish(1), GOOD, &[]);
    assert_eq!(values(&place), [r#"{"id":"2","note":"b"}"#, r#"{"id":"3","note":"c"}"#, r#"{"id":"4","note":"d"}"#]);
    assert!(quarantine(&place).contains("quote"), "{}", quarantine(&place));
}

#[test]
fn a_file_that_is_being_written_gives_no_half_row() {
    let place = place("path = \"in.csv\", format = \"csv\"");
    place.write("in.csv", "id,amount\n1,100\n2,20");
    let path = place.path("in.csv");
    let written = std::fs::OpenOptions::new().append(true).open(&path).expect("it was written");
    let mut running = place.start(&["run", "job.toml"]);
    running.wait_until("it begins", |running| {
        // Its writer is at work until then.
        written.set_modified(std::time::SystemTime::now()).expect("time stamps can be set");
        running.told().contains("begins")
    });
    let mut written = written;
    written.write_all(b"00\n3,300\n").expect("it can be written");
    assert_ends(&running.wait(), GOOD, &[]);
    assert_eq!(values(&place), [r#"{"amount":"100","id":"1"}"#, r#"{"amount":"2000","id":"2"}"#]);
}

#[test]
fn text_behind_a_closing_quote_spoils_one_line() {
    let place = place("path = \"in.csv\", format = \"csv\"");
    place.write("in.csv", "id,note\n1,\"a\nb\"\n2,\"x\"y\n3,\"c\nd\"e\n4,5\" pipe\n5,\"say \"\"hi\"\"\"\n");
    place.finish(1);
    assert_eq!(values(&place), [r#"{"id":"1","note":"a\nb"}"#, r#"{"id":"4","note":"5\" pipe"}"#, r#"{"id":"5","note":"say \"hi\""}"#]);
    let listed = quarantine(&place);
    assert!(listed.contains("text follows a closing quote"), "{listed}");
}

#[test]
fn a_file_cut_within_quotes_gives_no_half_row() {
    let place = place("path = \"in.csv\", format = \"csv\"");
    place.write("in.csv", "id,note\n1,whole\n2,\"hal");
    place.finish(1);
    assert_eq!(values(&place), [r#"{"id":"1","note":"whole"}"#]);
    assert!(quarantine(&place).contains("never closed"), "{}", quarantine(&place));
}

#[test]
fn standard_input_that_breaks_off_within_quotes_gives_no_half_row() {
    let place = place("path = \"-\", format = \"csv\"");
    let ended = run_with_input(&place, b"id,note\n1,whole\n2,\"hal\n3,c\n");
    assert_ends(&ended, GOOD, &[]);
    assert_eq!(values(&place), [r#"{"id":"1","note":"whole"}"#, r#"{"id":"3","note":"c"}"#]);
    assert!(quarantine(&place).contains("never closed"), "{}", quarantine(&place));
}

#[test]
fn a_header_within_an_open_quote_is_an_error_and_no_row() {
    let place = place("path = \"in.csv\", format = \"csv\"");
    place.write("in.csv", "id,\"note\n1,a\n2,b\n");
    let ended = place.run(&["run", "job.toml"]);
    assert_ends(&ended, REFUSED, &["in.csv", "quote", "help:"]);
    assert!(values(&place).is_empty());
}

#[test]
fn text_in_utf_16_is_refused_with_what_to_do() {
    for (format, bytes) in [("lines", &b"\xff\xfea\0\n\0"[..]), ("csv", b"\xfe\xff\0a\0\n"), ("json", b"{\0\"\0a\0\"\0:\x001\0}\0\n\0")] {
        let place = place(&format!("path = \"in\", format = \"{format}\""));
        place.write("in", bytes);
        assert_ends(&place.run(&["run", "job.toml"]), REFUSED, &["UTF-16", "iconv"]);
        assert!(values(&place).is_empty());
    }
    let place = place("path = \"-\", format = \"lines\"");
    assert_ends(&run_with_input(&place, b"\xff\xfea\0\n\0"), REFUSED, &["standard input", "UTF-16"]);
}

#[test]
fn a_record_with_a_nul_byte_goes_to_quarantine() {
    let place = place("path = \"in.csv\", format = \"csv\"");
    place.write("in.csv", format!("id,note\n{}\n1,x\0y\n2,b\n", "9,filled".repeat(20).replace("filled9", "filled\n9")));
    place.finish(1);
    assert_eq!(values(&place).len(), 21);
    assert!(quarantine(&place).contains("NUL byte"), "{}", quarantine(&place));
}
