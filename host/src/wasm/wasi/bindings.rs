//! Bindings to `wasi.wit`: the traits that [`GuestState`](crate::wasm::guest::GuestState) implements.

#![allow(missing_docs)]

wasmtime::component::bindgen!({
    path: "src/wasm/wasi/wasi.wit",
    world: "reprise:wasi/imports",
    imports: { default: trappable },
    with: {
        "wasi:io/error.error": super::resources::IoError,
        "wasi:io/poll.pollable": super::resources::Pollable,
        "wasi:io/streams.input-stream": super::resources::InputStream,
        "wasi:io/streams.output-stream": super::resources::OutputStream,
        "wasi:filesystem/types.descriptor": super::resources::Descriptor,
        "wasi:filesystem/types.directory-entry-stream": super::resources::Entries,
    },
});

pub(super) use self::wasi::{cli, clocks, filesystem, io, random};
