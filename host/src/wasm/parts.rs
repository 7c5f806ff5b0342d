//! What a component is made of, read off its bytes before anything is compiled: which features of WebAssembly it uses, and how many
//! memories and instances one copy of it has.
//!
//! A component may hold further components, each of which may be instantiated several times: a few bytes can mean a million instances. They
//! are counted without making any, and what is over a limit is refused. What cannot be told from here (a module or component that is imported, or
//! exported by an instance) counts as the largest of its kind seen; the pool of instances refuses what turns out to be more.

use super::limits::{CORE_INSTANCES_MAX, MEMORIES_MAX};
use super::load::LoadError;
use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef, Instance,
    Parser, Payload, Validator, WasmFeatures,
};

/// Components that one copy of a component may be put together from, itself not counted.
pub const COMPONENTS_MAX: u64 = 1_000;

/// Features that are not given, with a name for people.
const REFUSED: [(&str, WasmFeatures); 13] = [
    ("memories of 64-bit addresses (memory64)", WasmFeatures::MEMORY64),
    ("threads and shared memories", WasmFeatures::THREADS),
    ("shared-everything threads", WasmFeatures::SHARED_EVERYTHING_THREADS),
    ("exceptions", WasmFeatures::EXCEPTIONS),
    ("exceptions of the older form", WasmFeatures::LEGACY_EXCEPTIONS),
    ("typed function references", WasmFeatures::FUNCTION_REFERENCES),
    ("garbage collection (GC)", WasmFeatures::GC),
    ("stack switching", WasmFeatures::STACK_SWITCHING),
    ("wide arithmetic", WasmFeatures::WIDE_ARITHMETIC),
    ("pages of another size", WasmFeatures::CUSTOM_PAGE_SIZES),
    ("asynchronous functions", WasmFeatures::CM_ASYNC),
    ("component threads", WasmFeatures::CM_THREADING),
    ("garbage collection in components", WasmFeatures::CM_GC),
];

/// The parts that one copy of a component has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts {
    /// Linear memories, all together.
    pub memories: u64,
    /// Core instances.
    pub core_instances: u64,
    /// Components that are instantiated within.
    pub components: u64,
}

impl Parts {
    fn add(&mut self, other: Self) {
        self.memories = self.memories.saturating_add(other.memories);
        self.core_instances = self.core_instances.saturating_add(other.core_instances);
        self.components = self.components.saturating_add(other.components);
    }

    fn max(self, other: &Self) -> Self {
        Self {
            memories: self.memories.max(other.memories),
            core_instances: self.core_instances.max(other.core_instances),
            components: self.components.max(other.components),
        }
    }

    fn check(self) -> Result<Self, LoadError> {
        let parts = [
            ("linear memories", self.memories, u64::from(MEMORIES_MAX)),
            ("core instances", self.core_instances, u64::from(CORE_INSTANCES_MAX)),
            ("components within", self.components, COMPONENTS_MAX),
        ];
        match parts.into_iter().find(|(_, found, max)| found > max) {
            Some((what, found, max)) => Err(LoadError::Parts { what, found, max }),
            None => Ok(self),
        }
    }
}

/// The features that operators are given: everything that tool chains emit without being asked.
fn given() -> WasmFeatures {
    REFUSED.into_iter().fold(WasmFeatures::default(), |given, (_, feature)| given.difference(feature)) | WasmFeatures::GC_TYPES
}

/// Checks that bytes are a valid component, or a valid core module, of what is given here.
///
/// # Errors
/// Names the feature where that is all that is wrong with them.
pub(super) fn validate(bytes: &[u8]) -> Result<(), LoadError> {
    let valid = |features| Validator::new_with_features(features).validate_all(bytes);
    let Err(error) = valid(given()) else { return Ok(()) };
    if valid(WasmFeatures::all()).is_err() {
        return Err(LoadError::Invalid(super::load::show(error)));
    }
    // The one that it does not do without. Where it needs several, the first of them that is missed.
    let lacks = |feature: WasmFeatures| valid(WasmFeatures::all().difference(feature)).is_err();
    match REFUSED.into_iter().find(|(_, feature)| lacks(*feature)) {
        Some((name, _)) => Err(LoadError::Feature { name, why: super::load::show(error) }),
        None => Err(LoadError::Invalid(super::load::show(error))),
    }
}

/// Counts what one copy of a component, or of a core module, has.
///
/// # Errors
/// The bytes cannot be read, or it is too much.
pub(super) fn count(bytes: &[u8]) -> Result<Parts, LoadError> {
    walk(bytes).map_err(|error| LoadError::Invalid(super::load::show(error)))?.check()
}

/// Linear memories of one copy of a component, or of a core module; 1 where the bytes cannot be read, which loading them tells.
#[must_use]
pub fn memories(bytes: &[u8]) -> u32 {
    let counted = crate::panics::guarded(|| count(bytes));
    let found = counted.ok().and_then(Result::ok).map_or(1, |parts| parts.memories);
    u32::try_from(found).unwrap_or(u32::MAX).max(1)
}

/// A module or component that is being read.
#[derive(Default)]
struct Level {
    is_module: bool,
    /// The parts that one copy of it has.
    own: Parts,
    /// The index spaces of modules and components.
    modules: Vec<Parts>,
    components: Vec<Parts>,
}

/// The most that any module, and any component, has that was read.
#[derive(Default)]
struct Largest {
    module: Parts,
    component: Parts,
}

fn walk(bytes: &[u8]) -> Result<Parts, BinaryReaderError> {
    let mut levels: Vec<Level> = Vec::new();
    let mut largest = Largest::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        if let Payload::Version { encoding, .. } = &payload {
            let is_module = *encoding == wasmparser::Encoding::Module;
            levels.push(Level { is_module, ..Level::default() });
            continue;
        }
        let Some(level) = levels.last_mut() else { continue };
        match payload {
            Payload::MemorySection(section) => level.own.memories = level.own.memories.saturating_add(section.count().into()),
            Payload::InstanceSection(section) => {
                for instance in section {
                    if let Instance::Instantiate { module_index, .. } = instance? {
                        let module = level.modules.get(module_index as usize).copied().unwrap_or(largest.module);
                        level.own.add(Parts { core_instances: 1, ..module });
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance? {
                        let component = level.components.get(component_index as usize).copied().unwrap_or(largest.component);
                        level.own.add(component);
                        level.own.add(Parts { components: 1, ..Parts::default() });
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    take_alias(&mut levels, &alias?, &largest);
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    match import?.ty {
                        ComponentTypeRef::Module(_) => level.modules.push(largest.module),
                        ComponentTypeRef::Component(_) => level.components.push(largest.component),
                        _ => {}
                    }
                }
            }
            // What is exported has a further place in its index space.
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    let alias = match export.kind {
                        ComponentExternalKind::Module => ComponentOuterAliasKind::CoreModule,
                        ComponentExternalKind::Component => ComponentOuterAliasKind::Component,
                        _ => continue,
                    };
                    take_alias(&mut levels, &ComponentAlias::Outer { kind: alias, count: 0, index: export.index }, &largest);
                }
            }
            Payload::End(_) => {
                let Some(done) = levels.pop() else { continue };
                let largest = if done.is_module { &mut largest.module } else { &mut largest.component };
                *largest = largest.max(&done.own);
                let Some(parent) = levels.last_mut() else { return Ok(done.own) };
                if done.is_module { parent.modules.push(done.own) } else { parent.components.push(done.own) }
            }
            _ => {}
        }
    }
    Ok(largest.component.max(&largest.module))
}

/// Puts what an alias names into the index space of the innermost level.
fn take_alias(levels: &mut [Level], alias: &ComponentAlias<'_>, largest: &Largest) {
    // An outer alias means a module or component of the level that is so many further out.
    let level = |count: u32| levels.iter().rev().nth(count as usize);
    let (module, component) = match *alias {
        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. } => (Some(largest.module), None),
        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => (None, Some(largest.component)),
        ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, count, index } => {
            (level(count).and_then(|level| level.modules.get(index as usize)).copied().or(Some(largest.module)), None)
        }
        ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
            (None, level(count).and_then(|level| level.components.get(index as usize)).copied().or(Some(largest.component)))
        }
        _ => (None, None),
    };
    if let Some(level) = levels.last_mut() {
        level.modules.extend(module);
        level.components.extend(component);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Parts {
        walk(&wat::parse_str(text).unwrap()).unwrap()
    }

    #[test]
    fn memories_and_instances_are_counted_as_often_as_they_are_made() {
        assert_eq!(parts("(module (memory 1) (memory 1))").memories, 2);
        assert_eq!(parts("(component (core module (memory 1)))"), Parts::default(), "a module that nobody instantiates");
        let twice = "(component (core module $m (memory 1)) (core instance (instantiate $m)) (core instance (instantiate $m)))";
        assert_eq!(parts(twice), Parts { memories: 2, core_instances: 2, components: 0 });
        let nested = "(component
            (component $inner (core module $m (memory 1) (memory 1)) (core instance (instantiate $m)))
            (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)))";
        assert_eq!(parts(nested), Parts { memories: 6, core_instances: 3, components: 3 });
    }

    #[test]
    fn what_is_taken_from_further_out_counts_as_what_it_is() {
        // The largest component has five memories, the module that is meant has two; the export takes a place between them.
        let text = "(component
            (core module $small (memory 1))
            (core module $large (memory 1) (memory 1) (memory 1) (memory 1) (memory 1))
            (component $unused (alias outer 1 $large (core module $m)) (core instance (instantiate $m)))
            (export \"large\" (core module $large))
            (core module $last (memory 1) (memory 1))
            (component $inner (alias outer 1 $last (core module $m)) (core instance (instantiate $m)))
            (component $outer (alias outer 1 $inner (component $c)) (instance (instantiate $c)) (instance (instantiate $c)))
            (instance (instantiate $outer)))";
        assert_eq!(parts(text), Parts { memories: 4, core_instances: 2, components: 3 });
    }

    #[test]
    fn modules_that_cannot_be_told_count_as_the_largest_module_and_not_as_a_component() {
        let text = "(component
            (import \"m\" (core module $m))
            (core module $one (memory 1))
            (component $twice (core module $m (memory 1)) (core instance (instantiate $m)) (core instance (instantiate $m)))
            (component $taker (import \"n\" (core module $n)) (core instance (instantiate $n))))";
        assert_eq!(parts(text), Parts::default(), "nobody instantiates anything");
        let text = text.replace("(component $taker", "(instance (instantiate $twice)) (component $taker");
        let text = text.strip_suffix(')').map(|text| format!("{text} (instance (instantiate $taker (with \"n\" (core module $one)))))"));
        assert_eq!(parts(&text.unwrap()), Parts { memories: 3, core_instances: 3, components: 2 });
    }

    #[test]
    fn a_few_bytes_that_mean_a_million_instances_are_refused() {
        let mut text = "(component (core module $m (memory 1)) (core instance (instantiate $m)))".to_owned();
        for _ in 0..40 {
            let inner = text.replacen("(component", "(component $c", 1);
            text = format!("(component {inner} (instance (instantiate $c)) (instance (instantiate $c)))");
        }
        let bytes = wat::parse_str(text).unwrap();
        assert!(matches!(count(&bytes), Err(LoadError::Parts { .. })), "{:?}", count(&bytes));
    }

    #[test]
    fn a_feature_that_is_not_given_is_named() {
        let refused = |text: &str| match validate(&wat::parse_str(text).unwrap()) {
            Err(LoadError::Feature { name, .. }) => name,
            other => panic!("{text}: {other:?}"),
        };
        assert!(refused("(module (memory i64 1))").contains("memory64"));
        assert!(refused("(module (memory 1 1 shared))").contains("shared"));
        assert!(refused("(module (tag (param i32)))").contains("exceptions"));
        assert!(refused("(module (type (struct (field i32))))").contains("GC"));
        assert!(refused("(component (core module (memory i64 1)))").contains("memory64"), "within a component too");
        assert!(matches!(validate(b"\0asm\x01\0\0\0\x7f"), Err(LoadError::Invalid(_))), "what is no WebAssembly at all is another thing");
        validate(&wat::parse_str("(module (memory 1) (memory 1) (func (result i32) (return_call 0)))").unwrap()).unwrap();
    }
}
