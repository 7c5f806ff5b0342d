//! The threads beside the workers: those that make successors and those that keep standbys. Each holds instances, of which there is room for
//! one run alone, so a run is over only when they have ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The threads of one run, counted.
#[derive(Debug, Default)]
pub(super) struct Crew {
    at_work: Mutex<usize>,
    left: Condvar,
    is_dismissed: AtomicBool,
}

impl Crew {
    /// Counts one more thread, until what is returned is dropped: by the thread, after all else that it holds.
    pub fn enlist(self: &Arc<Self>) -> Enlisted {
        *self.at_work.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Enlisted(Arc::clone(self))
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

#[cfg(test)]
mod tests {
    use super::*;

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
