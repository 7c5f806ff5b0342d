//! A log that grows and is rotated, and files that are written once, as the models of a folder have them. Its lines are numbered from 1.

use super::Random;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Rotated logs that are kept.
pub const KEEP: u32 = 3;
/// Rotations after which all readers must have looked, and a checkpoint must have what they read: a log is rotated away after [`KEEP`].
const ROTATIONS_UNSEEN_MAX: u32 = 2;
/// Of the steps of [`Log::step`], those that rotate.
const ROTATIONS: std::ops::Range<u64> = 4..7;

pub struct Log {
    pub folder: PathBuf,
    pub random: Random,
    /// Lines are CSV records behind a header.
    pub csv: bool,
    /// Lines written so far.
    pub lines: u64,
    /// It ends with half a line.
    half: bool,
    /// Files that were written once and are removed after they have been read.
    pub spool: Vec<PathBuf>,
    unseen: u32,
}

impl Log {
    pub fn new(folder: &Path, random: Random, csv: bool) -> Self {
        Self { folder: folder.to_owned(), random, csv, lines: 0, half: false, spool: Vec::new(), unseen: 0 }
    }

    /// The log, or the one that was rotated so many times.
    pub fn path(&self, number: u32) -> PathBuf {
        self.folder.join(if number == 0 { "app.log".to_owned() } else { format!("app.log.{number}") })
    }

    pub fn line(&mut self) -> String {
        self.lines += 1;
        if !self.csv {
            return format!("{}\n", self.lines);
        }
        match self.random.below(3) {
            0 => format!("{},\"a\nb\"\n", self.lines),
            1 => format!("{},\"x\"\"\"\r\n", self.lines),
            _ => format!("{},y\n", self.lines),
        }
    }

    /// The number of the line that a row was.
    fn number(&self, row: &str) -> u64 {
        match serde_json::from_str::<serde_json::Value>(row) {
            Ok(row) if self.csv => row["id"].as_str().unwrap().parse().unwrap(),
            _ => row.trim_end_matches(" end").parse().unwrap(),
        }
    }

    fn header(&self) -> &'static str {
        if self.csv { "id,text\n" } else { "" }
    }

    fn end_of_half(&self) -> &'static str {
        if self.csv { "\"\n" } else { " end\n" }
    }

    pub fn append_to(&self, path: &Path, text: &str) {
        let header = if fs::metadata(path).map_or(0, |metadata| metadata.len()) == 0 { self.header() } else { "" };
        OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(format!("{header}{text}").as_bytes()).unwrap();
    }

    /// A step of the writer; `between` comes between a copy and the truncation. False for a number that is of no step.
    pub fn step(&mut self, action: u64, between: impl FnOnce()) -> bool {
        match action {
            0..4 => self.append(),
            4 => self.rotate_by_rename(),
            5 => self.rotate_by_copy(|| ()),
            6 => self.rotate_by_copy(between),
            7 => self.spool(1),
            _ => return false,
        }
        true
    }

    /// True where all readers must have looked before this step.
    pub fn waits(&self, action: u64) -> bool {
        self.unseen >= ROTATIONS_UNSEEN_MAX && ROTATIONS.contains(&action)
    }

    /// All readers have looked, and a checkpoint has what they read.
    pub fn is_seen(&mut self) {
        self.unseen = 0;
    }

    /// Removes what was written once.
    pub fn clear_spool(&mut self) {
        self.spool.drain(..).for_each(|path| fs::remove_file(path).unwrap());
    }

    /// Fails unless these rows are all lines, each once.
    #[track_caller]
    pub fn assert_whole<'a>(&self, rows: impl IntoIterator<Item = &'a String>, what: &str) {
        let mut numbers: Vec<u64> = rows.into_iter().map(|row| self.number(row)).collect();
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(1..=self.lines), "{what}: {numbers:?} of {}", self.lines);
    }

    fn append(&mut self) {
        let mut text = String::new();
        if std::mem::take(&mut self.half) {
            text.push_str(self.end_of_half());
        }
        for _ in 0..self.random.below(6) {
            text.push_str(&self.line());
        }
        if self.random.one_of(20) {
            (self.half, self.lines) = (true, self.lines + 1);
            text.push_str(&if self.csv { format!("{},\"half", self.lines) } else { self.lines.to_string() });
        }
        self.append_to(&self.path(0), &text);
    }

    /// What is half stays half where the log is rotated: the writer ends its line first.
    pub fn finish_line(&mut self) {
        if std::mem::take(&mut self.half) {
            self.append_to(&self.path(0), self.end_of_half());
        }
    }

    fn shift(&mut self) {
        let _ = fs::remove_file(self.path(KEEP));
        for number in (1..KEEP).rev() {
            let _ = fs::rename(self.path(number), self.path(number + 1));
        }
        self.unseen += 1;
    }

    fn rotate_by_rename(&mut self) {
        if self.path(0).exists() {
            self.finish_line();
            self.shift();
            fs::rename(self.path(0), self.path(1)).unwrap();
        }
    }

    fn rotate_by_copy(&mut self, between: impl FnOnce()) {
        if self.path(0).exists() {
            self.finish_line();
            self.shift();
            fs::copy(self.path(0), self.path(1)).unwrap();
            between();
            OpenOptions::new().write(true).truncate(true).open(self.path(0)).unwrap();
        }
    }

    /// Files that are there as a whole or not at all.
    pub fn spool(&mut self, count: u64) {
        for _ in 0..count {
            let path = self.folder.join(format!("spool-{}.log", self.lines));
            let text: String = (0..=self.random.below(3)).map(|_| self.line()).collect();
            fs::write(path.with_extension("tmp"), format!("{}{text}", self.header())).unwrap();
            fs::rename(path.with_extension("tmp"), &path).unwrap();
            self.spool.push(path);
        }
    }
}
