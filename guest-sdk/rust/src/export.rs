//! The macro that makes a component of an operator.

/// Declares an operator's state, and makes a component of it where the target is Wasm.
///
/// ```text
/// export!(Split);                            // keeps nothing
/// export!(Count { totals });                 // the field `totals` is declared state
/// export!(Sessions { open_since, seen: 2 }); // `seen` is in version 2: the meaning of its bytes changed once
/// ```
///
/// Each field named must be a [`Value`](crate::Value), [`Keyed`](crate::Keyed) or [`KeyedItems`](crate::KeyedItems). Its name, with `-`
/// for `_`, is its identity across versions of the operator; the order does not matter. A field that is not named is not kept.
///
/// The crate of a component has `crate-type = ["cdylib"]`, and exports one operator.
#[macro_export]
macro_rules! export {
    ($operator:ident) => {
        $crate::export!(@declare $operator {});
        $crate::export!(@component $operator);
    };
    ($operator:ident { $($field:ident $(: $version:literal)?),+ $(,)? }) => {
        $crate::export!(@declare $operator { $($field $(: $version)?),+ });
        $crate::export!(@component $operator);
    };
    (@declare $operator:ident { $($field:ident $(: $version:literal)?),* }) => {
        impl $crate::Declared for $operator {
            const CRATE_VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");

            fn slots(&mut self) -> ::std::vec::Vec<$crate::state::Declaration<'_>> {
                ::std::vec![$($crate::state::Declaration {
                    name: ::core::stringify!($field),
                    version: $crate::export!(@version $($version)?),
                    slot: &mut self.$field,
                }),*]
            }
        }
    };
    (@version) => { 1 };
    (@version $version:literal) => { $version };
    (@component $operator:ident) => {
        // Elsewhere than on Wasm nothing but tests may use the operator: no reason for a warning.
        const _: fn() -> $operator = ::core::default::Default::default;

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            ::std::thread_local! {
                static RUNNER: ::core::cell::RefCell<$crate::Runner<$operator>> = ::core::default::Default::default();
            }

            impl $crate::glue::Exported for $operator {
                fn with<R>(f: impl FnOnce(&mut $crate::Runner<Self>) -> R) -> R {
                    RUNNER.with_borrow_mut(f)
                }
            }

            type Component = $crate::glue::Component<$operator>;
            $crate::bindings::export_stateful!(Component with_types_in $crate::bindings);
        };
    };
}
