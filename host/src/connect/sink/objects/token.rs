//! What the object sink calls the output of one epoch of one instance, and the names of the objects that hold it.
//!
//! A token is `<epoch, 12 digits>-<generation>-<instance>.<ext>:<part 0>,<part 1>,...`, each part `<bytes>/<checksum, 16 hexadecimal digits>`,
//! so that each object can be held against what was sealed. Tokens of the first hosts have no checksums.

use crate::connect::holding::Tenant;
use crate::connect::sink::foreign::kept_of;
use crate::connect::sink::output_name::{EPOCH_DIGITS, OutputName, parse_checksum};
use crate::connect::sink::published::{note_name, parse_note};

/// Objects that one instance may make in one epoch.
pub const PARTS_MAX: usize = 10_000;

/// What one object of a token was when it was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectPart {
    pub bytes: u64,
    pub checksum: Option<u64>,
}

impl ObjectPart {
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
pub struct ObjectsToken {
    pub name: OutputName,
    /// At least one.
    pub parts: Vec<ObjectPart>,
}

impl ObjectsToken {
    /// Reads a token; `None` for what cannot have been written here.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, parts) = text.split_once(':')?;
        let parts: Option<Vec<ObjectPart>> = parts.split(',').take(PARTS_MAX + 1).map(ObjectPart::parse).collect();
        let token = Self { name: OutputName::parse(name)?, parts: parts.filter(|parts| parts.len() <= PARTS_MAX)? };
        // One text only for one token.
        (token.text() == text).then_some(token)
    }

    /// The token as text.
    pub fn text(&self) -> String {
        let parts: Vec<String> = self.parts.iter().map(|part| part.text()).collect();
        format!("{}:{}", self.name.text(), parts.join(","))
    }

    /// Bytes of all parts; `None` where the sum is none that can be.
    pub fn bytes(&self) -> Option<u64> {
        self.parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.bytes))
    }
}

/// The names of the objects of one sink, relative to its url.
#[derive(Debug, Clone)]
pub struct ObjectNames {
    sink: String,
}

impl ObjectNames {
    /// Those of a sink.
    pub fn new(sink: &str) -> Self {
        Self { sink: sink.to_owned() }
    }

    /// A name that readers leave alone: `owner`, which says whose output this is, and the folders `lives`, `staged` and `published`.
    pub fn hidden(&self, name: &str) -> String {
        format!("{}/{name}", kept_of(&self.sink))
    }

    /// The note of a run that took the place.
    pub fn life(&self, note: &Tenant) -> String {
        self.hidden(&format!("lives/{}", note.name()))
    }

    /// Reads the name of such a note; `None` for all others.
    pub fn parse_life(&self, path: &str) -> Option<Tenant> {
        Tenant::parse(path.rsplit_once('/')?.1)
    }

    /// A part before it is published.
    pub fn staged(&self, output: &OutputName, part: usize) -> String {
        self.hidden(&format!("staged/{}", output.piece(part)))
    }

    /// The generation that staged an object; `None` for what no sink staged.
    pub fn staged_generation(&self, path: &str) -> Option<u64> {
        let name = path.strip_prefix(&self.hidden("staged/"))?;
        Some(OutputName::parse_piece(name)?.generation)
    }

    /// A part from then on.
    pub fn visible(&self, output: &OutputName, part: usize) -> String {
        let OutputName { epoch, instance, extension, .. } = output;
        format!("{}-{epoch:0EPOCH_DIGITS$}-{instance}-{part}.{extension}", self.sink)
    }

    /// A part that is visible at once. The generation keeps it apart from what other runs showed of an epoch of this number.
    pub fn immediate(&self, output: &OutputName, part: usize) -> String {
        format!("{}-{}", self.sink, output.piece(part))
    }

    /// What remembers that all output of an instance up to an epoch was published.
    pub fn mark(&self, instance: u32, epoch: u64) -> String {
        self.hidden(&format!("published/{}", note_name(instance, epoch)))
    }

    /// Instance and epoch of a mark.
    pub fn parse_mark(&self, path: &str) -> Option<(u32, u64)> {
        parse_note(path.strip_prefix(&self.hidden("published/"))?)
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
        // Instance and part stand where generation and instance stand in a name.
        let name = OutputName::parse(name.strip_prefix(&self.stem())?)?;
        u32::try_from(name.generation).is_ok().then_some(name.epoch)
    }

    /// The generation of an object that was visible at once; `None` for all others.
    pub fn immediate_generation(&self, name: &str) -> Option<u64> {
        Some(OutputName::parse_piece(name.strip_prefix(&self.stem())?)?.generation)
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
    fn part(bytes: u64) -> ObjectPart {
        ObjectPart { bytes, checksum: None }
    }

    fn name(epoch: u64, generation: u64, instance: u32, extension: &'static str) -> OutputName {
        OutputName { epoch, generation, instance, extension }
    }

    #[test]
    fn a_token_reads_back_as_it_was_written_and_nothing_else_is_one() {
        let first = ObjectPart { bytes: 64, checksum: Some(0xabc) };
        let token = ObjectsToken { name: name(41, 2, 3, "csv"), parts: vec![first, part(7)] };
        assert_eq!(token.text(), "000000000041-2-3.csv:64/0000000000000abc,7");
        assert_eq!(ObjectsToken::parse(&token.text()), Some(token));
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
            assert_eq!(ObjectsToken::parse(lie), None, "{lie}");
        }
        let many = |count: usize| format!("000000000041-2-3.csv:{}", vec!["1"; count].join(","));
        assert_eq!(ObjectsToken::parse(&many(PARTS_MAX)).map(|token| token.parts.len()), Some(PARTS_MAX));
        assert_eq!(ObjectsToken::parse(&many(PARTS_MAX + 1)), None);
    }

    #[test]
    fn a_sum_that_overflows_is_none() {
        let token = ObjectsToken { name: name(1, 1, 0, "csv"), parts: vec![part(u64::MAX), part(1)] };
        assert_eq!(token.bytes(), None);
    }

    #[test]
    fn names_tell_what_they_are_and_sort_as_epochs_do() {
        let names = ObjectNames::new("counts");
        let token = |epoch| name(epoch, 7, 1, "json");
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
