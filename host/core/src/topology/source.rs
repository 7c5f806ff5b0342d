//! Draft -> checked, for sources: which settings go with which format.

use super::file::{DraftColumn, DraftField, DraftFileSource};
use super::model::{Compression, Field, FileSource, OnLost, SourceFormat, TimeField, TimeUnit};
use super::problem::{Problems, quote};
use super::table::{Given, Placed};
use super::word::{check_word, word_help};

/// Largest index of a CSV column.
pub const COLUMN_INDEX_MAX: u32 = 65_535;
/// The path that means standard input.
pub const STDIN: &str = "-";

const FORMATS: [&str; 3] = ["lines", "csv", "json"];

/// Checks a file source that begins at `at`. After a problem the result is of no use.
pub(super) fn check_file(draft: &DraftFileSource, at: usize, problems: &mut Problems<'_>) -> FileSource {
    let path = check_path(&draft.path, ("path", "input/*.txt"), (at, "`path` is missing".to_owned()), problems);
    if let (Some(placed), Err(why)) = (draft.path.get().filter(|placed| placed.value != STDIN), check_glob(&path)) {
        let help = "`*` and `?` stand for parts of names, `**` for folders, `[ab]` for one of some characters";
        problems.add(placed.at, format!("`path`: \"{}\" is not a glob: {why}", quote(&path)), Some(help.to_owned()));
    }
    let format = check_format(draft, problems);
    let key = draft.key.get().and_then(|placed| check_field(placed, "key", format, problems));
    let time = draft.time.get().and_then(|placed| {
        let field = check_field(placed, "time", format, problems);
        let unit = check_word(&placed.value.unit, "unit", TimeUnit::Milliseconds, problems);
        field.map(|field| TimeField { field, unit })
    });
    for (at, key) in [(draft.lateness.at, "lateness"), (draft.time_ahead_max.at, "time-ahead-max")] {
        if let (Some(at), true) = (at, draft.time.is_absent()) {
            let help = Some(format!("say with `time` where the event time is, or remove `{key}`"));
            problems.add(at, format!("`{key}` has no meaning without `time`"), help);
        }
    }
    let follow = check_follow(draft, problems);
    let waits = follow || path == STDIN;
    FileSource {
        path,
        format: format.unwrap_or(SourceFormat::Lines),
        key,
        time,
        follow,
        lateness: draft.lateness.value,
        split_bytes: draft.split.value,
        row_bytes_max: draft.row_bytes_max,
        poll: draft.poll.value,
        on_lost: check_word(&draft.on_lost, "on-lost", OnLost::Stop, problems),
        partial_after: draft.partial_after.at.map(|_| draft.partial_after.value),
        compression: check_compression(draft, problems),
        idle_after: Some(draft.idle_after.value).filter(|after| waits && !after.is_zero()),
        time_ahead_max: Some(draft.time_ahead_max.value).filter(|most| !most.is_zero()),
    }
}

/// Says why a path is no legal glob.
///
/// # Errors
/// The reason, for people.
pub fn check_glob(path: &str) -> Result<(), String> {
    for part in path.split('/') {
        if part.contains("**") && part != "**" {
            return Err("`**` stands for folders and must be alone between slashes".to_owned());
        }
        let mut rest = part;
        while let Some(open) = rest.find('[') {
            let class = &rest[open + 1..];
            let class = class.strip_prefix('!').unwrap_or(class);
            // A bracket that comes first is one of the characters.
            let first = class.chars().next().map_or(0, char::len_utf8);
            let Some(close) = class[first..].find(']').map(|at| at + first) else {
                return Err("a `[` has no `]`; for the character itself write `[[]`".to_owned());
            };
            let chars: Vec<char> = class[..close].chars().collect();
            if chars.windows(3).any(|range| range[1] == '-' && range[0] > range[2]) {
                return Err(format!("the range in `[{}]` begins with its end", &class[..close]));
            }
            rest = &class[close + 1..];
        }
    }
    Ok(())
}

/// A path that is there and not empty. `absent`: where to point when it is missing, and what to say.
pub(super) fn check_path(
    given: &Given<String>,
    (key, example): (&str, &str),
    (owner_at, absent): (usize, String),
    problems: &mut Problems<'_>,
) -> String {
    match given {
        Given::Absent => problems.add(owner_at, absent, Some(format!("add `{key} = \"{example}\"`"))),
        Given::Is(path) if path.value.is_empty() || path.value.contains('\0') => {
            let message = format!("`{key}`: \"{}\" is not a path", quote(&path.value));
            problems.add(path.at, message, Some(format!("write `{key} = \"{example}\"`")));
        }
        Given::Is(path) => return path.value.clone(),
        Given::Broken => {}
    }
    String::new()
}

/// `None`: not known, so that nothing can be said about what goes with it.
fn check_format(draft: &DraftFileSource, problems: &mut Problems<'_>) -> Option<SourceFormat> {
    let word = match &draft.format {
        Given::Absent => "lines",
        Given::Broken => return None,
        Given::Is(placed) => &placed.value,
    };
    let delimiter = check_delimiter(&draft.delimiter, problems);
    let header = draft.header.get();
    let format = match word {
        "lines" => SourceFormat::Lines,
        "json" => SourceFormat::Json,
        "csv" => return Some(SourceFormat::Csv { header: header.is_none_or(|placed| placed.value), delimiter }),
        other => {
            let at = draft.format.get().map_or(0, |placed| placed.at);
            problems.add(at, format!("`format`: \"{}\" is not known", quote(other)), Some(word_help(other, &FORMATS)));
            return None;
        }
    };
    let csv_only = [("header", header.map(|placed| placed.at)), ("delimiter", draft.delimiter.get().map(|placed| placed.at))];
    for (key, at) in csv_only {
        if let Some(at) = at {
            let help = Some(format!("remove `{key}`, or write `format = \"csv\"`"));
            problems.add(at, format!("`{key}` does not go with `format = \"{word}\"`"), help);
        }
    }
    Some(format)
}

fn check_delimiter(given: &Given<String>, problems: &mut Problems<'_>) -> u8 {
    let Some(placed) = given.get() else { return b',' };
    match placed.value.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n' | 0) => *byte,
        _ => {
            let help = Some("write one ASCII character that is no quote and no line end, such as \";\" or \"\\t\"".to_owned());
            problems.add(placed.at, format!("`delimiter`: \"{}\" cannot separate columns", quote(&placed.value)), help);
            b','
        }
    }
}

fn check_field(placed: &Placed<DraftField>, key: &str, format: Option<SourceFormat>, problems: &mut Problems<'_>) -> Option<Field> {
    let (draft, at) = (&placed.value, placed.at);
    if let Some(SourceFormat::Lines) = format {
        let help = Some(format!("remove `{key}`, or choose the format \"csv\" or \"json\""));
        problems.add(at, format!("`{key}` does not go with `format = \"lines\"`: a line has no fields"), help);
        return None;
    }
    let example = if matches!(format, Some(SourceFormat::Json)) { "pointer = \"/id\"" } else { "column = \"id\"" };
    match (&draft.column, &draft.pointer) {
        (Given::Absent, Given::Absent) => {
            problems.add(at, format!("`{key}` does not say where to look"), Some(format!("write `{key} = {{ {example} }}`")));
            None
        }
        (Given::Absent, pointer) => check_pointer(pointer.get()?, key, format, problems),
        (column, Given::Absent) => check_column(column.get()?, key, format, problems),
        _ => {
            let help = Some("`column` is for csv, `pointer` for json: keep one".to_owned());
            problems.add(at, format!("`{key}` has both a `column` and a `pointer`"), help);
            None
        }
    }
}

fn check_pointer(pointer: &Placed<String>, key: &str, format: Option<SourceFormat>, problems: &mut Problems<'_>) -> Option<Field> {
    if matches!(format, Some(SourceFormat::Csv { .. })) {
        let help = Some(format!("write `{key} = {{ column = \"id\" }}`"));
        problems.add(pointer.at, "`pointer` does not go with `format = \"csv\"`: a record has columns", help);
        return None;
    }
    let text = &pointer.value;
    // RFC 6901: empty, or every part begins with a slash; a tilde is followed by 0 or 1.
    let escapes_are_right = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    if escapes_are_right && (text.is_empty() || text.starts_with('/')) {
        return Some(Field::Pointer(text.clone()));
    }
    let help =
        if escapes_are_right { "it begins with `/`, such as \"/user/id\"" } else { "`~` is written `~0` and `/` inside a name `~1`" };
    problems.add(pointer.at, format!("`pointer`: \"{}\" is not a JSON pointer", quote(text)), Some(help.to_owned()));
    None
}

fn check_column(column: &Placed<DraftColumn>, key: &str, format: Option<SourceFormat>, problems: &mut Problems<'_>) -> Option<Field> {
    if matches!(format, Some(SourceFormat::Json)) {
        let help = Some(format!("write `{key} = {{ pointer = \"/id\" }}`"));
        problems.add(column.at, "`column` does not go with `format = \"json\"`: a value has no columns", help);
        return None;
    }
    let headless = matches!(format, Some(SourceFormat::Csv { header: false, .. }));
    match &column.value {
        DraftColumn::Index(index) => {
            let known = u32::try_from(*index).ok().filter(|index| *index <= COLUMN_INDEX_MAX);
            if known.is_none() {
                let help = Some(format!("columns are counted from 0 to {COLUMN_INDEX_MAX}"));
                problems.add(column.at, format!("`column` is {index}, which is out of range"), help);
            }
            known.map(Field::Index)
        }
        DraftColumn::Name(name) if headless => {
            let help = Some("give the index of the column, such as `column = 0`".to_owned());
            problems.add(column.at, format!("column \"{}\" has no name to find it by: `header` is false", quote(name)), help);
            None
        }
        DraftColumn::Name(name) => Some(Field::Column(name.clone())),
    }
}

fn check_compression(draft: &DraftFileSource, problems: &mut Problems<'_>) -> Compression {
    let compression = check_word(&draft.compression, "compression", Compression::Auto, problems);
    let Some(Placed { value: word, at }) = draft.compression.get() else { return compression };
    let packed = matches!(compression, Compression::Gzip | Compression::Zstd);
    if packed && draft.follow.get().is_some_and(|follow| follow.value) {
        let help = Some("remove `follow`: packed files are read to their ends".to_owned());
        problems.add(*at, format!("`compression = \"{word}\"` does not go with `follow`"), help);
    }
    if packed && draft.path.get().is_some_and(|path| path.value == STDIN) {
        let help = Some("unpack it before the job, as with `zcat FILE | reprise run ...`".to_owned());
        problems.add(*at, format!("`compression = \"{word}\"` does not go with standard input"), help);
    }
    compression
}

fn check_follow(draft: &DraftFileSource, problems: &mut Problems<'_>) -> bool {
    let follow = draft.follow.get();
    let follows = follow.is_some_and(|placed| placed.value);
    let stdin = draft.path.get().is_some_and(|path| path.value == STDIN);
    if let (Some(placed), true, true) = (follow, follows, stdin) {
        let help = Some("remove `follow`: standard input ends when its writer closes it".to_owned());
        problems.add(placed.at, "`follow` does not go with standard input", help);
    }
    if let (Some(at), true) = (draft.split.at, stdin) {
        let help = Some("remove `split`: one instance reads all of it".to_owned());
        problems.add(at, "`split` does not go with standard input, which cannot be read in parallel", help);
    }
    let on_lost = draft.on_lost.get().map(|placed| placed.at);
    for (key, at) in [("poll", draft.poll.at), ("on-lost", on_lost), ("partial-after", draft.partial_after.at)] {
        if let (Some(at), false, false) = (at, follows, draft.follow.is_broken()) {
            let help = Some(format!("add `follow = true`, or remove `{key}`"));
            problems.add(at, format!("`{key}` has no meaning without `follow`"), help);
        }
    }
    if let (Some(at), false, false) = (draft.idle_after.at, follows || stdin, draft.follow.is_broken()) {
        let help = Some("add `follow = true`, or remove `idle-after`: what is read to its end holds nothing back".to_owned());
        problems.add(at, "`idle-after` has no meaning without `follow`", help);
    }
    follows
}
