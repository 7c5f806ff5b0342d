//! Typed reading of TOML tables: a wrong type, an unknown key and an environment variable that is not set become problems, and
//! reading goes on.

use super::environment::{EXPANSION_BYTES_MAX, expand};
use super::problem::{Problems, quote};
use super::suggest::nearest;
use toml_edit::{Item, TableLike, Value};

/// A value of a topology file, and the byte offset where it stands.
#[derive(Debug, Clone)]
pub(super) struct Placed<T> {
    pub value: T,
    pub at: usize,
}

/// A setting of a topology, as it was found in the file.
#[derive(Debug, Clone, Default)]
pub(super) enum Given<T> {
    /// Not there.
    #[default]
    Absent,
    /// There, but of no use; the problem is reported already.
    Broken,
    /// There.
    Is(Placed<T>),
}

impl<T> Given<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Given<U> {
        match self {
            Self::Absent => Given::Absent,
            Self::Broken => Given::Broken,
            Self::Is(Placed { value, at }) => Given::Is(Placed { value: change(value), at }),
        }
    }

    /// The value, where there is a usable one.
    pub(super) fn get(&self) -> Option<&Placed<T>> {
        match self {
            Self::Is(placed) => Some(placed),
            Self::Absent | Self::Broken => None,
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(super) fn is_broken(&self) -> bool {
        matches!(self, Self::Broken)
    }
}

impl Given<bool> {
    pub(super) fn is_true(&self) -> bool {
        self.get().is_some_and(|placed| placed.value)
    }
}

/// The reading of one topology file: its problems so far, and the environment.
pub(super) struct Reader<'a> {
    pub problems: Problems<'a>,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    room_bytes: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(problems: Problems<'a>, lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { problems, lookup, room_bytes: EXPANSION_BYTES_MAX }
    }

    /// Expands a string value that begins at `at`. A fault is placed at the variable, where that can be found in the text.
    pub(super) fn expand(&mut self, value: &str, at: usize) -> Option<String> {
        let error = match expand(value, self.lookup, &mut self.room_bytes) {
            Ok(text) => return Some(text),
            Err(error) => error,
        };
        let written = match &error {
            super::ExpansionError::Name(name) | super::ExpansionError::Unknown(name) => format!("${{{name}}}"),
            super::ExpansionError::Open | super::ExpansionError::Large => "${".to_owned(),
        };
        let rest = self.problems.places().text().get(at..).unwrap_or_default();
        // An escape in the TOML may hide the variable; it is somewhere in this value in any case.
        let inside = rest.find(&written).filter(|offset| *offset <= value.len().saturating_mul(2));
        self.problems.add(at + inside.unwrap_or(0), error.to_string(), error.help());
        None
    }

    /// Reports a value of the wrong type.
    pub(super) fn wrong_type(&mut self, at: usize, key: &str, expected: &str, item: &Item, example: &str) {
        let found = type_of(item);
        let help = (!example.is_empty()).then(|| format!("write `{key} = {example}`"));
        self.problems.add(at, format!("`{key}`: expected {expected}, found {found}"), help);
    }
}

/// The type of a value in words, with its article.
fn type_of(item: &Item) -> &'static str {
    match item {
        Item::None => "nothing",
        Item::Value(Value::String(_)) => "a string",
        Item::Value(Value::Integer(_)) => "an integer",
        Item::Value(Value::Float(_)) => "a float",
        Item::Value(Value::Boolean(_)) => "a boolean",
        Item::Value(Value::Datetime(_)) => "a date or time",
        Item::Value(Value::Array(_)) => "an array",
        Item::Value(Value::InlineTable(_)) | Item::Table(_) => "a table",
        Item::ArrayOfTables(_) => "an array of tables",
    }
}

/// Where an item begins; 0 where TOML gives it no place of its own (a table that dotted keys imply).
pub(super) fn item_at(item: &Item) -> usize {
    item.span().map_or(0, |span| span.start)
}

/// One table of the file while its keys are taken out.
pub(super) struct Section<'t> {
    table: &'t dyn TableLike,
    /// Where the table begins.
    pub at: usize,
    title: &'static str,
    known: Vec<&'static str>,
}

impl<'t> Section<'t> {
    /// `title` says what the table is, for messages about its keys: "a source", "the file".
    pub(super) fn new(table: &'t dyn TableLike, at: usize, title: &'static str) -> Self {
        Self { table, at, title, known: Vec::new() }
    }

    /// The table as it is.
    pub(super) fn raw(&self) -> &'t dyn TableLike {
        self.table
    }

    /// The item of a key and its place. The key is known from now on.
    pub(super) fn item(&mut self, key: &'static str) -> Option<(&'t Item, usize)> {
        self.known.push(key);
        let item = self.table.get(key)?;
        let span = item.span().or_else(|| self.table.key(key).and_then(toml_edit::Key::span));
        Some((item, span.map_or(self.at, |span| span.start)))
    }

    fn scalar<T>(
        &mut self,
        reader: &mut Reader<'_>,
        (key, expected, example): (&'static str, &str, &str),
        read: impl Fn(&Item) -> Option<T>,
    ) -> Given<T> {
        let Some((item, at)) = self.item(key) else { return Given::Absent };
        match read(item) {
            Some(value) => Given::Is(Placed { value, at }),
            None => {
                reader.wrong_type(at, key, expected, item, example);
                Given::Broken
            }
        }
    }

    /// A string, its variables expanded. `example` is a legal value, quotes and all.
    pub(super) fn text(&mut self, reader: &mut Reader<'_>, key: &'static str, example: &str) -> Given<String> {
        let given = self.scalar(reader, (key, "a string", example), |item| item.as_str().map(str::to_owned));
        let Given::Is(Placed { value, at }) = given else { return given };
        reader.expand(&value, at).map_or(Given::Broken, |value| Given::Is(Placed { value, at }))
    }

    pub(super) fn integer(&mut self, reader: &mut Reader<'_>, key: &'static str, example: &str) -> Given<i64> {
        self.scalar(reader, (key, "an integer", example), Item::as_integer)
    }

    pub(super) fn flag(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Given<bool> {
        self.scalar(reader, (key, "a boolean", "true"), Item::as_bool)
    }

    /// A table below this one.
    pub(super) fn table(&mut self, reader: &mut Reader<'_>, key: &'static str, title: &'static str, example: &str) -> Given<Section<'t>> {
        let Some((item, at)) = self.item(key) else { return Given::Absent };
        match item.as_table_like() {
            Some(table) => Given::Is(Placed { value: Section::new(table, at, title), at }),
            None => {
                reader.wrong_type(at, key, "a table", item, example);
                Given::Broken
            }
        }
    }

    /// The tables of `[[key]]`, or of an array of inline tables. Says whether all of them could be read.
    pub(super) fn tables(&mut self, reader: &mut Reader<'_>, key: &'static str, title: &'static str) -> (Vec<Section<'t>>, bool) {
        let Some((item, at)) = self.item(key) else { return (Vec::new(), true) };
        let mut sections = Vec::new();
        let mut complete = true;
        match item {
            Item::ArrayOfTables(tables) => {
                for table in tables.iter() {
                    sections.push(Section::new(table, table.span().map_or(at, |span| span.start), title));
                }
            }
            Item::Value(Value::Array(values)) => {
                for value in values.iter() {
                    let at = value.span().map_or(at, |span| span.start);
                    if let Some(table) = value.as_inline_table() {
                        sections.push(Section::new(table, at, title));
                    } else {
                        reader.wrong_type(at, key, "a table", &Item::Value(value.clone()), "[{ name = \"...\" }]");
                        complete = false;
                    }
                }
            }
            Item::Table(_) | Item::Value(Value::InlineTable(_)) => {
                let help = Some(format!("write `[[{key}]]` with two brackets: there may be several"));
                reader.problems.add(at, format!("`{key}`: expected an array of tables, found a table"), help);
                complete = false;
                // Read it all the same, so that its own mistakes show.
                sections.extend(item.as_table_like().map(|table| Section::new(table, at, title)));
            }
            other => {
                reader.wrong_type(at, key, "an array of tables", other, "[{ name = \"...\" }]");
                complete = false;
            }
        }
        (sections, complete)
    }

    /// Unknown keys of a table become problems.
    pub(super) fn finish(self, reader: &mut Reader<'_>) {
        for (key, _) in self.table.iter().filter(|(key, _)| !self.known.contains(key)) {
            if reader.problems.is_full() {
                return;
            }
            let at = self.table.key(key).and_then(toml_edit::Key::span).map_or(self.at, |span| span.start);
            let help = match nearest(key, self.known.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known keys: {}", self.known.join(", ")),
            };
            reader.problems.add(at, format!("unknown key `{}` in {}", quote(key), self.title), Some(help));
        }
    }
}

/// Reads a table below a section and keeps the place.
pub(super) fn below<T>(
    given: Given<Section<'_>>,
    reader: &mut Reader<'_>,
    read: impl Fn(&mut Section<'_>, &mut Reader<'_>) -> T,
) -> Given<T> {
    given.map(|mut section| {
        let value = read(&mut section, reader);
        section.finish(reader);
        value
    })
}

/// Reads a table below a section; where there is none, an empty one in its place.
pub(super) fn below_or_empty<T>(
    given: Given<Section<'_>>,
    reader: &mut Reader<'_>,
    read: impl Fn(&mut Section<'_>, &mut Reader<'_>) -> T,
) -> T {
    match below(given, reader, &read) {
        Given::Is(placed) => placed.value,
        Given::Absent | Given::Broken => read(&mut Section::new(&toml_edit::Table::new(), 0, ""), reader),
    }
}
