//! What travels on an edge of the dataflow: rows as columns, or a watermark.
//!
//! Timely counts records to know when a moment is over, and the count must be the same before and after an exchange. A watermark goes to
//! every worker downstream, and so do the rows of a broadcast; such an element is sent with `copies` set to the number of workers, counts that
//! many times, and the [partitioner](super::partitioner) turns it into that many elements of one copy.

use reprise_core::batch::{Batch, Columns};
use timely::container::Accountable;
use timely::dataflow::channels::ContainerBytes;

/// A stream element: rows or a watermark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamElement {
    /// How many workers this one element stands for.
    pub copies: u32,
    /// The instance that is to get rows, where its worker has several of the operator. Watermarks are for all of them.
    pub to: u32,
    /// What it holds.
    pub payload: Payload,
}

/// What an element holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Rows; none for the default element, which is never sent.
    Rows(Batch),
    /// The instance `sender` upstream will send no more rows with a time at or below `watermark`.
    Watermark {
        /// Index of the instance upstream.
        sender: u32,
        /// The watermark, milliseconds; the largest value means the end. [`IDLE`](reprise_core::operator::IDLE) and [`AWAKE`](reprise_core::operator::AWAKE) are none.
        watermark: i64,
    },
    /// Bytes from another process that are no stream element. The run ends there.
    Damaged,
}

impl Default for StreamElement {
    fn default() -> Self {
        Self { copies: 1, to: 0, payload: Payload::Rows(Batch::new()) }
    }
}

impl StreamElement {
    /// An element of rows for one instance.
    #[must_use]
    pub fn rows(batch: Batch) -> Self {
        Self { copies: 1, to: 0, payload: Payload::Rows(batch) }
    }

    /// A watermark for so many workers.
    #[must_use]
    pub fn watermark(sender: u32, watermark: i64, workers: u32) -> Self {
        Self { copies: workers, to: 0, payload: Payload::Watermark { sender, watermark } }
    }
}

impl Accountable for StreamElement {
    fn record_count(&self) -> i64 {
        let records = match &self.payload {
            Payload::Rows(batch) => batch.len(),
            Payload::Watermark { .. } | Payload::Damaged => 1,
        };
        records as i64 * i64::from(self.copies)
    }
}

/// Head of a stream element on the wire: copies, receiver, kind, rows, bytes of keys, bytes of values, sender; seven times u64, then the watermark.
const HEAD_WORDS: usize = 8;

impl ContainerBytes for StreamElement {
    fn from_bytes(bytes: timely::bytes::arc::Bytes) -> Self {
        Self::from_wire(&bytes).unwrap_or(Self { copies: 1, to: 0, payload: Payload::Damaged })
    }

    fn length_in_bytes(&self) -> usize {
        let columns = match &self.payload {
            Payload::Rows(b) => b.len() * 16 + b.keys().len() + b.values().len(),
            Payload::Watermark { .. } | Payload::Damaged => 0,
        };
        (HEAD_WORDS * 8 + columns).next_multiple_of(8)
    }

    fn into_bytes<W: std::io::Write>(&self, writer: &mut W) {
        // Timely's writer is its own send buffer, which does not fail; what could not be written is noticed as a damaged element.
        let _ = writer.write_all(&self.to_wire());
    }
}

impl StreamElement {
    /// The bytes in which it crosses to another process.
    #[must_use]
    pub fn to_wire(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.length_in_bytes());
        let head = match &self.payload {
            Payload::Rows(b) => [0, b.len() as u64, b.keys().len() as u64, b.values().len() as u64, 0, 0],
            Payload::Watermark { sender, watermark } => [1, 0, 0, 0, u64::from(*sender), *watermark as u64],
            Payload::Damaged => [2, 0, 0, 0, 0, 0],
        };
        for word in [u64::from(self.copies), u64::from(self.to)].into_iter().chain(head) {
            out.extend_from_slice(&word.to_le_bytes());
        }
        if let Payload::Rows(b) = &self.payload {
            b.times().iter().for_each(|time| out.extend_from_slice(&time.to_le_bytes()));
            b.key_ends().iter().chain(b.value_ends()).for_each(|end| out.extend_from_slice(&end.to_le_bytes()));
            out.extend_from_slice(b.keys());
            out.extend_from_slice(b.values());
        }
        out.resize(self.length_in_bytes(), 0);
        out
    }

    /// Reads what [`Self::to_wire`] wrote. `None` for bytes that are no stream element.
    #[must_use]
    pub fn from_wire(bytes: &[u8]) -> Option<Self> {
        let (words, _) = bytes.get(..HEAD_WORDS * 8)?.as_chunks::<8>();
        let word = |at: usize| u64::from_le_bytes(words[at]);
        let (copies, to, kind) = (u32::try_from(word(0)).ok()?, u32::try_from(word(1)).ok()?, word(2));
        if kind == 1 {
            let payload = Payload::Watermark { sender: u32::try_from(word(6)).ok()?, watermark: word(7) as i64 };
            return Some(StreamElement { copies, to, payload });
        }
        if kind != 0 {
            return None;
        }
        let (rows, keys, values) = (usize::try_from(word(3)).ok()?, usize::try_from(word(4)).ok()?, usize::try_from(word(5)).ok()?);
        let mut rest = &bytes[HEAD_WORDS * 8..];
        let mut take = |bytes: usize| {
            let (head, tail) = rest.split_at_checked(bytes)?;
            rest = tail;
            Some(head)
        };
        let times = take(rows.checked_mul(8)?)?.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect();
        let mut ends = || -> Option<Vec<u32>> {
            Some(take(rows.checked_mul(4)?)?.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect())
        };
        let (key_ends, value_ends) = (ends()?, ends()?);
        let (keys, values) = (take(keys)?.to_vec(), take(values)?.to_vec());
        let batch = Batch::from_columns(Columns { times, key_ends, keys, value_ends, values }).ok()?;
        Some(StreamElement { copies, to, payload: Payload::Rows(batch) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reprise_core::batch::Row;

    fn through_bytes(element: &StreamElement) -> StreamElement {
        let mut bytes = Vec::new();
        element.into_bytes(&mut bytes);
        assert_eq!(bytes.len(), element.length_in_bytes());
        StreamElement::from_wire(&bytes).unwrap()
    }

    #[test]
    fn frames_survive_the_wire() {
        let mut batch = Batch::new();
        batch.push(Row { time: -1, key: b"k", value: b"value" }).unwrap();
        batch.push(Row { time: 2, key: b"", value: b"" }).unwrap();
        let to_another = StreamElement { to: 5, ..StreamElement::rows(batch.clone()) };
        for element in [StreamElement::rows(batch), to_another, StreamElement::watermark(3, -5, 2), StreamElement::default()] {
            assert_eq!(through_bytes(&element), element);
        }
    }

    #[test]
    fn junk_is_no_frame() {
        assert_eq!(StreamElement::from_wire(b"short"), None);
        assert_eq!(StreamElement::from_wire(&[0xff; 64]), None);
        let mut bytes = Vec::new();
        StreamElement::rows(Batch::new()).into_bytes(&mut bytes);
        bytes[24] = 200;
        assert_eq!(StreamElement::from_wire(&bytes), None);
    }

    #[test]
    fn copies_count() {
        assert_eq!(StreamElement::watermark(0, 1, 4).record_count(), 4);
        assert_eq!(StreamElement::default().record_count(), 0);
    }
}
