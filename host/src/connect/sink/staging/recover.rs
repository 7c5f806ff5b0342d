//! What the folders of a sink go through at the start of a run: whose they are, what is taken back, what is cleared away.

use super::Folders;
use crate::connect::error::MAKE_FOLDER;
use crate::connect::holding::{Holding, NOTE_ROUNDS_MAX, Note, Tenant, next_note, taken_now};
use crate::connect::sink::disk::{length, names, read, remove, replace, sync_folder, touch};
use crate::connect::sink::is_owned;
use crate::connect::sink::output_name::{EXTENSIONS, OutputName};
use crate::connect::sink::published::standing;
use crate::connect::{ConnectError, Recovery, Staged};
use reprise_core::checkpoint::expiry::{KeptObject, expired};
use reprise_core::topology::TakenBack;
use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Epochs that do not count of which each name that output may have is looked for. Where there are more, the folder is looked through.
const PROBED_EPOCHS_MAX: u64 = 4;
/// Instances that a sink may have: as many as there may be workers.
const INSTANCES_MAX: u32 = 256;

impl Folders {
    /// Makes the folders, for good, and claims them for a job.
    ///
    /// # Errors
    /// [`ConnectError::Config`] where they are another job's.
    pub fn prepare(&self, job: &str) -> Result<(), ConnectError> {
        for folder in [&self.staged, &self.published, &self.taken_back, &self.lives] {
            fs::create_dir_all(folder).map_err(ConnectError::io(MAKE_FOLDER, folder))?;
        }
        if !self.is_owned(job)? {
            replace(&self.hidden.join("owner"), job)?;
            let above = self.visible.parent().filter(|above| !above.as_os_str().is_empty());
            let between = self.hidden.parent().unwrap_or(&self.hidden);
            for folder in [Some(self.hidden.as_path()), Some(between), Some(&self.visible), above].into_iter().flatten() {
                sync_folder(folder)?;
            }
        }
        Ok(())
    }

    /// False where the folders have no owner.
    fn is_owned(&self, job: &str) -> Result<bool, ConnectError> {
        let found = read(&self.hidden.join("owner"))?;
        is_owned(found.as_deref(), job, self.visible.display(), &self.sink, "folder")
    }

    fn tenants(&self) -> Result<Vec<Tenant>, ConnectError> {
        Ok(names(&self.lives)?.iter().filter_map(|name| Tenant::parse(name)).collect())
    }

    /// What the folders hold of the sink, for [`crate::connect::SinkConnector::holding`].
    pub fn holding(&self, job: &str) -> Result<Holding, ConnectError> {
        self.is_owned(job)?;
        let tenants = self.tenants()?;
        let mut newest = self.read_notes()?;
        let mut staged = names(&self.staged)?.iter().filter_map(|name| Some(OutputName::parse(name)?.generation)).max();
        if tenants.is_empty() {
            for name in names(&self.visible)? {
                newest = newest.max(self.visible_epoch(&name));
                staged = staged.max(self.immediate_generation(&name));
            }
        }
        Ok(Holding { tenants, newest, staged })
    }

    /// Takes the folders for a run.
    ///
    /// # Errors
    /// [`ConnectError::Unknown`] where they are not this run's to take.
    pub fn take(&self, job: &str, recovery: &Recovery, named: &[Staged]) -> Result<(), ConnectError> {
        let place = self.visible.display().to_string();
        // Before the notes: what a later run stages comes after its note.
        let staged = names(&self.staged)?;
        let mut holding = self.holding(job)?;
        if holding.admit(&place, &self.sink, recovery)? {
            self.remove_but(staged, named)?;
        }
        self.prepare(job)?;
        let mut made = None;
        for _ in 0..NOTE_ROUNDS_MAX {
            match next_note(&holding.tenants, recovery, made) {
                Note::Make(note) => {
                    touch(&self.lives.join(note.name()))?;
                    sync_folder(&self.lives)?;
                    made = Some(note);
                }
                Note::Stands => {
                    for older in holding.tenants.iter().filter(|older| !older.is_of(recovery)) {
                        remove(&self.lives.join(older.name()))?;
                    }
                    return Ok(());
                }
                Note::Lost => break,
            }
            holding.tenants = self.tenants()?;
        }
        if let Some(made) = made {
            remove(&self.lives.join(made.name()))?;
        }
        Err(taken_now(&place))
    }

    /// Moves visible files of epochs that do not count aside; gives their number. The folder may be large and is not looked through where few
    /// epochs are in question, as after every ordinary end of a run: their files have names that can be told.
    pub fn take_back(&self, recovery: &Recovery) -> Result<u64, ConnectError> {
        let first = recovery.recovered.map_or(0, |recovered| recovered.saturating_add(1));
        let names = match recovery.taken.saturating_sub(first) {
            epochs if epochs < PROBED_EPOCHS_MAX => self.probe(first..=recovery.taken)?,
            _ => names(&self.visible)?,
        };
        let mut count = 0;
        for name in names {
            if self.visible_epoch(&name).is_some_and(|epoch| recovery.is_void(epoch)) {
                count += u64::from(self.set_aside(&name, recovery.now_ms)?);
            }
        }
        if count > 0 {
            sync_folder(&self.taken_back)?;
            sync_folder(&self.visible)?;
        }
        if count > 0 || self.read_notes()? > recovery.recovered {
            self.reset_notes(recovery)?;
        }
        Ok(count)
    }

    /// Names of the visible files of these epochs.
    fn probe(&self, epochs: RangeInclusive<u64>) -> Result<Vec<String>, ConnectError> {
        let mut found = Vec::new();
        for epoch in epochs {
            for (instance, extension) in (0..INSTANCES_MAX).flat_map(|instance| EXTENSIONS.map(|extension| (instance, extension))) {
                let path = self.visible_file(&OutputName { epoch, generation: 0, instance, extension });
                if length(&path)?.is_some() && !path.is_dir() {
                    found.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
                }
            }
        }
        Ok(found)
    }

    /// False where a reader took the file first, or another host that starts.
    fn set_aside(&self, name: &str, now_ms: i64) -> Result<bool, ConnectError> {
        let mut to = self.taken_back.join(name);
        let mut copy = 0_u64;
        while length(&to)?.is_some() {
            copy += 1;
            to = self.taken_back.join(format!("{name}.{copy}"));
        }
        let from = self.visible.join(name);
        let is_moved = ConnectError::unless_absent(fs::rename(&from, &to), "take back", &from)?.is_some();
        if is_moved {
            // Its age counts from here on.
            stamp(&to, now_ms);
        }
        Ok(is_moved)
    }

    /// Deletes what was set aside and is over the limits, the oldest first and the newest only for its age; gives the number of files.
    pub fn expire(&self, limits: &TakenBack, now_ms: i64) -> Result<u64, ConnectError> {
        let mut files = Vec::new();
        for name in names(&self.taken_back)? {
            let is_ours = |name: &str| self.visible_epoch(name).is_some();
            if !is_ours(&name) && !name.rsplit_once('.').is_some_and(|(stem, copy)| copy.parse::<u64>().is_ok() && is_ours(stem)) {
                continue;
            }
            // One that vanishes meanwhile is gone all the same.
            let Ok(metadata) = fs::symlink_metadata(self.taken_back.join(&name)) else { continue };
            let since = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
            files.push(KeptObject { written_ms: millis(since), path: name, size_bytes: metadata.len() });
        }
        let gone = expired(files, now_ms, (millis(limits.keep), limits.bytes_max), |_| false);
        gone.iter().try_for_each(|file| remove(&self.taken_back.join(&file.path)))?;
        Ok(gone.len() as u64)
    }

    /// Of the epochs before this run none after the recovered one is published, and all up to it are: one note for each instance is left, of
    /// that epoch or before it. Notes of later runs are theirs.
    fn reset_notes(&self, recovery: &Recovery) -> Result<(), ConnectError> {
        let listed: Vec<_> = self.list_notes()?.into_iter().filter(|(_, epoch, _)| *epoch <= recovery.taken).collect();
        let standing = standing(listed.iter().map(|(instance, epoch, _)| (*instance, *epoch)), recovery.recovered);
        let kept: BTreeSet<PathBuf> = standing.iter().map(|(instance, epoch)| self.note_file(*instance, *epoch)).collect();
        kept.iter().try_for_each(|note| touch(note))?;
        if recovery.recovered.is_none() {
            self.notes.lock().clear();
        }
        self.notes.lock().extend(standing);
        for path in listed.into_iter().map(|(.., name)| self.published.join(name)).filter(|path| !kept.contains(path)) {
            remove(&path)?;
        }
        sync_folder(&self.published)
    }

    /// Removes what generations before this one have staged; gives the number of files.
    pub fn remove_staged(&self, generation: u64) -> Result<u64, ConnectError> {
        let mut count = 0;
        for name in names(&self.staged)? {
            if OutputName::parse(&name).is_some_and(|token| token.generation < generation) {
                remove(&self.staged.join(name))?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Removes what of these is not named by the checkpoint: it is of a life that is not this run's.
    fn remove_but(&self, staged: Vec<String>, named: &[Staged]) -> Result<(), ConnectError> {
        let named = named.iter().map(|output| Ok(self.token(output)?.file.text())).collect::<Result<BTreeSet<String>, ConnectError>>()?;
        for name in staged.into_iter().filter(|name| OutputName::parse(name).is_some() && !named.contains(name)) {
            remove(&self.staged.join(name))?;
        }
        Ok(())
    }

    /// The epoch of a visible file of this sink; `None` for files of others.
    fn visible_epoch(&self, name: &str) -> Option<u64> {
        let rest = name.strip_prefix(self.sink.as_str())?.strip_prefix('-')?;
        let (epoch, rest) = rest.split_once('-')?;
        let token = OutputName::parse(&format!("{epoch}-0-{rest}"))?;
        Some(token.epoch)
    }

    /// The generation of a file of this sink that was visible at once; `None` for all others.
    fn immediate_generation(&self, name: &str) -> Option<u64> {
        let name = name.strip_prefix(self.sink.as_str())?.strip_prefix('-')?;
        Some(OutputName::parse_piece(name)?.generation)
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Dates a file that was set aside. Where that is not possible it counts as old as it is.
fn stamp(path: &Path, now_ms: i64) {
    let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(now_ms).unwrap_or(0));
    if let Err(error) = fs::File::options().write(true).open(path).and_then(|file| file.set_modified(now)) {
        tracing::debug!(path = %path.display(), cause = %error, "output that was taken back keeps its old date");
    }
}
