//! Executes the instruction `unreachable` when it meets poison.

// `abort` is that instruction on Wasm.
components::evil!("trap-unreachable", || std::process::abort());
