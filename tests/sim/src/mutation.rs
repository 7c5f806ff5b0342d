//! Mutations: ways to break the protocol, or what it stands on. The simulation must notice each of them; that is the test of the test.
//!
//! Some are broken executors; those of an operator and of the committer are switches of the product.

use reprise_core::checkpoint::committer::CommitterMutation;
use reprise_core::operator as product;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// A report goes to the coordinator before its objects are stored.
    ReportBeforeUpload,
    /// Output is published when its manifest is about to be created.
    PublishBeforeManifest,
    /// Nobody looks for newer claims around a manifest.
    NoFence,
    /// Nobody looks for newer claims after a manifest was created.
    NoLookAfterManifest,
    /// A run does not store the manifest with which it takes over.
    TakeOverNotWritten,
    /// An opening does not look for newer claims after its create.
    OpeningDoesNotLookAgain,
    /// A host that restarts its run claims whatever generation is next.
    RestartClaimsNewest,
    /// The store overwrites objects that exist.
    PutOverwrites,
    /// A create whose outcome is unknown counts as done.
    UnknownCountsAsNew,
    /// Two hosts write the same bytes into a claim.
    ClaimsAlike,
    /// A manifest forgets output of earlier epochs that is not known to be published.
    UnpublishedForgotten,
    /// A sweep deletes objects that a manifest reaches.
    SweepIgnoresReachability,
    /// A sweep deletes objects that only a savepoint reaches.
    SweepIgnoresSavepoints,
    /// A sweep deletes objects of compactions that are under way.
    SweepIgnoresCompactions,
    /// A savepoint counts without a look for newer claims after it was stored.
    SavepointWithoutLook,
    /// A compaction forgets that cells were removed.
    CompactionDropsRemovals,
    /// A compaction replaces one object more than it has read.
    CompactionLosesLast,
    /// A sink notes that output was published after it became visible.
    NotedAfterRename,
    /// A taken-up sink removes staged output of newer runs too.
    RecoverRemovesNewer,
    /// A taken-up sink takes visible output back before it removes what is staged.
    RecoverTakesBackFirst,
    /// A taken-up sink takes back output of the runs after its own too.
    RecoverTakesBackNewer,
    /// A taken-up run deletes refused rows of the runs after it too.
    QuarantineClearedWhole,
    /// Sources go on where a run before had got to, not where the checkpoint says.
    SourcesNotSetBack,
    /// A checkpoint is taken up unseen.
    CheckpointNotVerified,
    /// What a call returns that is made again is sent again.
    ReplayedOutputsSent,
    /// A standby takes over before all snapshots were restored to it.
    StandbyTakenBehind,
    /// Where an instance fails, the next one is replaced, too.
    NeighbourReplaced,
    /// Rows reach another instance of the operator on the same worker.
    RowsToNeighbour,
    /// With other workers, each instance takes up the chain of the next one.
    ChainOfNeighbour,
    /// With another number of instances, deltas follow on chains that were given up.
    ChainsGoOn,
    /// A run forgets what was parked in the checkpoint that it begins with.
    ParkedForgotten,
    /// The product's committer is broken.
    Committer(CommitterMutation),
    /// The product's driver of operators is broken.
    Driver(product::Mutation),
}

/// All of them, with their names on the command line.
pub const ALL: [(Mutation, &str); 54] = [
    (Mutation::ReportBeforeUpload, "report-before-upload"),
    (Mutation::PublishBeforeManifest, "publish-before-manifest"),
    (Mutation::NoFence, "no-fence"),
    (Mutation::NoLookAfterManifest, "no-look-after-manifest"),
    (Mutation::TakeOverNotWritten, "take-over-not-written"),
    (Mutation::OpeningDoesNotLookAgain, "opening-does-not-look-again"),
    (Mutation::RestartClaimsNewest, "restart-claims-newest"),
    (Mutation::PutOverwrites, "put-overwrites"),
    (Mutation::UnknownCountsAsNew, "unknown-counts-as-new"),
    (Mutation::ClaimsAlike, "claims-alike"),
    (Mutation::UnpublishedForgotten, "unpublished-forgotten"),
    (Mutation::SweepIgnoresReachability, "sweep-ignores-reachability"),
    (Mutation::SweepIgnoresSavepoints, "sweep-ignores-savepoints"),
    (Mutation::SweepIgnoresCompactions, "sweep-ignores-compactions"),
    (Mutation::SavepointWithoutLook, "savepoint-without-look"),
    (Mutation::Committer(CommitterMutation::ManifestNotNoted), "manifest-not-noted"),
    (Mutation::Committer(CommitterMutation::AheadIgnored), "ahead-ignored"),
    (Mutation::Committer(CommitterMutation::SweepBesideSavepoint), "sweep-beside-savepoint"),
    (Mutation::CompactionDropsRemovals, "compaction-drops-removals"),
    (Mutation::CompactionLosesLast, "compaction-loses-last"),
    (Mutation::NotedAfterRename, "noted-after-rename"),
    (Mutation::RecoverRemovesNewer, "recover-removes-newer"),
    (Mutation::RecoverTakesBackFirst, "recover-takes-back-first"),
    (Mutation::RecoverTakesBackNewer, "recover-takes-back-newer"),
    (Mutation::QuarantineClearedWhole, "quarantine-cleared-whole"),
    (Mutation::Driver(product::Mutation::NextEpochTouchesState), "next-epoch-touches-state"),
    (Mutation::SourcesNotSetBack, "sources-not-set-back"),
    (Mutation::CheckpointNotVerified, "checkpoint-not-verified"),
    (Mutation::ReplayedOutputsSent, "replayed-outputs-sent"),
    (Mutation::Driver(product::Mutation::LogNotCleared), "log-not-cleared"),
    (Mutation::Driver(product::Mutation::LogClearedTooSoon), "log-cleared-too-soon"),
    (Mutation::Driver(product::Mutation::LocalChangesNotReported), "local-changes-not-reported"),
    (Mutation::Driver(product::Mutation::FullForgetsChanges), "full-forgets-changes"),
    (Mutation::Driver(product::Mutation::FailedCallLogged), "failed-call-logged"),
    (Mutation::Driver(product::Mutation::WatermarksNotLogged), "watermarks-not-logged"),
    (Mutation::Driver(product::Mutation::FailedUnitDropped), "failed-unit-dropped"),
    (Mutation::Driver(product::Mutation::PoisonNotQuarantined), "poison-not-quarantined"),
    (Mutation::Driver(product::Mutation::InstanceFaultOnRow), "instance-fault-on-row"),
    (Mutation::Driver(product::Mutation::RowsAfterPoisonDropped), "rows-after-poison-dropped"),
    (Mutation::Driver(product::Mutation::FaultedReportedAgain), "faulted-reported-again"),
    (Mutation::Driver(product::Mutation::StandbyMissesSnapshot), "standby-misses-snapshot"),
    (Mutation::StandbyTakenBehind, "standby-taken-behind"),
    (Mutation::Driver(product::Mutation::FoldLosesNewer), "fold-loses-newer"),
    (Mutation::Driver(product::Mutation::RetryOnDeadInstance), "retry-on-dead-instance"),
    (Mutation::NeighbourReplaced, "neighbour-replaced"),
    (Mutation::RowsToNeighbour, "rows-to-neighbour"),
    (Mutation::ChainOfNeighbour, "chain-of-neighbour"),
    (Mutation::ChainsGoOn, "chains-go-on"),
    (Mutation::ParkedForgotten, "parked-forgotten"),
    (Mutation::Driver(product::Mutation::ParkedRowsLost), "parked-rows-lost"),
    (Mutation::Driver(product::Mutation::ParkedRowsAgain), "parked-rows-again"),
    (Mutation::Driver(product::Mutation::NewerBeforeParked), "newer-before-parked"),
    (Mutation::Driver(product::Mutation::ParkedOfNextEpoch), "parked-of-next-epoch"),
    (Mutation::Driver(product::Mutation::WatermarkPassesParked), "watermark-passes-parked"),
];

impl Mutation {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(mutation, _)| *mutation == self).map_or("unknown", |(_, name)| name)
    }

    /// The mutation of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        ALL.iter().find(|(_, known)| *known == name).map(|(mutation, _)| *mutation)
    }
}
