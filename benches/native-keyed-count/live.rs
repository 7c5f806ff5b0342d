//! Rows as they come: what latency is without a host. Each read of standard input is worked on whole, and its rows are written at once.

use std::io::{self, Write};

use crate::{blocks, careful, plain};

/// Reads standard input to its end.
pub fn run(is_careful: bool) -> io::Result<()> {
    let (input, mut output) = (io::stdin().lock(), io::stdout().lock());
    if is_careful {
        let mut counter = careful::Counter::new();
        return blocks::each(input, |block, filled| {
            counter.lines(block, filled, true)?;
            output.write_all(&counter.rows)?;
            output.flush()?;
            counter.rows.clear();
            Ok(())
        });
    }
    let (mut cells, mut rows) = (plain::Cells::default(), Vec::new());
    blocks::each(input, |block, filled| {
        rows.clear();
        plain::lines(&block[..filled], &mut cells, Some(&mut rows))?;
        output.write_all(&rows)?;
        output.flush()
    })
}
