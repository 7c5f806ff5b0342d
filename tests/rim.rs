//! The rim: what real files, terminals, stores, settings and guests do to a job, in processes of the real binary. Each test shows one kind
//! of fault that was met in the wild. The oracle is the output of a run that nothing happened to, or a refusal that names both the cause
//! and a way out.
//!
//! | file | what |
//! |---|---|
//! | `follow` | followed files that are renamed, replaced, truncated, removed; folders with very many files |
//! | `input` | half rows, open quotes, compressed files, settings that changed, names, event time without a guard |
//! | `output` | output of another life of the store, output that is input, full disks, sinks that are slow |
//! | `stores` | stores with foreign, damaged and old things in them, S3 settings, retention |
//! | `host` | logs that cannot be written, signals, limits of the system, text of guests on a terminal |
//! | `messages` | the texts of refusals, as golden files |
//! | `policy` | faults that no row causes, output out of proportion, deadlines, what is restarted in place |

mod follow;
mod host;
mod input;
mod messages;
mod output;
mod policy;
mod stores;
