//! Laws of the whole way from text to plan; texts of problems are in the golden files of the crate `tests`.

use super::*;
use crate::description::{Description, Encoding, Port};
use proptest::prelude::*;

const GOOD: &str = r#"
name = "good"

[checkpoint]
store = "file:${STATE}/x"
interval = "500ms"

[flow]
batch-rows = 100

[[source]]
name = "orders"
file = { path = "in/*.csv", format = "csv", key = { column = "id" }, time = { column = 3, unit = "s" }, lateness = "5s" }

[[operator]]
name = "split"
component = "split.wasm"
input = [{ from = "orders", by = "key" }]
on-failure = { retries = 0, backoff = "1ms..1h" }

[operator.config]
text = "a\"\\\n\u0001é"
numbers = [1, -2, 0.5, 1e300, -0.0]
day = 2026-01-31
"quoted key" = { deep = [[true], []] }

[[operator.config.rules]]
x = "${STATE}"

[[sink]]
name = "out"
input = ["split.words", "orders"]
stdout = { format = "csv" }
"#;

fn lookup(name: &str) -> Option<String> {
    (name == "STATE").then(|| "/var".to_owned())
}

fn splitter(_: &Operator) -> Option<Description> {
    let port = |name: &str| Port { name: name.to_owned(), key: Encoding::Utf8, value: Encoding::Utf8 };
    let (inputs, outputs) = (vec!["rows".to_owned()], vec![port("words"), port("rest")]);
    Some(Description { name: "Split".into(), version: "1".into(), inputs, outputs, slots: vec![] })
}

fn make(text: &str) -> Result<Plan, Vec<Problem>> {
    let topology = parse(text, &lookup)?;
    let descriptions = topology.operators.iter().map(splitter).collect();
    plan(topology, descriptions)
}

fn messages(text: &str) -> Vec<String> {
    make(text).map_or_else(|problems| problems.into_iter().map(|problem| problem.message).collect(), |_| Vec::new())
}

#[test]
fn config_becomes_json_in_the_order_of_the_file() {
    let plan = make(GOOD).unwrap();
    let expected = concat!(
        r#"{"text":"a\"\\\n\u0001é","numbers":[1,-2,0.5,1e300,-0.0],"day":"2026-01-31","#,
        r#""quoted key":{"deep":[[true],[]]},"rules":[{"x":"/var"}]}"#
    );
    assert_eq!(plan.topology.operators[0].config, expected);
}

#[test]
fn a_variable_cannot_leave_its_string() {
    let evil = |_: &str| Some("x\"\nkeep = 1\n[flow]\nbatch-rows = 0\n${STATE}".to_owned());
    let text = GOOD.replace("file:${STATE}/x", "memory:");
    let topology = parse(&text, &evil).unwrap();
    assert_eq!(topology.checkpoint.keep, 3);
    assert!(topology.operators[0].config.contains(r#""x\"\nkeep = 1\n[flow]\nbatch-rows = 0\n${STATE}""#));
}

#[test]
fn one_bad_node_hides_nothing_and_causes_nothing_else() {
    let bad_source = GOOD.replace("file = { path", "file = { paht");
    assert_eq!(messages(&bad_source), ["`path` is missing", "unknown key `paht` in the `file` of a source"]);
    let nameless = GOOD.replace("name = \"orders\"", "");
    assert_eq!(messages(&nameless), ["a source has no `name`"]);
    let both = bad_source.replace("\"500ms\"", "500").replace("csv\" }", "cvs\" }");
    let last = ["`interval`: expected a string, found an integer", "`format`: \"cvs\" is not known"];
    assert_eq!(messages(&both).len(), 4);
    assert!(last.iter().all(|message| messages(&both).iter().any(|found| found == message)));
}

#[test]
fn a_slip_in_a_name_does_not_make_the_node_unread() {
    let text = GOOD.replace("from = \"orders\"", "from = \"ordres\"").replace("\"split.words\", \"orders\"", "\"split.words\"");
    assert_eq!(messages(&text), ["nothing is named `ordres`"]);
}

#[test]
fn problems_come_in_the_order_of_the_file_and_have_an_end() {
    let text: String = (0..2 * PROBLEMS_MAX).map(|number| format!("unknown-{number} = 1\n")).collect();
    let problems = parse(&text, &lookup).unwrap_err();
    assert_eq!(problems.len(), PROBLEMS_MAX);
    assert!(problems.is_sorted_by_key(|problem| (problem.line, problem.column)));
}

#[test]
fn too_much_of_anything_is_refused() {
    let refused = |text: &str, part: &str| {
        let problems = parse(text, &lookup).unwrap_err();
        assert!(problems.iter().any(|problem| problem.message.contains(part)), "{part}: {:?}", &problems[..problems.len().min(3)]);
    };
    refused(&"#".repeat(TEXT_BYTES_MAX + 1), "at most 1048576 are allowed");
    refused(&"[[sink]]\n".repeat(NODES_MAX + 1), "has 1001 sources, operators and sinks");
    refused(&GOOD.replace("[true]", &format!("{}{}", "[".repeat(70), "]".repeat(70))), "nested more than 32 deep");
    refused(&GOOD.replace("[true]", &format!("{}{}", "[".repeat(500_000), "]".repeat(500_000))), "not TOML");
    refused(&GOOD.replace("[operator.config]", &format!("[operator.config{}]", ".a".repeat(500_000))), "not TOML");
    refused(&GOOD.replace("\"orders\"]", &"\"orders\",".repeat(READS_MAX + 1)), "not TOML");
    refused(&GOOD.replace("\"orders\"]", &format!("{}]", "\"orders\",".repeat(READS_MAX + 1))), "reads 258 things; at most 256");
    let large = |_: &str| Some("x".repeat(EXPANSION_BYTES_MAX));
    let problems = parse(GOOD, &large).unwrap_err();
    assert!(problems[0].message.contains("hold more than 1048576 bytes"), "{problems:?}");
}

#[test]
fn a_nested_config_passes_up_to_the_limit() {
    // `config`, `quoted key` and `deep` are three of the levels.
    let depth = |lists: usize| GOOD.replace("[true]", &format!("{}{}", "[".repeat(lists), "]".repeat(lists)));
    assert!(make(&depth(CONFIG_DEPTH_MAX - 3)).is_ok());
    assert_eq!(messages(&depth(CONFIG_DEPTH_MAX - 2)), ["`config` is nested more than 32 deep"]);
}

#[test]
fn a_component_that_is_missing_silences_what_depends_on_it() {
    let topology = parse(GOOD, &lookup).unwrap();
    assert_eq!(plan(topology.clone(), vec![None]), Err(vec![]));
    assert_eq!(plan(topology, vec![]), Err(vec![]));
}

#[test]
fn a_topology_made_by_hand_is_refused_not_trusted() {
    let mut topology = parse(GOOD, &lookup).unwrap();
    topology.operators[0].inputs[0].from = "split".to_owned();
    let problems = plan(topology.clone(), vec![splitter(&topology.operators[0])]).unwrap_err();
    assert_eq!(problems[0].message, "rows would go round in a circle");
    topology.operators[0].inputs[0].from = "nowhere".to_owned();
    let problems = plan(topology.clone(), vec![splitter(&topology.operators[0])]).unwrap_err();
    assert_eq!(problems[0].message, "nothing to read is named `nowhere`");
}

#[test]
fn the_digest_text_keeps_what_state_depends_on() {
    let digest = |text: &str| parse(text, &lookup).unwrap().digest_text();
    let good = digest(GOOD);
    assert_eq!(good, "topology 1\njob good\noperator split orders/key\nsink out stdout split.words/stay orders/stay\nsource orders file\n");
    assert_eq!(good, digest(&GOOD.replace("split.wasm", "v2/split.wasm").replace("500ms", "5s").replace("0.5", "0.6")));
    for (from, to) in [("\"good\"", "\"better\""), ("by = \"key\"", "by = \"all\""), ("split.words", "split.rest"), ("\"out\"", "\"end\"")]
    {
        assert_ne!(good, digest(&GOOD.replace(from, to)), "{from}");
    }
}

#[test]
fn a_large_tangle_is_checked_in_good_time() {
    let count = NODES_MAX - 2;
    let mut text = "name = \"tangle\"\ncheckpoint.store = \"memory:\"\n[[source]]\nname = \"s\"\nfile.path = \"in\"\n".to_owned();
    for number in 0..count {
        let inputs: Vec<String> = (1..=100).map(|step| format!("\"o{}\"", (number + step) % count)).collect();
        text.push_str(&format!("[[operator]]\nname = \"o{number}\"\ncomponent = \"c\"\ninput = [{}]\n", inputs.join(",")));
    }
    text.push_str("[[sink]]\nname = \"z\"\ninput = [\"s\", \"o0\"]\nstdout = {}\n");
    let problems = parse(&text, &lookup).unwrap_err();
    assert_eq!(problems.len(), PROBLEMS_MAX);
    assert!(problems.iter().all(|problem| problem.message.starts_with("rows would go round") && problem.message.len() < 200));
}

fn mutated() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "\"",
        "'",
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        ".",
        ",",
        "\n",
        "-1",
        "nan",
        "${",
        "$${",
        "\"\"\"",
        "\u{0}",
        "é",
        "0s",
        "[[sink]]\n",
        "true",
        "2026-01-01",
        "name",
        "input",
        "\"split\"",
        "\"orders.words\"",
    ]);
    let edit = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_u8..4, pieces);
    prop::collection::vec(edit, 1..8).prop_map(|edits| {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (first, second, kind, piece) in edits {
            let (a, b) = (first.index(text.len() + 1), second.index(text.len() + 1));
            let (start, end) = (a.min(b), a.max(b).min(a.min(b) + 40));
            match kind {
                0 => _ = text.drain(start..end),
                1 => _ = text.splice(start..start, piece.chars()),
                2 => _ = text.splice(start..end, piece.chars()),
                _ => {
                    let copy = text[start..end].to_vec();
                    text.splice(b..b, copy);
                }
            }
        }
        text.into_iter().collect()
    })
}

/// Whatever comes out: problems within the text, or a plan whose parts fit.
fn holds(text: &str) {
    match make(text) {
        Ok(plan) => {
            assert_eq!(plan.descriptions.len(), plan.topology.operators.len());
            assert!(plan.edges.iter().all(|edge| {
                let place = |node| plan.order.iter().position(|other| *other == node);
                place(edge.from) < place(edge.to)
            }));
            assert!(plan.render(3).ends_with('\n'));
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            let lines = text.lines().count() + 1;
            assert!(problems.iter().all(|problem| (1..=lines).contains(&problem.line) && problem.column > 0));
            assert!(render_quoted(&problems, "t", text).lines().count() >= problems.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in "\\PC{0,200}|[\\[\\]{}=.,\"'a-z0-9$\n -]{0,200}") {
        holds(&text);
    }

    #[test]
    fn no_mutation_of_a_good_text_panics(text in mutated()) {
        holds(&text);
    }
}
