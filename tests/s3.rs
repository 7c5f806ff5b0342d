//! Buckets: the promises of a store against servers in processes of their own, and against what can happen on the way to them.
//!
//! | file | what |
//! |---|---|
//! | `server` | an S3 server as a process that can be killed and started again: ours always, a real one where there is one |
//! | `proxy` | a proxy that delays, cuts, throttles or swallows requests and answers |
//! | `http` | as much of HTTP as the proxy has to read |
//! | `promises` | what every store promises, in the public interface alone |
//! | `stores` | the promises over folders, memory and buckets, with and without faults |
//!
//! Jobs on buckets are in `processes/buckets.rs`.

mod http;
mod promises;
pub mod proxy;
pub mod server;
mod stores;
