//! Faults by the thousand, in this process: the oracle is always the run that nothing happened to.
//!
//! | file | what |
//! |---|---|
//! | `reference` | the job that is run under faults: its input, its sites, and what a run leaves behind |
//! | `calls` | one fault at one storage call |
//! | `sweep` | every fault at every storage call of the job and of its sinks |
//! | `chains` | compactions that are late |
//! | `savepoints` | requests that outlive the host that answers them |
//! | `strike` | damage to single stored objects and files |
//! | `damage` | random damage to what a host left behind |

mod calls;
mod chains;
mod damage;
mod reference;
mod savepoints;
mod strike;
mod sweep;
