//! A component of a plain `wasm32-wasip2` build against the virtual WASI: what it is told is the same whenever a call is replayed, what
//! it is not granted it does not get, and whatever it tries the host lives.
//!
//! `cargo xtask test` builds the guest where the toolchain has that target, and leaves these tests out elsewhere.

use crate::support::{Place, guest};
use reprise::wasm::{
    Answer, Call, Component, Fault, GrantError, Grants, GuestError, HANDLES_MAX, Instance, InstanceIdentity, Level, Limits,
    PreopenedFolder, Runtime, Settings, World, inspect,
};
use reprise_core::batch::{Batch, Row};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

const NOW_MS: i64 = 1_700_000_000_123;

fn probe() -> Component {
    static PROBE: LazyLock<Component> = LazyLock::new(|| {
        let runtime = Runtime::new(&Settings { instances_max: 32, ..Settings::default() }).unwrap();
        runtime.load(&fs::read(guest("wasi-probe")).unwrap()).unwrap()
    });
    PROBE.clone()
}

fn start_as(component: &Component, instance: u32) -> Instance {
    let limits = Limits { deadline: Duration::from_secs(60), log_lines_per_call_max: 10, ..Limits::default() };
    let identity = InstanceIdentity { job: "wasi".into(), operator: "probe".into(), instance, seed: 0 };
    let mut started = component.instantiate(&limits, identity).unwrap();
    started.open("{}", 2, call(0)).unwrap();
    started
}

fn start() -> Instance {
    start_as(&probe(), 0)
}

fn call(number: u64) -> Call {
    Call { number, now_ms: NOW_MS, instant_ns: 0 }
}

fn try_ask(instance: &mut Instance, call: Call, command: &str) -> Result<String, GuestError> {
    let mut rows = Batch::new();
    rows.push(Row { time: 0, key: b"", value: command.as_bytes() }).unwrap();
    let outcome = instance.process(0, &rows, call)?;
    let values = outcome.outputs.iter().flat_map(|(_, rows)| rows.rows());
    Ok(values.map(|row| String::from_utf8(row.value.to_vec()).unwrap()).collect())
}

fn ask(instance: &mut Instance, command: &str) -> String {
    try_ask(instance, call(1), command).unwrap()
}

/// The fault in which a command ends.
fn fault(command: &str) -> Fault {
    let mut instance = start();
    let error = try_ask(&mut instance, call(1), command).unwrap_err();
    assert!(instance.is_dead());
    error.fault
}

#[test]
fn the_probe_of_wasip2_imports_wasi_and_is_an_operator() {
    let inspection = inspect(&fs::read(guest("wasi-probe")).unwrap()).unwrap();
    assert_eq!(inspection.check().unwrap(), World::Stateful);
    let word = |start: &str| {
        let found = inspection.imports.iter().zip(inspection.answers()).find(|(import, _)| import.starts_with(start));
        found.map(|(_, answer)| answer.word()).unwrap_or_else(|| panic!("it does not import `{start}`: {:?}", inspection.imports))
    };
    for import in ["wasi:cli/environment", "wasi:cli/stdin", "wasi:clocks/wall-clock", "wasi:random/random", "wasi:filesystem/preopens"] {
        assert_eq!(word(import), "virtual", "{import}");
    }
    for import in ["wasi:sockets/tcp", "wasi:sockets/udp-create-socket", "wasi:sockets/ip-name-lookup"] {
        assert_eq!(word(import), "denied", "{import}");
    }
    assert!(inspection.answers().iter().all(|answer| !matches!(answer, Answer::Refused(_))));
}

#[test]
fn a_guest_of_wasip2_sees_the_clocks_of_its_call() {
    let expected = "wall [1700000000123000000, 1700000000123000000], monotonic 1700003600123003000 1µs 3600.000002s";
    assert_eq!(ask(&mut start(), "clocks"), expected);
    let mut instance = start();
    ask(&mut instance, "clocks");
    let again = ask(&mut instance, "clocks");
    assert!(
        again.starts_with("wall [1700000000123000000, 1700000000123000000], monotonic 1700007200123"),
        "it goes on where it was: {again}"
    );
    let zero = try_ask(&mut start(), Call { number: 2, now_ms: 0, instant_ns: 0 }, "clocks").unwrap();
    assert!(zero.starts_with("wall [1000000, 1000000], monotonic 3600"), "a clock is never at zero: {zero}");
    assert_eq!(ask(&mut start(), "spin"), "999 looks", "who waits for the clock in a loop gets on");
}

#[test]
fn a_replayed_call_of_wasip2_gets_the_same_answers_and_another_call_other_numbers() {
    let commands = ["clocks", "random", "tables", "environment", "stdin", "spin"];
    let script = |mut instance: Instance, number: u64| {
        commands.map(|command| try_ask(&mut instance, Call { number, now_ms: NOW_MS, instant_ns: 0 }, command).unwrap())
    };
    let first = script(start(), 7);
    assert_eq!(first, script(start(), 7), "byte for byte");
    let mut older = start();
    for command in commands {
        ask(&mut older, command);
    }
    let (mut fresh, mut again) = (first.to_vec(), script(older, 7).to_vec());
    // Rust counts the tables of a thread, and the order of each differs: that is a state of the guest.
    assert_ne!(fresh.remove(2), again.remove(2));
    // The monotonic clock goes on from where the instance has seen it.
    assert_ne!(fresh.remove(0), again.remove(0));
    assert_eq!(fresh, again, "whatever the instance did before");
    let other = script(start(), 8);
    assert_ne!(first[1], other[1], "another call, other numbers");
    assert_eq!(first[2], other[2], "the same order of hash tables in every call");
    let neighbour = script(start_as(&probe(), 1), 7);
    assert_ne!(first[1], neighbour[1]);
    assert_ne!(first[2], neighbour[2]);
}

#[test]
fn a_guest_of_wasip2_has_no_arguments_no_input_and_no_environment() {
    let mut instance = start();
    assert_eq!(ask(&mut instance, "environment"), "0 arguments, []");
    assert_eq!(ask(&mut instance, "stdin"), "0");
    for command in ["read /etc/passwd", "list /", "list .", "read secret.txt", "stat /", "write /tmp/x", "make x"] {
        assert!(ask(&mut instance, command).starts_with("error: "), "{command}");
    }
}

#[test]
fn what_a_guest_of_wasip2_prints_is_in_the_log_line_by_line() {
    let mut instance = start();
    assert_eq!(ask(&mut instance, "print hello"), "printed");
    let lines: Vec<_> = instance.take_log().into_iter().map(|line| (line.level, line.message, line.call)).collect();
    let expected = [(Level::Info, "hello"), (Level::Warn, "hello"), (Level::Info, "not ended")];
    assert_eq!(lines, expected.map(|(level, text)| (level, text.to_owned(), 1)));
    assert_eq!(ask(&mut instance, "flood 5000"), "printed");
    let log = instance.take_log();
    assert_eq!((log.len(), log[10].message.as_str()), (11, "4991 more lines were dropped: 10 a call and 1000 a second are kept"));
    assert_eq!(ask(&mut instance, "flood 1"), "printed");
    assert_eq!(instance.take_log().iter().map(|line| line.message.len()).collect::<Vec<_>>(), [1, 4096], "a long line is cut");
}

#[test]
fn a_guest_of_wasip2_that_exits_or_panics_has_failed_and_the_next_one_works() {
    assert_eq!(fault("exit 0"), Fault::Trap("the guest called `exit` (success)".into()));
    assert_eq!(fault("exit 3"), Fault::Trap("the guest called `exit` (failure)".into()));
    assert!(matches!(fault("panic now"), Fault::Trap(_)));
    assert_eq!(ask(&mut start(), "environment"), "0 arguments, []");
}

#[test]
fn a_guest_of_wasip2_reaches_no_network_and_the_host_lives() {
    let mut instance = start();
    for command in ["connect 127.0.0.1:80", "connect [::1]:80", "bind 127.0.0.1:0", "resolve localhost:80", "connect example.org:80"] {
        assert!(ask(&mut instance, command).starts_with("error: "), "{command}");
    }
    assert_eq!(ask(&mut instance, "connect 127.0.0.1:80"), "error: PermissionDenied");
    assert_eq!(ask(&mut instance, "environment"), "0 arguments, []", "and it goes on");
}

#[test]
fn a_guest_of_wasip2_cannot_make_the_host_keep_or_make_more_than_there_is() {
    assert_eq!(ask(&mut start(), "random-many 1048576"), "1048576");
    let Fault::Trap(why) = fault("random-many 1048577") else { panic!("no trap") };
    assert!(why.contains("1048577 random bytes"), "{why}");
    assert_eq!(ask(&mut start(), "subscribe-many 100"), "100");
    assert_eq!(fault("subscribe-many 10000"), Fault::Trap(format!("more than {HANDLES_MAX} handles of WASI are open")));
}

#[test]
fn a_guest_of_wasip2_that_asks_without_end_is_ended_at_its_limit_of_host_calls() {
    // No deadline that a test would last ends it.
    let limits = Limits { deadline: Duration::from_secs(3600), host_calls_per_call_max: 10_000, ..Limits::default() };
    let identity = InstanceIdentity { job: "wasi".into(), operator: "probe".into(), instance: 0, seed: 0 };
    let mut instance = probe().instantiate(&limits, identity).unwrap();
    instance.open("{}", 2, call(0)).unwrap();
    let error = try_ask(&mut instance, call(1), "storm").unwrap_err();
    assert_eq!(error.to_string(), "stopped in `process`: over its limit of 10000 calls of the host (`limits.host-calls` of the operator)");
    assert!(!error.backtrace.is_empty(), "it ends where it asks");
    assert!(instance.is_dead());
}

#[test]
fn a_guest_of_wasip2_gets_the_variables_that_are_granted() {
    let environment = vec![("LANG".to_owned(), "C".to_owned()), ("EMPTY".to_owned(), String::new())];
    let component = probe().granted(Grants { environment, ..Grants::default() }).unwrap();
    assert_eq!(ask(&mut start_as(&component, 0), "environment"), "0 arguments, [\"EMPTY=\", \"LANG=C\"]");
    assert_eq!(ask(&mut start(), "environment"), "0 arguments, []", "and no other operator of the same component");
}

/// A folder with files, folders and links that lead out of it, and what must not be seen beside it.
fn folder(place: &Path) {
    fs::create_dir_all(place.join("words/deep")).unwrap();
    fs::write(place.join("words/b.txt"), "two").unwrap();
    fs::write(place.join("words/a.txt"), "one").unwrap();
    fs::write(place.join("words/deep/c.txt"), "three").unwrap();
    fs::write(place.join("words/long"), vec![7; 200_000]).unwrap();
    fs::write(place.join("secret.txt"), "secret").unwrap();
    for (target, link) in [
        ("../secret.txt", "out"),
        ("deep/../../secret.txt", "out-deep"),
        ("..", "up"),
        ("a.txt", "in"),
        ("../a.txt", "deep/in"),
        ("loop", "loop"),
        ("nowhere", "dangling"),
    ] {
        std::os::unix::fs::symlink(target, place.join("words").join(link)).unwrap();
    }
    std::os::unix::fs::symlink(place.join("words/a.txt"), place.join("words/absolute")).unwrap();
}

fn reader(place: &Path) -> Instance {
    folder(place);
    let folders = vec![PreopenedFolder::new("/data", &place.join("words")).unwrap()];
    start_as(&probe().granted(Grants { folders, ..Grants::default() }).unwrap(), 0)
}

#[test]
fn a_guest_of_wasip2_reads_a_granted_folder() {
    let place = tempfile::tempdir().unwrap();
    let mut instance = reader(place.path());
    for (command, answer) in [
        ("read /data/a.txt", "one"),
        ("read /data/deep/c.txt", "three"),
        ("read /data/deep/../b.txt", "two"),
        ("read /data/in", "one"),
        ("read /data/deep/in", "one"),
        ("list /data", "a.txt absolute b.txt dangling deep in long loop out out-deep up"),
        ("list /data/deep", "c.txt in"),
        ("stat /data/a.txt", "3 bytes, folder false, link false, changed Some(0ns)"),
        ("stat /data/deep", "0 bytes, folder true, link false, changed Some(0ns)"),
        ("stat /data/in", "0 bytes, folder false, link true, changed Some(0ns)"),
        ("link /data/in", "a.txt"),
        ("read-long /data/long", "200000 bytes, sum 1400000, ends with \u{7}\u{7}\u{7}"),
        ("read /data/none", "error: NotFound"),
        ("read /data/a.txt/x", "error: NotADirectory"),
        ("read /data/deep", "error: IsADirectory"),
    ] {
        assert_eq!(ask(&mut instance, command), answer, "{command}");
    }
}

#[test]
fn a_guest_of_wasip2_cannot_leave_a_granted_folder() {
    let place = tempfile::tempdir().unwrap();
    let mut instance = reader(place.path());
    for command in [
        "read /data/out",
        "read /data/out-deep",
        "read /data/up/secret.txt",
        "read /data/../secret.txt",
        "read /data/deep/../../secret.txt",
        "read /data/absolute",
        "read /data/loop",
        "read /data/dangling",
        "list /data/up",
        "list /data/..",
        "link /data/absolute",
        "read /secret.txt",
        "read /etc/passwd",
        &format!("read /data/{}", place.path().join("words/a.txt").display()),
        &format!("read {}", place.path().join("words/a.txt").display()),
    ] {
        let answer = ask(&mut instance, command);
        assert!(answer.starts_with("error: "), "{command}: {answer}");
    }
    let missing = ask(&mut instance, "read /data/../missing.txt");
    assert_eq!(missing, ask(&mut instance, "read /data/../secret.txt"), "it is not told what there is outside");
}

#[test]
fn a_guest_of_wasip2_cannot_change_a_granted_folder() {
    let place = tempfile::tempdir().unwrap();
    let mut instance = reader(place.path());
    for command in
        ["write /data/a.txt", "write /data/new.txt", "append /data/a.txt", "make /data/new", "remove /data/a.txt", "rename /data/a.txt"]
    {
        assert_eq!(ask(&mut instance, command), "error: ReadOnlyFilesystem", "{command}");
    }
    assert_eq!(fs::read_to_string(place.path().join("words/a.txt")).unwrap(), "one");
    assert_eq!(fs::read_dir(place.path().join("words")).unwrap().count(), 11);
}

#[test]
fn a_guest_of_wasip2_cannot_open_files_without_end() {
    let place = tempfile::tempdir().unwrap();
    let mut instance = reader(place.path());
    assert_eq!(ask(&mut instance, "open-many /data/a.txt"), "more than a hundred: true, then OutOfMemory");
    assert_eq!(ask(&mut instance, "read /data/a.txt"), "one", "what was closed can be opened again");
}

#[test]
fn a_folder_that_is_not_there_cannot_be_granted_to_a_guest_of_wasip2() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("file"), "x").unwrap();
    for name in ["missing", "file"] {
        assert!(matches!(PreopenedFolder::new("/data", &place.path().join(name)), Err(GrantError::Folder { .. })), "{name}");
    }
}

const TOPOLOGY: &str = r#"
name = "probing"
checkpoint.store = "file:./state"
[[source]]
name = "commands"
file.path = "commands.txt"
[[operator]]
name = "probe"
component = "probe.wasm"
input = "commands"
GRANT
[[sink]]
name = "answers"
input = "probe"
file = { path = "out", format = "lines" }
"#;

fn topology(grant: &str) -> Place {
    let place = Place::with(&TOPOLOGY.replace("GRANT", grant));
    place.write("probe.wasm", fs::read(guest("wasi-probe")).unwrap());
    place.write("commands.txt", "environment\nread /data/a.txt\nprint to the log\nwrite /data/a.txt\n");
    place.write("words/a.txt", "one");
    place
}

const GRANT: &str = r#"grant = { env = { LANG = "C" }, folders = { "/data" = "words" } }"#;

#[test]
fn the_clock_of_a_job_goes_on_where_an_instance_left_it_that_failed() {
    let place = topology(GRANT);
    place.write("job.toml", TOPOLOGY.replace("GRANT", "on-failure = { retries = 0 }"));
    place.write("commands.txt", "clocks\npanic now\nclocks\n");
    place.finish(1);
    let monotonic_ns = |line: &[u8]| -> u64 {
        let line = String::from_utf8_lossy(line).into_owned();
        let (_, rest) = line.split_once("monotonic ").unwrap_or_else(|| panic!("{line}"));
        rest.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{line}"))
    };
    let mut seen: Vec<u64> = place.published().iter().map(monotonic_ns).collect();
    seen.sort_unstable();
    let [first, second] = seen[..] else { panic!("{seen:?}") };
    // Each of them sleeps an hour before it looks.
    assert!(second - first >= 3_600_000_000_000, "it went back: {first}, then {second}");
}

#[test]
fn a_job_grants_what_its_topology_says_to_a_guest_of_wasip2() {
    let place = topology(GRANT);
    let ended = place.finish(1);
    assert!(ended.stderr.contains("to the log"), "{ended}");
    let published: Vec<String> = place.published().iter().map(|line| String::from_utf8_lossy(line).trim_end().to_owned()).collect();
    assert_eq!(published, ["0 arguments, [\"LANG=C\"]", "error: ReadOnlyFilesystem", "one", "printed"]);
    let ended = place.run(&["check", "job.toml"]);
    for text in ["granted  environment variables LANG", "granted  folder words as /data, read-only"] {
        assert!(ended.stdout.contains(text), "the plan lacks `{text}`: {ended}");
    }
    let ended = place.run(&["check", "job.toml", "--json"]);
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(answer["operators"][0]["grant"], serde_json::json!({ "env": ["LANG"], "folders": { "/data": "words" } }));
}

#[test]
fn a_row_at_which_a_guest_of_wasip2_ends_itself_is_set_aside_and_the_others_come_out() {
    let place = topology(GRANT);
    place.write("commands.txt", "environment\nexit 1\nread /data/a.txt\npanic now\nstdin\n");
    place.finish(1);
    let published: Vec<String> = place.published().iter().map(|line| String::from_utf8_lossy(line).trim_end().to_owned()).collect();
    assert_eq!(published, ["0", "0 arguments, [\"LANG=C\"]", "one"]);
}

#[test]
fn inspect_tells_what_each_import_of_wasip2_gets() {
    let place = topology(GRANT);
    let ended = place.run(&["inspect", "probe.wasm"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    let line = |start: &str| ended.stdout.lines().find(|line| line.contains(start)).unwrap_or_else(|| panic!("no `{start}`: {ended}"));
    assert!(line("reprise:operator/runtime").contains("contract"));
    assert!(line("wasi:cli/environment").contains("no variables but those of `grant.env`"));
    assert!(line("wasi:sockets/tcp@").contains("denied"));
    assert!(!ended.stdout.contains(" granted   "), "{ended}");
    let ended = place.run(&["inspect", "probe.wasm", "--topology", "job.toml", "--operator", "probe", "--json"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    let find = |start: &str| {
        let answers = answer["answers"].as_array().unwrap();
        answers.iter().find(|answer| answer["import"].as_str().unwrap().starts_with(start)).unwrap().clone()
    };
    assert_eq!(find("wasi:cli/environment")["granted"], serde_json::json!(["LANG"]));
    let folder = find("wasi:filesystem/preopens")["granted"][0].as_str().unwrap().to_owned();
    assert!(folder.starts_with("/data = /") && folder.ends_with("words"), "{folder}");
    assert_eq!((&find("wasi:sockets/tcp@")["gets"], &find("wasi:sockets/tcp@")["granted"]), (&Value::from("denied"), &Value::Null));
    let ended = place.run(&["inspect", "probe.wasm", "--topology", "job.toml", "--operator", "other"]);
    assert_eq!(ended.code(), Some(2), "{ended}");
    assert!(ended.stderr.contains("has no operator `other`; it has probe"), "{ended}");
}

#[test]
fn a_topology_that_grants_what_is_not_there_does_not_start_a_guest_of_wasip2() {
    let place = topology(r#"grant.folders = { "/data" = "missing" }"#);
    for command in ["check", "run"] {
        let ended = place.run(&[command, "job.toml"]);
        assert_eq!(ended.code(), Some(2), "{ended}");
        assert!(ended.stderr.contains("missing`, which is granted as `/data`, cannot be read: "), "{ended}");
    }
}
