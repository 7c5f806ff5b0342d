//! Parked input of an operator that does not come back is given up because somebody asks: each row is worked on, in quarantine, or dropped as told.

use super::jobs::{Folder, JOB, Then};
use super::pauses::{LONG, chain, lines};
use reprise::job::{self, Ending, Notice, OperatorAnswer, OperatorWish, Requester};
use reprise::store::{Store, StoreLimits};
use reprise_core::checkpoint::faulted::FaultedRows;
use reprise_core::checkpoint::manifest::Quarantine;
use reprise_core::codec::record;
use reprise_core::operator::GIVEN_UP;
use std::fs;

fn ask(folder: &Folder, to_quarantine: bool) -> OperatorAnswer {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let store = Store::open("file:./state", &folder.path(""), JOB, StoreLimits::default()).await.unwrap();
        let (wish, by) = (OperatorWish::Unpark { to_quarantine }, Requester { writer: 7, now_ms: 1_000 });
        let answers = job::ask_about_operators(&store, &["a".to_owned(), "b".to_owned()], wish, by, LONG).await.unwrap();
        assert_eq!(answers[1], OperatorAnswer { operator: "b".to_owned(), was_so: Some(false) }, "nothing waits for it");
        answers[0].clone()
    })
}

/// Rows in quarantine that were given up, and those on which calls failed.
fn quarantined(folder: &Folder) -> (usize, usize) {
    let (mut given_up, mut faulted) = (0, 0);
    for path in folder.objects("quarantine/a") {
        let bytes = fs::read(folder.store().join(path)).unwrap();
        match record::decode::<Quarantine>(&bytes) {
            Ok(object) => given_up += object.rows.iter().filter(|row| row.reason == GIVEN_UP).count(),
            Err(_) => faulted += record::decode::<FaultedRows>(&bytes).unwrap().rows.len(),
        }
    }
    (given_up, faulted)
}

#[test]
fn what_is_parked_goes_to_quarantine_or_is_dropped_as_somebody_asks() {
    for to_quarantine in [true, false] {
        let folder = Folder::new(&chain("trap-unreachable", "faults-max = 0", true));
        let lines = lines(400, 40);
        folder.feed("lines", "all", &lines);
        let mut is_asked = false;
        let run = folder.run_with(2, |notice| {
            let Notice::Checkpoint(made) = notice else { return Then::GoOn };
            let has_parked = folder.newest().has_parked();
            if is_asked {
                return if has_parked { Then::GoOn } else { Then::Stop };
            }
            if has_parked && folder.is_covered_by(made) {
                is_asked = true;
                assert_eq!(ask(&folder, to_quarantine), OperatorAnswer { operator: "a".to_owned(), was_so: Some(true) });
            }
            Then::GoOn
        });
        let run = run.expect(Ending::Stopped);
        let told = run.notices.iter().filter_map(|notice| match notice {
            Notice::ParkedGivenUp { operator, rows, to_quarantine } => Some((operator.as_str(), *rows as usize, *to_quarantine)),
            _ => None,
        });
        let told: Vec<_> = told.collect();
        let [("a", rows, kept)] = told[..] else { panic!("{told:?}") };
        let (given_up, faulted) = quarantined(&folder);
        assert!(rows > 0 && kept == to_quarantine, "{rows} rows");
        assert_eq!(given_up, if to_quarantine { rows } else { 0 });
        assert_eq!(folder.rows("out").len() + rows + faulted, lines.len());
        assert!(folder.objects("requests").is_empty(), "it is answered, and nothing is left of it");
    }
}
