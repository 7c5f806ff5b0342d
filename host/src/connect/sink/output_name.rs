//! Names of sink output: the epoch, generation and instance that a file or an object is of.

/// Digits of the epoch in names; more where it needs more. Names then sort as epochs do.
pub const EPOCH_DIGITS: usize = 12;
/// Extensions that output may have.
pub const EXTENSIONS: [&str; 3] = ["json", "txt", "csv"];

/// The name of the output of one epoch of one sink instance: `<epoch, 12 digits>-<generation>-<instance>.<ext>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputName {
    pub epoch: u64,
    pub generation: u64,
    pub instance: u32,
    pub extension: &'static str,
}

impl OutputName {
    /// Reads a name; `None` for what cannot have been written here.
    pub fn parse(text: &str) -> Option<Self> {
        let (stem, extension) = text.split_once('.')?;
        let mut parts = stem.split('-');
        let name = Self {
            epoch: parts.next()?.parse().ok()?,
            generation: parts.next()?.parse().ok()?,
            instance: parts.next()?.parse().ok()?,
            extension: EXTENSIONS.into_iter().find(|known| *known == extension)?,
        };
        // One text only for one name: no signs, no other number of zeros, nothing behind.
        (name.text() == text).then_some(name)
    }

    /// The name as text.
    pub fn text(&self) -> String {
        format!("{:0EPOCH_DIGITS$}-{}-{}.{}", self.epoch, self.generation, self.instance, self.extension)
    }

    /// The name of one of several pieces of the output.
    pub fn piece(&self, number: usize) -> String {
        format!("{:0EPOCH_DIGITS$}-{}-{}-{number}.{}", self.epoch, self.generation, self.instance, self.extension)
    }

    /// Reads the name of a piece; `None` for what cannot have been written here.
    pub fn parse_piece(text: &str) -> Option<Self> {
        let (stem, extension) = text.split_once('.')?;
        let (stem, number) = stem.rsplit_once('-')?;
        let name = Self::parse(&format!("{stem}.{extension}"))?;
        (name.piece(number.parse().ok()?) == text).then_some(name)
    }
}

/// Reads a checksum as tokens have it: 16 hexadecimal digits, in lower case.
pub fn parse_checksum(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok().filter(|checksum| format!("{checksum:016x}") == digits)
}
