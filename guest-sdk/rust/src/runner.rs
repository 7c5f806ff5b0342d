//! One operator with its outputs and its place in a snapshot: all of the contract that is not translation between types. The glue of
//! a component and the native harness both drive it.

use crate::Encoding;
use crate::operator::{Context, Declared, Description};
use crate::output::{Emitted, Outcome, Output, PIECE_BYTES_MAX};
use crate::rows::{Batch, Rows};
use crate::state::{Chunk, GROUP, Part, PartWriter, Scope, SlotKind, Unreadable};

/// What is told of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotDescription {
    /// Name of the field, with `-` for `_`.
    pub name: String,
    /// Who keeps its cells.
    pub kind: SlotKind,
    /// Version of the meaning of its bytes.
    pub version: u32,
    /// How its values are to be read.
    pub encoding: Encoding,
}

/// Runs one operator.
#[derive(Debug)]
pub struct Runner<O> {
    operator: O,
    output: Output,
    /// Where the snapshot that is being read goes on.
    reading: Option<(Scope, usize)>,
}

impl<O: Declared> Default for Runner<O> {
    fn default() -> Self {
        Self { operator: O::default(), output: Output::new(O::describe().outputs.len()), reading: None }
    }
}

impl<O: Declared> Runner<O> {
    /// What the operator is, its version filled in.
    #[must_use]
    pub fn describe() -> (Description, Vec<SlotDescription>) {
        let mut description = O::describe();
        description.version.get_or_insert_with(|| O::CRATE_VERSION.to_owned());
        let mut operator = O::default();
        let slots = operator.slots();
        let slots = slots.iter().map(|declared| SlotDescription {
            name: name_of(declared.name),
            kind: declared.slot.kind(),
            version: declared.version,
            encoding: declared.slot.encoding(),
        });
        (description, slots.collect())
    }

    /// The operator.
    #[must_use]
    pub fn operator(&self) -> &O {
        &self.operator
    }

    /// Opens the operator. `output_bytes_max` is what the host takes at once.
    ///
    /// # Errors
    /// What the operator says, or that it wrote state: what `open` writes would hide what `restore` brings afterwards.
    pub fn open(&mut self, context: &Context, output_bytes_max: usize) -> Result<(), String> {
        self.output.limit(output_bytes_max.min(PIECE_BYTES_MAX));
        self.operator.open(context)?;
        match self.operator.slots().into_iter().find(|declared| !declared.slot.is_empty()) {
            Some(declared) => Err(format!("`open` wrote to the state `{}`; state is restored after `open`", name_of(declared.name))),
            None => Ok(()),
        }
    }

    /// Hands rows to the operator.
    ///
    /// # Errors
    /// What the operator says.
    pub fn process(&mut self, input: u32, batch: &Batch) -> Result<Outcome, String> {
        self.reading = None;
        self.output.start(batch.len())?;
        self.output.leave_rows_of::<O>();
        let done = self.operator.process(input, batch.rows(input), &mut self.output);
        let done = if self.output.has_left_rows() { self.records(batch.rows(input)) } else { done };
        self.output.finish(done)
    }

    /// What an operator's `process` does where its author did not write one: here, where its state is known.
    fn records(&mut self, rows: Rows<'_>) -> Result<(), String> {
        let Self { operator, output, .. } = self;
        let is_large = operator.slots().iter().any(|declared| declared.slot.is_large());
        let group = if is_large { GROUP } else { usize::MAX };
        let mut rows = rows.iter();
        while rows.len() > 0 {
            if is_large {
                operator.slots().iter().filter(|declared| declared.slot.is_large()).for_each(|declared| declared.slot.warm(rows.clone()));
            }
            rows.by_ref().take(group).try_for_each(|row| operator.record(row, output))?;
        }
        Ok(())
    }

    /// Tells the operator a watermark. What it does is emitted only: there are no rows to refuse.
    ///
    /// # Errors
    /// What the operator says.
    pub fn advance(&mut self, watermark: i64) -> Result<Emitted, String> {
        self.reading = None;
        self.output.start(0)?;
        let done = self.operator.advance(watermark, &mut self.output);
        self.output.finish(done).map(|outcome| outcome.emitted)
    }

    /// Hands out the next piece of what the last call emitted.
    pub fn resume(&mut self) -> Emitted {
        self.output.resume()
    }

    /// Hands out the next piece of a snapshot. Any other call in between starts the snapshot anew.
    ///
    /// # Errors
    /// Where a value cannot be encoded.
    pub fn snapshot(&mut self, scope: Scope, bytes_max: usize) -> Result<Part, String> {
        let mut slots = self.operator.slots();
        let start = match self.reading {
            Some((reading, slot)) if reading == scope => slot,
            _ => {
                slots.iter_mut().for_each(|declared| declared.slot.rewind());
                0
            }
        };
        let mut part = PartWriter::new(bytes_max);
        for (place, declared) in slots.iter_mut().enumerate().skip(start) {
            part.start_slot(place as u32);
            let done = declared.slot.read(scope, &mut part).map_err(|error| in_slot(declared.name, &error))?;
            if !done {
                self.reading = Some((scope, place));
                return Ok(part.finish(false));
            }
        }
        slots.iter_mut().for_each(|declared| declared.slot.forget_changes());
        self.reading = None;
        Ok(part.finish(true))
    }

    /// Sets the cells of a chunk. `version` is that of the slot when they were written.
    ///
    /// # Errors
    /// Where the slot is unknown or a cell cannot be read; names the slot.
    pub fn restore(&mut self, version: u32, chunk: &Chunk) -> Result<(), String> {
        self.reading = None;
        let mut slots = self.operator.slots();
        let count = slots.len();
        let Some(declared) = slots.get_mut(chunk.slot as usize) else {
            return Err(format!("there is no state slot {}; the operator declares {count}", chunk.slot));
        };
        let own = declared.version;
        if version > own {
            let error = format!(
                "its cells are of version {version}, and this operator knows no version after {own}; run the version of the operator that \
                 wrote them"
            );
            return Err(in_slot(declared.name, &error));
        }
        let older = (version < own).then_some(version);
        chunk.check().map_err(|error| in_slot(declared.name, &error))?;
        declared.slot.restore_all(chunk, older).map_err(|Unreadable { at, error }| {
            let versions = older.map_or_else(String::new, |older| format!("of version {older}, this is version {own}; "));
            format!("state `{}`, key \"{}\": {versions}{error}", name_of(declared.name), chunk.key(at).escape_ascii())
        })?;
        Ok(())
    }
}

fn name_of(field: &str) -> String {
    field.replace('_', "-")
}

fn in_slot(field: &str, error: &str) -> String {
    format!("state `{}`: {error}", name_of(field))
}
