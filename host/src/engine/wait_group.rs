//! The wait group of the threads beside the workers. Those that make replacements and those that keep standbys hold instances, of which there is room for
//! one run alone, so a run is over only when they have ended. Those that read and write are waited for as well, so that a run which follows
//! finds files and staged output at rest; but a device that hangs may hold them for ever, so the wait has an end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long threads that read or write are waited for.
pub(super) const DISCONNECT_WAIT_MAX: Duration = Duration::from_secs(5);

/// The threads of one run, counted.
#[derive(Debug, Default)]
pub(super) struct WaitGroup {
    at_work: Mutex<usize>,
    left: Condvar,
    /// Reads and writes.
    connected: Mutex<usize>,
    disconnected: Condvar,
    is_dismissed: AtomicBool,
}

impl WaitGroup {
    /// Counts one more thread, until what is returned is dropped: by the thread, after all else that it holds.
    pub fn join(self: &Arc<Self>) -> Member {
        *self.at_work.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Member(Arc::clone(self))
    }

    /// Counts one more thread that reads or writes, likewise.
    pub fn connect(self: &Arc<Self>) -> Connection {
        *self.connected.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Connection(Arc::clone(self))
    }

    /// Waits until no thread reads or writes, or for so long. How many still do.
    pub fn wait_disconnected(&self, within: Duration) -> usize {
        let connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.disconnected.wait_timeout_while(connected, within, |connected| *connected > 0);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// True once the run does not wait for what the threads do.
    pub fn is_dismissed(&self) -> bool {
        self.is_dismissed.load(Ordering::Acquire)
    }

    /// Tells all threads to end, and waits until they have. They look between two calls of a guest, each of which has its deadline.
    pub fn dismiss(&self) {
        self.is_dismissed.store(true, Ordering::Release);
        let at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.left.wait_while(at_work, |at_work| *at_work > 0).unwrap_or_else(PoisonError::into_inner));
    }
}

/// One thread that counts.
#[derive(Debug)]
pub(super) struct Member(Arc<WaitGroup>);

impl Drop for Member {
    fn drop(&mut self) {
        *self.0.at_work.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.left.notify_all();
    }
}

/// One thread that reads or writes.
#[derive(Debug)]
pub(super) struct Connection(Arc<WaitGroup>);

impl Drop for Connection {
    fn drop(&mut self) {
        *self.0.connected.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.disconnected.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_read_or_write_are_waited_for_within_a_bound() {
        let threads = Arc::new(WaitGroup::default());
        let (quick, stuck) = (threads.connect(), threads.connect());
        let thread = std::thread::spawn(move || drop(quick));
        assert_eq!(threads.wait_disconnected(Duration::from_millis(30)), 1, "one of them hangs");
        thread.join().unwrap();
        let thread = std::thread::spawn(move || drop(stuck));
        assert_eq!(threads.wait_disconnected(Duration::from_secs(3_600)), 0);
        thread.join().unwrap();
        threads.dismiss();
    }

    #[test]
    fn who_dismisses_the_threads_waits_for_the_last_of_them() {
        let threads = Arc::new(WaitGroup::default());
        let (first, second) = (threads.join(), threads.join());
        let are_gone = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                threads.dismiss();
                are_gone.load(Ordering::Acquire)
            });
            while !threads.is_dismissed() {
                std::thread::yield_now();
            }
            drop(first);
            are_gone.store(true, Ordering::Release);
            drop(second);
            assert!(waiter.join().unwrap(), "it went on while a thread was at work");
        });
        threads.dismiss();
    }

    #[test]
    fn a_thread_that_panics_or_never_starts_is_not_waited_for() {
        let threads = Arc::new(WaitGroup::default());
        let enlisted = threads.join();
        let panicked = std::thread::spawn(move || {
            let _enlisted = enlisted;
            panic!("as if the thread had failed");
        });
        assert!(panicked.join().is_err());
        let enlisted = threads.join();
        drop(move || drop(enlisted));
        threads.dismiss();
    }
}
