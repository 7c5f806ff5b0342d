//! Every function of the virtual WASI counts as a call of the host, and ends the call of a guest that makes one too many.

use super::build::{call, limits, rows, runtime, start};
use super::wasi::{guest, packages};
use crate::wasm::{Component, Fault, Grants, Limits, PreopenedFolder, Runtime, Settings};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Function, Handle, Resolve, Type, TypeDefKind, TypeId, WorldItem};

/// How a guest comes by a handle.
struct Source {
    resource: &'static str,
    /// The interface of the resource.
    interface: &'static str,
    /// Calls of the host that it takes.
    calls: u64,
    /// What it imports for it.
    imports: &'static str,
    /// The handle.
    handle: &'static str,
}

const FOLDER: &str = "(import \"wasi:filesystem/preopens@0.2.12\" \"get-directories\" (func $folders (param i32)))";
const LIST: &str = "(import \"wasi:filesystem/preopens@0.2.12\" \"get-directories\" (func $folders (param i32)))
    (import \"wasi:filesystem/types@0.2.12\" \"[method]descriptor.read-directory\" (func $list (param i32 i32)))";
const SOURCES: [Source; 5] = [
    Source {
        resource: "pollable",
        interface: "wasi:io/poll@0.2.12",
        calls: 1,
        imports: "(import \"wasi:clocks/monotonic-clock@0.2.12\" \"subscribe-duration\" (func $after (param i64) (result i32)))",
        handle: "(call $after (i64.const 0))",
    },
    Source {
        resource: "input-stream",
        interface: "wasi:io/streams@0.2.12",
        calls: 1,
        imports: "(import \"wasi:cli/stdin@0.2.12\" \"get-stdin\" (func $stdin (result i32)))",
        handle: "(call $stdin)",
    },
    Source {
        resource: "output-stream",
        interface: "wasi:io/streams@0.2.12",
        calls: 1,
        imports: "(import \"wasi:cli/stdout@0.2.12\" \"get-stdout\" (func $stdout (result i32)))",
        handle: "(call $stdout)",
    },
    Source {
        resource: "descriptor",
        interface: "wasi:filesystem/types@0.2.12",
        calls: 1,
        imports: FOLDER,
        handle: "(block (result i32) (call $folders (i32.const 4100)) (i32.load (i32.load (i32.const 4100))))",
    },
    Source {
        resource: "directory-entry-stream",
        interface: "wasi:filesystem/types@0.2.12",
        calls: 2,
        imports: LIST,
        handle: "(block (result i32) (call $folders (i32.const 4100))
            (call $list (i32.load (i32.load (i32.const 4100))) (i32.const 4200)) (i32.load (i32.const 4204)))",
    },
];

fn source(resource: &str) -> Option<&'static Source> {
    SOURCES.iter().find(|source| source.resource == resource)
}

/// The resource that a parameter is a handle to.
fn resource(resolve: &Resolve, ty: &Type) -> Option<String> {
    let Type::Id(id) = ty else { return None };
    let TypeDefKind::Handle(Handle::Borrow(id) | Handle::Own(id)) = resolve.types[*id].kind else { return None };
    let original = |mut id: TypeId| {
        while let TypeDefKind::Type(Type::Id(next)) = resolve.types[id].kind {
            id = next;
        }
        id
    };
    resolve.types[original(id)].name.clone()
}

fn zero(ty: &WasmType) -> &'static str {
    match ty {
        WasmType::I64 | WasmType::PointerOrI64 => "(i64.const 0)",
        _ => "(i32.const 0)",
    }
}

fn name(ty: &WasmType) -> &'static str {
    if zero(ty) == "(i64.const 0)" { "i64" } else { "i32" }
}

/// A guest that calls one function once.
struct Caller {
    function: String,
    bytes: Vec<u8>,
    /// Calls of the host that it makes before.
    before: u64,
    reads_folder: bool,
}

impl Caller {
    /// `None` where it needs a handle that no guest comes by so easily.
    fn new(resolve: &Resolve, interface: &str, function: &Function) -> Option<Self> {
        let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
        assert!(!signature.indirect_params, "{}", function.name);
        let (mut arguments, mut sources) = (String::new(), Vec::new());
        for param in &function.params {
            if let Some(resource) = resource(resolve, &param.ty) {
                let source = source(&resource)?;
                arguments += source.handle;
                sources.push(source);
            } else {
                let alone = Function { params: vec![param.clone()], result: None, ..function.clone() };
                arguments.extend(resolve.wasm_signature(AbiVariant::GuestImport, &alone).params.iter().map(zero));
            }
        }
        if signature.retptr {
            arguments += "(i32.const 4400)";
        }
        let results: String = signature.results.iter().map(|ty| format!("(result {})", name(ty))).collect();
        let params: String = signature.params.iter().map(|ty| format!("(param {})", name(ty))).collect();
        let called = format!("(call $it {arguments})");
        let called = if signature.results.is_empty() { called } else { format!("(drop {called})") };
        Some(Self::calling(interface, &function.name, &format!("{params} {results}"), &called, &sources))
    }

    fn calling(interface: &str, function: &str, signature: &str, called: &str, sources: &[&Source]) -> Self {
        let mut imports = format!("(import \"{interface}\" \"{function}\" (func $it {signature}))");
        for (place, source) in sources.iter().enumerate() {
            if sources[..place].iter().all(|before| before.resource != source.resource) {
                imports += source.imports;
            }
        }
        let bytes = guest(&[], "include reprise:wasi/imports;", &imports, &format!("{called} (i64.const 0)"));
        let reads_folder = sources.iter().any(|source| source.imports.contains("preopens"));
        Self { function: format!("{interface}#{function}"), bytes, before: sources.iter().map(|s| s.calls).sum(), reads_folder }
    }

    fn fault(&self, component: &Component, host_calls_per_call_max: u64) -> Option<Fault> {
        let mut instance = start(component, &Limits { host_calls_per_call_max, ..limits() }).unwrap();
        instance.process(0, &rows(1), call(1)).err().map(|error| error.fault)
    }

    fn check(&self, runtime: &Runtime, folder: &PreopenedFolder) {
        let mut component = runtime.load(&self.bytes).unwrap_or_else(|error| panic!("{}: {error}", self.function));
        if self.reads_folder {
            component = component.granted(Grants { folders: vec![folder.clone()], ..Grants::default() }).unwrap();
        }
        assert_eq!(self.fault(&component, self.before), Some(Fault::HostCalls { limit: self.before }), "{}", self.function);
        let within = self.fault(&component, self.before + 1);
        assert!(!matches!(within, Some(Fault::HostCalls { .. } | Fault::Lie(_))), "{}: {within:?}", self.function);
    }
}

#[test]
fn every_function_of_wasi_ends_a_call_that_asks_too_often() {
    let place = tempfile::tempdir().unwrap();
    let folder = PreopenedFolder::new("/data", place.path()).unwrap();
    let runtime = runtime(&Settings { instances_max: 4, ..Settings::default() });
    let resolve = packages();
    let (_, world) = resolve.worlds.iter().find(|(_, world)| world.name == "imports").unwrap();
    let (mut checked, mut left) = (0, Vec::new());
    for (key, item) in &world.imports {
        let WorldItem::Interface { id, .. } = item else { continue };
        let interface = resolve.name_world_key(key);
        for function in resolve.interfaces[*id].functions.values() {
            match Caller::new(&resolve, &interface, function) {
                Some(caller) => {
                    caller.check(&runtime, &folder);
                    checked += 1;
                }
                None => left.push(function.name.clone()),
            }
        }
    }
    // A guest has an error only once a file could not be read.
    assert_eq!(left, ["[method]error.to-debug-string", "filesystem-error-code"]);
    assert!(checked > 60, "{checked}");
    for source in &SOURCES {
        let (name, called) = (format!("[resource-drop]{}", source.resource), format!("(call $it {})", source.handle));
        Caller::calling(source.interface, &name, "(param i32)", &called, &[source]).check(&runtime, &folder);
    }
}
