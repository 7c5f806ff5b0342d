//! What `wit-bindgen` makes of the contract in `wit/`. Not for authors, who use the rest of the crate.
//!
//! The only module with unsafe code, all of it generated. Every operator is of the world `stateful`: one that declares no state hands out
//! empty snapshots, and its description says so. The generator's public macros are named after interfaces, so that one crate cannot
//! offer two worlds that export the same one.
#![allow(unsafe_code, missing_docs, clippy::all, clippy::pedantic)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "stateful",
    pub_export_macro: true,
    export_macro_name: "export_stateful",
    default_bindings_module: "reprise_guest::bindings",
    generate_all,
});
