//! Hands out a mebibyte of output in ten pieces at the value `poison`, and works on each for a while: more than a call may take, if what it
//! hands out bought it no time.

use components::lies::{Emitted, Liar, Lie, Outcome, batch, one_output};
use std::sync::atomic::{AtomicU32, Ordering};

const PIECES: u32 = 10;
const PIECE_BYTES: usize = 100 << 10;
/// Steps that a piece costs: some ten milliseconds or more.
const STEPS: u32 = 40_000_000;

static LEFT: AtomicU32 = AtomicU32::new(0);

struct PieceByPiece;

impl Lie for PieceByPiece {
    const NAME: &'static str = "piece-by-piece";

    fn outcome(outcome: &mut Outcome) {
        LEFT.store(PIECES, Ordering::Relaxed);
        outcome.more = true;
    }

    fn emitted(emitted: &mut Emitted) {
        components::keep_busy(STEPS);
        let value = vec![b'v'; PIECE_BYTES];
        emitted.outputs = one_output(0, batch(&[0], &[1], b"k", &[PIECE_BYTES as u32], &value));
        emitted.more = LEFT.fetch_sub(1, Ordering::Relaxed) > 1;
    }
}

type Guest = Liar<PieceByPiece>;
components::export_lying!(Guest);
