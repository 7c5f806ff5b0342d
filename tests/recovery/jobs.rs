//! A job in a folder of its own. Nothing here waits for a time to pass: a run is fed its next file, or is stopped, when a checkpoint
//! holds everything that it was fed before.

use crate::support;
use reprise::clock::Clock;
use reprise::job::{self, CheckpointNotice, Ending, Error, Notice, Options};
use reprise_core::cells::Chunk;
use reprise_core::checkpoint::manifest::{Manifest, ObjectRef};
use reprise_core::checkpoint::paths;
use reprise_core::codec::{checksum, record, snapshot};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use tempfile::TempDir;
use tokio::sync::watch;

/// Name of every job here.
pub const JOB: &str = "taken-up";

/// A topology file, piece by piece.
#[derive(Clone)]
pub struct Topology(String);

impl Topology {
    /// With checkpoints and batches as small as can be. `checkpoint`: settings of the table beside its store and interval.
    pub fn new(checkpoint: &str) -> Self {
        Self::every("10ms", checkpoint).with("[flow]\nbatch-rows = 16\n")
    }

    /// With a checkpoint at this interval.
    pub fn every(interval: &str, checkpoint: &str) -> Self {
        Self(format!("name = \"{JOB}\"\n\n[checkpoint]\nstore = \"file:./state\"\ninterval = \"{interval}\"\n{checkpoint}\n"))
    }

    /// One step after the other, in batches of so many rows, with a checkpoint at the end and when somebody asks.
    pub fn on_request(rows: u32) -> Self {
        Self::on_request_set(rows, "")
    }

    /// As [`Topology::on_request`]. `checkpoint`: settings of that table.
    pub fn on_request_set(rows: u32, checkpoint: &str) -> Self {
        Self::every("1h", checkpoint).with(&format!("[flow]\nbatch-rows = {rows}\nsteps-ahead = 1\n"))
    }

    /// So many steps at once where there was one after the other.
    pub fn ahead(self, steps: u32) -> Self {
        Self(self.0.replace("steps-ahead = 1\n", &format!("steps-ahead = {steps}\n")))
    }

    /// One step after the other, in batches of so many rows.
    pub fn step_by_step(self, rows: u32) -> Self {
        Self(self.0.replace("batch-rows = 16\n", &format!("batch-rows = {rows}\nsteps-ahead = 1\n")))
    }

    /// With room for so many bytes between operators.
    pub fn with_room(self, emitted_ahead: &str) -> Self {
        Self(self.0.replace("[flow]\n", &format!("[flow]\nemitted-ahead = \"{emitted_ahead}\"\n")))
    }

    fn with(mut self, piece: &str) -> Self {
        self.0.push('\n');
        self.0.push_str(piece);
        self
    }

    /// A source over the files of a folder below `in`. `settings`: those of its `file` table beside `path`.
    pub fn source(self, name: &str, settings: &str, follow: bool) -> Self {
        let follow = if follow { "follow = true\npoll = \"10ms\"\n" } else { "" };
        self.with(&format!("[[source]]\nname = \"{name}\"\n[source.file]\npath = \"in/{name}/*\"\n{settings}\n{follow}"))
    }

    /// A source of `key` lines.
    pub fn keys(self, name: &str, follow: bool) -> Self {
        self.source(name, "format = \"csv\"\nheader = false\nkey = { column = 0 }", follow)
    }

    /// An operator that gives up at its second failure in a row. `input` is TOML.
    pub fn operator(self, name: &str, guest: &str, input: &str) -> Self {
        let failure = "on-failure = { retries = 1, backoff = \"1ms..1ms\", then = \"stop\" }\ndeadline = \"60s\"";
        self.operator_set(name, guest, input, failure)
    }

    /// An operator with these settings.
    pub fn operator_set(self, name: &str, guest: &str, input: &str, failure: &str) -> Self {
        let path = support::guest(guest);
        self.with(&format!("[[operator]]\nname = \"{name}\"\ncomponent = '{}'\ninput = {input}\n{failure}\n", path.display()))
    }

    /// With so many instances of each operator to which no rows come that stay on their worker.
    pub fn parallel(self, instances: u32) -> Self {
        let mut in_operator = false;
        let lines = self.0.lines().map(|line| {
            in_operator = if line.starts_with("[[") { line == "[[operator]]" } else { in_operator };
            let spreads = in_operator && line.starts_with("input = ") && !line.starts_with("input = \"");
            if spreads { format!("{line}\nparallelism = {instances}\n") } else { format!("{line}\n") }
        });
        Self(lines.collect())
    }

    /// Operators wait for a second before they are tried a second time.
    pub fn patient(self) -> Self {
        Self(self.0.replace("retries = 1, backoff = \"1ms..1ms\"", "retries = 2, backoff = \"1s..1s\""))
    }

    /// A sink that writes as these settings say.
    pub fn sink_into(self, name: &str, input: &str, settings: &str) -> Self {
        self.with(&format!("[[sink]]\nname = \"{name}\"\ninput = {input}\n{settings}\n"))
    }

    /// A file sink into the folder `name`.
    pub fn sink(self, name: &str, input: &str) -> Self {
        self.sink_into(name, input, &format!("file = {{ path = \"{name}\" }}"))
    }
}

/// `keys` counted by key, into the sink `out`.
pub fn counting(checkpoint: &str, follow: bool) -> Topology {
    counted(checkpoint, follow).sink("out", "\"count\"")
}

/// As [`counting`], with a sink `out` that writes as these settings say.
pub fn counting_into(settings: &str, follow: bool) -> Topology {
    counted("", follow).sink_into("out", "\"count\"", settings)
}

fn counted(checkpoint: &str, follow: bool) -> Topology {
    let topology = Topology::new(checkpoint).keys("keys", follow);
    topology.operator("count", "running-count", r#"{ from = "keys", by = "key" }"#)
}

/// What a run is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    GoOn,
    Stop,
}

/// How a run ended, and what it told.
pub struct Run {
    pub result: Result<Ending, Error>,
    pub notices: Vec<Notice>,
}

impl Run {
    /// The checkpoints, in order.
    pub fn checkpoints(&self) -> Vec<&CheckpointNotice> {
        self.notices.iter().filter_map(|notice| if let Notice::Checkpoint(made) = notice { Some(made) } else { None }).collect()
    }

    /// Epoch and reason of every checkpoint that was passed over.
    pub fn passed_over(&self) -> Vec<(u64, &str)> {
        let passed = |notice| if let &Notice::PassedOver { epoch, ref reason } = notice { Some((epoch.0, reason.as_str())) } else { None };
        self.notices.iter().filter_map(passed).collect()
    }

    /// The checkpoint that was taken up at last.
    pub fn from(&self) -> Option<u64> {
        let from = |notice: &Notice| if let Notice::Started { from, .. } = notice { Some(from.map(|epoch| epoch.0)) } else { None };
        self.notices.iter().rev().find_map(from).flatten()
    }

    /// # Panics
    /// Where the run did not end so.
    #[track_caller]
    pub fn expect(self, ending: Ending) -> Self {
        match &self.result {
            Ok(found) => assert_eq!(*found, ending),
            Err(error) => panic!("{error}\n{error:?}"),
        }
        self
    }

    /// # Panics
    /// Where the run ended without an error.
    #[track_caller]
    pub fn error(&self) -> &Error {
        self.result.as_ref().expect_err("the run must fail")
    }
}

/// The folder of a job.
pub struct Folder {
    folder: TempDir,
    fed: AtomicU64,
}

impl Folder {
    pub fn new(topology: &Topology) -> Self {
        let folder = Self { folder: tempfile::tempdir().unwrap(), fed: AtomicU64::new(0) };
        folder.set(topology);
        folder
    }

    /// A copy of everything in another folder.
    pub fn copy(&self) -> Self {
        let copy = Self { folder: tempfile::tempdir().unwrap(), fed: AtomicU64::new(self.fed.load(Ordering::Relaxed)) };
        copy_folder(self.folder.path(), copy.folder.path());
        copy
    }

    pub fn set(&self, topology: &Topology) {
        fs::write(self.path("topology.toml"), &topology.0).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Adds a file of lines to the folder of a source, as a whole. All of its lines are counted as rows.
    pub fn feed<L: AsRef<str>>(&self, source: &str, file: &str, lines: impl IntoIterator<Item = L>) {
        self.feed_with_refused(source, file, lines, 0);
    }

    /// As [`Folder::feed`], where the source will refuse so many lines.
    pub fn feed_with_refused<L: AsRef<str>>(&self, source: &str, file: &str, lines: impl IntoIterator<Item = L>, refused: u64) {
        let folder = self.path("in").join(source);
        fs::create_dir_all(&folder).unwrap();
        let mut text = String::new();
        let mut rows = 0;
        for line in lines {
            text.push_str(line.as_ref());
            text.push('\n');
            rows += 1;
        }
        // No wildcard means a name that begins with a dot.
        let draft = folder.join(format!(".{file}"));
        fs::write(&draft, text).unwrap();
        self.fed.fetch_add(rows - refused, Ordering::Relaxed);
        fs::rename(draft, folder.join(file)).unwrap();
    }

    /// True where a checkpoint holds every row that was fed.
    pub fn is_covered_by(&self, checkpoint: &CheckpointNotice) -> bool {
        checkpoint.rows == self.fed.load(Ordering::Relaxed)
    }

    /// Runs the job; `on` is told every notice and says when to stop.
    pub fn run_with(&self, workers: u32, on: impl FnMut(&Notice) -> Then + Send) -> Run {
        self.run_set(workers, |_| {}, on)
    }

    /// As [`Folder::run_with`], with other options.
    pub fn run_set(&self, workers: u32, set: impl FnOnce(&mut Options), mut on: impl FnMut(&Notice) -> Then + Send) -> Run {
        let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let prepared = match job::prepare(&self.path("topology.toml"), workers, Some(cache)) {
            Ok(prepared) => prepared,
            Err(error) => return Run { result: Err(error), notices: Vec::new() },
        };
        let (told, notices) = mpsc::channel();
        let (ask, stop) = watch::channel(false);
        let watch: job::Watch = std::sync::Arc::new(move |notice| told.send(notice).unwrap_or(()));
        let mut options =
            Options { workers, stop, watch, clock: Clock::Fixed(1_000), start: None, adopt: false, savepoint: None, intercept: None };
        set(&mut options);
        std::thread::scope(|scope| {
            let listener = scope.spawn(move || {
                let mut seen = Vec::new();
                for notice in notices {
                    if on(&notice) == Then::Stop {
                        ask.send(true).unwrap_or(());
                    }
                    seen.push(notice);
                }
                seen
            });
            let result = runtime.block_on(job::run(prepared, options));
            drop(runtime);
            Run { result, notices: listener.join().unwrap() }
        })
    }

    /// Runs a job that follows its input until so many checkpoints are made, and lets go of it, as of a host that dies: it is asked
    /// nothing, and its threads are not waited for. `feed` is called at the start and after each checkpoint: the next one has its rows.
    ///
    /// # Panics
    /// Where the run ends by itself.
    pub fn abandon(&self, workers: u32, checkpoints: usize, feed: &mut dyn FnMut()) {
        let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let prepared = job::prepare(&self.path("topology.toml"), workers, Some(cache)).unwrap();
        let (told, mut made) = tokio::sync::mpsc::unbounded_channel();
        let (ask, stop) = watch::channel(false);
        let watch: job::Watch = std::sync::Arc::new(move |notice| {
            if matches!(notice, Notice::Checkpoint(_)) {
                // Nobody listens any more once the run is let go of.
                let _ = told.send(());
            }
        });
        let options =
            Options { workers, stop, watch, clock: Clock::Fixed(1_000), start: None, adopt: false, savepoint: None, intercept: None };
        runtime.block_on(async {
            let enough = async {
                feed();
                for _ in 0..checkpoints {
                    if made.recv().await.is_none() {
                        std::future::pending::<()>().await;
                    }
                    feed();
                }
            };
            tokio::select! {
                ended = job::run(prepared, options) => panic!("the run ended by itself: {ended:?}"),
                () = enough => {}
            }
        });
        drop(ask);
        runtime.shutdown_background();
    }

    /// Runs the job to its end.
    pub fn run(&self, workers: u32) -> Run {
        self.run_with(workers, |_| Then::GoOn)
    }

    /// Runs a job that follows its input until so many rows have reached an operator, given by its place, then stops it. With an interval
    /// that no test lasts, the one checkpoint is that of the stop.
    pub fn run_for(&self, workers: u32, operator: usize, rows: u64) -> Run {
        let run = self.run_with(workers, |notice| {
            let Notice::Started { control, .. } = notice else { return Then::GoOn };
            while control.operators[operator].rows_in.load(Ordering::Relaxed) < rows && !control.aborted() {
                std::thread::yield_now();
            }
            Then::Stop
        });
        let run = run.expect(Ending::Stopped);
        assert_eq!(run.checkpoints().len(), 1);
        run
    }

    /// Runs a job that follows its input: feeds it one file after another, each after a checkpoint that holds all rows before, then stops.
    pub fn run_feeding(&self, workers: u32, source: &str, files: &[(&str, Vec<String>)]) -> Run {
        let mut files = files.iter();
        self.run_with(workers, |notice| {
            let Notice::Checkpoint(checkpoint) = notice else { return Then::GoOn };
            if !self.is_covered_by(checkpoint) {
                return Then::GoOn;
            }
            let Some((file, lines)) = files.next() else { return Then::Stop };
            self.feed(source, file, lines);
            Then::GoOn
        })
    }

    /// The visible lines of a sink, sorted.
    pub fn lines(&self, sink: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(sink)) else { return Vec::new() };
        let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        let mut lines: Vec<String> =
            files.flat_map(|path| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        lines.sort();
        lines
    }

    /// Keys and values of the visible rows of a sink, sorted.
    pub fn rows(&self, sink: &str) -> Vec<(String, String)> {
        parsed(&self.lines(sink))
    }

    /// The folder of the job's objects.
    pub fn store(&self) -> PathBuf {
        self.path("state").join(JOB)
    }

    /// Paths of the stored objects below a folder of the store, sorted.
    pub fn objects(&self, below: &str) -> Vec<String> {
        let (root, mut found) = (self.store(), Vec::new());
        list(&root.join(below), &mut found);
        let mut names: Vec<String> = found.iter().map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    /// The manifests of completed checkpoints, oldest first: without those that runs took over with.
    pub fn manifests(&self) -> Vec<Manifest> {
        self.all_manifests().into_iter().filter(|manifest| !manifest.taken_over).collect()
    }

    /// All manifests, oldest first.
    pub fn all_manifests(&self) -> Vec<Manifest> {
        // One that a run has deleted since it was listed is passed over, and so is one that is being written, under a name of its own.
        let read = |path: &String| fs::read(self.store().join(path)).ok();
        let is_whole = |path: &&String| paths::manifest_epoch(path).is_some();
        self.objects("checkpoints").iter().filter(is_whole).filter_map(read).map(|bytes| record::decode(&bytes).unwrap()).collect()
    }

    pub fn newest(&self) -> Manifest {
        self.manifests().pop().expect("there is a checkpoint")
    }

    /// The bytes of an object, which must be those that its reference promises.
    pub fn read(&self, object: &ObjectRef) -> Vec<u8> {
        let bytes = fs::read(self.store().join(&object.path)).unwrap();
        assert_eq!((bytes.len() as u64, checksum(&bytes)), (object.bytes, object.checksum), "{}", object.path);
        bytes
    }

    /// The cells of an operator in a checkpoint: (slot, key, item) and value, over all instances.
    pub fn cells(&self, manifest: &Manifest, operator: &str) -> Cells {
        let operator = manifest.operators.iter().find(|found| found.name == operator).unwrap();
        let mut cells = Cells::new();
        for object in operator.instances.iter().flat_map(|instance| &instance.chain) {
            let (_, chunks) = snapshot::read(&self.read(object)).unwrap();
            chunks.iter().for_each(|chunk| apply(&mut cells, chunk));
        }
        cells
    }
}

/// Keys and values of lines of JSON, sorted.
pub fn parsed(lines: &[String]) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let parse = |line: &String| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        (text(&row["key"]), text(&row["value"]))
    };
    let mut rows: Vec<_> = lines.iter().map(parse).collect();
    rows.sort();
    rows
}

/// State, cell by cell.
pub type Cells = BTreeMap<(u32, Vec<u8>, Vec<u8>), Vec<u8>>;

fn apply(cells: &mut Cells, chunk: &Chunk) {
    for cell in chunk.cells() {
        let place = (chunk.slot(), cell.key.to_vec(), cell.item.to_vec());
        match cell.value {
            Some(value) => drop(cells.insert(place, value.to_vec())),
            None => drop(cells.remove(&place)),
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn list(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            list(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Keys, so many in turn, from the `from`-th to before the `to`-th.
pub fn keys(from: usize, to: usize, different: usize) -> Vec<String> {
    (from..to).map(|row| format!("k{}", row * 7 % different)).collect()
}

/// What an operator emits that counts rows by key and shows the count at each of them: sorted.
pub fn running_counts<K: AsRef<str>>(keys: impl IntoIterator<Item = K>) -> Vec<(String, String)> {
    let mut counts = BTreeMap::<String, u64>::new();
    let mut rows: Vec<_> = keys
        .into_iter()
        .map(|key| {
            let count = counts.entry(key.as_ref().to_owned()).or_default();
            *count += 1;
            (key.as_ref().to_owned(), count.to_string())
        })
        .collect();
    rows.sort();
    rows
}
