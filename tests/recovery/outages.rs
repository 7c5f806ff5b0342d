//! Stores that do not answer: the job goes on, waits, and gives up where it was told to.

use super::jobs::{Folder, Run, Then, Topology, counting, keys, running_counts};
use reprise::job::{Ending, Error, Kind, Notice};
use reprise::store::{CallKind, Intercept, Interference, StorageCall};
use reprise_core::checkpoint::manifest::Quarantine;
use reprise_core::codec::record;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Fails every call while it is out.
#[derive(Debug, Default)]
struct Outage {
    is_out: AtomicBool,
    failed: AtomicU64,
}

impl Intercept for Outage {
    fn before(&self, _: &StorageCall) -> Interference {
        if self.is_out.load(Ordering::SeqCst) {
            self.failed.fetch_add(1, Ordering::SeqCst);
            return Interference::FailBefore;
        }
        Interference::Pass
    }
}

const QUICK: &str = "retries = 1\nbackoff = \"1ms..2ms\"";

fn run(folder: &Folder, intercept: Arc<dyn Intercept>, on: impl FnMut(&Notice) -> Then + Send) -> Run {
    folder.run_set(2, |options| options.intercept = Some(intercept), on)
}

#[test]
fn an_outage_is_waited_out_and_nothing_is_lost() {
    let folder = Folder::new(&counting(QUICK, true));
    let outage = Arc::new(Outage::default());
    folder.feed("keys", "a", keys(0, 500, 9));
    let (switch, mut rounds, mut outs, mut backs) = (Arc::clone(&outage), 0, 0, 0);
    let ended = run(&folder, outage.clone(), |notice| match notice {
        Notice::Checkpoint(made) if folder.is_covered_by(made) && rounds < 3 => {
            rounds += 1;
            switch.is_out.store(true, Ordering::SeqCst);
            folder.feed("keys", &format!("more-{rounds}"), keys(500 * rounds, 500 * (rounds + 1), 9));
            Then::GoOn
        }
        Notice::Checkpoint(made) if folder.is_covered_by(made) => Then::Stop,
        Notice::StorageOut { .. } => {
            outs += 1;
            switch.is_out.store(false, Ordering::SeqCst);
            Then::GoOn
        }
        Notice::StorageBack { .. } => {
            backs += 1;
            Then::GoOn
        }
        _ => Then::GoOn,
    });
    ended.expect(Ending::Stopped);
    assert_eq!((outs, backs), (3, 3), "each outage is told, and its end");
    assert!(outage.failed.load(Ordering::SeqCst) > 3);
    assert_eq!(folder.rows("out"), running_counts(keys(0, 2_000, 9)));
}

#[test]
fn sources_wait_once_too_much_is_in_no_checkpoint_and_go_on_after_the_outage() {
    let folder = Folder::new(&counting(&format!("{QUICK}\nuncheckpointed-max = \"64KiB\""), true));
    let outage = Arc::new(Outage::default());
    folder.feed("keys", "a", keys(0, 10, 9));
    let (switch, mut round) = (Arc::clone(&outage), 0);
    let mut most = 0;
    let (mut resumed, mut covered) = (false, false);
    let ended = run(&folder, outage.clone(), |notice| match notice {
        Notice::Checkpoint(made) if folder.is_covered_by(made) && round == 0 => {
            round = 1;
            switch.is_out.store(true, Ordering::SeqCst);
            folder.feed("keys", "b", keys(10, 60_000, 9));
            Then::GoOn
        }
        Notice::SourcesPaused { bytes } => {
            most = *bytes;
            switch.is_out.store(false, Ordering::SeqCst);
            Then::GoOn
        }
        // Whether the sources wait is looked at now and then: the last checkpoint may be told before the end of their wait, or after it.
        Notice::SourcesResumed | Notice::Checkpoint(_) => {
            resumed |= matches!(notice, Notice::SourcesResumed);
            covered |= matches!(notice, Notice::Checkpoint(made) if round == 1 && folder.is_covered_by(made));
            if resumed && covered { Then::Stop } else { Then::GoOn }
        }
        _ => Then::GoOn,
    });
    ended.expect(Ending::Stopped);
    // Each of the two source instances may pass the limit by what it let in before it looked.
    assert!((64 << 10..192 << 10).contains(&most), "{most} bytes");
    assert_eq!(folder.rows("out"), running_counts(keys(0, 60_000, 9)));
}

#[test]
fn an_outage_that_lasts_longer_than_allowed_ends_the_run_and_the_next_one_goes_on() {
    let folder = Folder::new(&counting(&format!("{QUICK}\noutage-max = \"0ms\""), true));
    let outage = Arc::new(Outage::default());
    folder.feed("keys", "a", keys(0, 500, 9));
    let switch = Arc::clone(&outage);
    let ended = run(&folder, outage, |notice| {
        if let Notice::Checkpoint(made) = notice
            && folder.is_covered_by(made)
        {
            switch.is_out.store(true, Ordering::SeqCst);
            folder.feed("keys", "b", keys(500, 700, 9));
        }
        Then::GoOn
    });
    assert_eq!(ended.error().kind(), Kind::Storage, "{}", ended.error());
    folder.set(&counting("", false));
    folder.run(2).expect(Ending::Finished);
    assert_eq!(folder.rows("out"), running_counts(keys(0, 700, 9)));
}

#[test]
fn a_chain_that_lost_an_object_is_replaced_by_a_full_snapshot_while_the_job_runs() {
    let folder = Folder::new(&counting("chain-length-max = 4\nkeep = 1000", true));
    folder.feed("keys", "a", keys(0, 100, 50));
    let (mut lost, mut round) = (None, 1);
    let ended = folder.run_with(2, |notice| {
        let Notice::Checkpoint(made) = notice else { return Then::GoOn };
        if !folder.is_covered_by(made) {
            return Then::GoOn;
        }
        let manifest = folder.newest();
        let chain = &manifest.operators[0].instances[0].chain;
        if lost.is_none() && chain.len() == 2 {
            std::fs::remove_file(folder.store().join(&chain[0].path)).unwrap();
            lost = Some(chain[0].path.clone());
        } else if let Some(path) = &lost
            && !chain.iter().any(|object| object.path == *path)
        {
            return Then::Stop;
        }
        round += 1;
        folder.feed("keys", &round.to_string(), keys(100 * round, 100 * round + 10, 50));
        Then::GoOn
    });
    ended.expect(Ending::Stopped);
    folder.set(&counting("", false));
    let last = folder.run(2).expect(Ending::Finished);
    assert!(last.passed_over().is_empty(), "the newest checkpoint is whole: {:?}", last.passed_over());
}

/// Holds up the first refused row on its way to the store. While it is on its way poison comes in, and at each claim that follows it is noted whether
/// the row has arrived.
#[derive(Debug)]
struct SlowUpload {
    store: PathBuf,
    /// The poison, and where it comes in.
    poison: (PathBuf, PathBuf),
    under_way: Mutex<Option<PathBuf>>,
    had_arrived: Mutex<Vec<bool>>,
}

impl SlowUpload {
    /// Far longer than the way from the poison to the next claim.
    const TAKES: Duration = Duration::from_secs(2);
}

impl Intercept for SlowUpload {
    fn before(&self, call: &StorageCall) -> Interference {
        if call.kind != CallKind::PutIfAbsent {
            return Interference::Pass;
        }
        let mut under_way = self.under_way.lock().unwrap();
        match &*under_way {
            None if call.path.starts_with("quarantine/") => {
                *under_way = Some(self.store.join(&call.path));
                fs::rename(&self.poison.0, &self.poison.1).unwrap();
                return Interference::Delay(Self::TAKES);
            }
            Some(row) if call.path.starts_with("generations/") => self.had_arrived.lock().unwrap().push(row.exists()),
            _ => {}
        }
        Interference::Pass
    }
}

#[test]
fn an_attempt_begins_once_the_uploads_of_the_one_before_have_arrived() {
    let with = |guest: &str, follow: bool| {
        let failure =
            "snapshot-copy-max = \"0B\"\non-failure = { retries = 1, backoff = \"1ms..1ms\", then = \"stop\" }\ndeadline = \"60s\"";
        Topology::new("")
            .source("lines", "", follow)
            .operator("parse", "parse-text", "\"lines\"")
            .operator_set("count", guest, r#"{ from = "parse", by = "key" }"#, failure)
            .sink("out", "\"count\"")
    };
    let folder = Folder::new(&with("trap-unreachable", true));
    let good: Vec<String> = (0..20).map(|row| format!("k{row},v,7")).collect();
    folder.feed("lines", "first", good.iter().cloned().chain(["refused".to_owned()]));
    // A name that begins with a dot is passed over.
    let poison = (folder.path("in/lines/.poison"), folder.path("in/lines/poison"));
    fs::write(&poison.0, "k0,poison,7\n").unwrap();
    let slow = SlowUpload { store: folder.store(), poison, under_way: Mutex::default(), had_arrived: Mutex::default() };
    let slow = Arc::new(slow);
    let ended = run(&folder, slow.clone(), |_| Then::GoOn);
    assert!(matches!(ended.error(), Error::Gave { failures: 2, .. }), "{:?}", ended.result);
    assert_eq!(*slow.had_arrived.lock().unwrap(), [true], "the second attempt claims the job once what the first one stores is there");
    folder.set(&with("running-count", false));
    folder.run(2).expect(Ending::Finished);
    let refused: Vec<Quarantine> = folder
        .objects("quarantine/parse")
        .iter()
        .map(|path| record::decode(&fs::read(folder.store().join(path)).unwrap()).unwrap())
        .collect();
    let values: Vec<&[u8]> = refused.iter().flat_map(|object| &object.rows).map(|row| row.value.as_slice()).collect();
    assert_eq!(values, [b"refused"], "it counts once");
    assert_eq!(folder.rows("out"), running_counts((0..20).map(|row| format!("k{row}")).chain(["k0".to_owned()])));
}
