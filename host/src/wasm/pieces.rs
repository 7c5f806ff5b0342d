//! Taking the output of a call to its end, with a limit on everything that a guest could draw out.
//!
//! All pieces are collected before the caller sees a row, so that a call which fails at its tenth piece has emitted nothing, like one that
//! fails at once: a caller may call again on a fresh instance, and has nothing to take back. Handing pieces on as they come would
//! save little: the caller is one thread, and what it sends waits in memory as well until that thread is done with the call.

use super::checks::OutputPiece;
use super::fault::GuestError;
use super::instance::Instance;
use reprise_core::batch::Batch;

/// Pieces that the output of one call may have.
pub const PIECES_MAX: u32 = 1 << 16;
/// Pieces without a row that a guest may return in a row, before it counts as one that never ends.
pub const EMPTY_PIECES_MAX: u32 = 16;
/// Bytes that a batch counts beside its rows in [`Limits::call_output_bytes_max`](super::Limits): what the host holds for it, whatever is in it.
pub const BATCH_BYTES: u64 = 256;

impl Instance {
    /// Calls `resume` until there is no more, and gives all rows that `name` emitted, in order. `first` is what `name` itself returned.
    ///
    /// # Errors
    /// A fault; nothing of the call stands then.
    pub(super) fn take_output(&mut self, name: &'static str, first: OutputPiece) -> Result<Vec<(u32, Batch)>, GuestError> {
        let OutputPiece { mut outputs, mut more } = first;
        let mut bytes = self.add_output((name, name), 0, &outputs)?;
        let mut empty_pieces = u32::from(outputs.is_empty());
        let mut pieces = 1;
        while more {
            if pieces >= PIECES_MAX {
                return Err(self.condemn("resume", format!("the output of `{name}` goes on after {pieces} pieces")));
            }
            if empty_pieces > EMPTY_PIECES_MAX {
                return Err(self.condemn("resume", format!("the output of `{name}` goes on after {empty_pieces} pieces without a row")));
            }
            let piece = self.resume()?;
            bytes = self.add_output((name, "resume"), bytes, &piece.outputs)?;
            pieces += 1;
            empty_pieces = if piece.outputs.is_empty() { empty_pieces + 1 } else { 0 };
            outputs.extend(piece.outputs);
            more = piece.more;
        }
        Ok(outputs)
    }

    /// Bytes of the output of `name` with this piece, which `call` returned.
    fn add_output(&mut self, (name, call): (&str, &'static str), before: u64, piece: &[(u32, Batch)]) -> Result<u64, GuestError> {
        let rows: u64 = piece.iter().map(|(_, rows)| rows.size_bytes() as u64).sum();
        self.hand_out(rows);
        let (bytes, bytes_max) = (before.saturating_add(rows + piece.len() as u64 * BATCH_BYTES), self.limits().call_output_bytes_max);
        if bytes > bytes_max {
            return Err(self.condemn(
                call,
                format!("the output of `{name}` is over the limit of {bytes_max} bytes in all (`limits.call-output` of the operator)"),
            ));
        }
        Ok(bytes)
    }
}
