//! The threads beside the workers. Those that make successors and those that keep standbys hold instances, of which there is room for
//! one run alone, so a run is over only when they have ended. Those that read and write are waited for as well, so that a run which follows
//! finds files and staged output at rest; but a device that hangs may hold them for ever, so the wait has an end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long threads that read or write are waited for.
pub(super) const REST_WAIT_MAX: Duration = Duration::from_secs(5);

/// The threads of one run, counted.
#[derive(Debug, Default)]
pub(super) struct Crew {
    at_work: Mutex<usize>,
    left: Condvar,
    /// Reads and writes.
    connected: Mutex<usize>,
    disconnected: Condvar,
    is_dismissed: AtomicBool,
}

impl Crew {
    /// Counts one more thread, until what is returned is dropped: by the thread, after all else that it holds.
    pub fn enlist(self: &Arc<Self>) -> Enlisted {
        *self.at_work.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Enlisted(Arc::clone(self))
    }

    /// Counts one more thread that reads or writes, likewise.
    pub fn connect(self: &Arc<Self>) -> Connected {
        *self.connected.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Connected(Arc::clone(self))
    }

    /// Waits until no thread reads or writes, or for so long. How many still do.
    pub fn rest(&self, within: Duration) -> usize {
        let connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.disconnected.wait_timeout_while(connected, within, |connected| *connected > 0);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// True once nobody waits for what the threads do.
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
pub(super) struct Enlisted(Arc<Crew>);

impl Drop for Enlisted {
    fn drop(&mut self) {
        *self.0.at_work.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.left.notify_all();
    }
}

/// One thread that reads or writes.
#[derive(Debug)]
pub(super) struct Connected(Arc<Crew>);

impl Drop for Connected {
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
        let crew = Arc::new(Crew::default());
        let (quick, stuck) = (crew.connect(), crew.connect());
        let thread = std::thread::spawn(move || drop(quick));
        assert_eq!(crew.rest(Duration::from_millis(30)), 1, "one of them hangs");
        thread.join().unwrap();
        let thread = std::thread::spawn(move || drop(stuck));
        assert_eq!(crew.rest(Duration::from_secs(3_600)), 0);
        thread.join().unwrap();
        crew.dismiss();
    }

    #[test]
    fn who_dismisses_the_threads_waits_for_the_last_of_them() {
        let crew = Arc::new(Crew::default());
        let (first, second) = (crew.enlist(), crew.enlist());
        let are_gone = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                crew.dismiss();
                are_gone.load(Ordering::Acquire)
            });
            while !crew.is_dismissed() {
                std::thread::yield_now();
            }
            drop(first);
            are_gone.store(true, Ordering::Release);
            drop(second);
            assert!(waiter.join().unwrap(), "it went on while a thread was at work");
        });
        crew.dismiss();
    }

    #[test]
    fn a_thread_that_panics_or_never_starts_is_not_waited_for() {
        let crew = Arc::new(Crew::default());
        let enlisted = crew.enlist();
        let panicked = std::thread::spawn(move || {
            let _enlisted = enlisted;
            panic!("as if the thread had failed");
        });
        assert!(panicked.join().is_err());
        let enlisted = crew.enlist();
        drop(move || drop(enlisted));
        crew.dismiss();
    }
}
