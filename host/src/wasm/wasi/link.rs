//! Puts the virtual WASI behind the imports of a component.
//!
//! What is denied is linked by the types that the component asks for, whatever functions its version of WASI has: a function that can
//! fail with `access-denied` does; any other one hands out a handle to nothing where that is all it returns, or traps. No socket is ever
//! made, so that no method of a socket can be called.

use super::bindings::Imports;
use super::imports::is_denied;
use super::state::{Ended, HANDLES_MAX};
use crate::wasm::guest::GuestState;
use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{Component, HasSelf, Linker, Resource, ResourceAny, ResourceType, Val};
use wasmtime::{Engine, Result, StoreContextMut};

/// The error of a denied call, in the words of `wasi:sockets`.
const DENIED: &str = "access-denied";

/// The resource that every denied handle stands for.
struct Nothing;

/// Adds what the virtual WASI answers. Each call is counted on its way to the function that answers it, and every function begins by ending a
/// call of the guest that has asked too often.
pub(in crate::wasm) fn link(linker: &mut Linker<GuestState>) -> Result<()> {
    Imports::add_to_linker::<_, HasSelf<_>>(linker, GuestState::asked)
}

/// Adds what this component imports and is denied.
pub(in crate::wasm) fn link_denied(linker: &mut Linker<GuestState>, engine: &Engine, component: &Component) -> Result<()> {
    let ty = component.component_type();
    let mut known: Vec<ResourceType> = Vec::new();
    for (import, item) in ty.imports(engine) {
        let ComponentItem::ComponentInstance(interface) = item.ty else { continue };
        for (name, item) in interface.exports(engine) {
            match item.ty {
                // An interface names the resources of others that it uses. Those are known by then, and are not its own to define.
                ComponentItem::Resource(resource) if known.contains(&resource) => {}
                ComponentItem::Resource(resource) => {
                    known.push(resource);
                    if is_denied(import) {
                        linker.instance(import)?.resource(name, ResourceType::host::<Nothing>(), |mut store, _| {
                            let guest = store.data_mut();
                            guest.asked().check_asked()?;
                            guest.wasi.nothings = guest.wasi.nothings.saturating_sub(1);
                            Ok(())
                        })?;
                    }
                }
                ComponentItem::ComponentFunc(_) if is_denied(import) => linker.instance(import)?.func_new(name, deny)?,
                _ => {}
            }
        }
    }
    Ok(())
}

fn deny(mut store: StoreContextMut<'_, GuestState>, ty: ComponentFunc, params: &[Val], results: &mut [Val]) -> Result<()> {
    store.data_mut().asked().check_asked()?;
    for param in params {
        // Handles that were lent must be given back.
        if let Val::Resource(handle) = param {
            handle.resource_drop(&mut store)?;
        }
    }
    for (result, ty) in results.iter_mut().zip(ty.results()) {
        *result = match ty {
            Type::Result(ty) if can_be_denied(ty.err().as_ref()) => Val::Result(Err(Some(Box::new(Val::Enum(DENIED.to_owned()))))),
            Type::Own(ty) if ty == ResourceType::host::<Nothing>() => Val::Resource(nothing(&mut store)?),
            _ => return Err(Ended::Denied.into()),
        };
    }
    Ok(())
}

/// A handle to nothing, where the guest does not hold too many.
fn nothing(store: &mut StoreContextMut<'_, GuestState>) -> Result<ResourceAny> {
    let held = &mut store.data_mut().wasi.nothings;
    if *held >= HANDLES_MAX {
        return Err(Ended::Handles.into());
    }
    *held += 1;
    ResourceAny::try_from_resource(Resource::<Nothing>::new_own(0), store)
}

fn can_be_denied(error: Option<&Type>) -> bool {
    matches!(error, Some(Type::Enum(codes)) if codes.names().any(|code| code == DENIED))
}
