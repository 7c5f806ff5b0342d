//! What an author writes: an [`Operator`] and its [`Description`].

use crate::encoding::Encoding;
use crate::rows::{Record, Rows};
use crate::{Output, state};
use serde::de::DeserializeOwned;

/// The watermark that means: the input has ended.
pub const END_OF_INPUT: i64 = i64::MAX;

/// An operator. Its fields are its state, and `Default` is the operator that has seen nothing.
///
/// What it emits may depend on its declared state, its input and [`runtime`](crate::runtime) alone: after a fault the host takes a new
/// instance, restores the last snapshot and calls it again. Other fields may hold what [`Operator::open`] can make again, such as the
/// config.
///
/// An `Err` from any method is a fault: nothing of the call stands, and the host starts from the last snapshot. To refuse a single row,
/// use [`Output::reject`].
pub trait Operator: Default + 'static {
    /// Tells what the operator is: its name, inputs and outputs. The state is told by [`export!`](crate::export).
    fn describe() -> Description;

    /// Makes the instance ready: reads the config. Declared state is not there yet, and must not be written.
    ///
    /// # Errors
    /// Where the config is wrong: the job does not start, and shows this text.
    fn open(&mut self, context: &Context) -> Result<(), String> {
        let _ = context;
        Ok(())
    }

    /// Works on the rows of one input. Calls [`Operator::record`] for each where it is not written, and has the cells of the rows' keys
    /// looked at in groups before, where a [`Keyed`](crate::Keyed) is large: so that the waits for memory overlap.
    ///
    /// # Errors
    /// See the trait.
    #[inline]
    fn process(&mut self, input: u32, rows: Rows<'_>, out: &mut Output) -> Result<(), String> {
        let _ = input;
        if out.leaves_rows_of::<Self>() {
            return Ok(());
        }
        for record in rows {
            self.record(record, out)?;
        }
        Ok(())
    }

    /// Works on one row.
    ///
    /// # Errors
    /// See the trait.
    fn record(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), String> {
        let _ = (record, out);
        Err("the operator implements neither `process` nor `record`".to_owned())
    }

    /// Hears that no row with a time at or below `watermark` will follow; [`END_OF_INPUT`] is the last one.
    ///
    /// # Errors
    /// See the trait.
    fn advance(&mut self, watermark: i64, out: &mut Output) -> Result<(), String> {
        let _ = (watermark, out);
        Ok(())
    }
}

/// The link between an operator and its state; written by [`export!`](crate::export), not by hand.
pub trait Declared: Operator {
    /// Version of the author's crate.
    const CRATE_VERSION: &'static str;

    /// The slots, in the order in which they were declared.
    fn slots(&mut self) -> Vec<state::Declaration<'_>>;
}

/// An output and the encodings of its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// How keys are to be read.
    pub key: Encoding,
    /// How values are to be read.
    pub value: Encoding,
}

/// What an operator is, apart from its state.
///
/// Names of inputs, outputs and slots are `[a-z][a-z0-9-]*`, at most 64 bytes; the host refuses others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Name of the operator, for people.
    pub name: String,
    /// Version of the operator, for people; that of the crate where it is `None`.
    pub version: Option<String>,
    /// Names of the inputs.
    pub inputs: Vec<String>,
    /// The outputs.
    pub outputs: Vec<Port>,
}

impl Description {
    /// An operator without inputs and outputs yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), version: None, inputs: Vec::new(), outputs: Vec::new() }
    }

    /// Sets a version other than that of the crate.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.version = Some(version.to_owned());
        self
    }

    /// Adds an input. An operator has at least one.
    #[must_use]
    pub fn input(mut self, name: &str) -> Self {
        self.inputs.push(name.to_owned());
        self
    }

    /// Adds an output, and tells how its keys and values are to be read.
    #[must_use]
    pub fn output(mut self, name: &str, key: Encoding, value: Encoding) -> Self {
        self.outputs.push(Port { name: name.to_owned(), key, value });
        self
    }
}

/// What an instance is told when it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The operator's `config` in the topology file, as JSON; `{}` where it has none.
    pub config: String,
    /// This instance's index, below `parallelism`.
    pub instance: u32,
    /// How many instances of the operator run.
    pub parallelism: u32,
}

impl Context {
    /// Reads the config into a type of the author's; `#[serde(default, deny_unknown_fields)]` on it makes for good errors.
    ///
    /// # Errors
    /// What is wrong with the config, for the user who wrote it.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_str(&self.config).map_err(|error| format!("config: {error}"))
    }
}
