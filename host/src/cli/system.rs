//! What a process asks of the system before it does anything: as many open files as it may have, and whether there are threads for it.

use crate::panics::guarded;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use tokio::runtime::Runtime;

/// Threads of a run beside its workers: the runtime's, those that wait for storage and sinks, for signals and for standard error.
const FURTHER_THREADS: usize = 12;
/// Threads of a runtime that is waited on.
const RUNTIME_THREADS: usize = 2;

/// Raises the limit on open files to the most that this process may set it to: the usual one of 1,024 is for programs that wait with `select`.
/// Where that is refused the limit stays, and whoever opens too many files says so.
pub(super) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// A runtime to wait on.
///
/// # Errors
/// The system does not give as many threads as any run takes.
pub(super) fn runtime() -> io::Result<Runtime> {
    ask_for_threads(0)?;
    let built = guarded(|| tokio::runtime::Builder::new_multi_thread().worker_threads(RUNTIME_THREADS).enable_all().build());
    built.unwrap_or_else(|why| Err(io::Error::other(why)))
}

/// Asks the system for so many threads and those that any run takes, all at once; they end at once. Libraries take it for granted that they
/// get theirs.
///
/// # Errors
/// The system does not give so many.
pub(super) fn ask_for_threads(count: usize) -> io::Result<()> {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let wait = |gate: Arc<(Mutex<bool>, Condvar)>| {
        let is_shut = gate.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(gate.1.wait_while(is_shut, |is_open| !*is_open).unwrap_or_else(PoisonError::into_inner));
    };
    let start = |_| {
        let gate = Arc::clone(&gate);
        std::thread::Builder::new().name("trial".to_owned()).spawn(move || wait(gate))
    };
    let threads: Vec<_> = (0..count + FURTHER_THREADS).map(start).collect();
    *gate.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    gate.1.notify_all();
    let ended: io::Result<Vec<_>> = threads.into_iter().map(|thread| thread.map(|thread| thread.join().is_ok())).collect();
    ended.map(drop)
}
