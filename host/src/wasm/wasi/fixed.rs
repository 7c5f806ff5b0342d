//! Functions of the virtual WASI with one answer, whatever they are asked.

/// Defines functions of a guest that count as calls of the host and have a fixed answer.
macro_rules! fixed {
    ($($function:ident($($parameter:ty),*) -> $answer:ty = $value:expr;)*) => {
        $(fn $function(&mut self, $(_: $parameter),*) -> wasmtime::Result<$answer> {
            self.check_asked()?;
            Ok($value)
        })*
    };
}

pub(super) use fixed;
