//! Names and moves of the files of one file sink.
//!
//! ```text
//! <path>/<sink>-<epoch, 12 digits>-<instance>.<ext>                          visible
//! <path>/<sink>-<epoch, 12 digits>-<generation>-<instance>-<number>.<ext>    visible at once
//! <path>/.reprise/<sink>/owner                                               name of the job
//! <path>/.reprise/<sink>/staged/<epoch>-<generation>-<instance>.<ext>        being written, or durable and not yet visible
//! <path>/.reprise/<sink>/published/<instance>                                the last epoch made visible
//! <path>/.reprise/<sink>/taken-back/                                         visible once, produced again since
//! ```
//! A staged file becomes visible by one rename within the file system, so readers see all of it or nothing. They must leave names that
//! start with a dot alone. They may move visible files away: `published` remembers that those had been there.

use crate::connect::{ConnectError, Recovery, Staged};
use reprise_core::codec::Checksum;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Digits of the epoch in names; more where it needs more. Names then sort as epochs do.
const EPOCH_DIGITS: usize = 12;
/// Everything of ours that is not output.
const HIDDEN: &str = ".reprise";
/// Names that are tried for a file that must be new.
const NAMES_MAX: u32 = 1_000;
/// Bytes of files that are read at a time.
const STEP_BYTES: usize = 64 << 10;
/// Looks at a file that comes and goes while it is published.
const LOOKS_MAX: u32 = 8;
/// Extensions that output may have.
const EXTENSIONS: [&str; 3] = ["json", "txt", "csv"];

/// A staged file's name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub epoch: u64,
    pub generation: u64,
    pub instance: u32,
    pub extension: &'static str,
}

impl Token {
    /// Reads a token; `None` for what cannot have been written here.
    pub fn parse(text: &str) -> Option<Self> {
        let (stem, extension) = text.split_once('.')?;
        let mut parts = stem.split('-');
        let token = Self {
            epoch: parts.next()?.parse().ok()?,
            generation: parts.next()?.parse().ok()?,
            instance: parts.next()?.parse().ok()?,
            extension: EXTENSIONS.into_iter().find(|known| *known == extension)?,
        };
        // One name only for one token: no signs, no other number of zeros, nothing behind.
        (token.text() == text).then_some(token)
    }

    /// The name of the staged file.
    pub fn text(&self) -> String {
        format!("{:0EPOCH_DIGITS$}-{}-{}.{}", self.epoch, self.generation, self.instance, self.extension)
    }
}

/// What a token of a manifest says: which file, and what its bytes were when it was sealed.
///
/// As text it is the name of the file, `:`, and the checksum as 16 hexadecimal digits. Tokens of the first hosts have no checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub file: Token,
    pub checksum: Option<u64>,
}

impl Sealed {
    /// Reads a token; `None` for what cannot have been written here.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, checksum) = match text.split_once(':') {
            Some((name, digits)) => (name, Some(parse_checksum(digits)?)),
            None => (text, None),
        };
        Some(Self { file: Token::parse(name)?, checksum })
    }

    /// The token.
    pub fn text(&self) -> String {
        let name = self.file.text();
        self.checksum.map_or_else(|| name.clone(), |checksum| format!("{name}:{checksum:016x}"))
    }
}

/// Reads a checksum as tokens have it: 16 hexadecimal digits, in lower case.
pub fn parse_checksum(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok().filter(|checksum| format!("{checksum:016x}") == digits)
}

/// The folders of one sink.
#[derive(Debug, Clone)]
pub struct Folders {
    sink: String,
    visible: PathBuf,
    hidden: PathBuf,
    staged: PathBuf,
    published: PathBuf,
    taken_back: PathBuf,
}

impl Folders {
    /// Names them.
    pub fn new(visible: PathBuf, sink: &str) -> Self {
        let hidden = visible.join(HIDDEN).join(sink);
        let inside = |name| hidden.join(name);
        let (staged, published, taken_back) = (inside("staged"), inside("published"), inside("taken-back"));
        Self { sink: sink.to_owned(), visible, hidden, staged, published, taken_back }
    }

    /// Makes them, for good, and claims them for a job.
    ///
    /// # Errors
    /// [`ConnectError::Config`] where they are another job's.
    pub fn prepare(&self, job: &str) -> Result<(), ConnectError> {
        for folder in [&self.staged, &self.published, &self.taken_back] {
            fs::create_dir_all(folder).map_err(ConnectError::io("make folder", folder))?;
        }
        let owner = self.hidden.join("owner");
        match fs::read(&owner) {
            Ok(found) if found == job.as_bytes() => {}
            Ok(found) => {
                return Err(ConnectError::Config {
                    what: format!("`{}` holds output of sink `{}` of job `{}`", self.visible.display(), self.sink, found.escape_ascii()),
                    help: "give each job a folder of its own, or its sinks other names".to_owned(),
                });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                replace(&owner, job)?;
                let above = self.visible.parent().filter(|above| !above.as_os_str().is_empty());
                let between = self.hidden.parent().unwrap_or(&self.hidden);
                for folder in [Some(self.hidden.as_path()), Some(between), Some(&self.visible), above].into_iter().flatten() {
                    sync_folder(folder)?;
                }
            }
            Err(error) => return Err(ConnectError::io("read", &owner)(error)),
        }
        Ok(())
    }

    /// Where a token's rows are until they are published.
    pub fn staged_file(&self, token: &Token) -> PathBuf {
        self.staged.join(token.text())
    }

    /// Where a token's rows are from then on.
    pub fn visible_file(&self, token: &Token) -> PathBuf {
        self.visible.join(format!("{}-{:0EPOCH_DIGITS$}-{}.{}", self.sink, token.epoch, token.instance, token.extension))
    }

    /// Makes new names in the folder of staged files durable.
    pub fn sync_staged(&self) -> Result<(), ConnectError> {
        sync_folder(&self.staged)
    }

    /// Makes new names in the visible folder durable.
    pub fn sync_visible(&self) -> Result<(), ConnectError> {
        sync_folder(&self.visible)
    }

    /// Makes a new visible file for rows that are shown at once. Its name holds the generation, and a number where an earlier life of the
    /// job, with another store, has left a file of the same name.
    pub fn create_immediate(&self, token: &Token) -> Result<(PathBuf, File), ConnectError> {
        let Token { epoch, generation, instance, extension } = token;
        let stem = format!("{}-{epoch:0EPOCH_DIGITS$}-{generation}-{instance}", self.sink);
        let mut number = 0;
        loop {
            let path = self.visible.join(format!("{stem}-{number}.{extension}"));
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
        Sealed::parse(&staged.token).ok_or_else(|| ConnectError::Corrupt {
            what: format!("`{}` is not a token of sink `{}`", staged.token.escape_debug(), self.sink),
            help: "take up an older checkpoint".to_owned(),
        })
    }

    /// Makes a staged file visible. True where it was not before.
    ///
    /// # Errors
    /// See [`crate::connect::Sink::publish`].
    pub fn publish(&self, staged: &Staged) -> Result<bool, ConnectError> {
        let sealed = self.token(staged)?;
        let (from, to) = (self.staged_file(&sealed.file), self.visible_file(&sealed.file));
        for _ in 0..LOOKS_MAX {
            if let Some(published) = self.publish_once(staged, &sealed, &from, &to)? {
                return Ok(published);
            }
        }
        Err(ConnectError::Corrupt {
            what: format!("`{}` and `{}` change while the one is made the other", from.display(), to.display()),
            help: "another host writes there: stop it, and start again".to_owned(),
        })
    }

    /// `None` where the staged file went away in between: another host that has this output to publish may have been faster.
    fn publish_once(&self, staged: &Staged, sealed: &Sealed, from: &Path, to: &Path) -> Result<Option<bool>, ConnectError> {
        let token = &sealed.file;
        let (waiting, there) = (length(from)?, length(to)?);
        let wrong = |path: &Path, found: u64| ConnectError::Corrupt {
            what: format!("`{}` has {found} bytes, but {} were sealed as output of epoch {}", path.display(), staged.bytes, token.epoch),
            help: "move it away and take up an older checkpoint; its output is then produced again".to_owned(),
        };
        match (waiting, there) {
            (None, Some(found)) if found == staged.bytes => self.note_published(token).map(|()| Some(false)),
            (None, Some(found)) => Err(wrong(to, found)),
            (None, None) if self.last_published(token.instance)?.is_some_and(|last| last >= token.epoch) => Ok(Some(false)),
            (None, None) => Err(ConnectError::Missing {
                what: format!("staged output is missing: neither `{}` nor `{}` exists", from.display(), to.display()),
                help: "put the file back, or take up a checkpoint before this epoch; its output is then produced again".to_owned(),
            }),
            (Some(found), _) if found != staged.bytes => Err(wrong(from, found)),
            (Some(_), Some(found)) if found != staged.bytes || !is_equal(from, to)? => Err(ConnectError::Corrupt {
                what: format!("`{}` exists with other contents than the staged output of epoch {}", to.display(), token.epoch),
                help: "it is not overwritten: move it away if it is not needed, and start again".to_owned(),
            }),
            (Some(_), _) if !has_checksum(from, sealed.checksum)? => Err(ConnectError::Corrupt {
                what: format!("`{}` is not what was sealed as output of epoch {}: its checksum does not fit", from.display(), token.epoch),
                help: "move it away and take up an older checkpoint; its output is then produced again".to_owned(),
            }),
            (Some(_), _) => {
                // Noted first: a reader may take the file away as soon as it is there. While it is staged, the note excuses nothing.
                self.note_published(token)?;
                match fs::rename(from, to) {
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                    renamed => renamed.map_err(ConnectError::io("make visible", to))?,
                }
                sync_folder(&self.visible)?;
                Ok(Some(true))
            }
        }
    }

    /// Moves visible files of epochs that do not count aside; gives their number.
    pub fn take_back(&self, recovery: &Recovery) -> Result<u64, ConnectError> {
        let mut count = 0;
        for name in names(&self.visible)? {
            let Some(epoch) = self.visible_epoch(&name) else { continue };
            if !recovery.is_void(epoch) {
                continue;
            }
            let mut to = self.taken_back.join(&name);
            let mut copy = 0_u64;
            while length(&to)?.is_some() {
                copy += 1;
                to = self.taken_back.join(format!("{name}.{copy}"));
            }
            let from = self.visible.join(&name);
            match fs::rename(&from, &to) {
                // A reader took it first, or another host that starts.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                renamed => renamed.map_err(ConnectError::io("take back", &from))?,
            }
            count += 1;
        }
        if count > 0 {
            sync_folder(&self.taken_back)?;
            sync_folder(&self.visible)?;
        }
        for name in names(&self.published)? {
            let path = self.published.join(&name);
            match (read_epoch(&path)?, recovery.recovered) {
                (Some(last), _) if last > recovery.taken => {}
                (Some(last), Some(recovered)) if last <= recovered => {}
                (_, Some(recovered)) => replace(&path, &recovered.to_string())?,
                (_, None) => remove(&path)?,
            }
        }
        Ok(count)
    }

    /// Removes what generations before this one have staged; gives the number of files.
    pub fn remove_staged(&self, generation: u64) -> Result<u64, ConnectError> {
        let mut count = 0;
        for name in names(&self.staged)? {
            if Token::parse(&name).is_some_and(|token| token.generation < generation) {
                remove(&self.staged.join(name))?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// The epoch of a visible file of this sink; `None` for files of others.
    fn visible_epoch(&self, name: &str) -> Option<u64> {
        let rest = name.strip_prefix(self.sink.as_str())?.strip_prefix('-')?;
        let (epoch, rest) = rest.split_once('-')?;
        let token = Token::parse(&format!("{epoch}-0-{rest}"))?;
        Some(token.epoch)
    }

    fn last_published(&self, instance: u32) -> Result<Option<u64>, ConnectError> {
        read_epoch(&self.published.join(instance.to_string()))
    }

    fn note_published(&self, token: &Token) -> Result<(), ConnectError> {
        if self.last_published(token.instance)?.is_some_and(|last| last >= token.epoch) {
            return Ok(());
        }
        replace(&self.published.join(token.instance.to_string()), &token.epoch.to_string())
    }
}

/// An epoch as text; what is none counts as absent, since all that it does is to excuse files that readers moved away.
fn read_epoch(path: &Path) -> Result<Option<u64>, ConnectError> {
    match fs::read(path) {
        Ok(bytes) => Ok(std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ConnectError::io("read", path)(error)),
    }
}

/// Removes a file; one that is gone is fine.
fn remove(path: &Path) -> Result<(), ConnectError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(ConnectError::io("remove", path)),
    }
}

/// Writes a small file as a whole or not at all, durable. The draft's name is this process's own: two hosts may start at the same moment.
fn replace(path: &Path, text: &str) -> Result<(), ConnectError> {
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let write = |draft: &Path| {
        let mut file = fs::File::create(draft)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        file.sync_all()
    };
    write(&draft).map_err(ConnectError::io("write", &draft))?;
    fs::rename(&draft, path).map_err(ConnectError::io("write", path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Length of a file; `None` where there is none.
fn length(path: &Path) -> Result<Option<u64>, ConnectError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ConnectError::io("look at", path)(error)),
    }
}

/// Names of the plain entries of a folder, sorted; those that are not UTF-8 are nobody's of ours.
fn names(folder: &Path) -> Result<Vec<String>, ConnectError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(ConnectError::io("list", folder))? {
        let entry = entry.map_err(ConnectError::io("list", folder))?;
        let kind = entry.file_type().map_err(ConnectError::io("list", folder))?;
        if let (false, Ok(name)) = (kind.is_dir(), entry.file_name().into_string()) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// True where a file has this checksum, or none is known. A file that is gone has any: whoever renames it will notice.
fn has_checksum(path: &Path, expected: Option<u64>) -> Result<bool, ConnectError> {
    let Some(expected) = expected else { return Ok(true) };
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        opened => opened.map_err(ConnectError::io("open", path))?,
    };
    let (mut checksum, mut piece) = (Checksum::default(), Vec::new());
    loop {
        piece.clear();
        (&mut file).take(STEP_BYTES as u64).read_to_end(&mut piece).map_err(ConnectError::io("read", path))?;
        if piece.is_empty() {
            return Ok(checksum.digest() == expected);
        }
        checksum.update(&piece);
    }
}

/// True where two files of one length have the same bytes.
fn is_equal(a: &Path, b: &Path) -> Result<bool, ConnectError> {
    let open = |path: &Path| File::open(path).map_err(ConnectError::io("open", path));
    let (mut one, mut other) = (open(a)?, open(b)?);
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        left.clear();
        right.clear();
        (&mut one).take(STEP_BYTES as u64).read_to_end(&mut left).map_err(ConnectError::io("read", a))?;
        (&mut other).take(STEP_BYTES as u64).read_to_end(&mut right).map_err(ConnectError::io("read", b))?;
        if left != right {
            return Ok(false);
        }
        if left.is_empty() {
            return Ok(true);
        }
    }
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> Result<(), ConnectError> {
    #[cfg(unix)]
    File::open(folder).and_then(|opened| opened.sync_all()).map_err(ConnectError::io("sync folder", folder))?;
    Ok(())
}
