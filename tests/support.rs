//! What tests share that run the real `reprise`: where it and the guests are, folders for one job, input made from a seed, processes
//! that can be signalled and waited for, and published output as sorted lines.
//!
//! Nothing waits for ever: every wait has an end, after which the test fails with what the process had said so far.
#![allow(dead_code, reason = "not every suite uses all of it")]

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a process may take for what a test waits for. Far more than any needs: this is no measurement.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// Pause between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(2);

/// The file of a guest.
#[track_caller]
pub fn guest(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/guests").join(name).with_extension("wasm");
    path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask test` builds the guests", path.display()))
}

/// The binary under test: `REPRISE_BIN`, else the one beside this test.
#[track_caller]
pub fn binary() -> PathBuf {
    let path = std::env::var_os("REPRISE_BIN").map_or_else(|| build_folder().join("reprise"), PathBuf::from);
    path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask test` builds the binary", path.display()))
}

/// The folder `target/release` that this test was built in.
pub fn build_folder() -> PathBuf {
    let this = std::env::current_exe().expect("a running test has a file");
    this.parent().and_then(Path::parent).expect("tests lie in `deps` of the build folder").to_path_buf()
}

/// A folder of its own, with a topology file and all that belongs to it. It goes away with the value.
pub struct Place {
    folder: tempfile::TempDir,
    /// Variables of every process that runs here.
    variables: Vec<(String, String)>,
}

impl Place {
    /// An empty one.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder can be made"), variables: Vec::new() }
    }

    /// One with the topology `job.toml`.
    pub fn with(topology: &str) -> Self {
        let place = Self::new();
        place.write("job.toml", topology);
        place
    }

    /// Gives variables to every process that is started here from now on.
    pub fn set(&mut self, variables: Vec<(String, String)>) {
        self.variables = variables;
    }

    /// A path in it.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// Writes a file in it.
    pub fn write(&self, relative: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("folders can be made");
        fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// `reprise` in this folder, with arguments still to come. Compiled components are kept between tests.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command.current_dir(self.folder.path()).env("REPRISE_CACHE", build_folder().join("test-cache")).env_remove("REPRISE_LOG");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts `reprise` with these arguments.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::null());
        Running::start(command)
    }

    /// Runs `reprise` with these arguments to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).wait()
    }

    /// Runs `job.toml` to its end, which must be a good one.
    #[track_caller]
    pub fn finish(&self, workers: u32) -> Ended {
        let ended = self.run(&["run", "job.toml", "--workers", &workers.to_string()]);
        assert_eq!(ended.code(), Some(0), "the job did not finish: {ended}");
        ended
    }

    /// The visible lines of the folder `out`, sorted.
    #[track_caller]
    pub fn published(&self) -> Lines {
        Lines::of_folder(&self.path("out"))
    }

    /// Fails where the count of a key in `out` does not go up by one from row to row, in the order of epochs: so a row is lost, doubled,
    /// or came out of turn. For rows `key,count,...`.
    #[track_caller]
    pub fn assert_counts_in_order(&self) {
        let mut counts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        // The names sort by epoch, then by instance; within an epoch all rows of a key come from one instance.
        for file in files_below(&self.path("out")) {
            for line in fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).split(|&byte| byte == b'\n') {
                let mut cells = line.split(|&byte| byte == b',');
                let (Some(key), Some(count)) = (cells.next(), cells.next()) else { continue };
                let count: u64 = String::from_utf8_lossy(count).parse().expect("the second column is a count");
                let last = counts.entry(key.to_vec()).or_default();
                assert_eq!(count, *last + 1, "key {} in {}: the count after {last}", String::from_utf8_lossy(key), file.display());
                *last = count;
            }
        }
    }

    /// Names of the manifests that are there, oldest first.
    pub fn manifests(&self, job: &str) -> Vec<PathBuf> {
        let mut files = files_below(&self.path("state").join(job).join("checkpoints"));
        files.retain(|file| file.extension().is_some_and(|extension| extension == "manifest"));
        files
    }
}

/// All files below a folder, sorted; none where there is no such folder. Names that start with a dot are passed over.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return files };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// How a process ended.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// The exit code, where it ended by itself.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal, where one ended it.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Standard error as one JSON object a line.
    #[track_caller]
    pub fn events(&self) -> Vec<serde_json::Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}\n{self}"));
        let events: Vec<serde_json::Value> = self.stderr.lines().map(parse).collect();
        assert!(events.iter().all(serde_json::Value::is_object), "a line that is not an object: {self}");
        events
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n-- stdout:\n{}\n-- stderr:\n{}", self.status, cut(&self.stdout), cut(&self.stderr))
    }
}

fn cut(text: &str) -> String {
    const CHARS_MAX: usize = 8_000;
    if text.chars().count() <= CHARS_MAX { text.to_owned() } else { text.chars().take(CHARS_MAX).chain(" (cut)".chars()).collect() }
}

type Heard = Arc<Mutex<Vec<u8>>>;

fn hear(mut from: impl Read + Send + 'static) -> (Heard, JoinHandle<()>) {
    let heard = Heard::default();
    let shared = Arc::clone(&heard);
    let thread = std::thread::spawn(move || {
        let mut buffer = [0; 1 << 14];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            shared.lock().unwrap().extend_from_slice(&buffer[..count]);
        }
    });
    (heard, thread)
}

fn text(heard: &Heard) -> String {
    String::from_utf8_lossy(&heard.lock().unwrap()).into_owned()
}

/// A process under way. It is killed when the value goes away.
pub struct Running {
    child: Child,
    stdout: (Heard, JoinHandle<()>),
    stderr: (Heard, JoinHandle<()>),
}

impl Running {
    /// Starts a command; its standard input is as the command says.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = hear(child.stdout.take().expect("it is piped"));
        let stderr = hear(child.stderr.take().expect("it is piped"));
        Self { child, stdout, stderr }
    }

    /// Its standard input, once, where that is piped.
    pub fn stdin(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().expect("standard input is piped")
    }

    /// What it wrote to standard output so far.
    pub fn said(&self) -> String {
        text(&self.stdout.0)
    }

    /// What it wrote to standard error so far.
    pub fn told(&self) -> String {
        text(&self.stderr.0)
    }

    /// True while it has not ended.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("its state can be asked").is_none()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL. No harm where it has ended.
    pub fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
    }

    /// The most memory that it ever had in RAM, in bytes, as far as the kernel tells: 0 once it has ended. 0 too while it is still a copy of
    /// this process, about to become another program: it would have the memory of this one.
    pub fn memory_peak_bytes(&self) -> u64 {
        let program = |process: &str| fs::read_link(format!("/proc/{process}/exe")).ok();
        if program(&self.child.id().to_string()) == program("self") {
            return 0;
        }
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }

    /// Sends a signal by its name, such as `INT`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.as_ref().is_ok_and(ExitStatus::success), "kill -s {name}: {sent:?}\n{}", self.told());
    }

    /// Waits until something holds. Fails where the process ends before.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, holds: impl FnMut(&Self) -> bool) {
        assert!(self.reaches(what, holds), "the process ended before {what}:\n{}\n{}", cut(&self.said()), cut(&self.told()));
    }

    /// Waits until something holds: true, or until the process ends: false.
    #[track_caller]
    pub fn reaches(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) -> bool {
        let end = Instant::now() + PATIENCE;
        loop {
            if holds(self) {
                return true;
            }
            if !self.runs() {
                return false;
            }
            assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}\n{}\n{}", cut(&self.said()), cut(&self.told()));
            std::thread::sleep(LOOK);
        }
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().expect("its state can be asked") {
                Some(status) => break status,
                None if Instant::now() < end => std::thread::sleep(LOOK),
                None => panic!("it did not end within {PATIENCE:?}\n{}\n{}", cut(&self.said()), cut(&self.told())),
            }
        };
        // The pipes close with the process, since it starts no others.
        for thread in [&mut self.stdout.1, &mut self.stderr.1] {
            let thread = std::mem::replace(thread, std::thread::spawn(|| ()));
            thread.join().expect("listening does not panic");
        }
        assert_no_panic(&self.told());
        Ended { status, stdout: self.said(), stderr: self.told() }
    }
}

/// Fails where the host told of a panic: nothing that a test does may cause one. What guests say stands behind the name of their operator.
#[track_caller]
pub fn assert_no_panic(told: &str) {
    let is_ours = |line: &&str| line.starts_with("thread '") || line.contains("internal: the thread `");
    if let Some(line) = told.lines().find(is_ours) {
        panic!("the host panicked: {line}\n{}", cut(told));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if !std::thread::panicking() {
            assert_no_panic(&self.told());
        }
        // Without it the process would stay as a zombie until the test ends.
        let _ = self.child.wait();
    }
}

/// Text lines, sorted: what is compared where the order of rows is free.
#[derive(PartialEq, Eq)]
pub struct Lines {
    bytes: Vec<u8>,
}

impl Lines {
    /// Sorts the lines of a text.
    pub fn of(text: &[u8]) -> Self {
        let mut lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
        lines.sort_unstable();
        Self { bytes: lines.concat() }
    }

    /// The lines of all files in a folder, save hidden ones.
    #[track_caller]
    pub fn of_folder(folder: &Path) -> Self {
        let mut bytes = Vec::new();
        for file in files_below(folder) {
            bytes.extend(fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
        }
        Self::of(&bytes)
    }

    /// The lines.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split_inclusive(|&byte| byte == b'\n')
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Fails where two differ, with the first lines that only one of them has.
    #[track_caller]
    pub fn assert_equals(&self, expected: &Self, what: &str) {
        if self == expected {
            return;
        }
        let mut balance: BTreeMap<&[u8], i64> = BTreeMap::new();
        expected.iter().for_each(|line| *balance.entry(line).or_default() -= 1);
        self.iter().for_each(|line| *balance.entry(line).or_default() += 1);
        let mut report = format!("{what}: {} lines, expected {}", self.len(), expected.len());
        for (line, surplus) in balance.iter().filter(|(_, surplus)| **surplus != 0).take(10) {
            let _ = write!(report, "\n  {surplus:+} {}", String::from_utf8_lossy(line).trim_end());
        }
        panic!("{report}");
    }
}

/// Lines `key,value,time` with skewed keys, and what counting them gives. The time is one of the key, so that the rows that the counter
/// emits do not depend on which of two equal keys comes first.
pub struct Input {
    pub text: String,
    /// Rows `key,count,time`, one for each line.
    pub counted: Lines,
}

impl Input {
    /// `rows` lines over `keys` keys. `value` makes the value of a row of its number.
    pub fn new(seed: u64, rows: usize, keys: usize, mut value: impl FnMut(usize) -> String) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut counts = vec![0u32; keys];
        let (mut text, mut counted) = (String::new(), String::new());
        for row in 0..rows {
            // The cube draws to the small numbers: one key in a hundred has a fifth of the rows.
            let key = (random.random::<f64>().powi(3) * keys as f64) as usize;
            counts[key] += 1;
            let time = 1_700_000_000_000 + key;
            let _ = writeln!(text, "k{key},{},{time}", value(row));
            let _ = writeln!(counted, "k{key},{},{time}", counts[key]);
        }
        Self { text, counted: Lines::of(counted.as_bytes()) }
    }
}

/// The topology `source -> parse -> count by key -> files`, where most tests differ in a line or two.
pub struct Counting {
    /// The guest that parses, and the one that counts.
    pub parser: &'static str,
    pub counter: &'static str,
    /// Where checkpoints are.
    pub store: &'static str,
    /// Further lines of `[checkpoint]`, `[flow]`, the source's `file` table and the counter.
    pub checkpoint: &'static str,
    pub flow: &'static str,
    pub source: &'static str,
    pub operator: &'static str,
    /// What the sink writes to, and how.
    pub sink: &'static str,
}

impl Default for Counting {
    fn default() -> Self {
        Self {
            parser: "parse-kv",
            counter: "running-count",
            store: "file:./state",
            checkpoint: "interval = \"50ms\"",
            flow: "",
            source: "split = \"1MiB\"",
            operator: "",
            sink: "file = { path = \"out\", format = \"csv\" }",
        }
    }
}

impl Counting {
    /// The text of the topology; the job is `counting`, the input `in/*`, the output `out`.
    pub fn text(&self) -> String {
        let Self { store, checkpoint, flow, source, operator, sink, .. } = self;
        let (parser, counter) = (guest(self.parser), guest(self.counter));
        format!(
            "name = \"counting\"\n\
             [checkpoint]\nstore = \"{store}\"\n{checkpoint}\n\
             [flow]\n{flow}\n\
             [[source]]\nname = \"lines\"\n[source.file]\npath = \"in/*\"\nformat = \"lines\"\n{source}\n\
             [[operator]]\nname = \"parse\"\ncomponent = {parser:?}\ninput = \"lines\"\n\
             [[operator]]\nname = \"count\"\ncomponent = {counter:?}\ninput = {{ from = \"parse\", by = \"key\" }}\n{operator}\n\
             [[sink]]\nname = \"counts\"\ninput = \"count\"\n{sink}\n"
        )
    }

    /// A place with this topology and this input.
    pub fn place(&self, input: &str) -> Place {
        let place = Place::with(&self.text());
        place.write("in/rows.txt", input);
        place
    }
}
