//! From bytes to a component: what kind of file it is, what it imports and exports, and why it is refused.
//!
//! Nothing is compiled or run here. Core modules that carry component metadata (what a language's linker leaves behind) become
//! components; imports other than those of the contract and of the virtual WASI are refused by name.

use super::contract::{OPERATOR, PACKAGE, STATE};
use super::limits::{TEXT_BYTES_MAX, cut};
use super::wasi::{Answer, answer};
use crate::panics::guarded;
use reprise_core::plain::plain;
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;
use wit_parser::decoding::{DecodedWasm, decode};

/// Bytes of a component, or of a core module, that are looked at.
pub const COMPONENT_BYTES_MAX: usize = 256 << 20;

/// The error of a component that is refused, or of a runtime that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file without a byte.
    #[error("the file is empty; was the build interrupted?")]
    Empty,
    /// Not WebAssembly.
    #[error("the file is not WebAssembly: it does not begin with `\\0asm`; give the built component, not its source")]
    NotWasm,
    /// Too large.
    #[error("the file has {bytes} bytes; at most {COMPONENT_BYTES_MAX} are read")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// A core module that does not say which world it implements.
    #[error(
        "the file is a core module without component metadata; build it against the world of `wit/` with a guest SDK, or turn it into a component first"
    )]
    PlainModule,
    /// A core module that cannot become a component.
    #[error(
        "the core module cannot be made a component: {0}\n  help: it may import only what its world imports; one that imports `wasi_snapshot_preview1` must be made a component with an adapter first"
    )]
    Componentise(String),
    /// A component that is broken, or that uses what is switched off here.
    #[error("the component is not valid here: {0}")]
    Invalid(String),
    /// A feature of WebAssembly that is not given here.
    #[error(
        "the component uses {name}, which operators are not given: {why}\n  help: build it without that; docs/capabilities.md lists what is given"
    )]
    Feature {
        /// The feature.
        name: &'static str,
        /// Where it is used.
        why: String,
    },
    /// Made of too many parts.
    #[error("the component has {found} {what}; at most {max} are possible")]
    Parts {
        /// Of what.
        what: &'static str,
        /// How many.
        found: u64,
        /// The most.
        max: u64,
    },
    /// A library gave up over the component.
    #[error(
        "the component cannot be read or compiled: the library for it gave up: {0}\n  help: it may be damaged; if it is sound elsewhere, this is a fault of reprise or of a library in it: please report it"
    )]
    GaveUp(String),
    /// Imports beyond the contract and the virtual WASI.
    #[error("the component imports what no operator is given:{}", reasons(.alien))]
    Imports {
        /// What it imports beyond them.
        alien: Vec<String>,
    },
    /// The operator interface is missing, or an interface is of another version.
    #[error(
        "the component must export `{OPERATOR}`, and `{STATE}` if it keeps state; it exports {}\n  help: build it against the `wit/` of this host",
        quote(.exports)
    )]
    Exports {
        /// What it does export.
        exports: Vec<String>,
    },
    /// An export whose type is not that of the contract.
    #[error("the export `{export}` has another type than the contract: {why}\n  help: build the component against the `wit/` of this host")]
    Types {
        /// Interface and function.
        export: String,
        /// The difference.
        why: String,
    },
    /// A setting out of its range.
    #[error("setting `{name}`: {why}")]
    Setting {
        /// Which one.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The engine cannot start: usually too little address space.
    #[error(
        "the WebAssembly engine cannot start: {0}\n  help: run fewer instances (`--workers`, `parallelism`), or raise the limit on address space (`ulimit -v`)"
    )]
    Engine(String),
}

/// A line for each name.
fn reasons(names: &[String]) -> String {
    names.iter().map(|name| format!("\n    `{}`: {}", plain(name), answer(name).text())).collect()
}

fn quote(names: &[String]) -> String {
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.iter().map(|name| format!("`{}`", plain(name))).collect::<Vec<_>>().join(", ")
    }
}

/// The kind of a WebAssembly binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryKind {
    /// A component.
    Component,
    /// A core module with component metadata.
    Module,
}

/// The world of the contract that a component implements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    /// Keeps nothing between calls.
    Stateless,
    /// Exports the interface `state`.
    Stateful,
}

/// The facts about a component that are read without compiling it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The kind of the file.
    pub kind: BinaryKind,
    /// The names of all imports, in the component's own order.
    pub imports: Vec<String>,
    /// The names of all exports, in the component's own order.
    pub exports: Vec<String>,
    /// The world it implements; `None` where it is no operator of this version.
    pub world: Option<World>,
}

impl Inspection {
    /// The answer to each import, in the order of the imports.
    #[must_use]
    pub fn answers(&self) -> Vec<Answer> {
        self.imports.iter().map(|name| answer(name)).collect()
    }

    /// Names of imports that neither the contract nor the virtual WASI has.
    #[must_use]
    pub fn alien_imports(&self) -> Vec<String> {
        self.imports.iter().filter(|name| matches!(answer(name), Answer::Refused(_))).cloned().collect()
    }

    /// Refuses what is not an operator of this version, or imports more than an operator may.
    ///
    /// # Errors
    /// [`LoadError::Imports`] or [`LoadError::Exports`].
    pub fn check(&self) -> Result<World, LoadError> {
        let alien = self.alien_imports();
        if !alien.is_empty() {
            return Err(LoadError::Imports { alien });
        }
        let foreign = |name: &String| name.starts_with(PACKAGE) && name != OPERATOR && name != STATE;
        match self.world {
            Some(world) if !self.exports.iter().any(foreign) => Ok(world),
            _ => Err(LoadError::Exports { exports: self.exports.clone() }),
        }
    }
}

/// Reads what a component, or a core module with component metadata, imports and exports. A component that [`Runtime::load`] would
/// refuse can be inspected too, as long as it is one.
///
/// [`Runtime::load`]: super::Runtime::load
///
/// # Errors
/// Where the bytes are no component, and cannot be made one.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, LoadError> {
    let kind = kind(bytes)?;
    match kind {
        BinaryKind::Component => read(kind, bytes),
        BinaryKind::Module => read(kind, &componentise(bytes)?),
    }
}

/// The kind of a file, by its header.
pub(super) fn kind(bytes: &[u8]) -> Result<BinaryKind, LoadError> {
    if bytes.is_empty() {
        return Err(LoadError::Empty);
    }
    if bytes.len() > COMPONENT_BYTES_MAX {
        return Err(LoadError::TooLarge { bytes: bytes.len() });
    }
    // The header: the magic number, a version of two bytes, and the layer: 0 for core modules, 1 for components.
    match bytes {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(BinaryKind::Component),
        [0, b'a', b's', b'm', _, _, 0, 0, ..] if has_metadata(bytes) => Ok(BinaryKind::Module),
        [0, b'a', b's', b'm', _, _, 0, 0, ..] => Err(LoadError::PlainModule),
        _ => Err(LoadError::NotWasm),
    }
}

/// True where some custom section of a core module holds component metadata.
fn has_metadata(module: &[u8]) -> bool {
    let is_metadata = |payload| matches!(payload, Payload::CustomSection(section) if section.name().starts_with("component-type"));
    Parser::new(0).parse_all(module).map_while(Result::ok).any(is_metadata)
}

/// Makes a core module with component metadata a component.
pub(super) fn componentise(module: &[u8]) -> Result<Vec<u8>, LoadError> {
    guard(|| {
        let encoder = ComponentEncoder::default();
        encoder.validate(true).module(module).map_err(show)?.encode().map_err(show)
    })
    .map_err(LoadError::Componentise)
}

/// Reads imports and exports of a component.
pub(super) fn read(kind: BinaryKind, component: &[u8]) -> Result<Inspection, LoadError> {
    let decoded = guard(|| decode(component).map_err(show)).map_err(LoadError::Invalid)?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err(LoadError::Invalid("the file holds WIT definitions, not code".into()));
    };
    let world = &resolve.worlds[world];
    let imports: Vec<String> = world.imports.keys().map(|key| resolve.name_world_key(key)).collect();
    let exports: Vec<String> = world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
    let has = |name: &str| exports.iter().any(|export| export == name);
    let world = match (has(OPERATOR), has(STATE)) {
        (true, true) => Some(World::Stateful),
        (true, false) => Some(World::Stateless),
        (false, _) => None,
    };
    Ok(Inspection { kind, imports, exports, world })
}

pub(super) fn show(error: impl std::fmt::Display) -> String {
    cut(&format!("{error:#}"), TEXT_BYTES_MAX)
}

/// Runs a decoder over untrusted bytes: a panic in it is a refusal of the bytes, not the end of the host.
fn guard<T>(decoder: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // The decoders own all that they change, so that nothing broken is seen after a panic.
    guarded(decoder).unwrap_or_else(|why| Err(format!("its decoder gave up: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_components_are_told_apart() {
        assert!(matches!(inspect(b""), Err(LoadError::Empty)));
        assert!(matches!(inspect(b"fn main() {}"), Err(LoadError::NotWasm)));
        assert!(matches!(inspect(b"\0as"), Err(LoadError::NotWasm)));
        assert!(matches!(inspect(b"\0asm\x01\0\0\0"), Err(LoadError::PlainModule)));
        assert!(matches!(inspect(b"\0asm\x0d\0\x01\0\xff\xff"), Err(LoadError::Invalid(_))));
        let empty = inspect(b"\0asm\x0d\0\x01\0").unwrap();
        assert!(matches!(empty.check(), Err(LoadError::Exports { .. })));
    }

    #[test]
    fn metadata_is_found_only_in_a_custom_section_of_that_name() {
        let found = |sections: &[u8]| has_metadata(&[b"\0asm\x01\0\0\0", sections].concat());
        assert!(found(b"\x00\x10\x0ecomponent-typex"));
        assert!(!found(b"\x00\x05\x04name"));
        assert!(!found(b"\x01\x0f\x0ecomponent-type"));
        assert!(!found(b"\x00\xff\xff\xff\xff\xff"), "a length that never ends");
        assert!(!found(b"\x00\x7f\x0ecomponent-type"), "a length past the end");
    }
}
