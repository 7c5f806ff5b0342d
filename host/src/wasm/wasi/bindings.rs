//! Bindings to `wasi.wit`: the traits that [`Guest`](crate::wasm::guest::Guest) implements.

#![allow(missing_docs)]

wasmtime::component::bindgen!({
    path: "src/wasm/wasi/wasi.wit",
    world: "reprise:wasi/imports",
    imports: { default: trappable },
    with: {
        "wasi:io/error.error": super::streams::IoError,
        "wasi:io/poll.pollable": super::streams::Pollable,
        "wasi:io/streams.input-stream": super::streams::InputStream,
        "wasi:io/streams.output-stream": super::streams::OutputStream,
        "wasi:filesystem/types.descriptor": super::files::Descriptor,
        "wasi:filesystem/types.directory-entry-stream": super::files::Entries,
    },
});

pub(super) use self::wasi::{cli, clocks, filesystem, io, random};
