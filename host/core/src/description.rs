//! What an operator says it is, checked: names, counts, uniqueness. Mirrors `record description` of `wit/operator.wit`.

use serde::{Deserialize, Serialize};

/// Inputs an operator may have.
pub const INPUTS_MAX: usize = 16;
/// Outputs an operator may have.
pub const OUTPUTS_MAX: usize = 16;
/// Slots an operator may have.
pub const SLOTS_MAX: usize = 64;
/// Length of a name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// How bytes are to be read by tools and sinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Anything.
    Bytes,
    /// Text.
    Utf8,
    /// One JSON value.
    Json,
    /// One CBOR item.
    Cbor,
    /// One MessagePack value.
    Msgpack,
    /// Signed 64-bit integer, 8 bytes, least significant first.
    I64Le,
    /// Unsigned 64-bit integer, 8 bytes, least significant first.
    U64Le,
    /// IEEE 754 double, 8 bytes, least significant first.
    F64Le,
}

/// Who keeps a cell when the number of instances changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
#[serde(rename_all = "kebab-case")]
pub enum SlotKind {
    /// Moves with its key.
    Keyed,
    /// Stays with the instance index.
    Instance,
    /// The same everywhere.
    Broadcast,
}

/// One piece of declared state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
pub struct Slot {
    /// Identity of the slot across versions of the operator.
    pub name: String,
    /// Who keeps it.
    pub kind: SlotKind,
    /// Version of the meaning of its bytes.
    pub version: u32,
    /// How values are to be read.
    pub encoding: Encoding,
}

/// An output and the encodings of its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
pub struct Port {
    /// Name of the output.
    pub name: String,
    /// How keys are to be read.
    pub key: Encoding,
    /// How values are to be read.
    pub value: Encoding,
}

/// What an operator is. Fields are public for reading; [`Description::check`] makes it legal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
pub struct Description {
    /// Name of the operator, for people.
    pub name: String,
    /// Version of the operator, for people.
    pub version: String,
    /// Names of the inputs.
    pub inputs: Vec<String>,
    /// The outputs.
    pub outputs: Vec<Port>,
    /// The state.
    pub slots: Vec<Slot>,
}

/// Why a description is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptionError {
    /// A name that is empty, too long, or not `[a-z][a-z0-9-]*`.
    #[error("{what} `{}` is not a name: lower-case letters, digits and hyphens, starting with a letter, at most {NAME_BYTES_MAX} bytes", .name.escape_debug())]
    Name {
        /// What bears the name.
        what: &'static str,
        /// The name, cut to a printable length.
        name: String,
    },
    /// A text for people that is too long.
    #[error("{what} has {bytes} bytes; at most {NAME_BYTES_MAX} are allowed")]
    Text {
        /// Which text.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// Two things of one name.
    #[error("two {what}s are named `{name}`")]
    Twice {
        /// What bears the name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Too many or too few.
    #[error("{found} {what}s; {min} to {max} are allowed")]
    Count {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// At least so many.
        min: usize,
        /// At most so many.
        max: usize,
    },
    /// Slots without the interface that reads them.
    #[error("{slots} slots are declared, but the component does not export the interface `state`")]
    NoState {
        /// Number of slots.
        slots: usize,
    },
}

/// True for names of operators, ports, slots, sources, sinks and jobs: `[a-z][a-z0-9-]*`, at most 64 bytes.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= NAME_BYTES_MAX
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn names<'a>(
    what: &'static str,
    (min, max): (usize, usize),
    names: impl ExactSizeIterator<Item = &'a String>,
) -> Result<(), DescriptionError> {
    let found = names.len();
    if found < min || found > max {
        return Err(DescriptionError::Count { what, found, min, max });
    }
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !is_name(name) {
            return Err(DescriptionError::Name { what, name: name.chars().take(NAME_BYTES_MAX).collect() });
        }
        if !seen.insert(name) {
            return Err(DescriptionError::Twice { what, name: name.clone() });
        }
    }
    Ok(())
}

impl Description {
    /// Checks what a component said of itself. `has_state`: it exports the interface `state`.
    ///
    /// # Errors
    /// The first fault found.
    pub fn check(&self, has_state: bool) -> Result<(), DescriptionError> {
        for (what, text) in [("the operator's name", &self.name), ("the operator's version", &self.version)] {
            if text.len() > NAME_BYTES_MAX {
                return Err(DescriptionError::Text { what, bytes: text.len() });
            }
        }
        names("input", (1, INPUTS_MAX), self.inputs.iter())?;
        names("output", (0, OUTPUTS_MAX), self.outputs.iter().map(|p| &p.name))?;
        names("slot", (0, SLOTS_MAX), self.slots.iter().map(|s| &s.name))?;
        if !has_state && !self.slots.is_empty() {
            return Err(DescriptionError::NoState { slots: self.slots.len() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Description {
        Description {
            name: "Count".into(),
            version: "1".into(),
            inputs: vec!["rows".into()],
            outputs: vec![Port { name: "counts".into(), key: Encoding::Utf8, value: Encoding::I64Le }],
            slots: vec![Slot { name: "count".into(), kind: SlotKind::Keyed, version: 1, encoding: Encoding::I64Le }],
        }
    }

    #[test]
    fn a_good_description_passes() {
        sample().check(true).unwrap();
    }

    #[test]
    fn faults_are_named() {
        let refuse = |change: fn(&mut Description)| {
            let mut description = sample();
            change(&mut description);
            description.check(true).unwrap_err()
        };
        assert!(matches!(refuse(|d| d.inputs.clear()), DescriptionError::Count { what: "input", found: 0, .. }));
        assert!(matches!(refuse(|d| d.inputs = vec!["A b".into()]), DescriptionError::Name { what: "input", .. }));
        assert!(matches!(refuse(|d| d.slots.push(d.slots[0].clone())), DescriptionError::Twice { what: "slot", .. }));
        assert!(matches!(refuse(|d| d.name = "x".repeat(65)), DescriptionError::Text { .. }));
        assert!(matches!(sample().check(false), Err(DescriptionError::NoState { slots: 1 })));
    }
}
