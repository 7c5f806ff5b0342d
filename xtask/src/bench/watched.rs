//! A run that is watched from outside: each line that it tells, and how far its output has come, with the moment at which it was read.
//!
//! Output is `key,count,time` on standard output. Times say which row of the input it was; where the input has every key once before one comes
//! again, they say what the count must be.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::input::FIRST_TIME_MS;

/// Bytes of one read.
const READ_BYTES: usize = 256 << 10;
/// A run that says and writes nothing for so long hangs.
const SILENCE: Duration = Duration::from_secs(300);

/// What was read.
#[derive(Debug, Clone)]
pub enum Heard {
    /// A line of JSON.
    Told(Value),
    /// So many rows came, the last of which is this row of the input, counted so often. `None`: it was a row with poison.
    Passed { rows: u64, last: Option<(u64, u64)> },
    /// A stream ended.
    Ended,
    /// The output is not as it should be.
    Broken(String),
}

/// A process, and what is read from it.
pub struct Watched {
    child: Child,
    heard: Receiver<(Instant, Heard)>,
    open: u32,
}

impl Watched {
    /// Starts a run.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (output, told) = (child.stdout.take().context("it was piped")?, child.stderr.take().context("it was piped")?);
        let (sender, heard) = mpsc::channel();
        let of_output = sender.clone();
        std::thread::spawn(move || pieces(output, &of_output, passed));
        std::thread::spawn(move || pieces(told, &sender, lines));
        Ok(Self { child, heard, open: 2 })
    }

    /// The next thing that is heard before `until`, with its moment. `None`: nothing by then, or all has ended.
    ///
    /// # Errors
    /// The output is not as it should be, or the run hangs.
    pub fn next(&mut self, until: Option<Instant>) -> Result<Option<(Instant, Heard)>> {
        while self.open > 0 {
            let wait = until.map_or(SILENCE, |until| until.saturating_duration_since(Instant::now()));
            match self.heard.recv_timeout(wait) {
                Ok((_, Heard::Ended)) => self.open -= 1,
                Ok((_, Heard::Broken(reason))) => bail!(reason),
                Ok(heard) => return Ok(Some(heard)),
                Err(RecvTimeoutError::Timeout) if until.is_some() => return Ok(None),
                Err(RecvTimeoutError::Timeout) => bail!("the run has said nothing for {} s", SILENCE.as_secs()),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Kills the process with SIGKILL, and says when.
    ///
    /// # Errors
    /// It cannot be killed.
    pub fn kill(&mut self) -> Result<Instant> {
        let at = Instant::now();
        self.child.kill()?;
        self.child.wait()?;
        Ok(at)
    }

    /// Waits for the end of a run of which everything was heard.
    ///
    /// # Errors
    /// It failed.
    pub fn finish(mut self) -> Result<()> {
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { bail!("the run ended with {status}") }
    }
}

impl Drop for Watched {
    /// A run that is given up does not go on.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a stream to its end, and hands out what `read` makes of its whole lines.
fn pieces(mut stream: impl Read, sender: &Sender<(Instant, Heard)>, read: fn(&[u8], &mut dyn FnMut(Heard))) {
    let (mut buffer, mut kept) = (vec![0; READ_BYTES], 0);
    while let Ok(count @ 1..) = stream.read(&mut buffer[kept..]) {
        let (at, filled) = (Instant::now(), kept + count);
        let whole = buffer[..filled].iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        read(&buffer[..whole], &mut |heard| drop(sender.send((at, heard))));
        buffer.copy_within(whole..filled, 0);
        kept = filled - whole;
        if kept == buffer.len() {
            buffer.resize(2 * kept, 0);
        }
    }
    drop(sender.send((Instant::now(), Heard::Ended)));
}

fn lines(whole: &[u8], each: &mut dyn FnMut(Heard)) {
    whole.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).for_each(|value| each(Heard::Told(value)));
}

fn passed(whole: &[u8], each: &mut dyn FnMut(Heard)) {
    let Some(rows) = whole.strip_suffix(b"\n") else { return };
    let count = rows.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    let last = rows.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    each(match row(last) {
        Some(last) => Heard::Passed { rows: count, last },
        None => Heard::Broken(format!("`{}` is no row of the output", String::from_utf8_lossy(last))),
    });
}

/// Which row of the input a row of the output is of, and how often its key was there. `Some(None)`: one with poison.
pub fn row(line: &[u8]) -> Option<Option<(u64, u64)>> {
    let mut fields = std::str::from_utf8(line).ok()?.split(',');
    let (key, count, time) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse::<u64>().ok()?);
    Some((key != "poison").then_some((time.checked_sub(FIRST_TIME_MS)?, count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &str) -> Vec<String> {
        let (sender, receiver) = mpsc::channel();
        pieces(text.as_bytes(), &sender, passed);
        drop(sender);
        receiver.iter().map(|(_, heard)| format!("{heard:?}")).collect()
    }

    #[test]
    fn output_says_how_far_it_has_come() {
        assert_eq!(heard("k,1,1700000000003\nk,2,1700000000007\nhalf"), ["Passed { rows: 2, last: Some((7, 2)) }", "Ended"]);
        assert_eq!(heard("poison,1,1700000000003\n"), ["Passed { rows: 1, last: None }", "Ended"]);
        assert!(heard("k,v\n")[0].contains("is no row"));
    }

    #[test]
    fn a_run_is_heard_to_its_end() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo k,1,1700000000000; echo '{\"event\":\"end\"}' >&2"]);
        let mut watched = Watched::start(&mut command).expect("sh is there");
        let mut all = Vec::new();
        while let Some((_, heard)) = watched.next(None).expect("it does not hang") {
            all.push(format!("{heard:?}"));
        }
        all.sort();
        assert_eq!(all, ["Passed { rows: 1, last: Some((0, 1)) }", "Told(Object {\"event\": String(\"end\")})"]);
        watched.finish().expect("echo does not fail");
    }
}
