//! Openings against scripted stores.

use super::*;
use crate::checkpoint::chain::ChainLimits;
use crate::checkpoint::coordinator::{self, Layout};
use crate::checkpoint::manifest::{InstanceState, OperatorState};
use crate::checkpoint::paths;
use crate::ids::{Digest, Instance};

const LAST: Epoch = Epoch(1_000);

fn beginning() -> Manifest {
    let layout = Layout {
        job: "j".into(),
        generation: Generation(0),
        writer: 42,
        topology: Digest([0; 32]),
        workers: 1,
        operators: vec![],
        sources: vec![],
        sinks: vec![],
        chain: ChainLimits { length_max: 16, bytes_max: u64::MAX },
    };
    coordinator::beginning(layout, Epoch(0))
}

fn manifest(epoch: u64, parent: Option<u64>) -> Manifest {
    Manifest { epoch: Epoch(epoch), parent: parent.map(Epoch), taken_over: false, generation: Generation(0), ..beginning() }
}

fn all(manifests: &[Manifest]) -> RecoveryAnswer {
    RecoveryAnswer::Manifests(manifests.iter().map(|m| (m.epoch, Ok(m.clone()))).collect())
}

/// Answers in order; gives what comes after the last one.
fn play(from: RecoverFrom, before: Option<u64>, answers: Vec<RecoveryAnswer>) -> RecoveryStep {
    let (mut opening, mut turn) = JobRecovery::new(from, beginning(), before.map(Generation), LAST);
    for answer in answers {
        assert!(matches!(turn, RecoveryStep::Ask(_)), "{turn:?} comes before {answer:?}");
        turn = opening.step(answer);
    }
    turn
}

fn claims(newest: u64) -> RecoveryAnswer {
    RecoveryAnswer::Claims(Generation(newest))
}

#[test]
fn a_new_job_begins_with_a_manifest_of_its_own() {
    let turn = play(
        RecoverFrom::Newest,
        None,
        vec![claims(0), RecoveryAnswer::Claim(true), all(&[]), claims(1), RecoveryAnswer::Create(true), claims(1)],
    );
    let RecoveryStep::RecoveredJob(up) = turn else { panic!("{turn:?}") };
    let taken = up.taken.expect("there is something to run");
    assert_eq!((up.base, taken.epoch, taken.generation, taken.writer, taken.parent), (None, Epoch(1), Generation(1), 42, None));
    assert!(taken.taken_over && taken.covered().is_none());
}

#[test]
fn the_newest_checkpoint_is_taken_up_and_followed() {
    let found = all(&[manifest(4, Some(3)), manifest(5, Some(4))]);
    let answers = vec![
        claims(3),
        RecoveryAnswer::Claim(true),
        found,
        RecoveryAnswer::Verify(Ok(())),
        claims(4),
        RecoveryAnswer::Create(true),
        claims(4),
    ];
    let RecoveryStep::RecoveredJob(up) = play(RecoverFrom::Newest, None, answers) else { panic!("not taken up") };
    let taken = up.taken.expect("there is something to run");
    assert_eq!((taken.epoch, taken.parent, taken.generation), (Epoch(6), Some(Epoch(5)), Generation(4)));
    assert_eq!(up.listed, [Epoch(4), Epoch(5), Epoch(6)]);
}

#[test]
fn a_take_over_of_a_take_over_follows_the_checkpoint_before_both() {
    let stale = manifest(5, Some(4)).take_over(Epoch(6), Generation(4), 1);
    let found = all(&[manifest(5, Some(4)), stale]);
    let answers = vec![
        claims(4),
        RecoveryAnswer::Claim(true),
        found,
        RecoveryAnswer::Verify(Ok(())),
        claims(5),
        RecoveryAnswer::Create(true),
        claims(5),
    ];
    let RecoveryStep::RecoveredJob(up) = play(RecoverFrom::Newest, None, answers) else { panic!("not taken up") };
    assert_eq!(up.base.expect("the newest one").covered(), Some(Epoch(5)), "no row of epoch 6 is in it");
    let taken = up.taken.expect("there is something to run");
    assert_eq!((taken.epoch, taken.parent, taken.covered()), (Epoch(7), Some(Epoch(5)), Some(Epoch(5))));
}

#[test]
fn a_host_that_was_fenced_while_it_found_its_checkpoint_creates_nothing() {
    let answers = vec![claims(0), RecoveryAnswer::Claim(true), all(&[]), claims(2)];
    let fenced = RecoveryStep::Refused(RecoveryRefusal::Fenced { ours: Generation(1), theirs: Generation(2) });
    assert_eq!(play(RecoverFrom::Newest, None, answers), fenced);
}

#[test]
fn a_host_that_was_fenced_while_it_created_its_manifest_does_not_begin() {
    let answers = vec![claims(0), RecoveryAnswer::Claim(true), all(&[]), claims(1), RecoveryAnswer::Create(true), claims(2)];
    let fenced = RecoveryStep::Refused(RecoveryRefusal::Fenced { ours: Generation(1), theirs: Generation(2) });
    assert_eq!(play(RecoverFrom::Newest, None, answers), fenced);
}

#[test]
fn a_number_that_the_old_host_was_faster_to_write_is_found_in_the_next_round() {
    let first = vec![
        claims(3),
        RecoveryAnswer::Claim(true),
        all(&[manifest(4, None)]),
        RecoveryAnswer::Verify(Ok(())),
        claims(4),
        RecoveryAnswer::Create(false),
    ];
    let second = vec![
        all(&[manifest(4, None), manifest(5, Some(4))]),
        RecoveryAnswer::Verify(Ok(())),
        claims(4),
        RecoveryAnswer::Create(true),
        claims(4),
    ];
    let RecoveryStep::RecoveredJob(up) = play(RecoverFrom::Newest, None, [first, second].concat()) else { panic!("not taken up") };
    assert_eq!(up.base.map(|b| b.epoch), Some(Epoch(5)));
}

#[test]
fn a_restart_never_takes_the_job_back_from_a_successor() {
    let fenced = |theirs| RecoveryStep::Refused(RecoveryRefusal::Fenced { ours: Generation(3), theirs: Generation(theirs) });
    assert_eq!(play(RecoverFrom::Newest, Some(3), vec![claims(4)]), fenced(4));
    assert_eq!(play(RecoverFrom::Newest, Some(3), vec![claims(3), RecoveryAnswer::Claim(false)]), fenced(4));
    assert!(matches!(
        play(RecoverFrom::Newest, Some(3), vec![claims(3), RecoveryAnswer::Claim(true)]),
        RecoveryStep::Ask(RecoveryRequest::Manifests)
    ));
}

#[test]
fn claims_that_are_lost_time_and_again_end_in_a_refusal() {
    let rounds = (0..ROUNDS_MAX).flat_map(|round| [claims(u64::from(round)), RecoveryAnswer::Claim(false)]).collect();
    assert_eq!(play(RecoverFrom::Newest, None, rounds), RecoveryStep::Refused(RecoveryRefusal::Lost));
}

#[test]
fn a_finished_job_is_not_taken_over() {
    let finished = Manifest { finished: true, ..manifest(4, None) };
    let turn =
        play(RecoverFrom::Newest, None, vec![claims(0), RecoveryAnswer::Claim(true), all(&[finished]), RecoveryAnswer::Verify(Ok(()))]);
    assert!(matches!(turn, RecoveryStep::RecoveredJob(up) if up.taken.is_none() && up.base.is_some()));
}

#[test]
fn a_finished_checkpoint_that_others_follow_is_taken_over() {
    let finished = || Manifest { finished: true, ..manifest(4, None) };
    let found = || all(&[finished(), manifest(5, Some(4)), manifest(6, Some(5))]);
    let start = || vec![claims(0), RecoveryAnswer::Claim(true), found()];
    let asked = play(RecoverFrom::Epoch(Epoch(4)), None, [start(), vec![RecoveryAnswer::Verify(Ok(())), claims(1)]].concat());
    let saved = play(RecoverFrom::Savepoint(Box::new(finished())), None, [start(), vec![claims(1)]].concat());
    let damaged = || RecoveryAnswer::Verify(Err("damaged".into()));
    let back = [start(), vec![damaged(), damaged(), RecoveryAnswer::Verify(Ok(())), claims(1)]].concat();
    for turn in [asked, saved, play(RecoverFrom::Newest, None, back)] {
        let RecoveryStep::Ask(RecoveryRequest::Create(taken)) = turn else { panic!("{turn:?}") };
        assert_eq!((taken.epoch, taken.covered(), taken.finished), (Epoch(7), Some(Epoch(4)), false));
    }
    let alone = [claims(0), RecoveryAnswer::Claim(true), all(&[finished()])];
    for from in [RecoverFrom::Epoch(Epoch(4)), RecoverFrom::Savepoint(Box::new(finished()))] {
        let verified = matches!(from, RecoverFrom::Epoch(_)).then_some(RecoveryAnswer::Verify(Ok(())));
        let turn = play(from, None, alone.iter().cloned().chain(verified).collect());
        assert!(matches!(&turn, RecoveryStep::RecoveredJob(up) if up.taken.is_none()), "the newest of all ended the job: {turn:?}");
    }
}

#[test]
fn a_finished_job_with_rows_to_send_again_is_taken_over_and_will_be_told_its_end_once_more() {
    let told = |watermark| InstanceState { watermark, ..InstanceState::default() };
    let (name, component) = ("o".to_owned(), Digest([0; 32]));
    let operators = vec![OperatorState { name, component, slots: vec![], instances: vec![told(i64::MAX), told(7)] }];
    let finished = Manifest { finished: true, operators, ..manifest(4, None) };
    let (mut opening, _) = JobRecovery::new(RecoverFrom::Newest, beginning(), None, LAST);
    opening.reopen();
    let answers = [
        claims(0),
        RecoveryAnswer::Claim(true),
        all(&[finished]),
        RecoveryAnswer::Verify(Ok(())),
        claims(1),
        RecoveryAnswer::Create(true),
        claims(1),
    ];
    let turns: Vec<RecoveryStep> = answers.into_iter().map(|answer| opening.step(answer)).collect();
    let Some(RecoveryStep::RecoveredJob(up)) = turns.last() else { panic!("{turns:?}") };
    let (base, taken) = (up.base.as_ref().unwrap(), up.taken.as_ref().unwrap());
    for manifest in [base, taken] {
        assert!(!manifest.finished);
        assert_eq!(manifest.operators[0].instances.iter().map(|i| i.watermark).collect::<Vec<_>>(), [i64::MAX - 1, 7]);
    }
    assert_eq!((taken.epoch, taken.covered()), (Epoch(5), Some(Epoch(4))));
}

#[test]
fn a_checkpoint_of_a_history_that_was_given_up_is_refused() {
    // Somebody went back to 4 once, with 7.
    let found = || all(&[manifest(4, None), manifest(5, Some(4)), manifest(6, Some(5)), manifest(7, Some(4)), manifest(8, Some(7))]);
    let start = || vec![claims(0), RecoveryAnswer::Claim(true), found()];
    for epoch in [5, 6] {
        let turn = play(RecoverFrom::Epoch(Epoch(epoch)), None, [start(), vec![claims(1)]].concat());
        assert!(
            matches!(&turn, RecoveryStep::Refused(RecoveryRefusal::NoCheckpoint(reasons)) if reasons[0].1.contains("given up")),
            "{turn:?}"
        );
    }
    for epoch in [4, 7, 8] {
        assert_eq!(play(RecoverFrom::Epoch(Epoch(epoch)), None, start()), RecoveryStep::Ask(RecoveryRequest::Verify(Epoch(epoch))));
    }
    let savepoint = |epoch| RecoverFrom::Savepoint(Box::new(manifest(epoch, Some(epoch - 1))));
    for epoch in [5, 6] {
        let turn = play(savepoint(epoch), None, [start(), vec![claims(1)]].concat());
        assert!(
            matches!(&turn, RecoveryStep::Refused(RecoveryRefusal::NoCheckpoint(reasons)) if reasons[0].1.contains("given up")),
            "{turn:?}"
        );
    }
    // What is older than the oldest manifest, and what took over from a checkpoint that is in the line.
    let taken = RecoverFrom::Savepoint(Box::new(Manifest { taken_over: true, ..manifest(5, Some(4)) }));
    for from in [savepoint(2), savepoint(7), taken] {
        assert_eq!(play(from, None, start()), RecoveryStep::Ask(RecoveryRequest::Claims));
    }
}

#[test]
fn a_host_that_was_replaced_is_told_so_where_its_successor_has_deleted_what_it_would_take_up() {
    let gone = RecoveryAnswer::Manifests(BTreeMap::from([(Epoch(1), Err("it is missing".into()))]));
    let turn = play(RecoverFrom::Newest, None, vec![claims(0), RecoveryAnswer::Claim(true), gone, claims(2)]);
    assert_eq!(turn, RecoveryStep::Refused(RecoveryRefusal::Fenced { ours: Generation(1), theirs: Generation(2) }));
}

#[test]
fn an_older_checkpoint_that_was_asked_for_is_the_only_one_that_will_do() {
    let found = || all(&[manifest(4, None), manifest(5, Some(4)), manifest(6, Some(5))]);
    let start = || vec![claims(0), RecoveryAnswer::Claim(true), found()];
    let turn = play(RecoverFrom::Epoch(Epoch(5)), None, [start(), vec![RecoveryAnswer::Verify(Ok(())), claims(1)]].concat());
    let RecoveryStep::Ask(RecoveryRequest::Create(taken)) = turn else { panic!("{turn:?}") };
    assert_eq!((taken.epoch, taken.parent), (Epoch(7), Some(Epoch(5))));
    let turn = play(RecoverFrom::Epoch(Epoch(5)), None, [start(), vec![RecoveryAnswer::Verify(Err("damaged".into())), claims(1)]].concat());
    assert_eq!(turn, RecoveryStep::Refused(RecoveryRefusal::NoCheckpoint(vec![(Epoch(5), "damaged".into())])));
    let turn = play(RecoverFrom::Epoch(Epoch(9)), None, [start(), vec![claims(1)]].concat());
    assert!(matches!(turn, RecoveryStep::Refused(RecoveryRefusal::NoCheckpoint(reasons)) if reasons[0].0 == Epoch(9)));
}

#[test]
fn a_savepoint_goes_on_past_every_number_that_is_taken_here_or_there() {
    let save = |epoch| RecoverFrom::Savepoint(Box::new(Manifest { generation: Generation(3), ..manifest(epoch, None) }));
    let here = |epoch| play(save(epoch), None, vec![claims(0), RecoveryAnswer::Claim(true), all(&[manifest(8, Some(5))]), claims(4)]);
    assert_eq!(
        play(save(5), None, vec![claims(0)]),
        RecoveryStep::Ask(RecoveryRequest::Claim(Generation(4))),
        "past the generation that left its snapshots"
    );
    assert!(matches!(here(5), RecoveryStep::Ask(RecoveryRequest::Create(m)) if m.epoch == Epoch(9) && m.covered() == Some(Epoch(5))));
    assert!(matches!(here(20), RecoveryStep::Ask(RecoveryRequest::Create(m)) if m.epoch == Epoch(21) && m.covered() == Some(Epoch(20))));
}

#[test]
fn a_generation_whose_claim_was_lost_is_not_claimed_again() {
    let of = |generation| Manifest { generation: Generation(generation), ..manifest(4, None) };
    let found =
        |generation| vec![claims(2), RecoveryAnswer::Claim(true), all(&[of(generation)]), RecoveryAnswer::Verify(Ok(())), claims(3)];
    assert!(matches!(play(RecoverFrom::Newest, None, found(2)), RecoveryStep::Ask(RecoveryRequest::Create(_))));
    for lost in [3, 7] {
        assert_eq!(play(RecoverFrom::Newest, None, found(lost)), RecoveryStep::Ask(RecoveryRequest::Claim(Generation(lost + 1))));
        let replaced = RecoveryStep::Refused(RecoveryRefusal::Fenced { ours: Generation(2), theirs: Generation(lost) });
        assert_eq!(play(RecoverFrom::Newest, Some(2), found(lost)), replaced, "it does not take the job back");
    }
    let again = vec![RecoveryAnswer::Claim(true), all(&[of(7)]), RecoveryAnswer::Verify(Ok(())), claims(8)];
    let turn = play(RecoverFrom::Newest, None, [found(7), again].concat());
    assert!(matches!(&turn, RecoveryStep::Ask(RecoveryRequest::Create(taken)) if taken.generation == Generation(8)), "{turn:?}");
    let alone = RecoverFrom::Savepoint(Box::new(of(1)));
    let turn = play(alone, None, vec![claims(0)]);
    assert_eq!(turn, RecoveryStep::Ask(RecoveryRequest::Claim(Generation(2))), "a savepoint in a copy of the store that has no claims");
}

#[test]
fn a_run_begins_after_output_that_does_not_count_though_no_manifest_is_so_far() {
    for (found, parent) in [(vec![], None), (vec![manifest(5, Some(4))], Some(Epoch(5)))] {
        let (mut opening, _) = JobRecovery::new(RecoverFrom::Newest, beginning(), None, LAST);
        opening.begin_after(Epoch(80));
        let verified = (!found.is_empty()).then_some(RecoveryAnswer::Verify(Ok(())));
        let answers = [claims(0), RecoveryAnswer::Claim(true), all(&found)].into_iter().chain(verified);
        let answers = answers.chain([claims(1), RecoveryAnswer::Create(true), claims(1)]);
        let turns: Vec<RecoveryStep> = answers.map(|answer| opening.step(answer)).collect();
        let Some(RecoveryStep::RecoveredJob(up)) = turns.last() else { panic!("{turns:?}") };
        let taken = up.taken.as_ref().unwrap();
        assert_eq!((taken.epoch, taken.covered()), (Epoch(81), parent));
    }
}

#[test]
fn a_manifest_that_came_late_to_the_number_of_a_lost_one_is_passed_over() {
    // Generation 2 took over with 2, which was lost; then a create of generation 1 came to that number. Nobody can read 3.
    let late = || Manifest { generation: Generation(1), ..manifest(2, Some(1)) };
    let found = || RecoveryAnswer::Manifests(BTreeMap::from([(Epoch(2), Ok(late())), (Epoch(3), Err("cut".into()))]));
    let start = |newest| vec![claims(newest), RecoveryAnswer::Claim(true), found()];
    let snapshot = |epoch, generation| paths::snapshot("count", Instance(0), Epoch(epoch), Generation(generation), false);
    let play = |newest, answers| play(RecoverFrom::Newest, None, [start(newest), answers].concat());
    assert_eq!(play(2, vec![]), RecoveryStep::Ask(RecoveryRequest::Snapshots));
    let left = RecoveryAnswer::Snapshots(vec![snapshot(3, 2), snapshot(2, 1)]);
    let turn = play(2, vec![left, claims(3)]);
    let RecoveryStep::Refused(RecoveryRefusal::NoCheckpoint(reasons)) = &turn else { panic!("{turn:?}") };
    assert!(reasons[1].0 == Epoch(2) && reasons[1].1.contains("generation 2 had taken over"), "{reasons:?}");
    let left = RecoveryAnswer::Snapshots(vec![snapshot(4, 2), snapshot(2, 1)]);
    assert_eq!(play(2, vec![left]), RecoveryStep::Ask(RecoveryRequest::Verify(Epoch(2))), "generation 2 took over with 3");
    assert_eq!(play(1, vec![]), RecoveryStep::Ask(RecoveryRequest::Verify(Epoch(2))), "there is no generation between the two");
}

#[test]
fn a_parent_of_another_run_than_that_of_its_child_is_passed_over() {
    let of = |generation, manifest| Manifest { generation: Generation(generation), ..manifest };
    let found = all(&[of(1, manifest(2, None)), of(1, manifest(3, Some(2))), of(2, manifest(4, Some(3)))]);
    let answers = vec![claims(2), RecoveryAnswer::Claim(true), found, RecoveryAnswer::Verify(Err("damaged".into()))];
    let turn = play(RecoverFrom::Newest, None, [answers, vec![RecoveryAnswer::Snapshots(vec![])]].concat());
    assert_eq!(turn, RecoveryStep::Ask(RecoveryRequest::Verify(Epoch(2))), "3 was where generation 2 took over");
}
