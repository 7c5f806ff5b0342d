//! The splitter in the native harness.

use super::*;
use reprise_guest::harness::Harness;

fn words(config: &str, line: &str) -> Vec<String> {
    let mut split = Harness::<Split>::new(config).unwrap();
    split.process([(7, "", line)]).unwrap().pairs().into_iter().map(|(word, _)| word).collect()
}

#[test]
fn words_are_runs_of_letters_in_lower_case() {
    assert_eq!(words("{}", "To be, or NOT--to be?"), ["to", "be", "or", "not", "to", "be"]);
    assert_eq!(words("{}", "don't x2y"), ["don", "t", "x", "y"]);
    assert_eq!(words("{}", "Café"), ["caf"]);
    assert!(words("{}", " 1, 2 ").is_empty());
}

#[test]
fn capitals_stay_where_the_config_says_so() {
    assert_eq!(words(r#"{"lowercase":false}"#, "To be"), ["To", "be"]);
    assert!(Harness::<Split>::new(r#"{"lowercase":"no"}"#).is_err());
}

#[test]
fn words_have_the_time_of_their_line_and_no_value() {
    let mut split = Harness::<Split>::new("{}").unwrap();
    let answer = split.process([(7, "", "a"), (8, "", "b")]).unwrap();
    assert_eq!(format!("{:?}", answer.outputs), "[[7: a = , 8: b = ]]");
}
