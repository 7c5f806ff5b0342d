//! The topology file: text -> draft -> topology -> plan, with every mistake reported at once.
//!
//! ```text
//!            file            check               plan
//!   text ---------> draft ---------> Topology ---------> Plan
//!        types,           meaning,            ports and
//!        unknown keys     names, circles      keyed state
//! ```
//!
//! Each step reports all the mistakes it can see and goes on with what it could read; a value that is reported once is not reported
//! again by what depends on it. A [`Topology`] from [`parse`] is legal by itself; a [`Plan`] is legal together with what the components
//! say of themselves. Nothing here opens a file or a component, and the environment comes in as a function.
//!
//! The reference for users is `docs/topology.md`.

mod allowance;
mod check;
mod environment;
mod file;
mod grant;
mod home;
mod json;
mod limits;
mod model;
pub mod overlap;
mod picture;
mod plan;
mod problem;
mod quantity;
mod retention;
mod sink;
mod source;
mod suggest;
mod table;
#[cfg(test)]
mod tests;
mod wiring;
mod word;

pub use allowance::{JobLimits, OperatorLimits};
pub use check::READS_MAX;
pub use environment::{EXPANSION_BYTES_MAX, ExpansionError, expand};
pub use file::TEXT_BYTES_MAX;
pub use grant::{FOLDERS_MAX, GUEST_PATH_BYTES_MAX, Grant, GrantedFolder, VARIABLES_BYTES_MAX, VARIABLES_MAX};
pub use json::CONFIG_DEPTH_MAX;
pub use limits::{LimitRow, limits};
pub use model::{
    Capsules, Checkpoint, Compression, Delivery, Exchange, Field, FileSink, FileSource, Flow, Input, NODES_MAX, ObjectsSink, OnFailure,
    OnLost, Open, Operator, Sink, SinkFormat, SinkKind, Source, SourceFormat, SourceKind, StdoutSink, TakenBack, Then, TimeField, TimeUnit,
    Topology,
};
pub use plan::{Edge, Node, Plan, plan};
pub use problem::{PROBLEMS_MAX, Problem, render, render_quoted};
pub use quantity::{QuantityError, duration, show_count, show_duration, show_size, size};
pub use retention::RetentionLimits;
pub use source::{COLUMN_INDEX_MAX, STDIN, check_glob};

/// Reads a topology file. `lookup` gives the value of an environment variable.
///
/// ```
/// let text = r#"
///     name = "copy"
///     checkpoint = { store = "${STORE}" }
///     source = [{ name = "lines", file = { path = "in.txt", format = "lines" } }]
///     sink = [{ name = "out", input = "lines", stdout = { format = "lines" } }]
/// "#;
/// let lookup = |name: &str| (name == "STORE").then(|| "file:./state".to_owned());
/// let topology = reprise_core::topology::parse(text, &lookup).expect("the text is right");
/// assert_eq!(topology.checkpoint.store, "file:./state");
/// ```
///
/// # Errors
/// Every mistake in the text, in the order of the text; never an empty list. A text that is not TOML gives that one mistake alone.
pub fn parse(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Topology, Vec<Problem>> {
    let mut reader = table::Reader::new(problem::Problems::new(text), lookup);
    let draft = file::read(text, &mut reader);
    let mut problems = reader.problems;
    let topology = draft.and_then(|draft| check::check(draft, &mut problems));
    match topology {
        Some(topology) if problems.is_empty() => Ok(topology),
        _ => Err(problems.into_sorted()),
    }
}
