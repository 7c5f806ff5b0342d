//! Panics: those that a caller lives with, and those that end the host.
//!
//! A library that is given bytes or settings of somebody else may panic over them. [`guarded`] makes a refusal of that. Any other panic is a
//! fault of this host or of a library in it: it is told in one line, counted, and whoever watches [`Faulted`] ends the process, so that no
//! host stands there with a thread missing. Nothing here ends a process or prints; what is told goes to the function that [`install`] is given.
//!
//! What is guarded may take long, as the compiling of a component does, so a guard holds for the thread that works on it, and no other thread goes
//! without notice meanwhile. Libraries share out their work, though, to threads that nobody gave a name, as rayon does: those are guarded as long
//! as anything is.

use reprise_core::plain::plain;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use tokio::sync::Notify;

/// Guarded pieces of work under way, on all threads.
static GUARDED: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    /// This thread works on something that is guarded.
    static GUARDED_HERE: Cell<bool> = const { Cell::new(false) };
}
/// The first panic that nobody guarded.
static FAULT: Mutex<Option<UnguardedPanic>> = Mutex::new(None);
/// Wakes whoever waits for such a panic.
static FAULTED: Notify = Notify::const_new();

/// A panic that nobody guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnguardedPanic {
    /// The system refused threads or memory, and a library made a panic of that.
    pub is_lack: bool,
    /// What was told of it.
    pub told: String,
}

/// What to do about a lack of memory.
const MEMORY_HELP: &str = "a limit on memory is reached (`ulimit -v`, that of a container): raise it, or run fewer `--workers`";
/// What to do about a lack of threads.
pub const THREADS_HELP: &str = "a limit on threads is reached (`ulimit -u`, `pids.max` of a container), or one on memory (`ulimit -v`): raise it, or run fewer `--workers`";

/// Guards this thread for as long as it lives.
struct Guard {
    /// It was guarded before.
    outer: bool,
}

impl Guard {
    fn new() -> Self {
        GUARDED.fetch_add(1, Ordering::AcqRel);
        Self { outer: GUARDED_HERE.replace(true) }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        GUARDED_HERE.set(self.outer);
        GUARDED.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Does work in a library that may panic over what it is given.
///
/// The work must own what it changes, or leave it alone after a panic: it may be half changed.
///
/// # Errors
/// The text of the panic.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let _guard = Guard::new();
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| text(payload.as_ref()))
}

/// As [`guarded`], for work that waits in between.
///
/// # Errors
/// The text of the panic.
pub async fn guarded_future<F: Future>(work: F) -> Result<F::Output, String> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| match guarded(|| work.as_mut().poll(context)) {
        Ok(polled) => polled.map(Ok),
        Err(why) => Poll::Ready(Err(why)),
    })
    .await
}

/// The text of a panic, as one line.
#[must_use]
pub fn text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    plain(text.unwrap_or("no reason was given"))
}

/// Takes panics over from now on: each that nobody guards is given to `tell` in one line, with a line of help.
pub fn install(tell: fn(&str)) {
    std::panic::set_hook(Box::new(move |panic| {
        if is_guarded(std::thread::current().name()) {
            return;
        }
        let fault = describe(panic);
        tell(&fault.told);
        FAULT.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
        FAULTED.notify_one();
    }));
}

/// True of a panic on this thread, of this name, that a caller lives with.
fn is_guarded(thread: Option<&str>) -> bool {
    GUARDED_HERE.get() || thread.is_none() && GUARDED.load(Ordering::Acquire) > 0
}

fn describe(panic: &PanicHookInfo<'_>) -> UnguardedPanic {
    let thread = std::thread::current();
    let thread = plain(thread.name().unwrap_or("without a name"));
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), |at| format!("{}:{}", at.file(), at.line()));
    let what = text(panic.payload());
    if let Some((lack, help)) = lack(&what) {
        return UnguardedPanic { is_lack: true, told: format!("{lack}: the thread `{thread}` gave up: {what} ({place})\n  help: {help}") };
    }
    let help = "this is a fault of reprise or of a library in it: please report it with this line";
    UnguardedPanic { is_lack: false, told: format!("internal: the thread `{thread}` gave up at {place}: {what}\n  help: {help}") }
}

/// What the system lacks where a library says this, and what to do about it.
fn lack(what: &str) -> Option<(&'static str, &'static str)> {
    if lacks_threads(what) {
        Some(("no further threads", THREADS_HELP))
    } else if ["Cannot allocate memory", "failed to allocate memory", "kind: OutOfMemory"].iter().any(|said| what.contains(said)) {
        Some(("no further memory", MEMORY_HELP))
    } else {
        None
    }
}

/// True of what runtimes say where the system gives no further thread; the last two are said by workers whose neighbours were never started.
fn lacks_threads(what: &str) -> bool {
    ["spawn worker thread", "failed to spawn thread", "ThreadPoolBuildError", "Failed to send buzzer", "Failed to recv buzzer"]
        .iter()
        .any(|said| what.contains(said))
}

/// The first panic that nobody guarded, if there was one.
#[must_use]
pub fn fault() -> Option<UnguardedPanic> {
    FAULT.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Waits for the first panic that nobody guards; one waits at a time.
pub async fn faulted() {
    while fault().is_none() {
        FAULTED.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_panic_in_guarded_work_is_an_error_with_its_text() {
        assert_eq!(guarded(|| 7), Ok(7));
        assert_eq!(guarded(|| -> u8 { panic!("no\u{1b} {}", 8) }), Err("no\\u{1b} 8".to_owned()));
        assert_eq!(guarded(|| -> u8 { panic!("plain") }), Err("plain".to_owned()));
        assert_eq!(guarded(|| -> u8 { std::panic::panic_any(7u8) }), Err("no reason was given".to_owned()));
    }

    #[test]
    fn a_guard_holds_for_its_thread_and_for_those_without_a_name() {
        assert!(!is_guarded(Some("worker")));
        let guarded = guarded(|| {
            let there = std::thread::spawn(|| (is_guarded(Some("worker")), is_guarded(None)));
            (is_guarded(Some("worker")), there.join().unwrap())
        });
        assert_eq!(guarded, Ok((true, (false, true))));
        assert!(!is_guarded(Some("worker")));
    }

    #[test]
    fn a_lack_of_threads_is_told_as_such_whoever_says_so() {
        assert!(lacks_threads("OS can't spawn worker thread: Resource temporarily unavailable (os error 11)"));
        assert!(lacks_threads("Failed to send buzzer: SendError { .. }") && lacks_threads("Failed to recv buzzer: RecvError"));
        assert!(!lacks_threads("index out of bounds"));
    }

    #[test]
    fn a_lack_of_memory_is_told_as_such() {
        let of_wasmtime =
            "failed to allocate memory for sigaltstack: Os { code: 12, kind: OutOfMemory, message: \"Cannot allocate memory\" }";
        assert_eq!(lack(of_wasmtime), Some(("no further memory", MEMORY_HELP)));
        assert_eq!(lack("index out of bounds"), None);
    }

    /// Set in the process that really panics: the hook is one of the whole process.
    const CHILD: &str = "REPRISE_TEST_PANICS";

    #[test]
    fn a_panic_that_nobody_guards_is_told_once_and_noticed_though_something_is_guarded() {
        if std::env::var_os(CHILD).is_some() {
            return panic_for_real();
        }
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let test = "panics::tests::a_panic_that_nobody_guards_is_told_once_and_noticed_though_something_is_guarded";
        let ended = child.args(["--exact", test, "--nocapture"]).env(CHILD, "yes").output().unwrap();
        let told = String::from_utf8(ended.stderr).unwrap();
        assert!(ended.status.success(), "{told}");
        assert_eq!(told.matches("told: ").count(), 1, "{told}");
        assert!(told.contains("told: internal: the thread `worker` gave up at ") && told.contains(": it is broken\n  help: "), "{told}");
    }

    fn panic_for_real() {
        install(|text| _ = writeln!(std::io::stderr(), "told: {text}"));
        assert!(guarded(|| -> u8 { panic!("guarded") }).is_err());
        assert_eq!(fault(), None);
        let guarded = guarded(|| {
            let worker = std::thread::Builder::new().name("worker".to_owned()).spawn(|| -> u8 { panic!("it is broken") });
            assert!(worker.unwrap().join().is_err());
        });
        assert_eq!(guarded, Ok(()));
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(faulted());
        assert!(fault().is_some_and(|fault| !fault.is_lack && fault.told.contains("it is broken")));
    }

    #[tokio::test]
    async fn a_panic_in_guarded_work_that_waits_is_an_error_too() {
        assert_eq!(guarded_future(async { 7 }).await, Ok(7));
        let late = async {
            tokio::task::yield_now().await;
            assert!(GUARDED_HERE.get());
            panic!("late")
        };
        assert_eq!(guarded_future::<std::pin::Pin<Box<dyn Future<Output = ()>>>>(Box::pin(late)).await, Err("late".to_owned()));
        assert!(!GUARDED_HERE.get(), "the guard ends with the work");
    }
}
