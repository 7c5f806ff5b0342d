//! What the object sink calls the output of one epoch of one instance, and the names of the objects that hold it.
//!
//! A token is `<epoch, 12 digits>-<generation>-<instance>.<ext>:<part 0>,<part 1>,...`, each part `<bytes>/<checksum, 16 hexadecimal digits>`,
//! so that each object can be held against what was sealed. Tokens of the first hosts have no checksums.

use crate::connect::holding::Tenant;
use crate::connect::sink::staging::parse_checksum;

/// Digits of the epoch in names; an epoch never needs more. Names then sort as epochs do.
const EPOCH_DIGITS: usize = 12;
/// Extensions that output may have.
const EXTENSIONS: [&str; 3] = ["json", "txt", "csv"];
/// Objects that one instance may make in one epoch.
pub const PARTS_MAX: usize = 10_000;

/// What one object of a token was when it was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub bytes: u64,
    pub checksum: Option<u64>,
}

impl Part {
    fn parse(text: &str) -> Option<Self> {
        let (bytes, checksum) = match text.split_once('/') {
            Some((bytes, digits)) => (bytes, Some(parse_checksum(digits)?)),
            None => (text, None),
        };
        Some(Self { bytes: bytes.parse().ok()?, checksum })
    }

    fn text(self) -> String {
        let Self { bytes, checksum } = self;
        checksum.map_or_else(|| bytes.to_string(), |checksum| format!("{bytes}/{checksum:016x}"))
    }
}

/// A token, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub epoch: u64,
    pub generation: u64,
    pub instance: u32,
    pub extension: &'static str,
    /// At least one.
    pub parts: Vec<Part>,
}

impl Token {
    /// Reads a token; `None` for what cannot have been written here.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, parts) = text.split_once(':')?;
        let (stem, extension) = name.split_once('.')?;
        let mut numbers = stem.split('-');
        let parts: Option<Vec<Part>> = parts.split(',').take(PARTS_MAX + 1).map(Part::parse).collect();
        let token = Self {
            epoch: numbers.next()?.parse().ok()?,
            generation: numbers.next()?.parse().ok()?,
            instance: numbers.next()?.parse().ok()?,
            extension: EXTENSIONS.into_iter().find(|known| *known == extension)?,
            parts: parts.filter(|parts| parts.len() <= PARTS_MAX)?,
        };
        // One text only for one token: no signs, no other number of zeros, nothing behind.
        (token.text() == text).then_some(token)
    }

    /// The token as text.
    pub fn text(&self) -> String {
        let parts: Vec<String> = self.parts.iter().map(|part| part.text()).collect();
        format!("{:0EPOCH_DIGITS$}-{}-{}.{}:{}", self.epoch, self.generation, self.instance, self.extension, parts.join(","))
    }

    /// Bytes of all parts; `None` where the sum is none that can be.
    pub fn bytes(&self) -> Option<u64> {
        self.parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.bytes))
    }
}

/// The names of the objects of one sink, relative to its url.
#[derive(Debug, Clone)]
pub struct Names {
    sink: String,
}

impl Names {
    /// Those of a sink.
    pub fn new(sink: &str) -> Self {
        Self { sink: sink.to_owned() }
    }

    fn hidden(&self, name: &str) -> String {
        format!(".reprise/{}/{name}", self.sink)
    }

    /// The object that says whose output this is.
    pub fn owner(&self) -> String {
        self.hidden("owner")
    }

    /// Where all notes are of runs that took the place.
    pub fn all_lives(&self) -> String {
        self.hidden("lives")
    }

    /// The note of a run that took the place.
    pub fn life(&self, note: &Tenant) -> String {
        self.hidden(&format!("lives/{}", note.name()))
    }

    /// Reads the name of such a note; `None` for all others.
    pub fn parse_life(&self, path: &str) -> Option<Tenant> {
        Tenant::parse(path.rsplit_once('/')?.1)
    }

    /// Where all staged objects are.
    pub fn all_staged(&self) -> String {
        self.hidden("staged")
    }

    /// Where all marks of published epochs are.
    pub fn all_marks(&self) -> String {
        self.hidden("published")
    }

    /// A part before it is published.
    pub fn staged(&self, token: &Token, part: usize) -> String {
        let Token { epoch, generation, instance, extension, .. } = token;
        self.hidden(&format!("staged/{epoch:0EPOCH_DIGITS$}-{generation}-{instance}-{part}.{extension}"))
    }

    /// The generation that staged an object; `None` for what nobody staged.
    pub fn staged_generation(&self, path: &str) -> Option<u64> {
        let (stem, extension) = path.rsplit_once('/')?.1.split_once('.')?;
        let mut numbers = stem.split('-');
        let (epoch, generation) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        let (instance, part) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        let extension = EXTENSIONS.into_iter().find(|known| *known == extension)?;
        let token = Token { epoch, generation, instance, extension, parts: Vec::new() };
        (self.staged(&token, part) == path).then_some(generation)
    }

    /// A part from then on.
    pub fn visible(&self, token: &Token, part: usize) -> String {
        let Token { epoch, instance, extension, .. } = token;
        format!("{}-{epoch:0EPOCH_DIGITS$}-{instance}-{part}.{extension}", self.sink)
    }

    /// A part that is visible at once. The generation keeps it apart from what other runs showed of an epoch of this number.
    pub fn immediate(&self, token: &Token, part: usize) -> String {
        let Token { epoch, generation, instance, extension, .. } = token;
        format!("{}-{epoch:0EPOCH_DIGITS$}-{generation}-{instance}-{part}.{extension}", self.sink)
    }

    /// What remembers that all output of an instance up to an epoch was published.
    pub fn mark(&self, instance: u32, epoch: u64) -> String {
        self.hidden(&format!("published/{instance}-{epoch:0EPOCH_DIGITS$}"))
    }

    /// Instance and epoch of a mark.
    pub fn parse_mark(&self, path: &str) -> Option<(u32, u64)> {
        let (_, name) = path.rsplit_once('/')?;
        let (instance, epoch) = name.split_once('-')?;
        let (instance, epoch) = (instance.parse().ok()?, epoch.parse().ok()?);
        (self.mark(instance, epoch) == path).then_some((instance, epoch))
    }

    /// What every visible name begins with.
    pub fn stem(&self) -> String {
        format!("{}-", self.sink)
    }

    /// A name behind those of this epoch and before those of later ones.
    pub fn behind(&self, epoch: Option<u64>) -> String {
        match epoch.and_then(|epoch| epoch.checked_add(1)) {
            Some(next) => format!("{}-{next:0EPOCH_DIGITS$}", self.sink),
            None => self.stem(),
        }
    }

    /// The epoch of an object that was published; `None` for all others.
    pub fn visible_epoch(&self, name: &str) -> Option<u64> {
        let (stem, extension) = name.strip_prefix(&self.stem())?.split_once('.')?;
        let mut numbers = stem.split('-');
        let (epoch, instance, part) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        let extension = EXTENSIONS.into_iter().find(|known| *known == extension)?;
        let token = Token { epoch, generation: 0, instance, extension, parts: Vec::new() };
        (self.visible(&token, part) == name).then_some(epoch)
    }

    /// The generation of an object that was visible at once; `None` for all others.
    pub fn immediate_generation(&self, name: &str) -> Option<u64> {
        let (stem, extension) = name.strip_prefix(&self.stem())?.split_once('.')?;
        let mut numbers = stem.split('-');
        let (epoch, generation) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        let (instance, part) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        let extension = EXTENSIONS.into_iter().find(|known| *known == extension)?;
        let token = Token { epoch, generation, instance, extension, parts: Vec::new() };
        (self.immediate(&token, part) == name).then_some(generation)
    }

    /// Where an object goes that is taken back: `copy` is 0 unless there is one of that name.
    pub fn taken_back(&self, name: &str, copy: usize) -> String {
        let behind = if copy == 0 { String::new() } else { format!(".{copy}") };
        self.hidden(&format!("taken-back/{name}{behind}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part of the first hosts.
    fn part(bytes: u64) -> Part {
        Part { bytes, checksum: None }
    }

    #[test]
    fn a_token_reads_back_as_it_was_written_and_nothing_else_is_one() {
        let first = Part { bytes: 64, checksum: Some(0xabc) };
        let token = Token { epoch: 41, generation: 2, instance: 3, extension: "csv", parts: vec![first, part(7)] };
        assert_eq!(token.text(), "000000000041-2-3.csv:64/0000000000000abc,7");
        assert_eq!(Token::parse(&token.text()), Some(token));
        let lies = [
            "",
            "000000000041-2-3.csv",
            "000000000041-2-3.csv:",
            "000000000041-2-3.csv:64,",
            "000000000041-2-3.csv:064",
            "000000000041-2-3.csv:+64",
            "000000000041-2-3.csv:-1",
            "000000000041-2-3.csv:64/",
            "000000000041-2-3.csv:64/abc",
            "000000000041-2-3.csv:64/0000000000000ABC",
            "000000000041-2-3.csv:64/+000000000000abc",
            "000000000041-2-3.csv:64/0000000000000abc/0",
            "000000000041-2-3.exe:64",
            "41-2-3.csv:64",
            "000000000041-2-3-4.csv:64",
            "000000000041-2-3.csv:99999999999999999999",
            "../x.csv:1",
        ];
        for lie in lies {
            assert_eq!(Token::parse(lie), None, "{lie}");
        }
        let many = |count: usize| format!("000000000041-2-3.csv:{}", vec!["1"; count].join(","));
        assert_eq!(Token::parse(&many(PARTS_MAX)).map(|token| token.parts.len()), Some(PARTS_MAX));
        assert_eq!(Token::parse(&many(PARTS_MAX + 1)), None);
    }

    #[test]
    fn a_sum_that_overflows_is_none() {
        let token = Token { epoch: 1, generation: 1, instance: 0, extension: "csv", parts: vec![part(u64::MAX), part(1)] };
        assert_eq!(token.bytes(), None);
    }

    #[test]
    fn names_tell_what_they_are_and_sort_as_epochs_do() {
        let names = Names::new("counts");
        let token = |epoch| Token { epoch, generation: 7, instance: 1, extension: "json", parts: vec![part(1)] };
        let (nine, ten) = (names.visible(&token(9), 0), names.visible(&token(10), 12));
        assert_eq!(nine, "counts-000000000009-1-0.json");
        assert_eq!((names.visible_epoch(&nine), names.visible_epoch(&ten)), (Some(9), Some(10)));
        assert!(nine < names.behind(Some(9)) && names.behind(Some(9)) < ten && names.behind(None) < nine);
        let foreign = [names.immediate(&token(9), 0), names.staged(&token(9), 0), "counts-9-1-0.json".into(), "counts-b-1-0.json".into()];
        assert_eq!(foreign.map(|name| names.visible_epoch(&name)), [None; 4]);
        assert_eq!(names.parse_mark(&names.mark(3, 9)), Some((3, 9)));
        assert_eq!(names.staged_generation(&names.staged(&token(9), 2)), Some(7));
        assert_eq!(names.staged_generation(".reprise/counts/staged/9-7-1-0.json"), None);
        assert_eq!(names.parse_mark(".reprise/counts/published/3-9"), None);
        assert_eq!(names.taken_back(&nine, 2), ".reprise/counts/taken-back/counts-000000000009-1-0.json.2");
    }
}
