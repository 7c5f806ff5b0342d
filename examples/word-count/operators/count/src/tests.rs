//! The counter in the native harness.

use super::*;
use reprise_guest::harness::Harness;

fn pair(word: &str, total: &str) -> (String, String) {
    (word.to_owned(), total.to_owned())
}

#[test]
fn totals_come_in_the_order_of_the_words_when_the_input_ends() {
    let mut count = Harness::<Count>::new("{}").unwrap();
    assert_eq!(count.process([(1, "to", ""), (2, "be", "")]).unwrap().pairs(), []);
    let mut count = count.restarted().unwrap();
    assert_eq!(count.process([(3, "to", "")]).unwrap().pairs(), []);
    assert_eq!(count.advance(3).unwrap().pairs(), []);
    assert_eq!(count.advance(END_OF_INPUT).unwrap().pairs(), [pair("be", "1"), pair("to", "2")]);
}

#[test]
fn updates_come_at_every_row_and_no_totals_at_the_end() {
    let mut count = Harness::<Count>::new(r#"{"emit":"updates"}"#).unwrap();
    assert_eq!(count.process([(1, "to", ""), (2, "to", "")]).unwrap().pairs(), [pair("to", "1"), pair("to", "2")]);
    assert_eq!(count.advance(END_OF_INPUT).unwrap().pairs(), []);
}

#[test]
fn a_wrong_config_is_refused() {
    assert!(Harness::<Count>::new(r#"{"emit":"never"}"#).is_err());
    assert!(Harness::<Count>::new(r#"{"emmit":"updates"}"#).is_err());
}
