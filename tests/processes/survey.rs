//! `checkpoint list|show|diff|verify` and `state show`, on a store that is written here byte for byte: what they print is golden. And on
//! the store of a real job, whose input says what the state must be.

use crate::golden;
use crate::support::{Counting, Ended, Input, Place, files_below};
use reprise_core::cells::{Cell, Chunk};
use reprise_core::checkpoint::manifest::{
    InstanceState, Manifest, ObjectRef, OperatorState, Quarantine, QuarantinedRow, SinkState, SourceState, SplitPosition, StagedRef,
};
use reprise_core::checkpoint::paths;
use reprise_core::codec::snapshot::{SnapshotHead, SnapshotScope, Writer};
use reprise_core::codec::{checksum, record};
use reprise_core::description::{Encoding, Slot, SlotKind};
use reprise_core::ids::{Digest, Epoch, Generation, Instance};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

pub(super) const JOB: &str = "orders";
/// Its component does not exist: none of these commands needs it.
const TOPOLOGY: &str = r#"
name = "orders"
checkpoint = { store = "file:./state" }
source = [{ name = "in", file = { path = "in/*", format = "json", key = { pointer = "/id" } } }]
operator = [{ name = "count", component = "gone.wasm", input = { from = "in", by = "key" } }]
sink = [{ name = "out", input = "count", file = { path = "out", format = "json" } }]
"#;

/// Slot, key, item, and value or removal.
type Change<'a> = (u32, &'a [u8], &'a [u8], Option<&'a [u8]>);

pub(super) fn put(place: &Place, path: &str, bytes: &[u8]) -> ObjectRef {
    place.write(&format!("state/{JOB}/{path}"), bytes);
    ObjectRef { path: path.to_owned(), scope: SnapshotScope::Full, bytes: bytes.len() as u64, checksum: checksum(bytes), entries: 0 }
}

fn snapshot(place: &Place, instance: u32, epoch: u64, scope: SnapshotScope, changes: &[Change<'_>]) -> ObjectRef {
    let (instance, epoch, generation) = (Instance(instance), Epoch(epoch), Generation(7));
    let head = SnapshotHead { job: JOB.into(), operator: "count".into(), instance, epoch, generation, scope };
    let mut writer = Writer::new(&head).unwrap();
    for &(slot, key, item, value) in changes {
        let mut chunk = Chunk::new(slot);
        chunk.push(Cell { key, item, value }).unwrap();
        writer.chunk(&chunk).unwrap();
    }
    let entries = writer.cells();
    let path = paths::snapshot("count", instance, epoch, generation, scope == SnapshotScope::Full);
    ObjectRef { scope, entries, ..put(place, &path, &writer.finish().unwrap()) }
}

fn slots() -> Vec<Slot> {
    let slot = |name: &str, kind, version, encoding| Slot { name: name.into(), kind, version, encoding };
    vec![
        slot("counts", SlotKind::Keyed, 1, Encoding::U64Le),
        slot("profile", SlotKind::Keyed, 2, Encoding::Json),
        slot("window", SlotKind::Instance, 1, Encoding::Cbor),
        slot("mode", SlotKind::Broadcast, 1, Encoding::Utf8),
    ]
}

fn split(name: &str, offset: u64, instance: u32) -> SplitPosition {
    SplitPosition { split: name.into(), position: format!("{{\"offset\":{offset}}}"), instance: Instance(instance) }
}

fn put_manifest(place: &Place, manifest: &Manifest) {
    put(place, &paths::manifest(manifest.epoch), &record::encode(manifest).unwrap());
}

/// A store with the checkpoints 39 (damaged), 40, 41, and 42 (taken over), and the savepoint `before-upgrade`, which is of epoch 40.
pub(super) fn orders() -> Place {
    let place = Place::with(TOPOLOGY);
    let large = u64::MAX.to_le_bytes();
    let full: Vec<Change<'_>> = vec![
        (0, b"be", b"", Some(&[5, 0, 0, 0, 0, 0, 0, 0])),
        (0, b"gone", b"", Some(&[1, 0, 0, 0, 0, 0, 0, 0])),
        (0, b"\x00\xff", b"", Some(&large)),
        (1, b"be", b"\x00\x01", Some(b"{\"n\": 12345678901234567890123}")),
        (2, b"", b"", Some(b"\xa1\x61a\x82\x01\x44\xde\xad\xbe\xef")),
        (3, b"", b"", Some(b"fast")),
    ];
    let other: Vec<Change<'_>> = vec![
        (0, b"zebra", b"", Some(&[9, 0, 0, 0, 0, 0, 0, 0])),
        (1, b"zebra", b"", Some(b"\x1b[2Jnot json")),
        (2, b"", b"", Some(b"\xf6")),
        (3, b"", b"", Some(b"fast")),
    ];
    let delta: Vec<Change<'_>> =
        vec![(0, b"be", b"", Some(&[6, 0, 0, 0, 0, 0, 0, 0])), (0, b"gone", b"", None), (0, b"new", b"", Some(&[1, 0, 0, 0, 0, 0, 0, 0]))];
    let zero = snapshot(&place, 0, 40, SnapshotScope::Full, &full);
    let one = snapshot(&place, 1, 40, SnapshotScope::Full, &other);
    let change = snapshot(&place, 0, 41, SnapshotScope::Delta, &delta);
    let row =
        |key: &[u8]| QuarantinedRow { input: 0, origin: String::new(), time: 5, key: key.to_vec(), value: vec![], reason: "no".into() };
    let refused = Quarantine { node: "count".into(), instance: Instance(1), epoch: Epoch(41), rows: vec![row(b"a"), row(b"b")] };
    let path = paths::quarantine("count", Instance(1), Epoch(41), Generation(7), 0);
    let refused = ObjectRef { entries: 2, ..put(&place, &path, &record::encode(&refused).unwrap()) };

    let instance = |chain: Vec<ObjectRef>, watermark, rows| InstanceState { chain, watermark, rows, ..InstanceState::default() };
    let forty = Manifest {
        job: JOB.into(),
        epoch: Epoch(40),
        generation: Generation(7),
        writer: 0x0123_4567_89ab_cdef,
        parent: Some(Epoch(39)),
        written_ms: 1_700_000_000_456,
        topology: Digest(std::array::from_fn(|place| place as u8)),
        workers: 2,
        operators: vec![OperatorState {
            name: "count".into(),
            component: Digest([0xcc; 32]),
            slots: slots(),
            instances: vec![instance(vec![zero.clone()], i64::MIN, 1_000), instance(vec![one.clone()], 1_699_999_999_000, 234)],
        }],
        sources: vec![SourceState {
            name: "in".into(),
            splits: vec![split("in/a.txt@0", 17, 0), split("in/b.txt@0", 0, 1)],
            rows: 1_234,
            rejected: 0,
            quarantine: vec![],
        }],
        sinks: vec![SinkState { name: "out".into(), staged: vec![], rows: 1_234 }],
        ..Manifest::default()
    };
    let mut next = Manifest { epoch: Epoch(41), parent: Some(Epoch(40)), written_ms: 1_700_000_001_456, ..forty.clone() };
    next.operators[0].instances = vec![instance(vec![zero, change], i64::MAX, 1_003), instance(vec![one], i64::MAX, 234)];
    next.operators[0].instances[1].rejected = 2;
    next.operators[0].instances[1].quarantine = vec![refused];
    next.sources[0].splits = vec![split("in/a.txt@0", 99, 0), split("in/b.txt@0", 0, 0), split("in/c.txt@0", 0, 1)];
    next.sources[0].rows = 1_239;
    next.sinks[0].rows = 1_236;
    next.sinks[0].staged = vec![StagedRef { epoch: Epoch(41), token: "000000000041-7-0.json".into(), rows: 2, bytes: 99 }];
    put(&place, "checkpoints/000000000039.manifest", b"REPRISE\0");
    put_manifest(&place, &forty);
    put_manifest(&place, &next);
    put_manifest(&place, &next.take_over(Epoch(42), Generation(8), 1));
    put(&place, &paths::savepoint("before-upgrade").unwrap(), &record::encode(&forty).unwrap());
    place
}

/// Every file with its bytes.
fn contents(place: &Place) -> BTreeMap<PathBuf, Vec<u8>> {
    files_below(&place.path("")).into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

/// Runs a command and compares exit code and both outputs with a golden file.
#[track_caller]
pub(super) fn check(place: &Place, name: &str, arguments: &[&str]) -> Ended {
    let before = contents(place);
    let ended = place.run(arguments);
    assert!(contents(place) == before, "`{}` changed a file", arguments.join(" "));
    let code = ended.code().unwrap_or(-1);
    let text = format!("$ reprise {}\n{}{}exit code {code}\n", arguments.join(" "), ended.stdout, ended.stderr);
    golden::check(&format!("survey/{name}.txt"), &text);
    ended
}

#[test]
fn every_survey_prints_its_golden_text_and_json() {
    let place = orders();
    let commands: [(&str, &[&str]); 6] = [
        ("list", &["checkpoint", "list", "job.toml"]),
        ("show", &["checkpoint", "show", "job.toml", "41"]),
        ("show-savepoint", &["checkpoint", "show", "job.toml", "before-upgrade"]),
        ("diff", &["checkpoint", "diff", "job.toml", "before-upgrade", "latest", "--cells", "2"]),
        ("verify", &["checkpoint", "verify", "job.toml", "41"]),
        ("state", &["state", "show", "job.toml", "count"]),
    ];
    for (name, arguments) in commands {
        let ended = check(&place, name, arguments);
        assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""), "{ended}");
        assert!(!ended.stdout.contains('\u{1b}'), "what is stored does not steer a terminal: {ended}");
        let ended = check(&place, &format!("{name}-json"), &[arguments, &["--json"]].concat());
        let json: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!((&json["job"], ended.stdout.lines().count()), (&Value::from(JOB), 1));
        // The same by the name of store and job.
        let mut named = arguments.to_vec();
        named.remove(2);
        named.extend(["--store", "file:state", "--job", JOB, "--json"]);
        assert_eq!(place.run(&named).stdout, ended.stdout, "{named:?}");
    }
}

#[test]
fn cells_are_narrowed_down_and_limited() {
    let place = orders();
    let cells = |options: &[&str]| -> (u64, Vec<Value>) {
        let ended = place.run(&[&["state", "show", "job.toml", "count", "--json"], options].concat());
        assert_eq!(ended.code(), Some(0), "{ended}");
        let json: Value = serde_json::from_str(&ended.stdout).unwrap();
        (json["cells_found"].as_u64().unwrap(), json["cells"].as_array().unwrap().clone())
    };
    let (found, shown) = cells(&["--slot", "counts", "--limit", "2"]);
    assert_eq!((found, shown.len(), &shown[0]["value"]), (4, 2, &Value::from(u64::MAX)));
    assert_eq!(cells(&["--key", "be", "--slot", "counts"]).1[0]["value"], 6);
    assert_eq!(cells(&["--key", "be", "--slot", "counts", "--at", "before-upgrade"]).1[0]["value"], 5);
    assert_eq!(cells(&["--key-hex", "00fF"]).1[0]["key"]["base64"], "AP8=");
    assert_eq!(cells(&["--instance", "1"]).0, 4);
    assert_eq!(cells(&["--key", "nobody"]), (0, vec![]));
    let ended = place.run(&["state", "show", "job.toml", "count", "--memory", "1KiB"]);
    assert_eq!(ended.code(), Some(8), "{ended}");
    assert!(ended.stderr.contains("more state than 1024 bytes") && ended.stderr.contains("--memory"), "{ended}");
}

#[test]
fn damage_is_found_named_and_told_by_exit_code_6() {
    let place = orders();
    let object = format!("state/{JOB}/snapshots/count/0000/000000000040-000007.full");
    let mut bytes = fs::read(place.path(&object)).unwrap();
    bytes[50] ^= 4;
    place.write(&object, bytes);
    fs::remove_file(place.path(&format!("state/{JOB}/quarantine/count/000000000041-000007-0001-0"))).unwrap();
    let ended = check(&place, "verify-damaged", &["checkpoint", "verify", "job.toml"]);
    assert_eq!(ended.code(), Some(6), "{ended}");
    let ended = check(&place, "verify-damaged-json", &["checkpoint", "verify", "job.toml", "all", "--json"]);
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(6), ""), "{ended}");
    let ended = check(&place, "state-damaged", &["state", "show", "job.toml", "count"]);
    assert_eq!(ended.code(), Some(6), "{ended}");
    assert_eq!(place.run(&["checkpoint", "show", "job.toml", "latest"]).code(), Some(0), "a manifest is whole without its snapshots");
    let ended = check(&place, "show-damaged", &["checkpoint", "show", "job.toml", "39", "--json"]);
    assert_eq!(ended.code(), Some(6), "{ended}");
}

#[test]
fn a_store_that_is_foreign_or_missing_gives_a_clear_error_and_stays_as_it_is() {
    let place = orders();
    place.write("foreign/orders/checkpoints/readme.txt", "nothing of ours");
    place.write("foreign/file", "");
    let other = fs::read(place.path(&format!("state/{JOB}/checkpoints/000000000041.manifest"))).unwrap();
    place.write("moved/payments/checkpoints/000000000041.manifest", other);
    let errors: [(&str, i32, &[&str]); 9] = [
        ("no-store", 2, &["checkpoint", "list", "--store", "file:nowhere", "--job", JOB]),
        ("no-job", 2, &["checkpoint", "list", "--store", "file:foreign", "--job", JOB]),
        ("no-folder", 4, &["checkpoint", "verify", "--store", "file:foreign/file", "--job", JOB]),
        ("other-job", 6, &["checkpoint", "show", "--store", "file:moved", "--job", "payments", "41"]),
        ("no-checkpoint", 2, &["checkpoint", "diff", "job.toml", "41", "43"]),
        ("no-operator", 2, &["state", "show", "job.toml", "sum"]),
        ("no-slot", 2, &["state", "show", "job.toml", "count", "--slot", "sums"]),
        ("no-argument", 2, &["checkpoint", "show", "job.toml"]),
        ("no-url", 4, &["checkpoint", "list", "--store", "ftp:x", "--job", JOB, "--json"]),
    ];
    for (name, code, arguments) in errors {
        let ended = check(&place, &format!("error-{name}"), arguments);
        assert_eq!((ended.code(), ended.stdout.as_str()), (Some(code), ""), "{ended}");
    }
    assert!(!place.path("nowhere").exists());
    for arguments in [
        &["checkpoint", "list"][..],
        &["checkpoint", "list", "job.toml", "more"],
        &["checkpoint", "list", "missing.toml"],
        &["checkpoint", "show", "job.toml", "a/b"],
        &["checkpoint", "list", "--store", "file:state"],
        &["state", "show", "job.toml", "count", "--key-hex", "0"],
        &["state", "show", "job.toml", "count", "--memory", "much"],
    ] {
        let ended = place.run(arguments);
        assert_eq!(ended.code(), Some(2), "{arguments:?}: {ended}");
        assert!(ended.stderr.starts_with("error: "), "{arguments:?}: {ended}");
    }
}

#[test]
fn the_state_of_a_real_job_is_what_its_input_says() {
    const KEYS: usize = 300;
    let input = Input::new(21, 20_000, KEYS, |_| "1".to_owned());
    let place = Counting { checkpoint: "interval = \"10ms\"\nkeep = 5", ..Counting::default() }.place(&input.text);
    place.finish(3);
    let mut expected = BTreeMap::<String, u64>::new();
    input.text.lines().for_each(|line| *expected.entry(line.split(',').next().unwrap().to_owned()).or_default() += 1);
    let before = contents(&place);
    let json = |arguments: &[&str]| -> Value {
        let ended = place.run(&[arguments, &["--json"]].concat());
        assert_eq!(ended.code(), Some(0), "{ended}");
        serde_json::from_str(&ended.stdout).unwrap()
    };
    let state = json(&["state", "show", "job.toml", "count", "--limit", "1000"]);
    let counted = state["cells"].as_array().unwrap().iter();
    let counted: BTreeMap<String, u64> = counted.map(|c| (c["key"].as_str().unwrap().to_owned(), c["value"].as_u64().unwrap())).collect();
    assert_eq!(counted, expected);
    let list = json(&["checkpoint", "list", "job.toml"]);
    let newest = &list["checkpoints"][0];
    assert_eq!((&newest["finished"], &newest["rows"], &newest["workers"]), (&Value::Bool(true), &Value::from(20_000), &Value::from(3)));
    let verified = json(&["checkpoint", "verify", "job.toml"]);
    assert_eq!(
        (&verified["sound"], verified["checkpoints"].as_array().map(Vec::len)),
        (&Value::Bool(true), list["checkpoints"].as_array().map(Vec::len))
    );
    let newest = newest["epoch"].to_string();
    let same = place.run(&["checkpoint", "diff", "job.toml", &newest, "latest"]);
    assert!(same.stdout.ends_with("no difference\n"), "{same}");
    assert!(contents(&place) == before, "nothing is changed by looking");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = orders();
    let mut child = place
        .command()
        .args(["checkpoint", "show", "job.toml", "41"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn every_survey_has_help_with_examples() {
    let place = Place::new();
    for command in [
        ["checkpoint", "list"],
        ["checkpoint", "show"],
        ["checkpoint", "diff"],
        ["checkpoint", "verify"],
        ["state", "show"],
        ["quarantine", "list"],
        ["quarantine", "show"],
        ["quarantine", "replay"],
        ["quarantine", "drop"],
        ["parked", "list"],
        ["parked", "drop"],
        ["parked", "move-to-quarantine"],
    ] {
        let ended = place.run(&[&command[..], &["--help"]].concat());
        assert_eq!(ended.code(), Some(0), "{ended}");
        let example = format!("\n  reprise {} topology.toml", command.join(" "));
        assert!(ended.stdout.contains("Usage: reprise") && ended.stdout.contains(&example), "{ended}");
    }
}
