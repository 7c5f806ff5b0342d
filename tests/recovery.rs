//! Jobs that stop, die or find their checkpoints damaged, and go on: the oracle is always the run that nothing happened to.
//!
//! | file | what |
//! |---|---|
//! | `jobs` | a job in a folder of its own: its topology, input, runs, output and stored objects |
//! | `capsules` | failed calls as files, and what fails when they are tried |
//! | `damage` | truncated, bit-flipped and missing objects |
//! | `state` | deltas, other numbers of workers, checkpoints that do not fit |
//! | `refused` | what lying guests return, and rows in quarantine |
//! | `quarantine` | rows in quarantine: listed, dropped, sent again |
//! | `divergence` | operators whose repeated calls return something else |
//! | `healing` | instances that fail and come back in place; rows that cannot be worked on |
//! | `given_up` | parked input of an operator that does not come back: dropped, or moved to quarantine |
//! | `ends` | the end of the input, told once; old checkpoints, deleted |
//! | `parked` | operators that are paused or slow while the others go on |
//! | `savepoints` | savepoints, and older checkpoints as beginnings |
//! | `outages` | stores that do not answer; chains that lost an object |
//! | `sinks` | output to objects, and output that is visible at once |
//! | `shapes` | every way to connect operators |
//! | `versions` | components whose state has another version than that of the checkpoint |

mod capsules;
mod damage;
mod divergence;
mod ends;
mod given_up;
mod healing;
pub(crate) mod jobs;
mod outages;
mod parked;
mod pauses;
mod quarantine;
mod refused;
mod savepoints;
mod shapes;
mod sinks;
mod state;
mod turns;
mod versions;
