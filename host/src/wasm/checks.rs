//! What a guest returned, checked against the contract, the description and the limits. What does not hold is told in words.

use super::contract::{self, operator, state};
use super::limits::{CELL_BYTES_MAX, CELL_ENDS_BYTES, CHUNKS_PER_PART_MAX, Limits, OUTPUTS_PER_PIECE_MAX, TEXT_BYTES_MAX, cut};
use reprise_core::batch::Batch;
use reprise_core::cells::Chunk;
use reprise_core::description::Description;
use reprise_core::operator::Rejection;

/// A piece of the output of a call, checked.
pub(super) struct OutputPiece {
    /// Rows by output port; none is empty.
    pub(super) outputs: Vec<(u32, Batch)>,
    /// True where the output goes on.
    pub(super) more: bool,
}

/// The cells that a snapshot is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every cell.
    Full,
    /// Cells that were set or removed since the last snapshot that was read to its end.
    Changes,
}

/// A piece of a snapshot, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// Cells; no chunk is empty.
    pub chunks: Vec<Chunk>,
    /// This snapshot was read to its end.
    pub done: bool,
}

type RejectedAndFirst = (Vec<Rejection>, OutputPiece);

pub(super) fn check_outcome(
    outcome: operator::Outcome,
    rows: usize,
    description: &Description,
    limits: &Limits,
) -> Result<RejectedAndFirst, String> {
    let rejected = check_rejected(outcome.rejected, rows)?;
    let reasons: u64 = rejected.iter().map(|rejection| rejection.reason.len() as u64).sum();
    let outputs = check_outputs(outcome.outputs, reasons, description, limits)?;
    Ok((rejected, OutputPiece { outputs, more: outcome.more }))
}

pub(super) fn check_emitted(emitted: operator::Emitted, description: &Description, limits: &Limits) -> Result<OutputPiece, String> {
    Ok(OutputPiece { outputs: check_outputs(emitted.outputs, 0, description, limits)?, more: emitted.more })
}

fn check_rejected(rejected: Vec<operator::Rejection>, rows: usize) -> Result<Vec<Rejection>, String> {
    if rejected.is_empty() {
        return Ok(Vec::new());
    }
    if rejected.len() > rows {
        return Err(format!("{} rows are rejected of {rows}", rejected.len()));
    }
    let mut seen = vec![false; rows];
    let mut checked = Vec::with_capacity(rejected.len());
    for rejection in rejected {
        let row = rejection.row;
        let Some(seen) = seen.get_mut(row as usize) else {
            return Err(format!("row {row} is rejected, but the batch has {rows} rows"));
        };
        if std::mem::replace(seen, true) {
            return Err(format!("row {row} is rejected twice"));
        }
        checked.push(Rejection { row, reason: cut(&rejection.reason, TEXT_BYTES_MAX) });
    }
    Ok(checked)
}

/// `bytes` have been returned already, beside the rows.
fn check_outputs(
    outputs: Vec<operator::Output>,
    mut bytes: u64,
    description: &Description,
    limits: &Limits,
) -> Result<Vec<(u32, Batch)>, String> {
    if outputs.len() > OUTPUTS_PER_PIECE_MAX {
        return Err(format!("{} batches in one piece; at most {OUTPUTS_PER_PIECE_MAX} are allowed", outputs.len()));
    }
    let ports = description.outputs.len();
    let mut checked = Vec::with_capacity(outputs.len());
    for operator::Output { port, rows } in outputs {
        if port as usize >= ports {
            return Err(format!("output port {port} does not exist; the description has {ports}"));
        }
        let rows = contract::batch(rows).map_err(|error| format!("batch for output port {port}: {error}"))?;
        bytes = bytes.saturating_add(rows.size_bytes() as u64);
        if bytes > limits.output_bytes_max {
            return Err(format!("output over the limit of {} bytes (`output-max` of the operator)", limits.output_bytes_max));
        }
        if !rows.is_empty() {
            checked.push((port, rows));
        }
    }
    Ok(checked)
}

pub(super) fn check_part(part: state::Part, scope: Scope, part_bytes_max: u32, description: &Description) -> Result<Part, String> {
    if part.chunks.len() > CHUNKS_PER_PART_MAX {
        return Err(format!("{} chunks in one part of a snapshot; at most {CHUNKS_PER_PART_MAX} are allowed", part.chunks.len()));
    }
    let mut chunks = Vec::with_capacity(part.chunks.len());
    let (mut cells, mut bytes) = (0, 0u64);
    for chunk in part.chunks {
        let chunk = contract::chunk(chunk).map_err(|error| format!("snapshot chunk: {error}"))?;
        chunk.check_slot(description.slots.len()).map_err(|error| format!("snapshot chunk: {error}"))?;
        if scope == Scope::Full {
            chunk.check_full().map_err(|error| format!("snapshot chunk: {error}"))?;
        }
        cells += chunk.len();
        bytes = bytes.saturating_add(chunk.size_bytes() as u64 + chunk.len() as u64 * CELL_ENDS_BYTES);
        if !chunk.is_empty() {
            chunks.push(chunk);
        }
    }
    let limit = if cells <= 1 { CELL_BYTES_MAX + CELL_ENDS_BYTES } else { u64::from(part_bytes_max).saturating_mul(2) };
    if bytes > limit {
        return Err(format!("a part of the snapshot has {bytes} bytes in {cells} cells; {part_bytes_max} were asked for"));
    }
    Ok(Part { chunks, done: part.done })
}
