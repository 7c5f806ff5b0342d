//! Compactions that are late: the last manifests of a job may wait for them.

use super::reference::{Image, reference};
use reprise::job::Ending;
use reprise::store::{CallKind, Intercept, Interference, StorageCall};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// So late is each snapshot that a compaction reads: far longer than the rest of the job takes.
const LATE: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
struct Slow {
    late: AtomicU64,
}

impl Intercept for Slow {
    fn before(&self, call: &StorageCall) -> Interference {
        if call.kind != CallKind::Get || !call.path.starts_with("snapshots/") {
            return Interference::Pass;
        }
        self.late.fetch_add(1, Ordering::Relaxed);
        Interference::Delay(LATE)
    }
}

#[test]
fn a_job_whose_last_manifests_wait_for_a_compaction_comes_to_its_end() {
    let reference = reference();
    let expected = {
        let site = reference.site(&Image::default());
        let run = site.run_under(1, Arc::new(Slow::default()), std::future::pending(), None).unwrap();
        assert!(matches!(run.result, Ok(Ending::Finished)), "{:?}", run.result);
        site.outcome(1).unwrap()
    };
    let mut site = reference.site(&Image::default());
    // Some ten epochs. Those that a chain of this length may not have before it is compacted are in flight together when the input ends.
    site.tune = |settings| (settings.chain_length_max, settings.uncheckpointed_bytes_max) = (1, 40 << 10);
    let slow = Arc::new(Slow::default());
    let run = site.run_under(1, Arc::clone(&slow) as _, std::future::pending(), None).unwrap();
    assert!(matches!(run.result, Ok(Ending::Finished)), "{:?}", run.result);
    assert!(slow.late.load(Ordering::Relaxed) > 0, "nothing was compacted");
    assert_eq!(site.outcome(1).unwrap().difference(&expected), None);
    site.faults(&[], true).unwrap();
}
