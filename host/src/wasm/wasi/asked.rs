//! Functions of the virtual WASI that a guest may ask its host for.

/// Defines functions of a guest that count as calls of the host: none gives its answer to a guest that has asked too often.
macro_rules! asked {
    ($($(#[$note:meta])* $function:ident($this:ident $(, $name:tt: $type:ty)*) -> $answer:ty = $value:expr;)*) => {
        $($(#[$note])* fn $function(&mut $this $(, $name: $type)*) -> wasmtime::Result<$answer> {
            $this.check_asked()?;
            $value
        })*
    };
}

pub(super) use asked;
