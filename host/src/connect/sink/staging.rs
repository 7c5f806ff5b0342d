//! Names and moves of the files of one file sink.
//!
//! ```text
//! <path>/<sink>-<epoch, 12 digits>-<instance>.<ext>                          visible
//! <path>/<sink>-<epoch, 12 digits>-<generation>-<instance>-<number>.<ext>    visible at once
//! <path>/.reprise/<sink>/owner                                               name of the job
//! <path>/.reprise/<sink>/lives/<note>                                        which life of the job's store, see `holding.rs`
//! <path>/.reprise/<sink>/staged/<epoch>-<generation>-<instance>.<ext>        being written, or durable and not yet visible
//! <path>/.reprise/<sink>/published/<instance>-<epoch, 12 digits>             empty: what of the instance up to this epoch is not staged was visible
//! <path>/.reprise/<sink>/taken-back/                                         visible once, produced again since
//! ```
//! A staged file becomes visible by one rename within the file system, so readers see all of it or nothing. They must leave names that
//! start with a dot alone. They may move visible files away: `published` remembers that those had been there. The first hosts named a note
//! `<instance>` and wrote the epoch into it; such notes are read too.
//!
//! What happens at the start of a run is in `recover.rs` beside this.

mod recover;

use super::disk::{has_checksum, is_equal, length, names, read_epoch, remove, sync_folder, touch};
use super::foreign::kept_of;
use super::output_name::{EPOCH_DIGITS, OutputName, parse_checksum};
use super::passage::{Passage, Whereabouts};
use super::published::{Published, newest_of, note_name, parse_note};
use crate::connect::{ConnectError, Staged};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Names that are tried for a file that must be new.
const NAMES_MAX: usize = 1_000;
/// Threads that hold staged files against their checksums at a time.
const CHECKS_AT_ONCE: usize = 8;
/// Bytes of staged files from which on that is worth threads of its own.
const CHECKS_BYTES_MIN: u64 = 1 << 20;
/// Looks at a file that comes and goes while it is published.
const LOOKS_MAX: u32 = 8;
/// What a token of a manifest says: which file, and what its bytes were when it was sealed.
///
/// As text it is the name of the file, `:`, and the checksum as 16 hexadecimal digits. Tokens of the first hosts have no checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub file: OutputName,
    pub checksum: Option<u64>,
}

impl Sealed {
    /// Reads a token; `None` for what cannot have been written here.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, checksum) = match text.split_once(':') {
            Some((name, digits)) => (name, Some(parse_checksum(digits)?)),
            None => (text, None),
        };
        Some(Self { file: OutputName::parse(name)?, checksum })
    }

    /// The token.
    pub fn text(&self) -> String {
        let name = self.file.text();
        self.checksum.map_or_else(|| name.clone(), |checksum| format!("{name}:{checksum:016x}"))
    }
}

/// The note of each instance; `None` where there was none.
type Noted = BTreeMap<u32, Option<u64>>;

fn changes(from: &Path, to: &Path) -> ConnectError {
    let what = format!("`{}` and `{}` change while the one is made the other", from.display(), to.display());
    ConnectError::corrupt(what, "another host writes there: stop it, and start again")
}

/// The folders of one sink. Clones share what they know.
#[derive(Debug, Clone)]
pub struct Folders {
    sink: String,
    pub visible: PathBuf,
    hidden: PathBuf,
    pub staged: PathBuf,
    published: PathBuf,
    taken_back: PathBuf,
    lives: PathBuf,
    notes: Published,
}

/// How far the publication of a staged output has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is staged and whole.
    Waits,
    /// It is visible and not noted.
    IsVisible,
    /// It was made visible before, and readers may have taken it.
    WasVisible,
}

impl Folders {
    /// Names them.
    pub fn new(visible: PathBuf, sink: &str) -> Self {
        let hidden = visible.join(kept_of(sink));
        let inside = |name| hidden.join(name);
        let (staged, published, taken_back, lives) = (inside("staged"), inside("published"), inside("taken-back"), inside("lives"));
        Self { sink: sink.to_owned(), visible, hidden, staged, published, taken_back, lives, notes: Published::default() }
    }

    /// Where a token's rows are until they are published.
    pub fn staged_file(&self, token: &OutputName) -> PathBuf {
        self.staged.join(token.text())
    }

    /// Where a token's rows are from then on.
    pub fn visible_file(&self, token: &OutputName) -> PathBuf {
        self.visible.join(format!("{}-{:0EPOCH_DIGITS$}-{}.{}", self.sink, token.epoch, token.instance, token.extension))
    }

    /// Makes a new visible file for rows that are shown at once. Its name holds the generation, and a number where an earlier life of the
    /// job, with another store, has left a file of the same name.
    pub fn create_immediate(&self, name: &OutputName) -> Result<(PathBuf, File), ConnectError> {
        let mut number = 0;
        loop {
            let path = self.visible.join(format!("{}-{}", self.sink, name.piece(number)));
            match File::create_new(&path) {
                Ok(file) => return Ok((path, file)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && number < NAMES_MAX => number += 1,
                Err(error) => return Err(ConnectError::io("make", &path)(error)),
            }
        }
    }

    /// Reads a token of a manifest.
    ///
    /// # Errors
    /// [`ConnectError::Corrupt`].
    pub fn token(&self, staged: &Staged) -> Result<Sealed, ConnectError> {
        Sealed::parse(&staged.token).ok_or_else(|| {
            let what = format!("`{}` is not a token of sink `{}`", staged.token.escape_debug(), self.sink);
            ConnectError::corrupt(what, "take up an older checkpoint")
        })
    }

    /// Makes staged files visible; gives the number of those that were not before. For one instance the files come in the order of epochs.
    ///
    /// The folders are made durable once for all of them, and not once for each.
    ///
    /// # Errors
    /// Those of [`crate::connect::SinkConnector::publish`].
    pub fn publish(&self, staged: &[Staged]) -> Result<u64, ConnectError> {
        let sealed = staged.iter().map(|output| self.token(output)).collect::<Result<Vec<Sealed>, ConnectError>>()?;
        let outputs: Vec<(&Staged, &Sealed)> = staged.iter().zip(&sealed).collect();
        let stages = self.stages(&outputs)?;
        // Noted first: a reader may take a file away as soon as it is there. While it is staged, the note excuses nothing.
        let news = outputs.iter().zip(&stages).filter(|(_, stage)| **stage != Stage::WasVisible);
        let before = self.note(news.map(|((_, sealed), _)| &sealed.file))?;
        let mut count = 0;
        for (place, ((output, sealed), stage)) in outputs.iter().zip(stages).enumerate() {
            if stage != Stage::Waits {
                continue;
            }
            match self.make_visible(output, sealed) {
                Ok(is_new) => count += u64::from(is_new),
                Err(error) => {
                    self.note_back(before, outputs[..place].iter().map(|(_, sealed)| &sealed.file));
                    return Err(error);
                }
            }
        }
        if count > 0 {
            sync_folder(&self.visible)?;
        }
        Ok(count)
    }

    /// Looks at outputs, at several side by side where they are large.
    fn stages(&self, outputs: &[(&Staged, &Sealed)]) -> Result<Vec<Stage>, ConnectError> {
        let look = |outputs: &[(&Staged, &Sealed)]| outputs.iter().map(|(output, sealed)| self.stage(output, sealed)).collect();
        let bytes = outputs.iter().fold(0_u64, |sum, (output, _)| sum.saturating_add(output.bytes));
        if outputs.len() < 2 || bytes < CHECKS_BYTES_MIN {
            return look(outputs);
        }
        std::thread::scope(|scope| {
            let shares = outputs.chunks(outputs.len().div_ceil(CHECKS_AT_ONCE));
            let thread = || std::thread::Builder::new().name(format!("{}-checks", self.sink));
            let looks: Vec<_> = shares.map(|share| (share, thread().spawn_scoped(scope, move || look(share)))).collect();
            let mut stages = Vec::with_capacity(outputs.len());
            for (share, looked) in looks {
                // Where no thread is to be had, or one has failed, this one does it.
                let found: Result<Vec<Stage>, ConnectError> = match looked.map(std::thread::ScopedJoinHandle::join) {
                    Ok(Ok(found)) => found,
                    _ => look(share),
                };
                stages.extend(found?);
            }
            Ok(stages)
        })
    }

    /// True where the file was not visible before.
    fn make_visible(&self, staged: &Staged, sealed: &Sealed) -> Result<bool, ConnectError> {
        let (from, to) = (self.staged_file(&sealed.file), self.visible_file(&sealed.file));
        for _ in 0..LOOKS_MAX {
            // Another host that has this output to publish may have been faster.
            if ConnectError::unless_absent(fs::rename(&from, &to), "make visible", &to)?.is_some() {
                return Ok(true);
            }
            if self.stage(staged, sealed)? != Stage::Waits {
                return Ok(false);
            }
        }
        Err(changes(&from, &to))
    }

    fn stage(&self, staged: &Staged, sealed: &Sealed) -> Result<Stage, ConnectError> {
        for _ in 0..LOOKS_MAX {
            if let Some(stage) = self.look(staged, sealed)? {
                return Ok(stage);
            }
        }
        Err(changes(&self.staged_file(&sealed.file), &self.visible_file(&sealed.file)))
    }

    /// `None` where a file went away between two looks.
    fn look(&self, staged: &Staged, sealed: &Sealed) -> Result<Option<Stage>, ConnectError> {
        let token = &sealed.file;
        let (from, to) = (self.staged_file(token), self.visible_file(token));
        let [from_shown, to_shown] = [&from, &to].map(|path| path.display().to_string());
        let passage = Passage { epoch: token.epoch, bytes: staged.bytes, from: from_shown, to: to_shown };
        let (waiting, there) = (length(&from)?, length(&to)?);
        match passage.judge(waiting, there)? {
            Whereabouts::Visible => return Ok(Some(Stage::IsVisible)),
            Whereabouts::Nowhere if self.is_noted(token)? => return Ok(Some(Stage::WasVisible)),
            Whereabouts::Nowhere => return Err(passage.missing("file")),
            Whereabouts::Staged => {}
            Whereabouts::Both => match is_equal(&from, &to)? {
                Some(true) => {}
                Some(false) => return Err(passage.occupied()),
                None => return Ok(None),
            },
        }
        if has_checksum(&from, sealed.checksum)? { Ok(Some(Stage::Waits)) } else { Err(passage.altered()) }
    }

    fn note_file(&self, instance: u32, epoch: u64) -> PathBuf {
        self.published.join(note_name(instance, epoch))
    }

    /// All notes there are: instance, epoch, and the name.
    fn list_notes(&self) -> Result<Vec<(u32, u64, String)>, ConnectError> {
        let mut notes = Vec::new();
        for name in names(&self.published)? {
            let found = match (parse_note(&name), name.parse::<u32>()) {
                (Some(noted), _) => Some(noted),
                // One of the first hosts.
                (None, Ok(instance)) if instance.to_string() == name => {
                    read_epoch(&self.published.join(&name))?.map(|epoch| (instance, epoch))
                }
                _ => None,
            };
            notes.extend(found.map(|(instance, epoch)| (instance, epoch, name)));
        }
        Ok(notes)
    }

    /// Looks up the notes; gives the newest epoch of all.
    fn read_notes(&self) -> Result<Option<u64>, ConnectError> {
        let listed = self.list_notes()?;
        self.notes.learn(listed.iter().map(|(instance, epoch, _)| (*instance, *epoch)));
        Ok(listed.iter().map(|(_, epoch, _)| *epoch).max())
    }

    /// An output that is neither staged nor visible was visible once.
    fn is_noted(&self, token: &OutputName) -> Result<bool, ConnectError> {
        self.read_notes()?;
        Ok(self.notes.covers(token))
    }

    /// Notes that these, and all before them, were made visible. Gives what was noted before, for each instance whose note is another now.
    fn note<'a>(&self, tokens: impl Iterator<Item = &'a OutputName>) -> Result<Noted, ConnectError> {
        let mut newest = newest_of(tokens.map(|token| (token.instance, token.epoch)));
        newest.retain(|instance, epoch| self.notes.lock().get(instance).is_none_or(|noted| *noted < *epoch));
        let mut noted = Noted::new();
        if newest.is_empty() {
            return Ok(noted);
        }
        for (&instance, &epoch) in &newest {
            touch(&self.note_file(instance, epoch))?;
        }
        sync_folder(&self.published)?;
        for (instance, epoch) in newest {
            let before = self.notes.lock().insert(instance, epoch);
            noted.insert(instance, before);
            if let Some(before) = before {
                remove(&self.note_file(instance, before))?;
            }
        }
        Ok(noted)
    }

    /// Puts notes back where they were before, or to the outputs that were made visible since: what was not may still be lost, and a note would
    /// excuse it. Where that fails, too, the note is wrong until these are published.
    fn note_back<'a>(&self, before: Noted, visible: impl Iterator<Item = &'a OutputName>) {
        let visible = newest_of(visible.map(|token| (token.instance, token.epoch)));
        let back = |instance: u32, before: Option<u64>| {
            let right = before.max(visible.get(&instance).copied());
            let Some(wrong) = self.notes.lock().get(&instance).copied().filter(|noted| Some(*noted) != right) else { return Ok(()) };
            if let Some(right) = right {
                touch(&self.note_file(instance, right))?;
            }
            sync_folder(&self.published)?;
            remove(&self.note_file(instance, wrong))?;
            match right {
                Some(right) => self.notes.lock().insert(instance, right),
                None => self.notes.lock().remove(&instance),
            };
            Ok::<(), ConnectError>(())
        };
        for (instance, before) in before {
            if let Err(error) = back(instance, before) {
                tracing::warn!(sink = self.sink, instance, %error, "what was published cannot be noted");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_that_was_made_too_early_is_put_back_to_what_is_visible() {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders::new(folder.path().to_owned(), "counts");
        folders.prepare("job").unwrap();
        let token = |epoch, instance| OutputName { epoch, generation: 1, instance, extension: "json" };
        drop(folders.note([token(3, 0)].iter()).unwrap());
        let batch = [token(5, 0), token(5, 1), token(6, 0), token(6, 1), token(5, 2)];
        let before = folders.note(batch.iter()).unwrap();
        assert!(batch.iter().all(|token| folders.is_noted(token).unwrap()));
        folders.note_back(before, batch[..3].iter());
        for known in [&folders, &Folders::new(folder.path().to_owned(), "counts")] {
            let noted = batch.each_ref().map(|token| known.is_noted(token).unwrap());
            assert_eq!(noted, [true, true, true, false, false]);
            assert!(known.is_noted(&token(3, 0)).unwrap());
        }
        assert_eq!(names(&folders.published).unwrap(), ["0-000000000006", "1-000000000005"]);
    }

    #[test]
    fn what_has_almost_the_name_of_a_note_is_none_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders::new(folder.path().to_owned(), "counts");
        folders.prepare("job").unwrap();
        drop(folders.note([OutputName { epoch: 5, generation: 1, instance: 0, extension: "json" }].iter()).unwrap());
        let almost = ["0-1", "00-000000000004"];
        almost.iter().for_each(|name| touch(&folders.published.join(name)).unwrap());
        folders.take_back(&crate::connect::sink::tests::run(Some(2), 9, 2)).unwrap();
        assert_eq!(names(&folders.published).unwrap(), ["0-000000000002", almost[0], almost[1]]);
    }
}
