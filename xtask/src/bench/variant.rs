//! What is run for the rows of throughput: a pipeline, over an input, as a native loop or under a host. Pure.

use super::input::Content;
use super::sizes::Sizes;
use super::topologies::{AT_THE_END, EVERY_SECOND, LARGE, NO_RECOVERY, TopologyText, by_key, from};

/// What comes out for each row of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Emits {
    /// Nothing: the totals at the end of the input are all.
    Totals,
    /// A row, which nothing reads.
    Discarded,
    /// A row, which goes to files.
    Files,
}

/// What comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Load {
    /// Lines of few keys with Zipf's frequencies.
    Few,
    /// The same as columns of a CSV file, which the source reads.
    Columns,
    /// Few keys, all of which change in each epoch.
    Even,
    /// Many keys, each of which comes twice.
    Many,
}

impl Load {
    /// What the input has in it.
    pub fn content(self, sizes: &Sizes) -> Content {
        let Sizes { rows, keys, keys_large, .. } = *sizes;
        match self {
            Self::Few => Content::Zipf { rows, keys },
            Self::Columns => Content::Columns { rows, keys },
            Self::Even => Content::Even { rows, keys, poison_apart: 0 },
            Self::Many => Content::Even { rows: sizes.rows_large(), keys: keys_large, poison_apart: 0 },
        }
    }

    /// The load of lines with the same rows.
    pub fn as_lines(self) -> Self {
        if self == Self::Columns { Self::Few } else { self }
    }
}

/// One thing that is run once in each round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    Native { is_careful: bool, emits: Emits, load: Load },
    Hosted { emits: Emits, load: Load, workers: u32, is_safe: bool },
}

impl Variant {
    /// Under a host with one worker, a checkpoint each second and recovery in place.
    pub fn hosted(emits: Emits, load: Load) -> Self {
        Self::Hosted { emits, load, workers: 1, is_safe: true }
    }

    pub fn load(self) -> Load {
        let (Self::Native { load, .. } | Self::Hosted { load, .. }) = self;
        load
    }

    pub fn emits(self) -> Emits {
        let (Self::Native { emits, .. } | Self::Hosted { emits, .. }) = self;
        emits
    }

    /// For people.
    pub fn description(self) -> String {
        let emits = |emits| match emits {
            Emits::Totals => "totals only",
            Emits::Discarded => "a row each, discarded",
            Emits::Files => "a row each, to files",
        };
        let keys = match self.load() {
            Load::Few => "few keys",
            Load::Columns => "few keys, from columns",
            Load::Even => "few keys, all changing",
            Load::Many => "many keys",
        };
        let emits = emits(self.emits());
        match self {
            Self::Native { is_careful, .. } => format!("native, {}: {keys}, {emits}", if is_careful { "careful" } else { "plain" }),
            Self::Hosted { workers, is_safe, .. } => {
                let safety = if is_safe { "" } else { ", no checkpoints, no recovery in place" };
                format!("{keys}, {emits}, {workers} worker{}{safety}", if workers > 1 { "s" } else { "" })
            }
        }
    }
}

/// The topology of a pipeline over an input: the totals go to files in `run/totals`, rows to `run/rows`. `guest`: the path of a guest.
pub fn topology(emits: Emits, load: Load, is_safe: bool, input: &str, guest: impl Fn(&str) -> String) -> String {
    let (parser, format) = match load {
        Load::Columns => ("parse-column", "format = \"csv\", key = { column = \"key\" }, time = { column = \"time\" }"),
        _ => ("parse-kv", "format = \"lines\""),
    };
    let (counter, totals) = match emits {
        Emits::Totals => ("count-sum", "count"),
        Emits::Discarded | Emits::Files => ("running-sum", "count.totals"),
    };
    let recovery = if is_safe { "" } else { NO_RECOVERY };
    let topology = TopologyText::new(if is_safe { EVERY_SECOND } else { AT_THE_END })
        .source(input, format)
        .operator("parse", &guest(parser), &from("rows"), "")
        .operator("count", &guest(counter), &by_key("parse"), &format!("{LARGE}\n{recovery}"))
        .sink("totals", totals, "file = { path = \"run/totals\", format = \"csv\" }");
    match emits {
        Emits::Files => topology.sink("out", "count", "file = { path = \"run/rows\", format = \"csv\" }").text().to_owned(),
        Emits::Totals | Emits::Discarded => topology.text().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_discarded_has_no_reader() {
        let text = |emits| topology(emits, Load::Few, true, "/in", |name| format!("/{name}"));
        assert!(text(Emits::Discarded).contains("input = \"count.totals\"") && !text(Emits::Discarded).contains("input = \"count\""));
        assert!(text(Emits::Files).contains("input = \"count\"\nfile"));
        assert!(text(Emits::Totals).contains("/count-sum") && text(Emits::Totals).contains("input = \"count\"\nfile"));
    }

    #[test]
    fn a_run_that_keeps_nothing_says_so() {
        let text = |is_safe| topology(Emits::Totals, Load::Many, is_safe, "/in", str::to_owned);
        assert!(text(false).contains("snapshot-copy-max = \"0B\"") && text(false).contains("interval = \"24h\""));
        assert!(!text(true).contains("snapshot-copy-max") && text(true).contains("interval = \"1s\""));
    }
}
