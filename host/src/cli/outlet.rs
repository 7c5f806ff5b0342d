//! Standard error: a bounded queue, and one thread that writes what is in it.
//!
//! Whoever has something to say never waits and never fails, save at the end of a process, which waits for a bounded time ([`flush`]): not where the reader has gone, the disk is full, or the pipe is full and its
//! reader looks elsewhere. What finds no room is dropped, counted, and told of once there is room again. Everything that any command
//! writes to standard error goes through here, and is made harmless here ([`reprise_core::plain`]), whoever wrote it; all but what the parser of
//! arguments says, which is written before there is anything else.
//!
//! ```text
//!  anybody ──say──> [ at most QUEUE_BYTES_MAX ] ──thread `stderr`──> standard error, under the live line if there is one
//! ```

use indicatif::ProgressBar;
use reprise_core::plain::{plain_json, plain_lines, plain_page};
use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that wait to be written; more are dropped.
const QUEUE_BYTES_MAX: usize = 1 << 20;
/// The time that the end of a process waits until all is written.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// The time that it waits where the process is to end at once.
const FLUSH_BRIEFLY: Duration = Duration::from_millis(200);

static OUTLET: Outlet = Outlet::new();

/// A piece of standard error that waits for the thread.
enum Piece {
    /// To be written.
    Text(String),
    /// The live line shows this from now on.
    Live(String),
    /// The live line goes.
    Clear,
}

#[derive(Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    bytes: usize,
    dropped: u64,
    /// The thread has taken something that it has not written yet.
    is_busy: bool,
    has_thread: bool,
    /// Lines are JSON objects.
    is_json: bool,
    live: Option<ProgressBar>,
}

struct Outlet {
    queue: Mutex<Queue>,
    filled: Condvar,
    emptied: Condvar,
}

/// Says something in one or several lines.
pub(super) fn say(text: &str) {
    OUTLET.put(Piece::Text(format!("{}\n", plain_lines(text))));
}

/// Says a list each of whose lines is the host's own.
pub(super) fn say_page(text: &str) {
    let text = plain_page(text);
    OUTLET.put(Piece::Text(format!("{}\n", text.trim_end_matches('\n'))));
}

/// Says one JSON object.
pub(super) fn say_json(value: &serde_json::Value) {
    OUTLET.put(Piece::Text(format!("{}\n", plain_json(&value.to_string()))));
}

/// True where lines are JSON objects.
pub(super) fn is_json() -> bool {
    OUTLET.lock().is_json
}

/// Says something as text, or as a JSON object where lines are that.
pub(super) fn tell(text: &str) {
    if is_json() { say_json(&serde_json::json!({ "event": "message", "text": text })) } else { say(text) }
}

/// Says how lines look from now on: JSON objects, or text with a live line under it where there is a bar for one.
pub(super) fn set_style(is_json: bool, live: Option<ProgressBar>) {
    let mut queue = OUTLET.lock();
    (queue.is_json, queue.live) = (is_json, live);
}

/// The live line becomes this, if there is one.
pub(super) fn show_live(text: &str) {
    OUTLET.put(Piece::Live(plain_lines(text).replace('\n', " ")));
}

/// The live line goes, if there is one.
pub(super) fn clear_live() {
    OUTLET.put(Piece::Clear);
}

/// Waits until all is written, but not long: a reader that does not read is not waited for.
pub(super) fn flush() {
    OUTLET.flush(FLUSH_MAX);
}

/// Waits a moment until all is written, where the process is to end at once.
pub(super) fn flush_briefly() {
    OUTLET.flush(FLUSH_BRIEFLY);
}

impl Outlet {
    const fn new() -> Self {
        let queue = Queue { pieces: VecDeque::new(), bytes: 0, dropped: 0, is_busy: false, has_thread: false, is_json: false, live: None };
        Self { queue: Mutex::new(queue), filled: Condvar::new(), emptied: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&'static self, piece: Piece) {
        let mut queue = self.lock();
        queue.push(piece);
        if !queue.has_thread {
            // Where the system gives none, the next who has something to say tries again, and the end writes what is there.
            queue.has_thread = std::thread::Builder::new().name("stderr".to_owned()).spawn(|| self.write()).is_ok();
        }
        drop(queue);
        self.filled.notify_one();
    }

    fn write(&self) {
        loop {
            let mut queue = self.filled.wait_while(self.lock(), |queue| queue.pieces.is_empty()).unwrap_or_else(PoisonError::into_inner);
            let Some(piece) = queue.pop() else { continue };
            let live = queue.live.clone();
            drop(queue);
            write(piece, live.as_ref());
            self.lock().is_busy = false;
            self.emptied.notify_all();
        }
    }

    fn flush(&self, within: Duration) {
        let end = Instant::now() + within;
        let mut queue = self.lock();
        while !queue.has_thread
            && let Some(piece) = queue.pop()
        {
            write(piece, None);
            queue.is_busy = false;
        }
        while queue.has_thread && (queue.is_busy || !queue.pieces.is_empty()) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            queue = self.emptied.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Queue {
    fn push(&mut self, piece: Piece) {
        let bytes = piece.bytes();
        match &piece {
            // What stands there is soon shown again.
            Piece::Live(_) if !self.pieces.is_empty() => return,
            Piece::Text(_) if self.bytes + bytes > QUEUE_BYTES_MAX => {
                self.dropped += 1;
                return;
            }
            _ => {}
        }
        self.bytes += bytes;
        self.pieces.push_back(piece);
    }

    fn pop(&mut self) -> Option<Piece> {
        let piece = self.pieces.pop_front()?;
        self.is_busy = true;
        self.bytes -= piece.bytes();
        if self.dropped > 0 && self.bytes <= QUEUE_BYTES_MAX / 2 {
            let dropped = std::mem::take(&mut self.dropped);
            self.push(Piece::Text(lost(dropped, self.is_json)));
        }
        Some(piece)
    }
}

impl Piece {
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) | Self::Live(text) => text.len(),
            Self::Clear => 0,
        }
    }
}

/// The line that tells of dropped ones.
fn lost(dropped: u64, is_json: bool) -> String {
    let text = format!("{dropped} messages were dropped here: the reader of standard error was slower than they came");
    if is_json { format!("{}\n", serde_json::json!({ "event": "log-dropped", "messages": dropped, "text": text })) } else { text + "\n" }
}

/// Writes to standard error. Where that fails nobody is left to be told.
fn write(piece: Piece, live: Option<&ProgressBar>) {
    match (piece, live) {
        (Piece::Text(text), Some(bar)) => bar.suspend(|| put(&text)),
        (Piece::Text(text), None) => put(&text),
        (Piece::Live(text), Some(bar)) => {
            bar.set_message(text);
            bar.tick();
        }
        (Piece::Clear, Some(bar)) => bar.finish_and_clear(),
        (Piece::Live(_) | Piece::Clear, None) => {}
    }
}

fn put(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Takes the log of host and guests: one event a write.
pub(super) struct LogWriter {
    /// The events are JSON objects.
    pub is_json: bool,
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let event = String::from_utf8_lossy(bytes);
        let event = event.strip_suffix('\n').unwrap_or(&event);
        let text = match self.is_json {
            true => plain_json(event).into_owned(),
            // An event is one line, whatever is in it.
            false => plain_lines(&event.replace('\n', "\\n")),
        };
        OUTLET.put(Piece::Text(format!("{text}\n")));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.pop()).filter_map(|piece| if let Piece::Text(text) = piece { Some(text) } else { None }).collect()
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told_of_once_there_is_room() {
        let mut queue = Queue::default();
        let line = "x".repeat(QUEUE_BYTES_MAX / 4);
        (0..7).for_each(|_| queue.push(Piece::Text(line.clone())));
        assert_eq!((queue.pieces.len(), queue.dropped, queue.bytes), (4, 3, QUEUE_BYTES_MAX));
        let written = texts(&mut queue);
        assert_eq!((written.len(), queue.bytes, queue.dropped), (5, 0, 0));
        assert!(written[4].contains("3 messages were dropped"), "{}", written[4]);
    }

    #[test]
    fn a_live_line_never_waits_behind_anything() {
        let mut queue = Queue::default();
        queue.push(Piece::Live("1".into()));
        (0..100).for_each(|_| queue.push(Piece::Live("2".into())));
        assert_eq!(queue.pieces.len(), 1);
        queue.push(Piece::Text("text".into()));
        queue.push(Piece::Clear);
        assert_eq!(queue.pieces.len(), 3);
    }

    #[test]
    fn an_end_does_not_wait_for_a_reader_that_does_not_read() {
        let outlet = Outlet::new();
        outlet.lock().has_thread = true;
        outlet.lock().push(Piece::Text("never written".into()));
        let began = Instant::now();
        outlet.flush(Duration::from_millis(20));
        assert!(began.elapsed() >= Duration::from_millis(20));
        texts(&mut outlet.lock());
        outlet.lock().is_busy = false;
        outlet.flush(Duration::from_secs(3600));
    }
}
