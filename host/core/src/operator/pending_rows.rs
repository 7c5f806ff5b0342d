//! The rows of a unit of work that are not done yet. They stay where they are while pieces at their front are done, so that a batch which takes
//! many calls is not copied for each of them.

use crate::batch::Batch;

/// Rows for one receiver that are kept together until a batch is large enough, in rows.
pub const ROWS_TOGETHER: usize = 4096;
/// The same, in bytes.
pub const BYTES_TOGETHER: usize = 256 << 10;

/// The rows of a unit of work that are not done yet.
#[derive(Debug)]
pub struct PendingRows {
    rows: Batch,
    /// So many of them are done.
    done: usize,
}

impl PendingRows {
    /// All of a batch.
    pub fn new(rows: Batch) -> Self {
        Self { rows, done: 0 }
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.rows.len() - self.done
    }

    /// Their size, as [`Batch::size_bytes`] has it.
    pub fn size_bytes(&self) -> usize {
        self.rows.size_bytes_from(self.done)
    }

    /// A copy of the first ones, or of all where there are fewer.
    pub fn front(&self, count: usize) -> Batch {
        self.rows.slice(self.done..self.done + count.min(self.len()))
    }

    /// All that are left, without a copy where that is the whole batch.
    pub fn into_batch(self) -> Batch {
        if self.done == 0 { self.rows } else { self.front(self.len()) }
    }

    /// What is left once the first ones are done.
    pub fn after(self, count: usize) -> Self {
        let done = self.done + count.min(self.len());
        Self { rows: self.rows, done }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Row;

    #[test]
    fn pieces_at_the_front_leave_the_rest_as_it_was() {
        let mut all = Batch::new();
        for row in 0..10 {
            all.push(Row { time: row, key: &[b'k'; 3][..row as usize % 4], value: &vec![b'v'; row as usize] }).unwrap();
        }
        let (mut rest, mut done) = (PendingRows::new(all.clone()), 0);
        for piece in [1, 3, 0, 2] {
            assert_eq!((rest.len(), rest.size_bytes()), (10 - done, all.slice(done..10).size_bytes()));
            assert_eq!(rest.front(piece), all.slice(done..done + piece));
            assert_eq!(rest.front(99), all.slice(done..10), "there are no more");
            rest = rest.after(piece);
            done += piece;
        }
        assert_eq!(rest.into_batch(), all.slice(6..10));
        assert_eq!(PendingRows::new(all.clone()).into_batch(), all);
        assert_eq!(PendingRows::new(all).after(11).len(), 0);
    }
}
