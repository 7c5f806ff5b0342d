//! Requests that outlive the host that answers them.

use super::calls::{At, Fault, Trap};
use super::reference::{COUNTER, Image, reference};
use reprise::job::Ending;
use reprise::store::{CallKind, Intercept, Interference, StorageCall, StoreLimits};
use reprise_core::checkpoint::paths;
use std::sync::Arc;

/// Lets no request be removed, until the host dies.
#[derive(Debug)]
pub struct Keeping(Trap);

impl Intercept for Keeping {
    fn before(&self, call: &StorageCall) -> Interference {
        match self.0.before(call) {
            Interference::Pass if call.kind == CallKind::Delete && call.path.starts_with("requests/") => Interference::FailBefore,
            other => other,
        }
    }

    fn limits(&self, limits: StoreLimits) -> StoreLimits {
        self.0.limits(limits)
    }
}

#[test]
fn a_savepoint_that_is_there_already_stays_whole_where_it_is_asked_for_again() {
    let reference = reference();
    let mut image = Image::default();
    image.ask("first");
    let site = reference.site(&image);
    let trap = Arc::new(Keeping(Trap::new(Fault::DeathAfter, At::Created("checkpoints/", 7))));
    assert!(site.run_under(1, Arc::clone(&trap) as _, trap.0.death(), None).is_none(), "the host died");
    let left = site.image();
    assert!(left.state.contains_key("savepoints/first.manifest") && left.state.contains_key("requests/first.savepoint"));
    let run = site.run(1, &Arc::new(Trap::none()), None).unwrap();
    assert!(matches!(run.result, Ok(Ending::Finished)), "{:?}", run.result);
    assert!(!site.image().state.contains_key("requests/first.savepoint"), "it is answered");
    site.faults(&["first"], true).unwrap();
}

#[test]
fn a_request_to_end_a_pause_that_could_not_be_removed_is_answered_by_the_next_host() {
    let reference = reference();
    let mut image = Image::default();
    image.ask_to_resume();
    let (request, answer) = (paths::resume(COUNTER).unwrap(), paths::not_paused(COUNTER).unwrap());
    let site = reference.site(&image);
    let trap = Arc::new(Keeping(Trap::new(Fault::DeathAfter, At::Created("checkpoints/", 7))));
    assert!(site.run_under(1, Arc::clone(&trap) as _, trap.0.death(), None).is_none(), "the host died");
    let left = site.image();
    assert!(left.state.contains_key(&request) && left.state.contains_key(&answer));
    let run = site.run(1, &Arc::new(Trap::none()), None).unwrap();
    assert!(matches!(run.result, Ok(Ending::Finished)), "{:?}", run.result);
    let state = site.image().state;
    assert!(!state.contains_key(&request), "it is answered");
    assert_eq!(state.get(&answer), image.state.get(&request), "whoever asked finds that there was no pause");
    site.faults(&[], true).unwrap();
}
