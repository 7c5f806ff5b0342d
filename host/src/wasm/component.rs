//! A component that is compiled and checked, ready to be instantiated any number of times.

use super::contract::{OPERATOR, STATE, description, operator, state};
use super::engine::SharedEngine;
use super::fault::{Fault, GuestError, chain};
use super::guest::{Call, GuestState, InstanceIdentity};
use super::instance::{Exports, Instance};
use super::limits::{CORE_INSTANCES_MAX, DESCRIPTION_BYTES_MAX, Limits, TABLE_ELEMENTS_MAX};
use super::load::LoadError;
use super::wasi::{GrantError, Grants};
use reprise_core::description::Description;
use reprise_core::ids::Digest;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use wasmtime::Store;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component as Compiled, ComponentNamedList, InstancePre, Lift, Lower};

/// Memory that the instance which describes itself may use.
const DESCRIBE_MEMORY_BYTES_MAX: u64 = 1 << 30;
/// Time that `describe` may take, and as much for the instantiation before it.
const DESCRIBE_DEADLINE: Duration = Duration::from_secs(10);

/// A compiled component. Clones share it.
#[derive(Clone)]
pub struct Component {
    inner: Arc<Inner>,
    grants: Arc<Grants>,
}

struct Inner {
    digest: Digest,
    imports: Vec<String>,
    exports: Vec<String>,
    ready: InstancePre<GuestState>,
    operator: operator::GuestIndices,
    state: Option<state::GuestIndices>,
    described: OnceLock<Description>,
    engine: Arc<SharedEngine>,
}

impl Component {
    /// Checks the types of the exports of a compiled component, and links its imports.
    pub(super) fn new(engine: &Arc<SharedEngine>, compiled: Compiled, digest: Digest) -> Result<Self, LoadError> {
        let invalid = |error: wasmtime::Error| LoadError::Invalid(chain(&error));
        let ready = engine.link(&compiled).map_err(invalid)?;
        let ty = compiled.component_type();
        let imports: Vec<String> = ty.imports(&engine.engine).map(|(name, _)| name.to_owned()).collect();
        let exports: Vec<String> = ty.exports(&engine.engine).map(|(name, _)| name.to_owned()).collect();
        let types = Types { engine, ready: &ready };
        types.check::<(), (operator::Description,)>(OPERATOR, "describe")?;
        types.check::<(operator::Context<'_>,), (Result<(), String>,)>(OPERATOR, "open")?;
        types.check::<(u32, operator::BatchParam<'_>), (Result<operator::Outcome, String>,)>(OPERATOR, "process")?;
        types.check::<(i64,), (Result<operator::Emitted, String>,)>(OPERATOR, "advance")?;
        types.check::<(), (Result<operator::Emitted, String>,)>(OPERATOR, "resume")?;
        let has_state = exports.iter().any(|name| name == STATE);
        if has_state {
            types.check::<(state::Scope, u32), (Result<state::Part, String>,)>(STATE, "snapshot")?;
            types.check::<(u32, state::ChunkParam<'_>), (Result<(), String>,)>(STATE, "restore")?;
        }
        let operator = operator::GuestIndices::new(&ready).map_err(invalid)?;
        let state = if has_state { Some(state::GuestIndices::new(&ready).map_err(invalid)?) } else { None };
        let inner = Inner { digest, imports, exports, ready, operator, state, described: OnceLock::new(), engine: Arc::clone(engine) };
        Ok(Self { inner: Arc::new(inner), grants: Arc::default() })
    }

    /// The component with grants for its instances. Without it they are granted nothing.
    ///
    /// # Errors
    /// Where the component would never see what is granted.
    pub fn granted(&self, grants: Grants) -> Result<Self, GrantError> {
        grants.check(self.imports())?;
        Ok(Self { inner: Arc::clone(&self.inner), grants: Arc::new(grants) })
    }

    pub(super) fn compiled(&self) -> &Compiled {
        self.inner.ready.component()
    }

    /// SHA-256 of the bytes that were loaded.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// True where the component exports the interface `state`.
    #[must_use]
    pub fn has_state(&self) -> bool {
        self.inner.state.is_some()
    }

    /// True where the instructions of the component's instances are counted.
    #[must_use]
    pub fn counts_fuel(&self) -> bool {
        self.inner.engine.settings.fuel
    }

    /// The names of what the component imports.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.inner.imports
    }

    /// The names of what the component exports.
    #[must_use]
    pub fn exports(&self) -> &[String] {
        &self.inner.exports
    }

    /// The description of the component, checked. A fresh instance, to which nothing is granted, is asked once; clones remember the answer.
    ///
    /// # Errors
    /// Where it traps, or says what no description may say.
    pub fn describe(&self) -> Result<Description, GuestError> {
        if let Some(described) = self.inner.described.get() {
            return Ok(described.clone());
        }
        let memory_bytes_max = self.inner.engine.settings.memory_bytes_max.min(DESCRIBE_MEMORY_BYTES_MAX);
        let limits = Limits { memory_bytes_max, deadline: DESCRIBE_DEADLINE, ..Limits::default() };
        let identity = InstanceIdentity { job: String::new(), operator: String::new(), instance: 0, seed: 0 };
        let (mut store, exports) = self.start(&limits, &identity, Arc::default())?;
        store.set_hostcall_fuel(DESCRIPTION_BYTES_MAX);
        store.data_mut().begin(Some(Call::default()));
        self.inner.engine.start_call(&mut store, limits.deadline);
        let said = exports.operator.call_describe(&mut store);
        let guest = store.data_mut();
        guest.end();
        let said =
            said.map_err(|error| GuestError::ended("describe", &error, guest, limits.deadline, DESCRIPTION_BYTES_MAX)).map(description)?;
        said.check(self.has_state()).map_err(|error| GuestError::said("describe", Fault::Lie(error.to_string()), guest))?;
        Ok(self.inner.described.get_or_init(|| said).clone())
    }

    /// Makes a fresh instance. It must be opened before it is given rows.
    ///
    /// # Errors
    /// Where `describe` fails, the limits are over those of the runtime, the pool of instances is full, or start-up code of the guest
    /// traps.
    pub fn instantiate(&self, limits: &Limits, identity: InstanceIdentity) -> Result<Instance, GuestError> {
        let memory_bytes_max = self.inner.engine.settings.memory_bytes_max;
        for (limit, asked, unit, max) in [
            ("memory limit", limits.memory_bytes_max, "bytes", memory_bytes_max),
            ("limit", limits.core_instances_max.into(), "core instances", CORE_INSTANCES_MAX.into()),
            ("limit", limits.table_elements_max.into(), "table elements", TABLE_ELEMENTS_MAX as u64),
        ] {
            if asked > max {
                return Err(GuestError::early("instantiate", format!("its {limit} is {asked} {unit}, that of the runtime {max}")));
            }
        }
        let description = self.describe()?;
        let (store, exports) = self.start(limits, &identity, Arc::clone(&self.grants))?;
        Ok(Instance::new(Arc::clone(&self.inner.engine), identity.instance, store, exports, description, limits.clone()))
    }

    fn start(&self, limits: &Limits, identity: &InstanceIdentity, grants: Arc<Grants>) -> Result<(Store<GuestState>, Exports), GuestError> {
        let engine = &self.inner.engine;
        let mut store = engine.store(GuestState::new(limits, identity, grants));
        store.data_mut().begin(Some(Call::default()));
        let handover_bytes_max = store.hostcall_fuel();
        engine.start_call(&mut store, limits.deadline);
        let exports = self.link(&mut store);
        let guest = store.data_mut();
        guest.end();
        match exports {
            Ok(exports) => Ok((store, exports)),
            Err(error) => Err(GuestError::ended("instantiate", &error, guest, limits.deadline, handover_bytes_max)),
        }
    }

    fn link(&self, store: &mut Store<GuestState>) -> wasmtime::Result<Exports> {
        let instance = self.inner.ready.instantiate(&mut *store)?;
        let operator = self.inner.operator.load(&mut *store, &instance)?;
        let state = match &self.inner.state {
            Some(state) => Some(state.load(&mut *store, &instance)?),
            None => None,
        };
        Ok(Exports { operator, state })
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component").field("digest", &self.inner.digest).field("has_state", &self.has_state()).finish_non_exhaustive()
    }
}

/// Workers make components and instances on their own threads.
const _: fn() = || {
    fn sent<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    sent::<Instance>();
    shared::<Component>();
};

/// Compares the types of exports with those of the contract.
struct Types<'a> {
    engine: &'a SharedEngine,
    ready: &'a InstancePre<GuestState>,
}

impl Types<'_> {
    fn check<P, R>(&self, interface: &str, function: &str) -> Result<(), LoadError>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let refuse = |why: String| LoadError::Types { export: format!("{interface}#{function}"), why };
        let found = self.function(interface, function).ok_or_else(|| refuse("there is no such function".to_owned()))?;
        if found.async_() {
            return Err(refuse("it is asynchronous".to_owned()));
        }
        found.typecheck::<P, R>(&self.ready.instance_type()).map_err(|error| refuse(chain(&error)))
    }

    fn function(&self, interface: &str, function: &str) -> Option<ComponentFunc> {
        let engine = &self.engine.engine;
        let ComponentItem::ComponentInstance(instance) = self.ready.component().component_type().get_export(engine, interface)?.ty else {
            return None;
        };
        match instance.get_export(engine, function)?.ty {
            ComponentItem::ComponentFunc(function) => Some(function),
            _ => None,
        }
    }
}
