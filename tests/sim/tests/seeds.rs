//! The simulation over many seeds, and the test of the test: each mutation must be noticed.
#![allow(clippy::print_stdout)]

use reprise_core::checkpoint::committer::CommitterMutation;
use reprise_core::operator as product;
use reprise_sim::mutation::{ALL, Mutation};
use reprise_sim::plan::Plan;
use reprise_sim::seeds::{self, report};
use reprise_sim::world::simulate;

/// Seeds of the ordinary test, and those within which each mutation must be noticed.
const SEEDS: u64 = 200;

#[test]
fn two_hundred_seeds_pass_and_every_kind_of_fault_strikes() {
    let summary = seeds::run(0..SEEDS, None, false, |_| {});
    let failures: Vec<String> = summary.failures.iter().map(report).collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert_eq!(summary.seeds, SEEDS);
    assert_eq!(summary.missing(), [""; 0], "these never struck");
    println!("{}", summary.table());
}

#[test]
fn one_seed_has_one_trace() {
    for seed in 0..20 {
        let run = || simulate(Plan::new(seed, None), usize::MAX);
        let (one, other) = (run(), run());
        assert_eq!((one.hash, one.steps), (other.hash, other.steps), "seed {seed}");
        assert_eq!(one.lines, other.lines, "seed {seed}");
    }
    assert_ne!(simulate(Plan::new(0, None), 0).hash, simulate(Plan::new(1, None), 0).hash);
}

#[test]
fn a_job_without_faults_finishes_in_one_run() {
    for seed in 0..20 {
        let outcome = simulate(Plan::calm(seed), 0);
        assert_eq!(outcome.failure, None, "seed {seed}");
        let struck: Vec<_> = outcome.counts.keys().map(|fault| format!("{fault:?}")).collect();
        assert!(
            struck.iter().all(|fault| [
                "Compaction",
                "Swept",
                "TakenAway",
                "LocalSnapshot",
                "ImageFolded",
                "ImageTooLarge",
                "StandbyBehind",
                // An operator may be slower than its input, and catches up.
                "Parked",
                "ParkedRead"
            ]
            .contains(&fault.as_str())),
            "seed {seed}: {struck:?}"
        );
    }
}

/// Going back to a checkpoint that had been given up lost output (the first three); a host that had been replaced said that there was no
/// checkpoint left (the next two); a manifest that came late took the number of a lost one, and was taken up (the last).
const FOUND: [u64; 6] = [595, 925, 1582, 38, 200, 16_757];

#[test]
fn seeds_that_have_found_faults_of_the_core_pass() {
    for seed in FOUND {
        let outcome = simulate(Plan::new(seed, None), seeds::LINES_SHOWN);
        assert!(outcome.failure.is_none(), "\n{}", report(&outcome));
    }
}

#[test]
fn a_failure_tells_how_to_see_it_again() {
    let summary = seeds::run(0..SEEDS, Some(Mutation::ReportBeforeUpload), true, |_| {});
    let outcome = summary.failures.first().expect("it is noticed");
    let text = report(outcome);
    let again = format!("cargo xtask sim --seed {} --mutation report-before-upload", outcome.seed);
    assert!(text.contains(&again), "{text}");
    assert!(text.lines().count() > 10, "it shows the last events: {text}");
    let repeated = simulate(Plan::new(outcome.seed, outcome.mutation), 0);
    assert_eq!((repeated.hash, &repeated.failure), (outcome.hash, &outcome.failure));
}

/// Runs seeds until the mutation is noticed.
fn notice(mutation: Mutation) {
    let summary = seeds::run(0..SEEDS, Some(mutation), true, |_| {});
    let Some(outcome) = summary.failures.first() else { panic!("{} passes {SEEDS} seeds", mutation.name()) };
    println!("{} is noticed at seed {}: {}", mutation.name(), outcome.seed, outcome.failure.as_deref().unwrap_or_default());
}

macro_rules! mutations {
    ($($test:ident: $mutation:expr,)*) => {
        $(
            #[test]
            fn $test() {
                notice($mutation);
            }
        )*

        #[test]
        fn every_mutation_has_a_test() {
            let tested = [$($mutation),*];
            for (mutation, name) in ALL {
                assert!(tested.contains(&mutation), "{name}");
            }
        }
    };
}

mutations! {
    parked_rows_that_a_run_forgets_are_noticed: Mutation::ParkedForgotten,
    parked_rows_that_are_not_stored_are_noticed: Mutation::Driver(product::Mutation::ParkedRowsLost),
    parked_rows_that_come_again_are_noticed: Mutation::Driver(product::Mutation::ParkedRowsAgain),
    newer_rows_before_parked_ones_are_noticed: Mutation::Driver(product::Mutation::NewerBeforeParked),
    parked_rows_of_the_next_epoch_are_noticed: Mutation::Driver(product::Mutation::ParkedOfNextEpoch),
    a_watermark_that_passes_parked_rows_is_noticed: Mutation::Driver(product::Mutation::WatermarkPassesParked),
    a_report_before_its_upload_is_noticed: Mutation::ReportBeforeUpload,
    publishing_before_the_manifest_is_noticed: Mutation::PublishBeforeManifest,
    a_missing_fence_is_noticed: Mutation::NoFence,
    a_missing_look_after_a_manifest_is_noticed: Mutation::NoLookAfterManifest,
    a_take_over_that_is_not_written_is_noticed: Mutation::TakeOverNotWritten,
    an_opening_that_does_not_look_again_is_noticed: Mutation::OpeningDoesNotLookAgain,
    a_restart_that_takes_the_job_back_is_noticed: Mutation::RestartClaimsNewest,
    a_store_that_overwrites_is_noticed: Mutation::PutOverwrites,
    an_unknown_outcome_that_counts_as_done_is_noticed: Mutation::UnknownCountsAsNew,
    claims_that_are_alike_are_noticed: Mutation::ClaimsAlike,
    forgotten_output_is_noticed: Mutation::UnpublishedForgotten,
    a_sweep_that_ignores_reachability_is_noticed: Mutation::SweepIgnoresReachability,
    a_sweep_that_ignores_savepoints_is_noticed: Mutation::SweepIgnoresSavepoints,
    a_row_that_is_blamed_for_its_instance_is_noticed: Mutation::Driver(product::Mutation::InstanceFaultOnRow),
    a_sweep_that_ignores_compactions_is_noticed: Mutation::SweepIgnoresCompactions,
    a_savepoint_of_a_fenced_host_is_noticed: Mutation::SavepointWithoutLook,
    a_manifest_that_is_not_noted_is_noticed: Mutation::Committer(CommitterMutation::ManifestNotNoted),
    manifests_that_go_before_their_output_is_published_are_noticed: Mutation::Committer(CommitterMutation::AheadIgnored),
    a_sweep_beside_a_savepoint_on_its_way_is_noticed: Mutation::Committer(CommitterMutation::SweepBesideSavepoint),
    a_compaction_that_drops_removals_is_noticed: Mutation::CompactionDropsRemovals,
    a_compaction_that_loses_an_object_is_noticed: Mutation::CompactionLosesLast,
    a_sink_that_notes_too_late_is_noticed: Mutation::NotedAfterRename,
    a_sink_that_removes_output_of_newer_runs_is_noticed: Mutation::RecoverRemovesNewer,
    a_sink_that_takes_back_first_is_noticed: Mutation::RecoverTakesBackFirst,
    a_sink_that_takes_back_output_of_newer_runs_is_noticed: Mutation::RecoverTakesBackNewer,
    refused_rows_of_newer_runs_that_are_deleted_are_noticed: Mutation::QuarantineClearedWhole,
    a_row_of_the_next_epoch_that_touches_state_is_noticed: Mutation::Driver(product::Mutation::NextEpochTouchesState),
    sources_that_are_not_set_back_are_noticed: Mutation::SourcesNotSetBack,
    a_checkpoint_that_is_not_verified_is_noticed: Mutation::CheckpointNotVerified,
    outputs_of_repeated_calls_that_are_sent_again_are_noticed: Mutation::ReplayedOutputsSent,
    a_log_that_a_snapshot_does_not_clear_is_noticed: Mutation::Driver(product::Mutation::LogNotCleared),
    a_log_that_is_cleared_before_the_snapshot_was_read_is_noticed: Mutation::Driver(product::Mutation::LogClearedTooSoon),
    changes_between_checkpoints_that_are_not_reported_are_noticed: Mutation::Driver(product::Mutation::LocalChangesNotReported),
    changes_that_are_forgotten_before_the_full_snapshot_are_noticed: Mutation::Driver(product::Mutation::FullForgetsChanges),
    a_failed_call_in_the_log_is_noticed: Mutation::Driver(product::Mutation::FailedCallLogged),
    watermarks_that_are_not_in_the_log_are_noticed: Mutation::Driver(product::Mutation::WatermarksNotLogged),
    a_failed_unit_that_is_dropped_is_noticed: Mutation::Driver(product::Mutation::FailedUnitDropped),
    poison_that_is_passed_over_silently_is_noticed: Mutation::Driver(product::Mutation::PoisonNotQuarantined),
    rows_lost_after_poison_are_noticed: Mutation::Driver(product::Mutation::RowsAfterPoisonDropped),
    poison_that_is_reported_twice_is_noticed: Mutation::Driver(product::Mutation::FaultedReportedAgain),
    a_standby_that_misses_a_snapshot_is_noticed: Mutation::Driver(product::Mutation::StandbyMissesSnapshot),
    a_standby_that_takes_over_before_all_was_restored_to_it_is_noticed: Mutation::StandbyTakenBehind,
    a_fold_that_loses_what_came_meanwhile_is_noticed: Mutation::Driver(product::Mutation::FoldLosesNewer),
    a_retry_on_the_instance_that_failed_is_noticed: Mutation::Driver(product::Mutation::RetryOnDeadInstance),
    a_neighbour_that_is_replaced_too_is_noticed: Mutation::NeighbourReplaced,
    rows_that_reach_a_neighbour_are_noticed: Mutation::RowsToNeighbour,
    a_chain_that_a_neighbour_takes_up_is_noticed: Mutation::ChainOfNeighbour,
    chains_that_go_on_with_other_instances_are_noticed: Mutation::ChainsGoOn,
}
