//! Reads the splits of one instance: bounded ones one after another, then followed ones in turn.

use super::gather::Gather;
use super::lines::Progress;
use super::marks::Marks;
use super::plan::Plan;
use super::position::FilePosition;
use super::split::OpenSplit;
use super::tail::Tail;
use super::watermark::{self, Quiet};
use crate::connect::{ConnectError, SourceBatch, SourceReader, SplitPosition, Step};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A reader of files.
pub struct FileReader {
    plan: Arc<Plan>,
    splits: Vec<Split>,
    /// Splits before this one are finished.
    first_open: usize,
    /// The followed files.
    tail: Option<Tail>,
    gather: Gather,
    watermark: i64,
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
    /// A reader over these splits. `index`: which one of the source it is.
    pub(super) fn new(plan: Arc<Plan>, index: usize, splits: &[SplitPosition]) -> Result<Self, ConnectError> {
        let mut tail = plan.follow.then(|| Tail::new(&plan, index));
        let mut positions = Vec::new();
        for split in splits {
            match &mut tail {
                Some(tail) if Marks::is(&split.split) => tail.take_marks(&plan, &Marks::parse(split)?),
                None if Marks::is(&split.split) => {}
                tail => {
                    let mut position = FilePosition::parse(split)?;
                    if !position.is_done() {
                        // As it is from here on: it was none, or nothing has been read.
                        position.reads = Some(plan.reads.clone());
                    }
                    match tail {
                        Some(tail) if position.end.is_none() => tail.take_up(&plan, position)?,
                        _ => positions.push(position),
                    }
                }
            }
        }
        // Whatever the order in which a checkpoint keeps them.
        positions.sort_unstable_by(|a, b| (&a.path, a.start).cmp(&(&b.path, b.start)));
        let gather = Gather::new(plan.limits, plan.row_bytes_max);
        let splits = positions.into_iter().map(Split::new).collect();
        Ok(Self { plan, splits, first_open: 0, tail, gather, watermark: i64::MIN })
    }

    /// Bounded splits, until the batch is full or none is left.
    fn read_bounded(&mut self) -> Result<(), ConnectError> {
        for split in &mut self.splits[self.first_open..] {
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
        if let Some(tail) = &mut self.tail {
            tail.positions(&self.plan, &mut positions);
        }
        self.raise_watermark();
        let (rows, rejected) = self.gather.take();
        SourceBatch { rows, rejected, positions, watermark: self.watermark }
    }

    fn raise_watermark(&mut self) {
        let Some(lateness_ms) = self.plan.lateness_ms else { return };
        let idle_after = self.plan.idle_after.unwrap_or(Duration::MAX);
        let open = || self.splits[self.first_open..].iter().filter(|split| !split.is_done());
        let times = || open().map(|split| (split.position.time_max, &split.quiet)).chain(self.tail.iter().flat_map(Tail::times));
        if let Some(least) = watermark::least(times(), idle_after) {
            self.watermark = self.watermark.max(least.saturating_sub(lateness_ms).saturating_sub(1));
        }
        let latest = times().filter_map(|(time, _)| time).max();
        let bounded = self.splits[self.first_open..].iter_mut().filter(|split| !split.is_done());
        let bounded = bounded.map(|split| (&split.position, &mut split.quiet));
        for (position, quiet) in bounded.chain(self.tail.iter_mut().flat_map(Tail::quiet)) {
            if quiet.tells(position.time_max < latest, idle_after) {
                tracing::warn!("{}", quiet.told(&position.path, self.plan.idle_after));
            }
        }
    }

    fn has_news(&self) -> bool {
        let moved = || self.splits.iter().skip(self.first_open).any(|split| split.moved);
        !self.gather.is_empty() || moved() || self.tail.as_ref().is_some_and(Tail::has_news)
    }
}

impl SourceReader for FileReader {
    fn next(&mut self) -> Result<Step, ConnectError> {
        self.gather.reserve();
        self.gather.set_horizon(self.plan.horizon.now_ms());
        self.read_bounded()?;
        let now = Instant::now();
        if let Some(tail) = &mut self.tail {
            tail.look(&self.plan, self.gather.is_empty(), now)?;
            tail.read(&self.plan, &mut self.gather, now)?;
        }
        self.plan.tell();
        if self.has_news() {
            return Ok(Step::Rows(self.batch()));
        }
        let before = self.watermark;
        self.raise_watermark();
        if self.watermark > before {
            return Ok(Step::Rows(self.batch()));
        }
        match &self.tail {
            Some(tail) if !tail.is_over(&self.plan) => Ok(Step::Idle(self.plan.pause())),
            _ if self.splits.iter().all(Split::is_done) => Ok(Step::End),
            _ => Ok(Step::Idle(self.plan.poll)),
        }
    }
}
