//! What a run reads: the sources of the topology, and those that send rows of the quarantine again.

use super::attempt::{Job, Readers, Splits, cannot_start};
use crate::connect::source::stdin;
use crate::connect::{self, BatchLimits, SourceSplit};
use crate::job::deal;
use crate::job::error::Error;
use crate::job::notice::Notice;
use crate::job::recovery;
use crate::job::replay::Replays;
use reprise_core::checkpoint::manifest::{self, Manifest};
use reprise_core::ids::Instance;
use reprise_core::topology::Source;

impl Job {
    /// Says which sources cannot be read again. True where all can.
    pub(super) fn tell_weaker(&self, base: Option<&Manifest>) -> Result<bool, Error> {
        let mut all = true;
        for source in &self.plan().topology.sources {
            let limits = BatchLimits { rows_max: 1, bytes_max: 1 };
            if !self.opened(source, limits)?.replays() {
                all = false;
                let mut what =
                    format!("source `{}` cannot be read again: a crash loses the rows read since the last checkpoint", source.name);
                let old = base.and_then(|b| b.sources.iter().find(|s| s.name == source.name));
                if let Some(rows) =
                    old.and_then(|s| s.splits.iter().find_map(|split| stdin::rows_of(&split.position))).filter(|rows| *rows > 0)
                {
                    what += &format!(
                        "; what comes now follows {rows} rows of earlier runs, and rows that those read after the checkpoint are lost"
                    );
                }
                self.tell(Notice::Weaker { what });
            }
        }
        Ok(all)
    }

    fn opened(&self, source: &Source, limits: BatchLimits) -> Result<Box<dyn connect::SourceConnector>, Error> {
        let clock = self.options.clock.clone();
        connect::source(&source.kind, &self.prepared.base_dir, limits, clock).map_err(cannot_start("source", &source.name))
    }

    /// Refuses to end a job that had finished in an earlier run as if there were nothing to do, where standard input waits to be read.
    pub(super) fn check_nothing_waits(&self) -> Result<(), Error> {
        for source in &self.plan().topology.sources {
            if !self.opened(source, BatchLimits { rows_max: 1, bytes_max: 1 })?.replays() && stdin::may_have_input() {
                return Err(cannot_start("source", &source.name)(stdin::finished()));
            }
        }
        Ok(())
    }

    fn batch_limits(&self) -> BatchLimits {
        let flow = &self.plan().topology.flow;
        BatchLimits { rows_max: flow.batch_rows_max as usize, bytes_max: flow.batch_bytes_max as usize }
    }

    /// What can be seen without a claim is looked at first: a start that must fail should not stop a host that runs. True where the job has
    /// finished and there is new input.
    pub(super) async fn look_first(&self) -> Result<bool, Error> {
        let seen = recovery::glance(&self.store, &self.plan().topology.name).await?;
        self.check_nodes(seen.as_ref(), false)?;
        match seen.as_ref().filter(|seen| seen.finished) {
            Some(finished) => Ok(!self.is_stopping() && self.tell_new_input(finished)?),
            None => self.readers(seen.as_ref(), false).map(|_| false),
        }
    }

    /// Tells what the sources of a job that has finished have not read. True where there is something.
    pub(super) fn tell_new_input(&self, base: &Manifest) -> Result<bool, Error> {
        let mut any = false;
        for source in &self.plan().topology.sources {
            let opened = self.opened(source, self.batch_limits())?;
            let old = base.sources.iter().find(|s| s.name == source.name);
            let known: Vec<SourceSplit> = old.map_or(&[][..], |s| &s.splits).iter().map(from_manifest).collect();
            let splits = opened.splits(&known).map_err(cannot_start("source", &source.name))?;
            if let Some(what) = opened.unread(&known, &splits) {
                any = true;
                self.tell(Notice::NewInput { source: source.name.clone(), what });
            }
        }
        if any {
            self.check_nothing_waits()?;
        }
        Ok(any)
    }

    /// One reader for each source and instance. `reopened`: the job had finished before.
    pub(super) fn readers(&self, base: Option<&Manifest>, reopened: bool) -> Result<(Readers, Splits), Error> {
        let (topology, limits) = (&self.plan().topology, self.batch_limits());
        let workers = self.options.workers as usize;
        let (mut readers, mut all) = (Vec::new(), Vec::new());
        for source in &topology.sources {
            let opened = self.opened(source, limits)?;
            let old = base.and_then(|b| b.sources.iter().find(|s| s.name == source.name));
            let known: Vec<SourceSplit> = old.map_or(&[][..], |s| &s.splits).iter().map(from_manifest).collect();
            let splits = opened.splits(&known).map_err(cannot_start("source", &source.name))?;
            // After its end no operator waits for a watermark on the word of a certain instance.
            let same = base.filter(|b| !reopened && b.workers == self.options.workers && b.covered().is_some()).and(old);
            let owners = deal::owners(opened.as_ref(), &splits, same.map(|s| &s.splits[..]), self.options.workers);
            let mut dealt: Vec<Vec<SourceSplit>> = vec![Vec::new(); workers];
            let mut noted = Vec::new();
            for (split, owner) in splits.into_iter().zip(owners) {
                let (name, position) = (split.split.clone(), split.position.clone());
                noted.push(manifest::SplitPosition { split: name, position, instance: Instance(owner) });
                dealt[owner as usize].push(split);
            }
            all.push(noted);
            let made: Result<Vec<_>, _> = dealt.into_iter().map(|splits| opened.reader(splits)).collect();
            readers.push(made.map_err(cannot_start("source", &source.name))?);
        }
        Ok((readers, all))
    }

    /// As [`Self::readers`], and one for each source that sends rows again.
    pub(super) fn all_readers(&self, base: Option<&Manifest>, reopened: bool, replays: &Replays) -> Result<(Readers, Splits), Error> {
        let (mut readers, mut splits) = self.readers(base, reopened)?;
        let outage_max = self.plan().topology.checkpoint.outage_max;
        readers.extend(replays.readers(&self.store, self.options.workers, self.batch_limits(), outage_max));
        splits.extend(replays.splits(self.options.workers));
        Ok((readers, splits))
    }

    pub(super) fn tell_replays(&self, replays: &Replays) {
        if replays.rows() > 0 {
            self.tell(Notice::Replays { rows: replays.rows() });
        }
    }

    /// Names of all sources: those of the topology, and those that send rows again.
    pub(super) fn sources<'a>(&'a self, replays: &'a Replays) -> impl Iterator<Item = String> + 'a {
        self.plan().topology.sources.iter().map(|source| source.name.clone()).chain(replays.names())
    }
}

fn from_manifest(split: &manifest::SplitPosition) -> SourceSplit {
    SourceSplit { split: split.split.clone(), position: split.position.clone() }
}
