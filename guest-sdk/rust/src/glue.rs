//! Translation between the types of the contract and those of the crate, and nothing else. Columns are moved, not copied.

use crate::bindings::exports::reprise::operator::operator as wit_operator;
use crate::bindings::exports::reprise::operator::state as wit_state;
use crate::bindings::reprise::operator::data as wit;
use crate::encoding::Encoding;
use crate::operator::{Context, Declared, Port};
use crate::output::{Emitted, Outcome};
use crate::rows::Batch;
use crate::runner::{Runner, SlotDescription};
use crate::state::{Chunk, Scope, SlotKind};
use std::marker::PhantomData;

/// An operator that lives in the one instance of a component. Written by [`export!`](crate::export).
pub trait Exported: Declared {
    /// Does something with the operator.
    fn with<R>(f: impl FnOnce(&mut Runner<Self>) -> R) -> R;
}

/// The component of an operator.
#[derive(Debug)]
pub struct Component<O>(PhantomData<O>);

/// A panic has nowhere to print to in a component: its message goes to the host's log before the trap.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| crate::runtime::log(crate::runtime::Level::Error, &panic.to_string())));
}

fn batch_in(batch: wit::Batch) -> Batch {
    let wit::Batch { times, key_ends, keys, value_ends, values } = batch;
    Batch { times, key_ends, keys, value_ends, values }
}

fn outputs_out(outputs: Vec<(u32, Batch)>) -> Vec<wit::Output> {
    let output_out = |(port, Batch { times, key_ends, keys, value_ends, values })| {
        let rows = wit::Batch { times, key_ends, keys, value_ends, values };
        wit::Output { port, rows }
    };
    outputs.into_iter().map(output_out).collect()
}

fn outcome_out(outcome: Outcome) -> wit::Outcome {
    let rejected = outcome.rejected.into_iter().map(|rejection| wit::Rejection { row: rejection.row, reason: rejection.reason });
    let Emitted { outputs, more } = outcome.emitted;
    wit::Outcome { outputs: outputs_out(outputs), rejected: rejected.collect(), more }
}

fn emitted_out(emitted: Emitted) -> wit::Emitted {
    wit::Emitted { outputs: outputs_out(emitted.outputs), more: emitted.more }
}

fn encoding_out(encoding: Encoding) -> wit::Encoding {
    match encoding {
        Encoding::Bytes => wit::Encoding::Bytes,
        Encoding::Utf8 => wit::Encoding::Utf8,
        Encoding::Json => wit::Encoding::Json,
        Encoding::Cbor => wit::Encoding::Cbor,
        Encoding::Msgpack => wit::Encoding::Msgpack,
        Encoding::I64Le => wit::Encoding::I64Le,
        Encoding::U64Le => wit::Encoding::U64Le,
        Encoding::F64Le => wit::Encoding::F64Le,
    }
}

impl<O: Exported> wit_operator::Guest for Component<O> {
    fn describe() -> wit_operator::Description {
        let (description, slots) = Runner::<O>::describe();
        let slot_out = |slot: SlotDescription| wit_operator::Slot {
            name: slot.name,
            kind: match slot.kind {
                SlotKind::Keyed => wit_operator::SlotKind::Keyed,
                SlotKind::Instance => wit_operator::SlotKind::Instance,
                SlotKind::Broadcast => wit_operator::SlotKind::Broadcast,
            },
            version: slot.version,
            encoding: encoding_out(slot.encoding),
        };
        let port_out = |port: Port| wit_operator::Port { name: port.name, key: encoding_out(port.key), value: encoding_out(port.value) };
        wit_operator::Description {
            name: description.name,
            version: description.version.unwrap_or_default(),
            inputs: description.inputs,
            outputs: description.outputs.into_iter().map(port_out).collect(),
            slots: slots.into_iter().map(slot_out).collect(),
        }
    }

    fn open(context: wit_operator::Context) -> Result<(), String> {
        log_panics();
        let wit_operator::Context { config, instance, parallelism, output_max_bytes } = context;
        O::with(|runner| runner.open(&Context { config, instance, parallelism }, output_max_bytes as usize))
    }

    fn process(input: u32, rows: wit::Batch) -> Result<wit::Outcome, String> {
        O::with(|runner| runner.process(input, &batch_in(rows))).map(outcome_out)
    }

    fn advance(watermark: i64) -> Result<wit::Emitted, String> {
        O::with(|runner| runner.advance(watermark)).map(emitted_out)
    }

    fn resume() -> Result<wit::Emitted, String> {
        Ok(emitted_out(O::with(Runner::resume)))
    }
}

impl<O: Exported> wit_state::Guest for Component<O> {
    fn snapshot(scope: wit_state::Scope, max_bytes: u32) -> Result<wit_state::Part, String> {
        let scope = match scope {
            wit_state::Scope::Full => Scope::Full,
            wit_state::Scope::Changes => Scope::Changes,
        };
        let part = O::with(|runner| runner.snapshot(scope, max_bytes as usize))?;
        let chunk_out = |chunk: Chunk| {
            let Chunk { slot, key_ends, keys, item_ends, items, value_ends, values, removed } = chunk;
            wit_state::Chunk { slot, key_ends, keys, item_ends, items, value_ends, values, removed }
        };
        Ok(wit_state::Part { chunks: part.chunks.into_iter().map(chunk_out).collect(), done: part.done })
    }

    fn restore(version: u32, chunk: wit_state::Chunk) -> Result<(), String> {
        let wit_state::Chunk { slot, key_ends, keys, item_ends, items, value_ends, values, removed } = chunk;
        let chunk = Chunk { slot, key_ends, keys, item_ends, items, value_ends, values, removed };
        O::with(|runner| runner.restore(version, &chunk))
    }
}
