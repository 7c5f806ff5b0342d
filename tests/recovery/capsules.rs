//! Failed calls as files: whatever fails, and wherever the job ends for it, its capsule fails in the same way.

use super::jobs::{Folder, Topology};
use reprise::engine::Attempt;
use reprise::job::{Beside, Ending, Tried, replay};
use reprise_core::checkpoint::capsule::Capsule;
use reprise_core::checkpoint::faulted::FaultedRows;
use reprise_core::codec::record;
use std::fs;

/// Lines `key,value,time` go to `a`, a guest, by key.
fn topology(guest: &str, checkpoint: &str, settings: &str, follow: bool) -> Topology {
    Topology::new(checkpoint)
        .source("lines", "", follow)
        .operator("parse", "parse-text", "\"lines\"")
        .operator_set("a", guest, r#"{ from = "parse", by = "key" }"#, &format!("{settings}\ndeadline = \"60s\""))
        .sink("out", "\"a\"")
}

fn on_failure(retries: u32, then: &str) -> String {
    format!("on-failure = {{ retries = {retries}, backoff = \"1ms..1ms\", then = \"{then}\", capsules = \"always\" }}")
}

fn tried(folder: &Folder, path: &str) -> Tried {
    replay(&folder.store().join(path), &Beside::default()).unwrap()
}

/// All capsules, each tried: they fail as they say, to the word.
fn all_reproduced(folder: &Folder, about: &str) -> Vec<Tried> {
    let all: Vec<Tried> = folder.objects("capsules").iter().map(|path| tried(folder, path)).collect();
    for tried in &all {
        let Attempt::Failed(error) = &tried.attempt else { panic!("{about}: {:?}", tried.attempt) };
        assert!(tried.is_reproduced(), "{about}: {error}, and not {:?}", tried.capsule.fault);
        assert_eq!(error.to_string(), tried.capsule.fault.message, "{about}");
        let guests_own = ["trap", "stack", "deadline"].contains(&tried.capsule.fault.kind.as_str());
        assert_eq!(tried.capsule.fault.backtrace.is_empty(), !guests_own, "{about}");
    }
    all
}

#[test]
fn a_capsule_has_the_stack_and_the_counting_of_its_job() {
    for (fuel, counted) in [("", 0), ("\nfuel = true", 1)] {
        let settings = format!("{}{fuel}", on_failure(0, "quarantine"));
        let folder = Folder::new(&topology("stack-deep", "[limits]\nstack = \"64KiB\"", &settings, false));
        folder.feed("lines", "all", ["a,v,1", "a,v,2", "a,poison,3", "b,v,4"]);
        folder.run(1).expect(Ending::Finished);
        let held: Vec<FaultedRows> = folder
            .objects("quarantine/a")
            .iter()
            .map(|path| record::decode(&fs::read(folder.store().join(path)).unwrap()).unwrap())
            .collect();
        let [row] = &held[0].rows[..] else { panic!("{held:?}") };
        assert_eq!(row.kind, "stack");
        let path = folder.store().join(row.capsule.as_ref().unwrap());
        let first = replay(&path, &Beside::default()).unwrap();
        assert!(first.is_reproduced(), "{:?}", first.attempt);
        assert_eq!(all_reproduced(&folder, fuel).len(), 1);
        let mut capsule: Capsule = record::decode(&fs::read(&path).unwrap()).unwrap();
        let named = |name: &str| capsule.limits.iter().find(|(limit, _)| limit == name).map(|(_, value)| *value);
        assert_eq!((named("stack-bytes"), named("fuel")), (Some(64 << 10), Some(counted)));
        // As hosts wrote them that recorded neither: the guest has the default stack, and gets to the bottom.
        capsule.limits.retain(|(name, _)| name != "stack-bytes" && name != "fuel");
        let other = folder.path("other.capsule");
        fs::write(&other, record::encode(&capsule).unwrap()).unwrap();
        let other = replay(&other, &Beside::default()).unwrap();
        let Attempt::Failed(error) = &other.attempt else { panic!("{:?}", other.attempt) };
        assert_eq!((error.fault.kind(), other.is_reproduced()), ("trap", false));
    }
}
