//! The job that is run under faults: it parses lines, counts them by key, and writes the counts to files and to objects.
//!
//! It makes every kind of storage call: its snapshots are full ones, deltas and compacted ones, large enough to go up in parts; it deletes
//! old checkpoints, refuses rows, and keeps a savepoint. How many epochs it has depends on the bytes that were read and on no clock, so
//! that two runs make nearly the same calls. Both of its stores are in memory.

use super::calls::Trap;
use crate::support::{self, guest};
use bytes::Bytes;
use reprise::clock::Clock;
use reprise::job::survey::{self, Choice, StateCells, Verify};
use reprise::job::{self, Ending, Error, Notice, Options, Prepared, StartFrom};
use reprise::store::{Intercept, Store, StoreLimits};
use reprise::wasm::Component;
use reprise_core::checkpoint::manifest::{Manifest, Quarantine, Request, Resume};
use reprise_core::checkpoint::paths;
use reprise_core::codec::record;
use reprise_core::topology::{Checkpoint, Plan, SinkKind};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Name of the job.
pub const JOB: &str = "reference";
/// Its operator with state.
pub const COUNTER: &str = "count";
/// Lines, some of which are refused. Those of an epoch have some 64 KiB.
const LINES: usize = 460;
/// Different keys.
const KEYS: usize = 90;
/// Instances of each operator that may be open at the same time, over all runs of all tests.
const INSTANCES_MAX: u32 = 100;
/// How long the threads of a run that was let go of may take to end. They need no time to speak of.
const LET_GO: Duration = Duration::from_secs(120);

/// The job with its components, compiled once.
pub struct Reference {
    folder: TempDir,
    usual: (Plan, Vec<Component>),
    /// The same with a counter that counts alike and takes a millisecond or two a row.
    slow: (Plan, Vec<Component>),
}

/// The one of this process.
pub fn reference() -> &'static Reference {
    static REFERENCE: LazyLock<Reference> = LazyLock::new(Reference::new);
    &REFERENCE
}

/// Waits for a future on this thread.
pub fn now<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// In memory where the machine has a folder for it, since a site is made for each case.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

impl Reference {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("in")).unwrap();
        let lines: Vec<String> = (0..LINES).map(line).collect();
        let (one, other) = lines.split_at(LINES / 2);
        fs::write(path("in/a.txt"), one.concat()).unwrap();
        fs::write(path("in/b.txt"), other.concat()).unwrap();
        let cache = support::build_folder().join("test-cache");
        let prepared = |counter| {
            fs::write(path("topology.toml"), topology(counter)).unwrap();
            let Prepared { plan, components, .. } = job::prepare(&path("topology.toml"), INSTANCES_MAX, Some(cache.clone())).unwrap();
            (plan, components)
        };
        let (usual, slow) = (prepared("running-count"), prepared("slow-rows"));
        Self { folder, usual, slow }
    }

    /// A new site that holds what an image has.
    pub fn site(&self, image: &Image) -> Site<'_> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let name = format!("faults-{}", COUNTER.fetch_add(1, Ordering::Relaxed));
        let site = Site { reference: self, name, folder: folder(), tune: |_| {}, is_slow: false };
        now(async {
            for (path, bytes) in &image.state {
                site.state().await.create(path, bytes.clone()).await.unwrap();
            }
            for (path, bytes) in &image.objects {
                site.objects().await.create(path, bytes.clone()).await.unwrap();
            }
        });
        for (path, bytes) in &image.files {
            let path = site.folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        site
    }
}

/// Line `key,text,time`. Some are longer than a row may be, and some have no time. The time is one of the key, so that output does not depend
/// on which of two rows of a key comes first.
fn line(row: usize) -> String {
    let key = row * 7 % KEYS;
    let pad = "x".repeat(if row % 97 == 5 { 2_500 } else { 1_000 });
    let time = if row % 41 == 11 { String::new() } else { format!(",{}", 1_700_000_000_000 + key) };
    format!("k{key},{pad}{time}\n")
}

fn topology(counter: &str) -> String {
    let (parser, counter) = (guest("parse-text"), guest(counter));
    let mut text = format!(
        "name = \"{JOB}\"\n\
         [checkpoint]\nstore = \"memory:\"\ninterval = \"24h\"\nuncheckpointed-max = \"64KiB\"\nkeep = 3\nchain-length-max = 2\n\
         savepoint-poll = \"1h\"\nretries = 2\nbackoff = \"1ms..2ms\"\noutage-max = \"0s\"\n\
         [flow]\nbatch-rows = 16\n\
         [[source]]\nname = \"lines\"\nfile = {{ path = \"in/*\", row-max = \"2KiB\" }}\n"
    );
    for (name, component, input) in [("parse", parser, "\"lines\""), (COUNTER, counter, "{ from = \"parse\", by = \"key\" }")] {
        let _ = write!(
            text,
            "[[operator]]\nname = \"{name}\"\ncomponent = {component:?}\ninput = {input}\nmemory = \"16MiB\"\ndeadline = \"60s\"\n\
             on-failure = {{ retries = 0, backoff = \"1ms..1ms\", then = \"stop\" }}\n"
        );
    }
    text.push_str("[[sink]]\nname = \"files\"\ninput = \"count\"\nfile = { path = \"out\", format = \"csv\" }\n");
    text.push_str("[[sink]]\nname = \"objects\"\ninput = \"count\"\nobjects = { url = \"memory:out\", format = \"csv\" }\n");
    text
}

/// All that a job has stored and written, by path.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// Objects of the job.
    pub state: BTreeMap<String, Bytes>,
    /// Objects of the sink `objects`.
    pub objects: BTreeMap<String, Bytes>,
    /// Files of the sink `files`.
    pub files: BTreeMap<String, Bytes>,
}

impl Image {
    /// Adds a request for a savepoint.
    pub fn ask(&mut self, name: &str) {
        let request = Request { name: name.to_owned(), stop: false, writer: 7, asked_ms: 1_000 };
        self.state.insert(paths::request(name).unwrap(), Bytes::from(record::encode(&request).unwrap()));
    }

    /// Adds a request to end a pause of the counter, which is not paused.
    pub fn ask_to_resume(&mut self) {
        let request = Resume { operator: COUNTER.to_owned(), writer: 7, asked_ms: 1_000 };
        self.state.insert(paths::resume(COUNTER).unwrap(), Bytes::from(record::encode(&request).unwrap()));
    }
}

/// How a run ended, and what it told.
pub struct Run {
    pub result: Result<Ending, Error>,
    pub notices: Vec<Notice>,
}

/// One place for one life of the job. What it has in memory goes away with it.
pub struct Site<'r> {
    reference: &'r Reference,
    name: String,
    folder: TempDir,
    /// Changes settings of the job.
    pub tune: fn(&mut Checkpoint),
    /// The counter is slow.
    pub is_slow: bool,
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        now(async {
            for store in [self.state().await, self.objects().await] {
                for entry in store.list("").await.unwrap_or_default() {
                    // What stays takes memory and nothing else.
                    let _ = store.delete(&entry.path).await;
                }
            }
        });
    }
}

impl Site<'_> {
    /// The store of the job.
    pub async fn state(&self) -> Store {
        Store::open(&format!("memory:{}-state", self.name), Path::new("."), JOB, StoreLimits::default()).await.unwrap()
    }

    /// The place of the sink `objects`.
    async fn objects(&self) -> Store {
        Store::open_place(&format!("memory:{}-out", self.name), Path::new("."), StoreLimits::default()).await.unwrap()
    }

    fn prepared(&self) -> Prepared {
        let Reference { folder, usual, slow } = self.reference;
        let (mut plan, components) = if self.is_slow { slow.clone() } else { usual.clone() };
        plan.topology.checkpoint.store = format!("memory:{}-state", self.name);
        (self.tune)(&mut plan.topology.checkpoint);
        for sink in &mut plan.topology.sinks {
            match &mut sink.kind {
                SinkKind::File(file) => file.path = self.folder.path().to_str().unwrap().to_owned(),
                SinkKind::Objects(objects) => objects.url = format!("memory:{}-out", self.name),
                SinkKind::Stdout(_) => unreachable!("the job has no such sink"),
            }
        }
        Prepared { plan, component_bytes: vec![Arc::default(); components.len()], components, base_dir: folder.path().to_path_buf() }
    }

    /// Runs the job to its end, or until the trap lets the host die: then nothing is left of it, and there is no result.
    pub fn run(&self, workers: u32, trap: &Arc<Trap>, start: Option<StartFrom>) -> Option<Run> {
        self.run_under(workers, Arc::clone(trap) as _, trap.death(), start)
    }

    /// As [`Site::run`], under any interference, until `death` ends.
    pub fn run_under(
        &self,
        workers: u32,
        intercept: Arc<dyn Intercept>,
        death: impl Future<Output = ()>,
        start: Option<StartFrom>,
    ) -> Option<Run> {
        let runtime = runtime(workers);
        let (_ask, stop) = watch::channel(false);
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let watch: job::Watch = Arc::new(move |notice| heard.lock().unwrap().push(notice));
        let clock = Clock::Fixed(1_000);
        let options = Options { workers, stop, watch, clock, start, adopt: false, savepoint: None, intercept: Some(intercept) };
        let result = runtime.block_on(async {
            tokio::select! {
                biased;
                () = death => None,
                result = job::run(self.prepared(), options) => Some(result),
            }
        });
        // Tasks are dropped, and threads that block for them find nobody and end.
        runtime.shutdown_timeout(LET_GO);
        result.map(|result| Run { result, notices: std::mem::take(&mut told.lock().unwrap()) })
    }

    /// All that is there.
    pub fn image(&self) -> Image {
        let mut files = BTreeMap::new();
        gather(self.folder.path(), self.folder.path(), &mut files);
        let (state, objects) = now(async { (read_all(&self.state().await).await, read_all(&self.objects().await).await) });
        Image { state, objects, files }
    }

    /// What the job has come to.
    pub fn outcome(&self, workers: u32) -> Result<Outcome, String> {
        self.outcome_without(workers, &[])
    }

    /// As [`Site::outcome`], without the refused rows in these objects.
    pub fn outcome_without(&self, workers: u32, left_out: &[&str]) -> Result<Outcome, String> {
        let image = self.image();
        let (manifest, cells) = now(async {
            let store = self.state().await;
            let chosen = survey::choose(&store, JOB, &Choice::Latest).await.map_err(|error| error.to_string())?;
            let cells = survey::cells(&store, &chosen.manifest, COUNTER, u64::MAX).await.map_err(|error| error.to_string())?;
            Ok::<_, String>((chosen.manifest, cells))
        })?;
        if !manifest.finished {
            return Err(format!("checkpoint {} is not that of a finished job", manifest.epoch));
        }
        let refused = refused(&image, left_out)?;
        let (files, objects) = (visible(&image.files), visible(&image.objects));
        let rows = (manifest.sources[0].rows, manifest.operators[1].instances.iter().map(|i| i.rows).sum(), manifest.sinks[0].rows);
        Ok(Outcome { files: text(&files, workers)?, objects: text(&objects, workers)?, cells, refused, rows })
    }

    /// What is wrong with what is stored, beside its outcome. `tidy`: the last run has ended well, and swept.
    pub fn faults(&self, asked: &[&str], tidy: bool) -> Result<(), String> {
        let image = self.image();
        let verified = now(async { survey::verify(&self.state().await, JOB, &Verify::All, &mut |_| {}).await });
        let verified = verified.map_err(|error| error.to_string())?;
        if !verified.is_sound() {
            return Err(format!("not as it was written: {:?} {:?}", verified.bad, verified.verdicts));
        }
        for name in asked {
            let there = [paths::savepoint(name), paths::request(name)].into_iter().flatten().any(|path| image.state.contains_key(&path));
            if !there {
                return Err(format!("the savepoint `{name}` is neither there nor asked for any more"));
            }
        }
        if tidy {
            let left = left_over(&image)?;
            if !left.is_empty() {
                return Err(format!("left behind for good: {left:?}"));
            }
        }
        Ok(())
    }
}

/// One thread for all tasks where there is one worker, so that calls come in nearly the same order each time.
fn runtime(workers: u32) -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(workers as usize).enable_all().build().unwrap()
}

async fn read_all(store: &Store) -> BTreeMap<String, Bytes> {
    let mut found = BTreeMap::new();
    for entry in store.list("").await.unwrap() {
        let bytes = store.get(&entry.path).await.unwrap().unwrap();
        found.insert(entry.path, bytes);
    }
    found
}

fn gather(root: &Path, folder: &Path, found: &mut BTreeMap<String, Bytes>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<PathBuf>>() {
        if path.is_dir() {
            gather(root, &path, found);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.insert(name, Bytes::from(fs::read(&path).unwrap()));
        }
    }
}

/// Refused rows: node, origin, time, key, value and reason.
pub type Refused = (String, String, i64, Vec<u8>, Vec<u8>, String);

/// What a job has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// All visible rows of the sink `files`, one line each: in their order with one worker, sorted with more.
    pub files: String,
    /// Those of the sink `objects`.
    pub objects: String,
    /// The state.
    pub cells: StateCells,
    /// All rows in quarantine, sorted.
    pub refused: Vec<Refused>,
    /// Rows that the source read, that were counted, and that a sink wrote.
    pub rows: (u64, u64, u64),
}

impl Outcome {
    /// How it differs from another one, in a few words.
    pub fn difference(&self, expected: &Self) -> Option<String> {
        let texts = [("files", &self.files, &expected.files), ("objects", &self.objects, &expected.objects)];
        for (sink, found, expected) in texts {
            if found != expected {
                return Some(format!("the rows of the sink `{sink}`: {}", first_difference(found, expected)));
            }
        }
        if self.cells != expected.cells {
            return Some(format!("the state: {} cells, {} were expected, or other values", self.cells.len(), expected.cells.len()));
        }
        if self.refused != expected.refused {
            return Some(format!("{} refused rows, {} were expected, or others", self.refused.len(), expected.refused.len()));
        }
        (self.rows != expected.rows).then(|| format!("rows {:?}, {:?} were expected", self.rows, expected.rows))
    }
}

fn first_difference(found: &str, expected: &str) -> String {
    let same = found.lines().zip(expected.lines()).take_while(|(a, b)| a == b).count();
    let (lines, all) = (found.lines().count(), expected.lines().count());
    format!("{lines} lines, {all} were expected; line {same} is {:?} and not {:?}", found.lines().nth(same), expected.lines().nth(same))
}

/// The visible output among files or objects, in the order of epochs.
pub fn visible(all: &BTreeMap<String, Bytes>) -> Vec<(&str, &Bytes)> {
    all.iter().filter(|(path, _)| !path.starts_with('.')).map(|(path, bytes)| (path.as_str(), bytes)).collect()
}

/// The rows of visible output; an error where the counts of a key do not go up by one.
fn text(visible: &[(&str, &Bytes)], workers: u32) -> Result<String, String> {
    let mut lines = Vec::new();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for (path, bytes) in visible {
        for line in String::from_utf8_lossy(bytes).lines() {
            let mut fields = line.split(',');
            let (key, count) = (fields.next().unwrap_or_default(), fields.next().and_then(|count| count.parse().ok()));
            let last = counts.entry(key.to_owned()).or_default();
            if count != Some(*last + 1) {
                return Err(format!("`{path}` has the line `{line}` after the count {last}"));
            }
            *last += 1;
            lines.push(line.to_owned());
        }
    }
    if workers > 1 {
        lines.sort();
    }
    Ok(lines.join("\n"))
}

/// Every row in quarantine.
fn refused(image: &Image, left_out: &[&str]) -> Result<Vec<Refused>, String> {
    let mut rows = Vec::new();
    let wanted = |path: &str| path.starts_with(paths::QUARANTINE) && !left_out.contains(&path);
    for (path, bytes) in image.state.iter().filter(|(path, _)| wanted(path)) {
        let read: Quarantine = record::decode(bytes).map_err(|error| format!("`{path}`: {error}"))?;
        rows.extend(read.rows.into_iter().map(|row| (read.node.clone(), row.origin, row.time, row.key, row.value, row.reason)));
    }
    rows.sort();
    Ok(rows)
}

/// Snapshots that nothing reaches, staged output, and claims of hosts before the last one.
fn left_over(image: &Image) -> Result<Vec<String>, String> {
    let mut reached = BTreeSet::new();
    let mut newest = 0;
    for (path, bytes) in &image.state {
        if !path.starts_with(paths::CHECKPOINTS) && !path.starts_with(paths::SAVEPOINTS) {
            continue;
        }
        let manifest: Manifest = record::decode(bytes).map_err(|error| format!("`{path}`: {error}"))?;
        newest = newest.max(manifest.generation.0);
        reached.extend(manifest.objects().map(|object| object.path.clone()));
    }
    let stray = |path: &&String| {
        let snapshot = path.starts_with(paths::SNAPSHOTS) && !reached.contains(*path);
        let claim = paths::claim_generation(path).is_some_and(|generation| generation.0 < newest);
        snapshot || claim
    };
    let mut left: Vec<String> = image.state.keys().filter(stray).cloned().collect();
    left.extend(image.objects.keys().filter(|path| path.contains("/staged/")).cloned());
    Ok(left)
}
