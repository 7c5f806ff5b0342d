//! The law of columns of bytes: one end a row, ends never decrease, the last one equals the length of the bytes.
//!
//! Everything that comes from a guest or from storage passes [`check`] before a row of it is looked at.

use std::ops::Range;

/// Why columns are not legal. `column` names the column for the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// The column has another number of rows than the first column.
    #[error("column `{column}` has {found} ends for {rows} rows")]
    Rows {
        /// Name of the column.
        column: &'static str,
        /// Rows that the batch has.
        rows: usize,
        /// Ends that the column has.
        found: usize,
    },
    /// An end is smaller than the one before it.
    #[error("column `{column}`: the end of row {row} is {end}, below the end before it, {before}")]
    Decreasing {
        /// Name of the column.
        column: &'static str,
        /// The row whose end is wrong.
        row: usize,
        /// Its end.
        end: u32,
        /// The end of the row before.
        before: u32,
    },
    /// The last end is not the number of bytes.
    #[error("column `{column}`: the last end is {end}, but there are {bytes} bytes")]
    Length {
        /// Name of the column.
        column: &'static str,
        /// The last end, 0 where there are no rows.
        end: u32,
        /// Bytes that the column has.
        bytes: usize,
    },
    /// More bytes than an end can count.
    #[error("column `{column}` would hold {bytes} bytes; at most {max} fit", max = u32::MAX)]
    TooLong {
        /// Name of the column.
        column: &'static str,
        /// Bytes that were asked for.
        bytes: usize,
    },
}

/// Checks one column of `rows` rows.
///
/// # Errors
/// The first fault found.
pub fn check(column: &'static str, rows: usize, ends: &[u32], bytes: &[u8]) -> Result<(), ColumnError> {
    if ends.len() != rows {
        return Err(ColumnError::Rows { column, rows, found: ends.len() });
    }
    // The fast way first, without an early exit, so that the compiler can use vector instructions.
    let rising = ends.windows(2).fold(true, |ok, pair| ok & (pair[0] <= pair[1]));
    if !rising {
        for (row, pair) in ends.windows(2).enumerate() {
            if pair[1] < pair[0] {
                return Err(ColumnError::Decreasing { column, row: row + 1, end: pair[1], before: pair[0] });
            }
        }
    }
    let end = ends.last().copied().unwrap_or(0);
    if end as usize != bytes.len() {
        return Err(ColumnError::Length { column, end, bytes: bytes.len() });
    }
    Ok(())
}

/// Where the bytes of some rows are. The column must have passed [`check`].
///
/// # Panics
/// If there are no such rows.
#[inline]
#[must_use]
pub fn range(ends: &[u32], rows: &Range<usize>) -> Range<usize> {
    let end = |rows: usize| if rows == 0 { 0 } else { ends[rows - 1] as usize };
    end(rows.start)..end(rows.end)
}

/// The bytes of row `row`. The column must have passed [`check`].
///
/// # Panics
/// If there is no such row.
#[inline]
#[must_use]
pub fn slice<'a>(ends: &[u32], bytes: &'a [u8], row: usize) -> &'a [u8] {
    let start = if row == 0 { 0 } else { ends[row - 1] as usize };
    &bytes[start..ends[row] as usize]
}

/// Appends one row to a column.
///
/// # Errors
/// [`ColumnError::TooLong`] where the column would grow past what a `u32` counts; nothing is appended then.
#[inline]
pub fn push(column: &'static str, ends: &mut Vec<u32>, bytes: &mut Vec<u8>, row: &[u8]) -> Result<(), ColumnError> {
    let total = bytes.len() + row.len();
    let Ok(end) = u32::try_from(total) else {
        return Err(ColumnError::TooLong { column, bytes: total });
    };
    bytes.extend_from_slice(row);
    ends.push(end);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_columns_pass() {
        check("c", 0, &[], b"").unwrap();
        check("c", 3, &[0, 2, 2], b"ab").unwrap();
        assert_eq!(slice(&[0, 2, 2], b"ab", 1), b"ab");
        assert_eq!(slice(&[0, 2, 2], b"ab", 2), b"");
    }

    #[test]
    fn every_lie_is_named() {
        assert_eq!(check("c", 2, &[1], b"a"), Err(ColumnError::Rows { column: "c", rows: 2, found: 1 }));
        assert_eq!(check("c", 2, &[2, 1], b"a"), Err(ColumnError::Decreasing { column: "c", row: 1, end: 1, before: 2 }));
        assert_eq!(check("c", 1, &[2], b"a"), Err(ColumnError::Length { column: "c", end: 2, bytes: 1 }));
        assert_eq!(check("c", 0, &[], b"a"), Err(ColumnError::Length { column: "c", end: 0, bytes: 1 }));
    }
}
