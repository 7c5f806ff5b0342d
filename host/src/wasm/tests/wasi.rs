//! The virtual WASI as a component meets it, with guests written here: linking by version, denial, refusal, and what a call may do.
//!
//! A guest of a whole standard library is tested in the crate `tests`.

use super::build::{Wat, call, embed, limits, process, rows, runtime, start};
use crate::wasm::{Call, Component, Fault, Gift, GrantError, Grants, GuestError, Limits, LoadError, Settings, inspect};
use wit_parser::Resolve;

/// WIT of sockets as a component of some version may ask for them.
const SOCKETS: &str = "package wasi:sockets@0.2.3;
    interface network { resource network; enum error-code { unknown, access-denied } }
    interface instance-network { use network.{network}; instance-network: func() -> network; }
    interface tcp {
        use wasi:io/poll@0.2.12.{pollable};
        use network.{network, error-code};
        resource tcp-socket {
            start-bind: func(network: borrow<network>) -> result<_, error-code>;
            subscribe: func() -> pollable;
        }
    }
    interface tcp-create-socket {
        use network.{error-code};
        use tcp.{tcp-socket};
        create-tcp-socket: func() -> result<tcp-socket, error-code>;
        count-sockets: func() -> u32;
    }";
/// An older version of a clock.
const OLD_CLOCK: &str = "package wasi:clocks@0.2.0; interface monotonic-clock { now: func() -> u64; }";

/// The packages that guests here are made of.
pub fn packages() -> Resolve {
    let mut resolve = Resolve::default();
    resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).unwrap();
    resolve.push_file(concat!(env!("CARGO_MANIFEST_DIR"), "/src/wasm/wasi/wasi.wit")).unwrap();
    resolve
}

/// A guest that imports `wit` beside its contract, as these functions, and reports the value of `value` as the time of its one row.
pub fn guest(packages: &[&str], wit: &str, functions: &str, value: &str) -> Vec<u8> {
    let mut guest = process(&format!(
        "(i64.store (i32.const 4000) {value})
        (call $echo (i32.const 0) (i32.const 4000) (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 0) (i32.const 0)
            (i32.const 64) (i32.const 1) (i32.const 0) (i32.const 0))"
    ));
    guest.more = "(data (i32.const 64) \"\\00\\00\\00\\00\")".into();
    guest.memory = format!("{functions} {}", Wat::default().memory);
    let mut resolve = self::packages();
    for package in packages {
        resolve.push_str("package.wit", package).unwrap();
    }
    let world = format!("package it:it; world it {{ include reprise:operator/stateless@0.1.0; {wit} }}");
    let package = resolve.push_str("it.wit", &world).unwrap();
    embed(guest.module(), &resolve, package, "it")
}

fn load(bytes: &[u8]) -> Component {
    runtime(&Settings { instances_max: 4, ..Settings::default() }).load(bytes).unwrap()
}

fn report_in(bytes: &[u8], call: Call) -> Result<i64, GuestError> {
    let mut instance = start(&load(bytes), &limits())?;
    Ok(instance.process(0, &rows(1), call)?.outputs[0].1.times()[0])
}

fn report(bytes: &[u8]) -> Result<i64, GuestError> {
    report_in(bytes, call(1))
}

const INSTANT: &str = "(import \"wasi:clocks/monotonic-clock@0.2.12\" \"now\" (func $instant (result i64)))";
const CLOCK: &str = "import wasi:clocks/monotonic-clock@0.2.12;";

#[test]
fn an_older_version_of_wasi_is_answered_by_the_same_clock() {
    let new = guest(&[], CLOCK, INSTANT, "(call $instant)");
    let old = guest(&[OLD_CLOCK], "import wasi:clocks/monotonic-clock@0.2.0;", &INSTANT.replace("0.2.12", "0.2.0"), "(call $instant)");
    assert_eq!(report(&new).unwrap(), 1_000_000_000);
    assert_eq!(report(&old).unwrap(), 1_000_000_000);
    assert_eq!(report_in(&new, Call { number: 1, now_ms: 0, instant_ns: 0 }).unwrap(), 1_000_000, "never zero");
    assert_eq!(report_in(&new, Call { number: 1, now_ms: i64::MIN, instant_ns: 0 }).unwrap(), 1_000_000);
    assert_eq!(
        report_in(&new, Call { number: 1, now_ms: i64::MAX, instant_ns: 0 }).unwrap(),
        -1,
        "the largest instant, not one that wrapped around"
    );
}

#[test]
fn the_monotonic_clock_never_goes_back_whatever_the_time_of_the_calls_is() {
    let bytes = guest(&[], CLOCK, INSTANT, "(drop (call $instant)) (drop (call $instant)) (call $instant)");
    let component = load(&bytes);
    let mut instance = start(&component, &limits()).unwrap();
    let (mut last, mut told) = (0, Vec::new());
    // The machine's clock is set back, stands, and jumps.
    for (number, now_ms) in [1000, 1000, 1000, 7, 999, 1000, 5000, 4999, 5000, i64::MIN].into_iter().enumerate() {
        let call = Call { number: number as u64, now_ms, instant_ns: instance.instant_ns() };
        let seen = instance.process(0, &rows(1), call).unwrap().outputs[0].1.times()[0];
        assert!(seen > last, "call {number} at {now_ms}: {seen} after {last}");
        last = seen;
        told.push((call, seen));
    }
    // An instance that takes up in the middle and repeats the rest is told the same.
    for begin in 0..told.len() {
        let mut successor = start(&component, &limits()).unwrap();
        for (call, seen) in &told[begin..] {
            assert_eq!(successor.process(0, &rows(1), *call).unwrap().outputs[0].1.times()[0], *seen, "from call {begin}");
        }
    }
}

#[test]
fn a_sleep_takes_no_time_and_moves_the_clock() {
    let functions = format!(
        "{INSTANT}
        (import \"wasi:clocks/monotonic-clock@0.2.12\" \"subscribe-duration\" (func $after (param i64) (result i32)))
        (import \"wasi:io/poll@0.2.12\" \"[method]pollable.block\" (func $block (param i32)))
        (import \"wasi:io/poll@0.2.12\" \"[method]pollable.ready\" (func $ready (param i32) (result i32)))
        (import \"wasi:io/poll@0.2.12\" \"poll\" (func $poll (param i32 i32 i32)))"
    );
    let asking = |value: &str| report(&guest(&[], &format!("import wasi:io/poll@0.2.12; {CLOCK}"), &functions, value));
    assert_eq!(asking("(call $block (call $after (i64.const 5000))) (call $instant)").unwrap(), 1_000_005_000);
    assert_eq!(asking("(call $block (call $after (i64.const -1))) (call $instant)").unwrap(), -1, "as far as the clock goes");
    assert_eq!(asking("(i64.extend_i32_u (call $ready (call $after (i64.const 1))))").unwrap(), 0);
    let two = "(i32.store (i32.const 4100) (call $after (i64.const 900))) (i32.store (i32.const 4104) (call $after (i64.const 70)))
        (call $poll (i32.const 4100) (i32.const 2) (i32.const 4200))";
    let first = format!("{two} (i64.load32_u (i32.load (i32.const 4200)))");
    assert_eq!(asking(&first).unwrap(), 1, "the nearer one is over first");
    assert_eq!(asking(&format!("{two} (i64.load32_u (i32.const 4204))")).unwrap(), 1, "and it alone");
    assert_eq!(asking(&format!("{two} (call $instant)")).unwrap(), 1_000_000_070);
    let error = asking("(call $poll (i32.const 4100) (i32.const 0) (i32.const 4200)) (i64.const 0)").unwrap_err();
    assert_eq!(error.fault, Fault::Trap("a wait for nothing would never end".into()));
}

#[test]
fn random_numbers_of_wasi_are_those_of_the_runtime() {
    let functions = "(import \"wasi:random/random@0.2.12\" \"get-random-u64\" (func $secure (result i64)))
        (import \"wasi:random/insecure@0.2.12\" \"get-insecure-random-u64\" (func $insecure (result i64)))
        (import \"wasi:random/insecure-seed@0.2.12\" \"insecure-seed\" (func $seed (param i32)))";
    let wit = "import wasi:random/random@0.2.12; import wasi:random/insecure@0.2.12; import wasi:random/insecure-seed@0.2.12;";
    let draw = |value: &str, number| report_in(&guest(&[], wit, functions, value), call(number)).unwrap();
    assert_eq!(draw("(call $secure)", 3), draw("(call $random)", 3));
    assert_eq!(draw("(call $insecure)", 3), draw("(call $random)", 3));
    assert_ne!(draw("(call $secure)", 3), draw("(call $secure)", 4));
    assert_eq!(draw("(drop (call $secure)) (call $insecure)", 3), draw("(drop (call $random)) (call $random)", 3));
    let seed = "(call $seed (i32.const 4104)) (i64.load (i32.const 4104))";
    assert_eq!(draw(seed, 3), draw(seed, 4), "tables keep their order");
}

#[test]
fn a_socket_is_denied_and_the_guest_goes_on() {
    let functions = "(import \"wasi:sockets/tcp-create-socket@0.2.3\" \"create-tcp-socket\" (func $create (param i32)))
        (import \"wasi:sockets/tcp-create-socket@0.2.3\" \"count-sockets\" (func $count-sockets (result i32)))
        (import \"wasi:sockets/instance-network@0.2.3\" \"instance-network\" (func $network (result i32)))
        (import \"wasi:sockets/tcp@0.2.3\" \"[method]tcp-socket.start-bind\" (func $bind (param i32 i32 i32)))
        (import \"wasi:sockets/tcp@0.2.3\" \"[method]tcp-socket.subscribe\" (func $subscribe (param i32) (result i32)))";
    let wit = "import wasi:sockets/tcp@0.2.3; import wasi:sockets/instance-network@0.2.3; import wasi:sockets/tcp-create-socket@0.2.3;";
    let trying = |value: &str| guest(&[SOCKETS], wit, functions, value);
    let create = trying(
        "(drop (call $network)) (call $create (i32.const 4100))
        (i64.add (i64.load8_u (i32.const 4100)) (i64.shl (i64.load8_u (i32.const 4104)) (i64.const 8)))",
    );
    // An error, with the second word of `error-code`.
    assert_eq!(report(&create).unwrap(), 0x01_01);
    assert!(inspect(&create).unwrap().check().is_ok());
    let error = report(&trying("(loop $again (drop (call $network)) (br $again)) unreachable")).unwrap_err();
    assert_eq!(error.fault, Fault::Trap("more than 256 handles of WASI are open".into()));
    let storm = |body: &str| {
        let component = load(&trying(&format!("(loop $again {body} (br $again)) unreachable")));
        let mut instance = start(&component, &Limits { host_calls_per_call_max: 100, ..limits() }).unwrap();
        instance.process(0, &rows(1), call(1)).unwrap_err().fault
    };
    assert_eq!(storm("(call $create (i32.const 4100))"), Fault::HostCalls { limit: 100 });
    assert_eq!(storm("(drop (call $network))"), Fault::HostCalls { limit: 100 });
    let error = report(&trying("(i64.extend_i32_u (call $count-sockets))")).unwrap_err();
    assert_eq!(error.fault, Fault::Trap("no operator reaches a network".into()));
    let error = report(&trying("(call $bind (i32.const 7) (call $network) (i32.const 4100)) (i64.const 0)")).unwrap_err();
    assert_eq!(error.call, "process", "a handle that was never given: {error}");
}

#[test]
fn what_is_neither_contract_nor_virtual_is_refused_with_the_whole_list() {
    let http = "package wasi:http@0.2.0; interface types { f: func(); } interface outgoing-handler { g: func(); }";
    let future = "package wasi:clocks@0.3.0; interface monotonic-clock { now: func() -> u64; }";
    let functions = "(import \"wasi:http/types@0.2.0\" \"f\" (func)) (import \"wasi:http/outgoing-handler@0.2.0\" \"g\" (func))
        (import \"wasi:clocks/monotonic-clock@0.3.0\" \"now\" (func (result i64)))";
    let wit = "import wasi:http/types@0.2.0; import wasi:http/outgoing-handler@0.2.0; import wasi:clocks/monotonic-clock@0.3.0;";
    let bytes = guest(&[http, future], wit, &format!("{functions} {INSTANT}"), "(call $instant)");
    let bytes_with_clock = guest(&[http, future], &format!("{wit} {CLOCK}"), &format!("{functions} {INSTANT}"), "(call $instant)");
    assert!(matches!(inspect(&bytes), Err(LoadError::Componentise(_))), "it imports what its world does not have");
    let error = runtime(&Settings { instances_max: 1, ..Settings::default() }).load(&bytes_with_clock).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the component imports what no operator is given:
    `wasi:http/types@0.2.0`: no operator reaches a network, and it cannot be granted
    `wasi:http/outgoing-handler@0.2.0`: no operator reaches a network, and it cannot be granted
    `wasi:clocks/monotonic-clock@0.3.0`: only version 0.2 of WASI is answered"
    );
}

#[test]
fn an_interface_with_other_types_than_the_standard_is_refused() {
    let lying = "package wasi:random@0.2.1; interface random { get-random-u64: func() -> string; }";
    let functions = "(import \"wasi:random/random@0.2.1\" \"get-random-u64\" (func (param i32)))";
    let bytes = guest(&[lying], "import wasi:random/random@0.2.1;", functions, "(i64.const 0)");
    let error = runtime(&Settings { instances_max: 1, ..Settings::default() }).load(&bytes).unwrap_err();
    assert!(matches!(&error, LoadError::Invalid(why) if why.contains("get-random-u64")), "{error}");
}

#[test]
fn exit_ends_the_call_and_the_instance() {
    let functions = "(import \"wasi:cli/exit@0.2.12\" \"exit\" (func $exit (param i32)))";
    let error = report(&guest(&[], "import wasi:cli/exit@0.2.12;", functions, "(call $exit (i32.const 0)) (i64.const 0)")).unwrap_err();
    assert_eq!(error.to_string(), "trapped in `process`: the guest called `exit` (success)");
}

#[test]
fn a_grant_that_a_component_would_never_see_is_refused() {
    let closed = process("(global.get $zeros)").load();
    let environment = vec![("A".to_owned(), "b".to_owned())];
    let grants = Grants { environment, ..Grants::default() };
    assert!(matches!(closed.granted(grants.clone()), Err(GrantError::Unused { gift: Gift::Environment, .. })));
    assert!(closed.granted(Grants::default()).is_ok());
    let functions = "(import \"wasi:cli/environment@0.2.12\" \"get-environment\" (func $variables (param i32)))";
    let value = "(call $variables (i32.const 4100)) (i64.load32_u (i32.const 4104))";
    let reading = load(&guest(&[], "import wasi:cli/environment@0.2.12;", functions, value));
    let count = |component: &Component| {
        let mut instance = start(component, &limits()).unwrap();
        instance.process(0, &rows(1), call(1)).unwrap().outputs[0].1.times()[0]
    };
    assert_eq!((count(&reading), count(&reading.granted(grants).unwrap()), count(&reading)), (0, 1, 0));
}
