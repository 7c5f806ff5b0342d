//! Blocks of whole lines, read with big reads.

use std::io::{self, Read};

use crate::{BLOCK_BYTES, wrong};

/// Bytes behind the lines of a block that can be read, and are line ends at the end of the input.
pub const SPARE_BYTES: usize = 48;
/// A line that is longer than this is refused.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Hands out each block, with how much of it is filled. A line end is added to a last line that has none.
pub fn each(mut input: impl Read, mut each: impl FnMut(&[u8], usize) -> io::Result<()>) -> io::Result<()> {
    let mut block = vec![0; BLOCK_BYTES + LINE_BYTES_MAX + 1 + SPARE_BYTES];
    let mut kept = 0;
    loop {
        let read = input.read(&mut block[kept..BLOCK_BYTES + LINE_BYTES_MAX])?;
        let mut filled = kept + read;
        if read == 0 {
            if filled > 0 {
                block[filled] = b'\n';
                filled += 1;
            }
            block[filled..filled + SPARE_BYTES].fill(b'\n');
            return each(&block, filled);
        }
        let whole = block[..filled].iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        each(&block, whole)?;
        kept = filled - whole;
        if kept >= LINE_BYTES_MAX {
            return Err(wrong("a line is too long"));
        }
        block.copy_within(whole..filled, 0);
    }
}
