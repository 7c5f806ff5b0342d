//! Operators that keep the letter of the contract and break what it asks: an honest tally whose description, snapshots, restores or output
//! are changed on their way, by way of the raw bindings.

use reprise_guest::bindings::exports::reprise::operator::{operator, state};
use reprise_guest::glue::{Component, Exported};
use reprise_guest::state::Declaration;
use reprise_guest::{Declared, Description, Encoding::Utf8, Int, Keyed, Operator, Output, Record, Runner};
use std::cell::RefCell;
use std::marker::PhantomData;

pub use operator::Description as Described;
pub use reprise_guest::bindings::reprise::operator::data::{Batch, Emitted, Outcome};
pub use state::{Chunk, Part, Scope};

/// What an operator does wrong.
pub trait Wrong {
    /// Name of the operator.
    const NAME: &'static str;

    /// Changes the description.
    fn described(description: &mut Described) {
        let _ = description;
    }

    /// Changes a further piece of output.
    fn emitted(emitted: &mut Emitted) {
        let _ = emitted;
    }

    /// Changes a piece of a snapshot.
    fn part(scope: Scope, part: &mut Part) {
        let _ = (scope, part);
    }

    /// Changes what is restored.
    fn restored(chunk: &mut Chunk) {
        let _ = chunk;
    }
}

/// Counts rows by key and emits the running count; a row with an empty value removes the count.
#[derive(Default)]
pub struct Tally {
    counts: Keyed<u64>,
    /// Rows that this instance was given; the honest one makes nothing of it.
    pub rows: u64,
}

impl Tally {
    /// The count of a key.
    #[must_use]
    pub fn count(&self, key: &[u8]) -> u64 {
        self.counts.get(key).copied().unwrap_or(0)
    }
}

impl Operator for Tally {
    fn describe() -> Description {
        Description::new("tally").input("rows").output("counts", Utf8, Utf8)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        self.rows += 1;
        if row.value.is_empty() {
            self.counts.remove(row.key);
        } else {
            let count = self.counts.entry(row.key);
            *count += 1;
            out.emit(row.time, row.key, Int(*count));
        }
        Ok(())
    }
}

impl Declared for Tally {
    const CRATE_VERSION: &'static str = env!("CARGO_PKG_VERSION");

    fn slots(&mut self) -> Vec<Declaration<'_>> {
        vec![Declaration { name: "counts", version: 1, slot: &mut self.counts }]
    }
}

thread_local! {
    static RUNNER: RefCell<Runner<Tally>> = RefCell::default();
}

impl Exported for Tally {
    fn with<R>(f: impl FnOnce(&mut Runner<Self>) -> R) -> R {
        RUNNER.with_borrow_mut(f)
    }
}

type Inner = Component<Tally>;

/// A component that is wrong.
pub struct Wronged<W>(PhantomData<W>);

impl<W: Wrong> operator::Guest for Wronged<W> {
    fn describe() -> Described {
        let mut description = Described { name: W::NAME.to_owned(), ..<Inner as operator::Guest>::describe() };
        W::described(&mut description);
        description
    }

    fn open(context: operator::Context) -> Result<(), String> {
        <Inner as operator::Guest>::open(context)
    }

    fn process(input: u32, rows: Batch) -> Result<Outcome, String> {
        <Inner as operator::Guest>::process(input, rows)
    }

    fn advance(watermark: i64) -> Result<Emitted, String> {
        <Inner as operator::Guest>::advance(watermark)
    }

    fn resume() -> Result<Emitted, String> {
        let mut emitted = <Inner as operator::Guest>::resume()?;
        W::emitted(&mut emitted);
        Ok(emitted)
    }
}

impl<W: Wrong> state::Guest for Wronged<W> {
    fn snapshot(scope: Scope, max_bytes: u32) -> Result<Part, String> {
        let mut part = <Inner as state::Guest>::snapshot(scope, max_bytes)?;
        W::part(scope, &mut part);
        Ok(part)
    }

    fn restore(version: u32, mut chunk: Chunk) -> Result<(), String> {
        W::restored(&mut chunk);
        <Inner as state::Guest>::restore(version, chunk)
    }
}

/// The tally behind it all.
pub fn with<R>(f: impl FnOnce(&mut Runner<Tally>) -> R) -> R {
    Tally::with(f)
}

/// Leaves out the cells for which `keep` is false. It is told the key, and whether the cell was removed.
pub fn retain(part: &mut Part, keep: impl Fn(&[u8], bool) -> bool) {
    for chunk in &mut part.chunks {
        let mut kept = Chunk { slot: chunk.slot, ..empty() };
        let (mut key_start, mut value_start) = (0, 0);
        for (index, (&key_end, &value_end)) in chunk.key_ends.iter().zip(&chunk.value_ends).enumerate() {
            let key = &chunk.keys[key_start..key_end as usize];
            let is_removed = chunk.removed.contains(&(index as u32));
            if keep(key, is_removed) {
                let value = &chunk.values[value_start..value_end as usize];
                if is_removed {
                    kept.removed.push(kept.key_ends.len() as u32);
                }
                push(&mut kept, key, value);
            }
            (key_start, value_start) = (key_end as usize, value_end as usize);
        }
        *chunk = kept;
    }
}

/// Appends a cell without an item.
pub fn push(chunk: &mut Chunk, key: &[u8], value: &[u8]) {
    chunk.keys.extend_from_slice(key);
    chunk.key_ends.push(chunk.keys.len() as u32);
    chunk.item_ends.push(0);
    chunk.values.extend_from_slice(value);
    chunk.value_ends.push(chunk.values.len() as u32);
}

/// A chunk of the first slot without cells.
#[must_use]
pub fn empty() -> Chunk {
    Chunk {
        slot: 0,
        key_ends: Vec::new(),
        keys: Vec::new(),
        item_ends: Vec::new(),
        items: Vec::new(),
        value_ends: Vec::new(),
        values: Vec::new(),
        removed: Vec::new(),
    }
}

/// Makes a component of a [`Wrong`].
#[macro_export]
macro_rules! export_wrong {
    ($wrong:ident) => {
        type Guest = $crate::wrong::Wronged<$wrong>;
        #[cfg(target_arch = "wasm32")]
        reprise_guest::bindings::export_stateful!(Guest with_types_in reprise_guest::bindings);
        #[cfg(not(target_arch = "wasm32"))]
        const _: Option<Guest> = None;
    };
}
