//! Mutations of an operator's driver: faults that the simulation plants, and must notice. [`Environment::breaks`](super::Environment::breaks)
//! switches them on; in the product it is the constant false.

/// A mutation: what is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// A row of the next epoch touches state before the snapshot of the present one.
    NextEpochTouchesState,
    /// The calls before a snapshot are repeated, too.
    LogNotCleared,
    /// The calls before a snapshot are forgotten before it was read.
    LogClearedTooSoon,
    /// Changes of a snapshot between two checkpoints are not reported.
    LocalChangesNotReported,
    /// Changes are forgotten before the full snapshot that takes their place was read.
    FullForgetsChanges,
    /// A call that failed is logged.
    FailedCallLogged,
    /// Watermarks are not repeated.
    WatermarksNotLogged,
    /// A unit of work that failed is dropped.
    FailedUnitDropped,
    /// Poison is dropped.
    PoisonNotQuarantined,
    /// A row is blamed without asking.
    InstanceFaultOnRow,
    /// The rows after poison are dropped.
    RowsAfterPoisonDropped,
    /// Rows in quarantine are reported with each epoch.
    FaultedReportedAgain,
    /// A standby is not told of a snapshot.
    StandbyMissesSnapshot,
    /// A fold takes the place of what came after it began.
    FoldLosesNewer,
    /// A guest that failed is called again.
    RetryOnDeadInstance,
    /// What is parked in an epoch is not stored.
    ParkedRowsLost,
    /// Parked rows that are done are not reported as such.
    ParkedRowsAgain,
    /// What arrives is worked on before what is parked.
    NewerBeforeParked,
    /// What has arrived of the next epoch is parked with the present one.
    ParkedOfNextEpoch,
    /// A watermark passes the parked rows that came before it.
    WatermarkPassesParked,
}
