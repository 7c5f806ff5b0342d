//! Reads the splits of one instance: bounded ones one after another, then followed ones in turn.

use super::context::SourceContext;
use super::gather::Gather;
use super::lines::ScanProgress;
use super::marks::Marks;
use super::position::FilePosition;
use super::split::OpenSplit;
use super::tail::Tail;
use super::watermark::{self, IdlenessTimer};
use crate::connect::{ConnectError, InputStatus, SourceBatch, SourceReader, SourceSplit};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A reader of files.
pub struct FileReader {
    context: Arc<SourceContext>,
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
    quiet: IdlenessTimer,
}

enum State {
    Closed,
    Open(Box<OpenSplit>),
    Done,
}

impl Split {
    fn new(position: FilePosition) -> Self {
        let state = if position.is_done() { State::Done } else { State::Closed };
        Self { position, state, moved: false, quiet: IdlenessTimer::default() }
    }

    fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn scan(&mut self, context: &SourceContext, gather: &mut Gather) -> Result<ScanProgress, ConnectError> {
        if matches!(self.state, State::Closed) {
            self.state = State::Open(Box::new(OpenSplit::open(context, &self.position)?));
        }
        let State::Open(open) = &mut self.state else { return Ok(ScanProgress::Done) };
        let (progress, moved) = open.scan(context, &mut self.position, gather)?;
        self.moved |= moved;
        self.quiet.note(moved, Instant::now());
        if progress == ScanProgress::Done {
            self.state = State::Done;
        }
        Ok(progress)
    }
}

impl FileReader {
    /// A reader over these splits. `index`: which one of the source it is.
    pub(super) fn new(context: Arc<SourceContext>, index: usize, splits: &[SourceSplit]) -> Result<Self, ConnectError> {
        let mut tail = context.follow.then(|| Tail::new(&context, index));
        let mut positions = Vec::new();
        for split in splits {
            match &mut tail {
                Some(tail) if Marks::is(&split.split) => tail.take_marks(&context, &Marks::parse(split)?),
                None if Marks::is(&split.split) => {}
                tail => {
                    let mut position = FilePosition::parse(split)?;
                    if !position.is_done() {
                        // As it is from here on: it was none, or nothing has been read.
                        position.reads = Some(context.reads.clone());
                    }
                    match tail {
                        Some(tail) if position.end.is_none() => tail.take_up(&context, position)?,
                        _ => positions.push(position),
                    }
                }
            }
        }
        // Whatever the order in which a checkpoint keeps them.
        positions.sort_unstable_by(|a, b| (&a.path, a.start).cmp(&(&b.path, b.start)));
        let gather = Gather::new(context.rows.limits, context.rows.row_bytes_max);
        let splits = positions.into_iter().map(Split::new).collect();
        Ok(Self { context, splits, first_open: 0, tail, gather, watermark: i64::MIN })
    }

    /// Bounded splits, until the batch is full or none is left.
    fn read_bounded(&mut self) -> Result<(), ConnectError> {
        for split in &mut self.splits[self.first_open..] {
            while !split.is_done() {
                match split.scan(&self.context, &mut self.gather)? {
                    ScanProgress::Full => return Ok(()),
                    // Its last row may not be whole yet.
                    ScanProgress::Wait => break,
                    ScanProgress::Paused | ScanProgress::Done => {}
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
            tail.positions(&self.context, &mut positions);
        }
        self.raise_watermark();
        let (rows, rejected) = self.gather.take();
        SourceBatch { rows, rejected, positions, watermark: self.watermark }
    }

    fn raise_watermark(&mut self) {
        if self.context.rows.lateness_ms.is_none() {
            return;
        }
        let idle_after = self.context.idle_after.unwrap_or(Duration::MAX);
        let open = || self.splits[self.first_open..].iter().filter(|split| !split.is_done());
        let times = || open().map(|split| (split.position.time_max, &split.quiet)).chain(self.tail.iter().flat_map(Tail::times));
        self.watermark = self.watermark.max(self.context.rows.watermark(watermark::least(times(), idle_after)).unwrap_or(i64::MIN));
        let latest = times().filter_map(|(time, _)| time).max();
        let bounded = self.splits[self.first_open..].iter_mut().filter(|split| !split.is_done());
        let bounded = bounded.map(|split| (&split.position, &mut split.quiet));
        for (position, quiet) in bounded.chain(self.tail.iter_mut().flat_map(Tail::quiet)) {
            if quiet.tells(position.time_max < latest, idle_after) {
                tracing::warn!("{}", quiet.told(&position.path, self.context.idle_after));
            }
        }
    }

    fn has_news(&self) -> bool {
        let moved = || self.splits.iter().skip(self.first_open).any(|split| split.moved);
        !self.gather.is_empty() || moved() || self.tail.as_ref().is_some_and(Tail::has_news)
    }
}

impl SourceReader for FileReader {
    fn next(&mut self) -> Result<InputStatus, ConnectError> {
        self.gather.reserve();
        self.gather.set_horizon(self.context.rows.horizon.now_ms());
        self.read_bounded()?;
        let now = Instant::now();
        if let Some(tail) = &mut self.tail {
            tail.look(&self.context, self.gather.is_empty(), now)?;
            tail.read(&self.context, &mut self.gather, now)?;
        }
        self.context.tell();
        if self.has_news() {
            return Ok(InputStatus::Rows(self.batch()));
        }
        let before = self.watermark;
        self.raise_watermark();
        if self.watermark > before {
            return Ok(InputStatus::Rows(self.batch()));
        }
        match &self.tail {
            Some(tail) if !tail.is_over(&self.context) => Ok(InputStatus::Idle(self.context.pause())),
            _ if self.splits.iter().all(Split::is_done) => Ok(InputStatus::End),
            _ => Ok(InputStatus::Idle(self.context.poll)),
        }
    }
}
