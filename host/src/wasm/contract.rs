//! Bindings to the WIT contract (`../wit`), and the conversions between its records and those of the core.
//!
//! Generated code stays inside this folder: the rest of the host sees [`Batch`], [`Chunk`] and [`Description`] only. Columns are lowered
//! from slices and lifted into vectors, one copy each way. Nothing is checked here except where a `from_columns` of the core does it.

use reprise_core::batch::{Batch, Columns};
use reprise_core::cells::{Chunk, ChunkColumns, ChunkError};
use reprise_core::columns::ColumnError;
use reprise_core::description::{Description, Encoding, Port, Slot, SlotKind};

/// Interface that every operator exports.
pub(super) const OPERATOR: &str = "reprise:operator/operator@0.1.0";
/// Interface that operators with state export.
pub(super) const STATE: &str = "reprise:operator/state@0.1.0";
/// Interfaces that a component may import.
pub(super) const IMPORTS: [&str; 2] = ["reprise:operator/data@0.1.0", "reprise:operator/runtime@0.1.0"];
/// The beginning of the name of every interface of the contract, whatever its version.
pub(super) const PACKAGE: &str = "reprise:operator/";

/// The world `stateless`: the imports, and the interface `operator`.
pub(super) mod operator {
    #![allow(missing_docs)]
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "reprise:operator/stateless",
        imports: { default: trappable },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
    pub use self::exports::reprise::operator::operator::{Context, Description, Guest, GuestIndices, SlotKind};
    pub use self::reprise::operator::data::{BatchParam, BatchResult, Emitted, Encoding, Host as TypesHost, Outcome, Output, Rejection};
    pub use self::reprise::operator::runtime::{Host, Level};
}

/// The interface `state` alone, so that one instance type serves both worlds.
pub(super) mod state {
    #![allow(missing_docs)]
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package reprise:host; world keeper { export reprise:operator/state@0.1.0; }",
        world: "reprise:host/keeper",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
    pub use self::exports::reprise::operator::state::{ChunkParam, ChunkResult, Guest, GuestIndices, Part, Scope};
}

/// A batch as a parameter; nothing is copied.
pub(super) fn lend(rows: &Batch) -> operator::BatchParam<'_> {
    operator::BatchParam {
        times: rows.times(),
        key_ends: rows.key_ends(),
        keys: rows.keys(),
        value_ends: rows.value_ends(),
        values: rows.values(),
    }
}

/// A chunk as a parameter; nothing is copied.
pub(super) fn lend_chunk(chunk: &Chunk) -> state::ChunkParam<'_> {
    let ChunkColumns { slot, key_ends, keys, item_ends, items, value_ends, values, removed } = chunk.columns();
    state::ChunkParam { slot: *slot, key_ends, keys, item_ends, items, value_ends, values, removed }
}

/// A returned batch, checked.
pub(super) fn batch(rows: operator::BatchResult) -> Result<Batch, ColumnError> {
    let operator::BatchResult { times, key_ends, keys, value_ends, values } = rows;
    Batch::from_columns(Columns { times, key_ends, keys, value_ends, values })
}

/// A returned chunk, checked save for its slot.
pub(super) fn chunk(cells: state::ChunkResult) -> Result<Chunk, ChunkError> {
    let state::ChunkResult { slot, key_ends, keys, item_ends, items, value_ends, values, removed } = cells;
    Chunk::from_columns(ChunkColumns { slot, key_ends, keys, item_ends, items, value_ends, values, removed })
}

/// A returned description, not yet checked.
pub(super) fn description(said: operator::Description) -> Description {
    Description {
        name: said.name,
        version: said.version,
        inputs: said.inputs,
        outputs: said.outputs.into_iter().map(|p| Port { name: p.name, key: encoding(p.key), value: encoding(p.value) }).collect(),
        slots: said
            .slots
            .into_iter()
            .map(|s| Slot { name: s.name, kind: slot_kind(s.kind), version: s.version, encoding: encoding(s.encoding) })
            .collect(),
    }
}

fn slot_kind(kind: operator::SlotKind) -> SlotKind {
    match kind {
        operator::SlotKind::Keyed => SlotKind::Keyed,
        operator::SlotKind::Instance => SlotKind::Instance,
        operator::SlotKind::Broadcast => SlotKind::Broadcast,
    }
}

fn encoding(encoding: operator::Encoding) -> Encoding {
    match encoding {
        operator::Encoding::Bytes => Encoding::Bytes,
        operator::Encoding::Utf8 => Encoding::Utf8,
        operator::Encoding::Json => Encoding::Json,
        operator::Encoding::Cbor => Encoding::Cbor,
        operator::Encoding::Msgpack => Encoding::Msgpack,
        operator::Encoding::I64Le => Encoding::I64Le,
        operator::Encoding::U64Le => Encoding::U64Le,
        operator::Encoding::F64Le => Encoding::F64Le,
    }
}
