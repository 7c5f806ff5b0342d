//! Lies: an honest counter whose answers are falsified on their way out, by way of the raw bindings.

use crate::{POISON, count, counting};
use reprise_guest::bindings::exports::reprise::operator::{operator, state};
use reprise_guest::glue::{Component, Exported};
use reprise_guest::state::Declaration;
use reprise_guest::{Declared, Keyed, Operator, Output, Record, Runner};
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;

pub use operator::{Description, Port};
pub use reprise_guest::bindings::reprise::operator::data::{Batch, Emitted, Outcome, Output as PortRows, Rejection};
pub use state::{Chunk, Part};

/// What a guest lies about.
pub trait Lie {
    /// Name of the operator.
    const NAME: &'static str;

    /// Falsifies what a call of `process` with poison in it did.
    fn outcome(outcome: &mut Outcome) {
        let _ = outcome;
    }

    /// Falsifies what the guest says it is.
    fn described(description: &mut Description) {
        let _ = description;
    }

    /// Falsifies what a call of `advance` did, after poison was met.
    fn advanced(emitted: &mut Emitted) {
        let _ = emitted;
    }

    /// Does something when state is restored.
    fn restored() {}

    /// Falsifies a further piece of output, after poison was met.
    fn emitted(emitted: &mut Emitted) {
        let _ = emitted;
    }

    /// Falsifies a piece of a snapshot, after poison was met.
    fn part(part: &mut Part) {
        let _ = part;
    }
}

/// A batch of these columns, whatever they are.
#[must_use]
pub fn batch(times: &[i64], key_ends: &[u32], keys: &[u8], value_ends: &[u32], values: &[u8]) -> Batch {
    Batch {
        times: times.to_vec(),
        key_ends: key_ends.to_vec(),
        keys: keys.to_vec(),
        value_ends: value_ends.to_vec(),
        values: values.to_vec(),
    }
}

/// Rows for one output.
#[must_use]
pub fn one_output(port: u32, rows: Batch) -> Vec<PortRows> {
    vec![PortRows { port, rows }]
}

/// A legal chunk: the key `a` stands at 0.
#[must_use]
pub fn chunk() -> Chunk {
    Chunk {
        slot: 0,
        key_ends: vec![1],
        keys: b"a".to_vec(),
        item_ends: vec![0],
        items: Vec::new(),
        value_ends: vec![8],
        values: vec![0; 8],
        removed: Vec::new(),
    }
}

/// The smallest chunk that holds a cell: the empty key stands at nothing.
#[must_use]
pub fn crumb() -> Chunk {
    Chunk { key_ends: vec![0], keys: Vec::new(), value_ends: vec![0], values: Vec::new(), ..chunk() }
}

/// The honest counter behind the lies.
#[derive(Default)]
pub struct Honest {
    counts: Keyed<u64>,
}

impl Operator for Honest {
    fn describe() -> reprise_guest::Description {
        counting("honest")
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        count(&mut self.counts, row, out);
        Ok(())
    }
}

impl Declared for Honest {
    const CRATE_VERSION: &'static str = env!("CARGO_PKG_VERSION");

    fn slots(&mut self) -> Vec<Declaration<'_>> {
        vec![Declaration { name: "counts", version: 1, slot: &mut self.counts }]
    }
}

thread_local! {
    static RUNNER: RefCell<Runner<Honest>> = RefCell::default();
    static POISONED: Cell<bool> = const { Cell::new(false) };
}

impl Exported for Honest {
    fn with<R>(f: impl FnOnce(&mut Runner<Self>) -> R) -> R {
        RUNNER.with_borrow_mut(f)
    }
}

type Inner = Component<Honest>;

/// A component that lies.
pub struct Liar<L>(PhantomData<L>);

impl<L: Lie> operator::Guest for Liar<L> {
    fn describe() -> Description {
        let mut description = Description { name: L::NAME.to_owned(), ..<Inner as operator::Guest>::describe() };
        L::described(&mut description);
        description
    }

    fn open(context: operator::Context) -> Result<(), String> {
        <Inner as operator::Guest>::open(context)
    }

    fn process(input: u32, rows: Batch) -> Result<Outcome, String> {
        let poisoned = has_poison(&rows);
        let mut outcome = <Inner as operator::Guest>::process(input, rows)?;
        if poisoned {
            POISONED.set(true);
            L::outcome(&mut outcome);
        }
        Ok(outcome)
    }

    fn advance(watermark: i64) -> Result<Emitted, String> {
        let mut emitted = <Inner as operator::Guest>::advance(watermark)?;
        if POISONED.get() {
            L::advanced(&mut emitted);
        }
        Ok(emitted)
    }

    fn resume() -> Result<Emitted, String> {
        let mut emitted = <Inner as operator::Guest>::resume()?;
        if POISONED.get() {
            L::emitted(&mut emitted);
        }
        Ok(emitted)
    }
}

impl<L: Lie> state::Guest for Liar<L> {
    fn snapshot(scope: state::Scope, max_bytes: u32) -> Result<Part, String> {
        let mut part = <Inner as state::Guest>::snapshot(scope, max_bytes)?;
        if POISONED.get() {
            L::part(&mut part);
        }
        Ok(part)
    }

    fn restore(version: u32, chunk: Chunk) -> Result<(), String> {
        L::restored();
        <Inner as state::Guest>::restore(version, chunk)
    }
}

fn has_poison(rows: &Batch) -> bool {
    let mut start = 0;
    rows.value_ends.iter().any(|&end| {
        let value = &rows.values[start..end as usize];
        start = end as usize;
        value == POISON
    })
}

/// Makes a component of a [`Liar`].
#[macro_export]
macro_rules! export_lying {
    ($guest:ident) => {
        #[cfg(target_arch = "wasm32")]
        reprise_guest::bindings::export_stateful!($guest with_types_in reprise_guest::bindings);
        #[cfg(not(target_arch = "wasm32"))]
        const _: Option<$guest> = None;
    };
}
