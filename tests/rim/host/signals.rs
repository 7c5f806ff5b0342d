//! Signals: which of them end a job, how often they count, and that a job ends within its time whatever hangs.

use super::{BOUNDED, FOLLOWED, ends_soon, numbers, rows, topology};
use crate::s3::server::{Server, variables};
use crate::support::{Ended, Lines, Place, Running};
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

const STDIN: &str = "path = \"-\", format = \"lines\"";

fn status(running: &Running, holds: impl Fn(&serde_json::Value) -> bool) -> bool {
    let is_status = |event: &serde_json::Value| event["event"] == "status";
    running.told().lines().filter_map(|line| serde_json::from_str(line).ok()).any(|event| is_status(&event) && holds(&event))
}

/// A job that reads rows from standard input, has read all of them, and is not told that there are no more.
fn reading(place: &Place, rows: usize) -> (Running, std::process::ChildStdin) {
    let mut command = place.command();
    command.args(["run", "job.toml", "--workers", "1", "--log", "json"]).stdin(Stdio::piped());
    let mut running = Running::start(command);
    let mut stdin = running.stdin();
    stdin.write_all(numbers(0..rows).as_bytes()).unwrap();
    stdin.flush().unwrap();
    running.wait_until("all rows are read", |running| status(running, |event| event["rows_in"] == rows));
    (running, stdin)
}

/// True where whoever started the tests lets them ignore SIGHUP, as `nohup` does: processes inherit that, and it means what it says.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    u64::from_str_radix(ignored, 16).unwrap() & 1 == 1
}

#[test]
fn the_same_wish_twice_within_a_second_is_one_wish() {
    for (pause_ms, signals) in
        [(0, ["TERM", "TERM"]), (2, ["TERM", "TERM"]), (2, ["INT", "INT"]), (50, ["INT", "TERM"]), (2, ["HUP", "TERM"])]
    {
        let place = Place::with(&topology("interval = \"1h\"", STDIN, None));
        let (running, _stdin) = reading(&place, 1_000);
        running.signal(signals[0]);
        std::thread::sleep(Duration::from_millis(pause_ms));
        // It may have ended meanwhile.
        let _ = std::process::Command::new("kill").args(["-s", signals[1], &running.id().to_string()]).status();
        let ended = ends_soon(running);
        assert_eq!((ended.code(), rows(&place)), (Some(0), 1_000), "{signals:?} {pause_ms} ms apart: {ended}");
    }
}

#[test]
fn a_hangup_makes_a_last_checkpoint_unless_it_was_ignored_at_the_start() {
    let place = Place::with(&topology("interval = \"1h\"", STDIN, None));
    let (running, _stdin) = reading(&place, 100);
    running.signal(if is_hangup_ignored() { "TERM" } else { "HUP" });
    let ended = ends_soon(running);
    assert_eq!((ended.code(), rows(&place)), (Some(0), 100), "{ended}");

    let place = Place::with(&topology("interval = \"20ms\"", FOLLOWED, None));
    place.write("in/rows.txt", numbers(0..10));
    let mut shell = std::process::Command::new("sh");
    shell.current_dir(place.path("")).env("REPRISE_CACHE", place.path("cache")).stdin(Stdio::null());
    shell.arg("-c").arg("trap '' HUP; exec \"$0\" run job.toml").arg(crate::support::binary());
    let mut running = Running::start(shell);
    running.wait_until("rows come out", |_| rows(&place) == 10);
    running.signal("HUP");
    place.write("in/more.txt", numbers(10..20));
    running.wait_until("it goes on", |_| rows(&place) == 20);
    running.signal("TERM");
    assert_eq!(ends_soon(running).code(), Some(0));
}

/// A job whose operator never returns from a call, and may take an hour for it.
fn stuck(stop_timeout: &str) -> (Place, Running) {
    let place = Place::with(&topology(
        &format!("interval = \"20ms\"\nstop-timeout = \"{stop_timeout}\""),
        FOLLOWED,
        Some(("chatter", "deadline = \"1h\"")),
    ));
    place.write("in/rows.txt", "spin\n");
    let mut running = place.start(&["run", "job.toml", "--workers", "1", "--log", "json"]);
    running.wait_until("the row is with the operator", |running| status(running, |event| event["rows_in"] == 1));
    (place, running)
}

#[test]
fn a_later_second_signal_ends_at_once() {
    let (_place, mut running) = stuck("1h");
    running.signal("TERM");
    running.wait_until("the first one is heard", |running| running.told().contains("stopping"));
    std::thread::sleep(Duration::from_millis(1_050));
    assert!(running.runs(), "it waits for its operator");
    running.signal("TERM");
    assert_eq!(ends_soon(running).code(), Some(130));
}

#[test]
fn a_job_that_cannot_end_ends_at_its_time_and_says_what_is_not_kept() {
    for signal in ["TERM", "INT", "HUP"].into_iter().filter(|signal| *signal != "HUP" || !is_hangup_ignored()) {
        let (_place, running) = stuck("1s");
        running.signal(signal);
        let ended = ends_soon(running);
        assert_eq!(ended.code(), Some(8), "{signal}: {ended}");
        let last = ended.events().pop().unwrap();
        let message = last["message"].as_str().unwrap();
        assert_eq!((&last["event"], &last["kind"], &last["exit_code"]), (&"error".into(), &"limit".into(), &8.into()));
        for text in ["did not within 1s (`checkpoint.stop-timeout`)", "is the newest", "of rows that were read after it", "help: "] {
            assert!(message.contains(text), "{signal}: no `{text}` in {message}");
        }
    }
}

/// A server that takes connections and never says a word.
fn mute_server() -> (std::net::TcpListener, u16) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[test]
fn a_job_that_waits_for_its_store_to_begin_ends_at_once() {
    let (_listener, port) = mute_server();
    let mut place = Place::with(&topology("", BOUNDED, None).replace("file:state", "s3://bucket/prefix"));
    place.set(variables(port));
    place.write("in/rows.txt", numbers(0..10));
    let mut running = place.start(&["run", "job.toml"]);
    running.wait_until("it has begun to begin", |running| running.told().contains("job `rim`"));
    running.signal("TERM");
    let ended = ends_soon(running);
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert!(ended.stderr.contains("before the job began"), "{ended}");
}

#[test]
fn a_job_whose_store_is_out_ends_at_its_time_and_loses_nothing() {
    for fault in ["frozen", "killed"] {
        let mut server = Server::ours();
        let settings = "interval = \"20ms\"\nstop-timeout = \"1s\"\ntimeout = \"1s\"\nretries = 1\nbackoff = \"1ms..10ms\"";
        let text = topology(settings, FOLLOWED, None).replace("file:state", "s3://bucket/state");
        let mut place = Place::with(&text);
        place.set(server.variables());
        place.write("in/rows.txt", numbers(0..100));
        let mut running = place.start(&["run", "job.toml", "--workers", "1"]);
        running.wait_until("rows come out", |_| rows(&place) == 100);
        if fault == "frozen" {
            server.signal("STOP")
        } else {
            server.kill()
        }
        place.write("in/more.txt", numbers(100..200));
        running.signal("TERM");
        let ended = ends_soon(running);
        // Where nothing was read meanwhile, there is nothing to store.
        assert!(matches!(ended.code(), Some(0 | 8)), "{fault}: {ended}");
        if fault == "frozen" {
            server.signal("CONT")
        } else {
            server.start()
        }
        place.write("job.toml", text.replace(FOLLOWED, BOUNDED));
        place.finish(1);
        place.published().assert_equals(&Lines::of(numbers(0..200).as_bytes()), fault);
    }
}

#[test]
fn a_signal_at_any_moment_of_the_start_ends_soon_and_loses_nothing() {
    let place = Place::with(&topology("interval = \"20ms\"", FOLLOWED, Some(("chatter", ""))));
    place.write("in/rows.txt", numbers(0..1_000));
    for step in 0..16 {
        let running = place.start(&["run", "job.toml", "--workers", "2"]);
        std::thread::sleep(Duration::from_millis(step * step));
        running.signal("TERM");
        let ended: Ended = ends_soon(running);
        // Before it listens a signal ends it as it ends any process.
        assert!(ended.code() == Some(0) || ended.signal() == Some(15), "after {} ms: {ended}", step * step);
    }
    place.write("job.toml", topology("interval = \"20ms\"", BOUNDED, Some(("chatter", ""))));
    place.finish(2);
    place.published().assert_equals(&Lines::of(numbers(0..1_000).as_bytes()), "all starts together");
}

#[test]
fn a_job_whose_operator_is_paused_ends_as_asked() {
    let on_failure = "[operator.on-failure]\nretries = 0\nfaults-max = 0\npause = \"1h\"";
    let place = Place::with(&topology("interval = \"20ms\"", FOLLOWED, Some(("chatter", on_failure))));
    place.write("in/rows.txt", "fine\ntrap\ntrap\n");
    let mut running = place.start(&["run", "job.toml", "--workers", "1"]);
    running.wait_until("the operator is paused", |running| running.told().contains("is paused for"));
    running.signal("TERM");
    let ended = ends_soon(running);
    assert!(matches!(ended.code(), Some(0 | 3)), "{ended}");
}
