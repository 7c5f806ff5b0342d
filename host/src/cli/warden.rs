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
//! The signals count after such a panic, too. The thread waits for nothing but these: not for the job, the store, the log or the workers. SIGHUP that was ignored when the process began, as
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
/// The time that a job may take to end by itself after a panic.
const PANIC_GRACE: Duration = Duration::from_secs(5);
/// Time to end before a topology says how much it is.
const BOUND_DEFAULT: Duration = Duration::from_secs(30);
/// Exit code after a second signal, as shells have it for a process that an interrupt ended.
const INTERRUPTED: i32 = 130;

/// The warden of a run, as its thread and the run share it.
pub(super) struct Warden {
    bound_ms: AtomicU64,
}

/// Makes the text that is told of a job which has not ended in the time that it is given.
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
        // Neither of them ever waits for the other.
        let watch = async move { tokio::join!(shared.obey(signals, &ask, &unfinished, json), end_after_panic(json)) };
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

    #[expect(clippy::disallowed_methods, reason = "a second signal asks for an end that waits for nothing")]
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

/// Ends the process some time after a panic that nobody guarded.
async fn end_after_panic(json: bool) {
    panics::faulted().await;
    tokio::time::sleep(PANIC_GRACE).await;
    exit::end_after_panic(json)
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

/// True where the text of `/proc/PID/status` has a signal among the ignored ones.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    u32::try_from(signal - 1).is_ok_and(|bit| mask.checked_shr(bit).unwrap_or(0) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    /// Set in a process that panics.
    const CHILD: &str = "REPRISE_TEST_WARDEN";

    #[test]
    fn a_panic_ends_a_process_that_does_not_end_by_itself_and_signals_count_meanwhile() {
        if std::env::var_os(CHILD).is_some() {
            return panic_and_stay();
        }
        for signals in [false, true] {
            let mut child = child();
            let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
            let panicked = lines.find(|line| line.contains("the thread `worker` gave up")).expect("the panic is told");
            assert!(panicked.contains("a fault of ours"), "{panicked}");
            if signals {
                terminate(&child);
                assert!(lines.any(|line| line.contains("stopping: ")), "the first signal is heard");
                // It may take a while until it counts as another one.
                std::thread::sleep(SAME_WITHIN + Duration::from_millis(50));
                terminate(&child);
            }
            let told: Vec<String> = lines.collect();
            let code = child.wait().unwrap().code();
            assert_eq!(code, Some(if signals { INTERRUPTED } else { 1 }), "{told:?}");
            assert_eq!(
                told.iter().any(|line| line.starts_with("error: internal") && line.contains("a fault of ours")),
                !signals,
                "{told:?}"
            );
        }
    }

    fn child() -> Child {
        let test = "cli::warden::tests::a_panic_ends_a_process_that_does_not_end_by_itself_and_signals_count_meanwhile";
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", test, "--nocapture"]).env(CHILD, "yes").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        child.spawn().unwrap()
    }

    fn terminate(child: &Child) {
        assert!(Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap().success());
    }

    fn panic_and_stay() {
        panics::install(outlet::tell);
        let (ask, _asked) = watch::channel(false);
        let _warden = Warden::start(ask, Box::new(|_| "it is overdue".to_owned()), false).unwrap();
        let worker = std::thread::Builder::new().name("worker".to_owned()).spawn(|| -> u8 { panic!("a fault of ours") });
        assert!(worker.unwrap().join().is_err());
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn ignored_signals_are_read_off_the_state_of_the_process() {
        let status = "Name:\treprise\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t00000001800054e8\n";
        assert!(is_ignored(status, 1) && is_ignored(status, 13));
        assert!(!is_ignored(status, 15) && !is_ignored("", 1) && !is_ignored("SigIgn:\tmany\n", 1) && !is_ignored(status, 0));
    }
}
