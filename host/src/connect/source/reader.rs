//! Reads the splits of one instance: bounded ones one after another, then followed ones in turn.

use super::file::Plan;
use super::gather::Gather;
use super::lines::Progress;
use super::position::FilePosition;
use super::split::OpenSplit;
use super::watermark::{self, Quiet};
use crate::connect::{ConnectError, SourceBatch, SourceReader, Step};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A reader of files.
pub struct FileReader {
    plan: Arc<Plan>,
    splits: Vec<Split>,
    /// Splits before this one are finished.
    first_open: usize,
    /// The followed split that is next in turn.
    turn: usize,
    gather: Gather,
    watermark: i64,
    finds_new: bool,
}

struct Split {
    position: FilePosition,
    state: State,
    moved: bool,
    quiet: Quiet,
}

enum State {
    Closed,
    Open(Box<OpenSplit>),
    Done,
}

impl Split {
    fn new(position: FilePosition) -> Self {
        let state = if position.is_done() { State::Done } else { State::Closed };
        Self { position, state, moved: false, quiet: Quiet::default() }
    }

    fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// True where its turn comes after all bounded splits.
    fn is_followed(&self, follow: bool) -> bool {
        match &self.state {
            State::Open(open) => open.is_growing(),
            State::Closed | State::Done => follow && self.position.end.is_none(),
        }
    }

    fn scan(&mut self, plan: &Plan, gather: &mut Gather) -> Result<Progress, ConnectError> {
        if matches!(self.state, State::Closed) {
            self.state = State::Open(Box::new(OpenSplit::open(plan, &self.position)?));
        }
        let State::Open(open) = &mut self.state else { return Ok(Progress::Done) };
        let (progress, moved) = open.scan(plan, &mut self.position, gather)?;
        self.moved |= moved;
        self.quiet.note(moved, Instant::now());
        if progress == Progress::Done {
            self.state = State::Done;
        }
        Ok(progress)
    }
}

impl FileReader {
    /// A reader over these positions; `finds_new`: it also looks for new files.
    pub(super) fn new(plan: Arc<Plan>, mut positions: Vec<FilePosition>, finds_new: bool) -> Self {
        // Whatever the order in which a checkpoint keeps them.
        positions.sort_unstable_by(|a, b| (&a.path, a.start).cmp(&(&b.path, b.start)));
        let gather = Gather::new(plan.limits, plan.row_bytes_max);
        let splits = positions.into_iter().map(Split::new).collect();
        Self { plan, splits, first_open: 0, turn: 0, gather, watermark: i64::MIN, finds_new }
    }

    /// Bounded splits, until the batch is full or none is left.
    fn read_bounded(&mut self) -> Result<(), ConnectError> {
        for split in &mut self.splits[self.first_open..] {
            if split.is_followed(self.plan.follow) {
                continue;
            }
            while !split.is_done() {
                match split.scan(&self.plan, &mut self.gather)? {
                    Progress::Full => return Ok(()),
                    // Its last row may not be whole yet.
                    Progress::Wait => break,
                    Progress::Paused | Progress::Done => {}
                }
            }
        }
        Ok(())
    }

    /// Followed splits, each once, until the batch is full.
    fn read_followed(&mut self) -> Result<(), ConnectError> {
        for _ in 0..self.splits.len() {
            if self.gather.is_full() {
                break;
            }
            self.turn = (self.turn + 1) % self.splits.len();
            let split = &mut self.splits[self.turn];
            if split.is_followed(self.plan.follow) {
                split.scan(&self.plan, &mut self.gather)?;
            }
        }
        Ok(())
    }

    fn batch(&mut self) -> SourceBatch {
        let mut positions = Vec::new();
        for split in &mut self.splits[self.first_open..] {
            if std::mem::take(&mut split.moved) {
                positions.push(split.position.to_split());
            }
        }
        while self.splits.get(self.first_open).is_some_and(Split::is_done) {
            self.first_open += 1;
        }
        self.raise_watermark();
        let (rows, rejected) = self.gather.take();
        SourceBatch { rows, rejected, positions, watermark: self.watermark }
    }

    fn raise_watermark(&mut self) {
        let Some(lateness_ms) = self.plan.lateness_ms else { return };
        let idle_after = self.plan.idle_after.unwrap_or(Duration::MAX);
        let open = || self.splits[self.first_open..].iter().filter(|split| !split.is_done());
        if let Some(least) = watermark::least(open().map(|split| (split.position.time_max, &split.quiet)), idle_after) {
            self.watermark = self.watermark.max(least.saturating_sub(lateness_ms).saturating_sub(1));
        }
        let latest = open().filter_map(|split| split.position.time_max).max();
        for split in self.splits[self.first_open..].iter_mut().filter(|split| !split.is_done()) {
            if split.quiet.tells(split.position.time_max < latest, idle_after) {
                tracing::warn!("{}", split.quiet.told(&split.position.path, self.plan.idle_after));
            }
        }
    }
}

impl SourceReader for FileReader {
    fn next(&mut self) -> Result<Step, ConnectError> {
        loop {
            self.gather.reserve();
            self.gather.set_horizon(self.plan.horizon.now_ms());
            self.read_bounded()?;
            if self.plan.follow {
                self.read_followed()?;
            }
            if !self.gather.is_empty() || self.splits.iter().skip(self.first_open).any(|split| split.moved) {
                return Ok(Step::Rows(self.batch()));
            }
            let before = self.watermark;
            self.raise_watermark();
            if self.watermark > before {
                return Ok(Step::Rows(self.batch()));
            }
            if self.finds_new {
                let found = self.plan.find_new()?;
                if !found.is_empty() {
                    self.splits.extend(found.into_iter().map(Split::new));
                    continue;
                }
            }
            let is_over = !self.finds_new && self.splits.iter().all(Split::is_done);
            return Ok(if is_over { Step::End } else { Step::Idle(self.plan.poll) });
        }
    }
}
