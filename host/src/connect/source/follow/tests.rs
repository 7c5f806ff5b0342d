//! Decisions over a folder that is a table.

use super::copies::{COPY_WAIT, CUT_KEPT};
use super::*;
use crate::connect::source::identity::{FileId, Look};
use crate::connect::source::position::CutPosition;

/// Inode, name, contents.
#[derive(Default, Clone)]
struct Table {
    files: Vec<(u64, String, String)>,
    /// Names that `path` means end so.
    end: &'static str,
    blind: bool,
    /// No times of birth.
    unborn: bool,
}

impl Table {
    fn new(files: &[(u64, &str, &str)]) -> Self {
        let files = files.iter().map(|(ino, name, text)| (*ino, (*name).to_owned(), (*text).to_owned())).collect();
        Self { files, end: "", blind: false, unborn: false }
    }

    fn found(&self, ino: u64, name: &str, text: &str) -> FoundFile {
        let born = (!self.unborn).then_some(ino as i64);
        let id = FileId { dev: 1, ino, born };
        FoundFile { name: name.to_owned(), look: Look { id, len: text.len() as u64, changed: text.len() as i64 } }
    }

    fn listed(&self) -> Vec<FoundFile> {
        let mut found: Vec<FoundFile> =
            self.files.iter().filter(|(_, name, _)| name.ends_with(self.end)).map(|(i, n, t)| self.found(*i, n, t)).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.files.iter().find(|(_, other, _)| other == name).map(|(_, _, text)| text.as_str())
    }
}

fn digest(text: &str) -> u64 {
    reprise_core::codec::checksum(text.as_bytes())
}

impl Facts for Table {
    fn print(&mut self, name: &str, offset: u64) -> Option<u64> {
        self.text(name)?.get(..offset as usize).map(digest)
    }

    fn again(&mut self, found: &FoundFile) -> Option<FoundFile> {
        self.listed().into_iter().find(|other| other.name == found.name && other.look.id == found.look.id)
    }

    fn is_beginning(&mut self, part: &str, whole: &str) -> bool {
        self.text(part).zip(self.text(whole)).is_some_and(|(part, whole)| !part.is_empty() && whole.starts_with(part))
    }

    fn beside(&mut self, _: &str, ino: u64) -> Option<FoundFile> {
        self.files.iter().find(|(other, ..)| *other == ino).map(|(ino, name, text)| self.found(*ino, name, text))
    }

    fn copy_beside(&mut self, name: &str, offset: u64, print: u64) -> Option<FoundFile> {
        let mut outside = self.files.iter().filter(|(_, other, _)| !other.ends_with(self.end) && other.starts_with(stem(name)));
        let copy = outside.find(|(.., text)| text.get(..offset as usize).map(digest) == Some(print))?;
        Some(self.found(copy.0, &copy.1, &copy.2))
    }

    fn is_meant(&mut self, name: &str) -> bool {
        name.ends_with(self.end)
    }

    fn is_blind(&mut self, _: Option<&str>) -> bool {
        self.blind
    }
}

/// A source that reads everything at once.
#[derive(Default)]
struct Model {
    followed: Followed,
    now: Duration,
    /// What was given out, in order.
    rows: Vec<String>,
}

const HERE: Option<u64> = Some(1);
/// Time between two looks.
const STEP: Duration = Duration::from_millis(100);

impl Model {
    fn look(&mut self, table: &Table) -> Vec<Change> {
        self.look_at(table, HERE)
    }

    fn look_at(&mut self, table: &Table, folder: Option<u64>) -> Vec<Change> {
        self.now += STEP;
        let mut facts = table.clone();
        let decided = self.followed.look(&table.listed(), folder, (self.now, 100), &mut facts);
        let keys: Vec<u64> = decided.iter().map(|decision| decision.key).collect();
        for key in keys {
            self.read(table, key);
        }
        decided.into_iter().map(|decision| decision.change).collect()
    }

    fn read(&mut self, table: &Table, key: u64) {
        let Some(Tracked { name: Some(name), offset, .. }) = self.followed.get(key).cloned() else { return };
        let Some(text) = table.text(&name) else { return };
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        self.rows.extend(text[(offset as usize).min(whole)..whole].lines().map(str::to_owned));
        self.followed.read(key, whole as u64, Some(digest(&text[..whole])));
    }

    fn wait(&mut self, table: &Table, time: Duration) {
        for _ in 0..time.as_millis() / STEP.as_millis() + 1 {
            self.look(table);
        }
    }
}

#[test]
fn a_file_goes_on_under_another_name() {
    let mut model = Model::default();
    model.look(&Table::new(&[(1, "app.log", "1\n2\n")]));
    let changes = model.look(&Table::new(&[(1, "app-1.log", "1\n2\n3\n"), (2, "app.log", "4\n")]));
    assert!(
        matches!(&changes[..], [Change::Renamed { name, .. }, Change::Grown, Change::New { start: 0, .. }] if name == "app-1.log"),
        "{changes:?}"
    );
    assert_eq!(model.rows, ["1", "2", "3", "4"]);
}

#[test]
fn a_file_that_path_does_not_mean_any_more_is_read_on() {
    let mut model = Model::default();
    let mut table = Table { end: ".log", ..Table::new(&[(1, "app.log", "1\n")]) };
    model.look(&table);
    table.files = Table::new(&[(1, "app.1", "1\n2\n"), (2, "app.log", "3\n")]).files;
    let changes = model.look(&table);
    assert!(changes.iter().any(|change| matches!(change, Change::Outside { name } if name == "app.1")), "{changes:?}");
    table.files[0].2.push_str("late\n");
    model.look(&table);
    model.rows.sort();
    assert_eq!(model.rows, ["1", "2", "3", "late"]);
}

#[test]
fn a_copy_that_copytruncate_made_is_not_read_again() {
    // The copy is seen before the truncation, half done, done; or only after it.
    for steps in [vec!["1\n", "1\n2\n"], vec!["1\n2\n"], vec![]] {
        let mut model = Model::default();
        model.look(&Table::new(&[(1, "app.log", "1\n2\n")]));
        for copy in &steps {
            assert_eq!(model.look(&Table::new(&[(1, "app.log", "1\n2\n"), (2, "app.log.1", copy)])), [], "{steps:?}");
        }
        let changes = model.look(&Table::new(&[(1, "app.log", "3\n"), (2, "app.log.1", "1\n2\n")]));
        assert!(changes.iter().any(|change| matches!(change, Change::Truncated { .. })), "{changes:?}");
        model.wait(&Table::new(&[(1, "app.log", "3\n"), (2, "app.log.1", "1\n2\n")]), COPY_WAIT * 2);
        assert_eq!(model.rows, ["1", "2", "3"], "{steps:?}");
    }
}

#[test]
fn a_log_that_is_truncated_and_filled_again_between_two_looks_is_known_by_its_copy() {
    // `app.log.1` has the new contents, too, and comes first.
    let mut model = Model::default();
    model.look(&Table::new(&[(1, "app.log", "1\n")]));
    model.look(&Table::new(&[(1, "app.log", "3\n4\n"), (2, "app.log.2", "1\n2\n"), (3, "app.log.1", "3\n4\n")]));
    model.wait(&Table::new(&[(1, "app.log", "5\n"), (2, "app.log.2", "1\n2\n"), (3, "app.log.1", "3\n4\n")]), COPY_WAIT * 2);
    model.rows.sort();
    assert_eq!(model.rows, ["1", "2", "3", "4", "5"]);
}

#[test]
fn a_copy_that_a_checkpoint_does_not_know_goes_on_behind_what_was_read_of_the_log() {
    let mut before = Model::default();
    before.look(&Table::new(&[(1, "app.log", "1\n2\n")]));
    let table = Table::new(&[(1, "app.log", "4\n"), (2, "app.log.1", "1\n2\n3\n")]);
    before.look(&table);
    let key = table.listed()[0].look.id.key();
    // One reader has restarted the log in this checkpoint, and the one that got the copy has not yet reported it.
    let cuts = before.followed.cuts(key);
    let log = before.followed.get(key).cloned().unwrap();
    let mut model = Model::default();
    let taken_up = Tracked::new("app.log", Some(&table.listed()[0].look), log.offset, log.print);
    model.followed.adopt(key, taken_up.cut_at(cuts.iter().filter_map(CutPosition::parts), Duration::ZERO));
    model.look(&table);
    assert_eq!(model.rows, ["3"]);
    model.wait(&table, CUT_KEPT * 2);
    assert_eq!(model.followed.cuts(key), []);
}

#[test]
fn a_copy_that_begins_as_contents_before_waits_for_the_truncation_of_the_log_that_it_is_a_copy_of() {
    let mut model = Model::default();
    model.look(&Table::new(&[(1, "app.log", "id\n")]));
    // Truncated when only its header had been read, filled again, and copied: nothing of the new contents is read yet.
    let mut facts = Table::new(&[(1, "app.log", "")]);
    model.followed.look(&facts.listed(), HERE, (model.now, 100), &mut facts);
    model.look(&Table::new(&[(1, "app.log", "id\n1\n2\n"), (2, "app.log.1", "id\n1\n2\n")]));
    let table = Table::new(&[(1, "app.log", ""), (2, "app.log.1", "id\n1\n2\n")]);
    model.wait(&table, COPY_WAIT * 2);
    assert_eq!(model.rows, ["id", "id", "1", "2"]);
}

#[test]
fn what_was_not_read_before_a_truncation_is_read_from_the_copy() {
    for (end, copy) in [("", "app.log.1"), (".log", "app.log.1")] {
        let mut model = Model::default();
        let mut table = Table { end, ..Table::new(&[(1, "app.log", "1\n")]) };
        model.look(&table);
        // It grows, and is copied and truncated before the next look reads it; the look before it has seen that it grew.
        table.files = Table::new(&[(1, "app.log", "1\n2\n")]).files;
        let mut facts = table.clone();
        model.followed.look(&table.listed(), HERE, (model.now, 100), &mut facts);
        table.files = Table::new(&[(1, "app.log", ""), (2, copy, "1\n2\n3\n")]).files;
        model.wait(&table, COPY_WAIT * 2);
        assert_eq!(model.rows, ["1", "2", "3"], "{end}");
        assert_eq!(model.followed.warnings, [""; 0]);
    }
}

#[test]
fn two_honest_files_with_the_same_contents_are_both_read() {
    for (names, waits) in [(["a.txt", "b.txt"], false), (["app.txt", "app.txt.2"], true)] {
        let mut model = Model::default();
        let table = Table::new(&[(1, names[0], "1\n"), (2, names[1], "1\n")]);
        model.look(&table);
        assert_eq!(model.rows.len(), if waits { 1 } else { 2 });
        model.wait(&table, COPY_WAIT * 2);
        assert_eq!(model.rows, ["1", "1"]);
    }
}

#[test]
fn a_truncation_without_a_copy_is_told_with_what_was_lost() {
    let mut model = Model::default();
    let mut facts = Table::new(&[(1, "app.log", "1\n2\n3\n")]);
    model.look(&Table::new(&[(1, "app.log", "1\n")]));
    model.followed.look(&facts.listed(), HERE, (model.now, 100), &mut facts);
    let changes = model.look(&Table::new(&[(1, "app.log", "")]));
    assert_eq!(changes, [Change::Truncated { unread: 4 }]);
    model.wait(&Table::new(&[(1, "app.log", "4\n")]), COPY_WAIT * 2);
    assert_eq!(model.rows, ["1", "4"]);
    assert_eq!(model.followed.warnings.len(), 1);
    assert!(model.followed.warnings[0].contains("before 4 bytes of it were read"), "{:?}", model.followed.warnings);
}

#[test]
fn a_removed_file_is_forgotten_and_one_with_its_inode_is_a_new_one() {
    let mut model = Model::default();
    model.look(&Table::new(&[(1, "a.txt", "1\n")]));
    let changes = model.look(&Table { unborn: true, ..Table::new(&[]) });
    assert_eq!(changes, [Change::Gone { name: Some("a.txt".into()), offset: 2, unread: 0 }]);
    assert_eq!(model.followed.len(), 0);
    // Born later, or unknown when.
    model.look(&Table { unborn: true, ..Table::new(&[(1, "a.txt", "1\n")]) });
    assert_eq!(model.rows, ["1", "1"]);
}

#[test]
fn an_inode_that_is_used_again_for_another_name_is_another_file_although_only_a_mark_was_kept_of_it() {
    let mut model = Model::default();
    let table = |name, text| Table { unborn: true, ..Table::new(&[(1, name, text)]) };
    let key = table("a.txt", "1\n").listed()[0].look.id.key();
    let mark = Mark { name: name_hash("a.txt"), offset: 2, print: digest("1\n"), stamp: 0 };
    model.followed.adopt(key, Tracked::marked(&mark).within(HERE));
    let changes = model.look(&table("b.txt", "other\n"));
    assert!(changes.contains(&Change::Truncated { unread: 0 }), "{changes:?}");
    assert_eq!(model.rows, ["other"]);
}

#[test]
fn a_file_that_comes_back_goes_on_where_it_was() {
    let mut model = Model::default();
    model.look(&Table::new(&[(1, "a.txt", "1\n")]));
    model.look(&Table::new(&[]));
    model.look(&Table::new(&[(1, "b.txt", "1\n2\n")]));
    assert_eq!(model.rows, ["1", "2"]);
}

#[test]
fn nothing_is_forgotten_while_the_folder_is_away_or_another_one() {
    let mut model = Model::default();
    let files = Table::new(&[(1, "a.txt", "1\n"), (2, "b.txt", "2\n")]);
    model.look(&files);
    for folder in [None, Some(2), None] {
        assert_eq!(model.look_at(&Table::new(&[]), folder), []);
    }
    assert_eq!(model.followed.warnings.len(), 1, "{:?}", model.followed.warnings);
    model.look(&files);
    assert_eq!(model.rows, ["1", "2"]);
    // A copy of the whole folder in its place: names and contents stand for the files.
    let copied = Table::new(&[(11, "a.txt", "1\n3\n"), (12, "b.txt", "other\n")]);
    model.look_at(&copied, Some(2));
    assert_eq!(model.rows, ["1", "2", "3", "other"]);
}

#[test]
fn files_in_a_folder_that_cannot_be_read_are_not_gone() {
    let mut model = Model::default();
    model.look(&Table::new(&[(1, "a.txt", "1\n")]));
    assert_eq!(model.look(&Table { blind: true, ..Table::new(&[]) }), []);
    assert_eq!(model.followed.len(), 1);
}

#[test]
fn only_so_many_new_files_are_begun_at_a_look() {
    let mut followed = Followed::default();
    let files: Vec<(u64, String)> = (1..=10).map(|ino| (ino, format!("{ino:02}.txt"))).collect();
    let mut table = Table::new(&files.iter().map(|(ino, name)| (*ino, name.as_str(), "x\n")).collect::<Vec<_>>());
    for known in [4, 8, 10, 10] {
        let listed = table.listed();
        followed.look(&listed, HERE, (STEP, 4), &mut table);
        assert_eq!(followed.len(), known);
    }
}
