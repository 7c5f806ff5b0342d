//! Numbers and lists out of arbitrary bytes. When they run out there are zeros and empty lists.

/// Bytes that are read from the front.
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub fn number(&mut self) -> u32 {
        let mut number = [0; 4];
        let bytes = self.take(4);
        number[..bytes.len()].copy_from_slice(bytes);
        u32::from_le_bytes(number)
    }

    /// At most so many; fewer where there are no more.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Bytes behind their count.
    pub fn list(&mut self) -> &'a [u8] {
        let count = usize::from(self.byte());
        self.take(count)
    }

    /// Numbers behind their count. Each is one byte, so that small ones are likely; 255 stands before a number of four bytes.
    pub fn numbers(&mut self) -> Vec<u32> {
        let count = self.byte();
        (0..count)
            .map(|_| match self.byte() {
                u8::MAX => self.number(),
                small => u32::from(small),
            })
            .collect()
    }

    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.list()).into_owned()
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}
