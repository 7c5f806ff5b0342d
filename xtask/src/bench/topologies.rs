//! Texts of topologies, put together from their parts. Pure.

/// Checkpoints once a second. The input is read as far ahead as it likes.
pub const EVERY_SECOND: &str = "interval = \"1s\"\nuncheckpointed-max = \"1024GiB\"";
/// No checkpoint before the end of the input, which has one always.
pub const AT_THE_END: &str = "interval = \"24h\"\nuncheckpointed-max = \"1024GiB\"";
/// An operator that cannot come back alone: the host keeps no snapshot of it, hence no input either. It gives up at the first snapshot, which
/// the small log makes come at once.
pub const NO_RECOVERY: &str = "snapshot-copy-max = \"0B\"\nreplay-log-max = \"64KiB\"\nrecover-within = \"1h\"";
/// Room for much state.
pub const LARGE: &str = "memory = \"4GiB\"\ndeadline = \"1m\"";
/// A sink that shows each row at once.
pub const AT_ONCE: &str = "stdout = { format = \"csv\" }";

/// A topology that grows part by part.
pub struct TopologyText(String);

impl TopologyText {
    /// The job, and how it keeps its checkpoints: in `run/state`, beside its file.
    pub fn new(checkpoint: &str) -> Self {
        Self(format!("name = \"bench\"\n\n[checkpoint]\nstore = \"file:./run/state\"\n{checkpoint}\n"))
    }

    /// The source `rows`, a file in a format, with more settings.
    #[must_use]
    pub fn source(self, path: &str, format: &str) -> Self {
        Self(format!("{}\n[[source]]\nname = \"rows\"\nfile = {{ path = {path:?}, {format} }}\n", self.0))
    }

    /// An operator.
    #[must_use]
    pub fn operator(self, name: &str, component: &str, input: &str, settings: &str) -> Self {
        let Self(text) = self;
        Self(format!("{text}\n[[operator]]\nname = {name:?}\ncomponent = {component:?}\ninput = {input}\n{settings}\n"))
    }

    /// A sink.
    #[must_use]
    pub fn sink(self, name: &str, input: &str, settings: &str) -> Self {
        Self(format!("{}\n[[sink]]\nname = {name:?}\ninput = {input:?}\n{settings}\n", self.0))
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// What reads everything of a node by its key.
pub fn by_key(node: &str) -> String {
    format!("{{ from = {node:?}, by = \"key\" }}")
}

/// What reads a node where it is.
pub fn from(node: &str) -> String {
    format!("{node:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other() {
        let topology = TopologyText::new(EVERY_SECOND).source("/in.csv", "format = \"lines\"");
        let topology = topology.operator("count", "/count.wasm", &by_key("rows"), LARGE).sink("out", "count.totals", AT_ONCE);
        for part in [
            "store = \"file:./run/state\"\ninterval = \"1s\"\n",
            "file = { path = \"/in.csv\", format = \"lines\" }\n",
            "component = \"/count.wasm\"\ninput = { from = \"rows\", by = \"key\" }\nmemory = \"4GiB\"\n",
            "input = \"count.totals\"\nstdout = ",
        ] {
            assert!(topology.text().contains(part), "{part} in {}", topology.text());
        }
    }
}
