//! The thread that ends a run when somebody asks for it, whatever else hangs.
//!
//! | what comes | what it does |
//! |---|---|
//! | SIGTERM, SIGINT (Ctrl-C), SIGHUP | asks the job to end with a last checkpoint |
//! | another one within [`SAME_WITHIN`] | nothing: supervisors and shells send the same wish twice |
//! | another one later | ends the process at once |
//! | [`Warden::bound`] after the first | ends the process, and says what is in no checkpoint |
//! | a panic that nobody guarded | ends the process [`PANIC_GRACE`] later, unless it has ended by itself |
//!
//! It waits for nothing but these: not for the job, the store, the log or the workers. SIGHUP that was ignored when the process began, as
//! `nohup` does it, stays ignored. SIGPIPE is ignored by the standard library.

use super::{exit, outlet};
use crate::panics;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Signals within so much time of the first one are the same wish.
pub(super) const SAME_WITHIN: Duration = Duration::from_secs(1);
/// How long a job may take to end by itself after a panic.
const PANIC_GRACE: Duration = Duration::from_secs(5);
/// Time to end before a topology says how much it is.
const BOUND_DEFAULT: Duration = Duration::from_secs(30);
/// Exit code after a second signal, as shells have it for a process that an interrupt ended.
const INTERRUPTED: i32 = 130;

/// What the thread shares with the run.
pub(super) struct Warden {
    bound_ms: AtomicU64,
}

/// What is told at the end of the time, asked for then.
pub(super) type Unfinished = Box<dyn Fn(Duration) -> String + Send + Sync>;

impl Warden {
    /// Starts the thread. It sends `true` to `ask` at the first signal.
    ///
    /// # Errors
    /// The system gives no thread, or no signals.
    pub fn start(ask: watch::Sender<bool>, unfinished: Unfinished, json: bool) -> std::io::Result<Arc<Self>> {
        let warden = Arc::new(Self { bound_ms: AtomicU64::new(BOUND_DEFAULT.as_millis() as u64) });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = {
            let _entered = runtime.enter();
            Signals::new()?
        };
        let shared = Arc::clone(&warden);
        let watch = async move {
            tokio::select! {
                () = shared.obey(signals, &ask, &unfinished, json) => {}
                () = panics::faulted() => {
                    tokio::time::sleep(PANIC_GRACE).await;
                    let text = panics::fault().unwrap_or_default();
                    exit::end_now(1, "internal", &text, json)
                }
            }
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(watch))?;
        Ok(warden)
    }

    /// Sets how long the job may take to end once it is asked to.
    pub fn set_bound(&self, bound: Duration) {
        self.bound_ms.store(u64::try_from(bound.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    fn bound(&self) -> Duration {
        Duration::from_millis(self.bound_ms.load(Ordering::Acquire))
    }

    async fn obey(&self, mut signals: Signals, ask: &watch::Sender<bool>, unfinished: &Unfinished, json: bool) {
        let name = signals.next().await;
        let first = Instant::now();
        // An error means that the job is over already.
        let _ = ask.send(true);
        let text = format!("stopping: a last checkpoint is being made ({name}); once more Ctrl-C, a second later, ends at once");
        exit::message(&text, json);
        loop {
            let bound = self.bound();
            tokio::select! {
                _ = signals.next() => if first.elapsed() >= SAME_WITHIN {
                    outlet::flush_briefly();
                    std::process::exit(INTERRUPTED);
                },
                () = tokio::time::sleep_until((first + bound).into()) => if self.bound() <= bound {
                    exit::end_now(exit::OVERDUE, "limit", &unfinished(bound), json)
                },
            }
        }
    }
}

/// The signals that end a run.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())?, hangup })
    }

    async fn next(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "Ctrl-C",
            _ = hangup => "SIGHUP",
        }
    }
}

/// True where the process began with SIGHUP ignored. Where the system does not tell, it did not.
fn ignores_hangup() -> bool {
    is_ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default(), SignalKind::hangup().as_raw_value())
}

/// Whether the text of `/proc/PID/status` has a signal among the ignored ones.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    u32::try_from(signal - 1).is_ok_and(|bit| mask.checked_shr(bit).unwrap_or(0) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_off_the_state_of_the_process() {
        let status = "Name:\treprise\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t00000001800054e8\n";
        assert!(is_ignored(status, 1) && is_ignored(status, 13));
        assert!(!is_ignored(status, 15) && !is_ignored("", 1) && !is_ignored("SigIgn:\tmany\n", 1) && !is_ignored(status, 0));
    }
}
