//! The instance factory: how Wasm instances of one place in the dataflow are made, each like the one before.

use super::control::Control;
use super::spec::OperatorSpec;
use crate::wasm::{Call, GuestError, Instance, InstanceIdentity};
use reprise_core::description::Description;
use reprise_core::operator::{InstanceFactory, VersionedChunk};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The instance factory of one place in the dataflow.
#[derive(Clone)]
pub(super) struct WasmFactory {
    pub spec: Arc<OperatorSpec>,
    pub identity: InstanceIdentity,
    pub parallelism: u32,
    /// The call of `open`, the same for each.
    pub open: Call,
    pub control: Arc<Control>,
    /// A thread keeps a standby: one at a time, there is no room for more.
    pub has_standby: Arc<AtomicBool>,
}

impl WasmFactory {
    /// An instance, opened and restored; none that is not `wanted` any more.
    pub fn make_wanted(&self, state: &[Arc<VersionedChunk>], wanted: &dyn Fn() -> bool) -> Result<Instance, (GuestError, &'static str)> {
        let instance = self.spec.component.instantiate(&self.spec.limits, self.identity.clone());
        let mut instance = instance.map_err(|error| (error, "before its first row"))?;
        instance.open(&self.spec.settings.config, self.parallelism, self.open).map_err(|error| (error, "before its first row"))?;
        restore(&mut instance, state, wanted).map_err(|error| (error, "while its state was restored"))?;
        Ok(instance)
    }
}

/// Restores chunks. It is asked between two calls whether the instance is still wanted.
pub(super) fn restore(instance: &mut Instance, chunks: &[Arc<VersionedChunk>], wanted: &dyn Fn() -> bool) -> Result<(), GuestError> {
    let mut is_whole = true;
    let held = chunks.iter().take_while(|_| {
        is_whole = wanted();
        is_whole
    });
    instance.restore_all(held.map(|held| (held.version, &held.chunk)))?;
    if is_whole { Ok(()) } else { Err(GuestError::missing()) }
}

impl InstanceFactory for WasmFactory {
    type Guest = Instance;

    fn make(&self, state: &[Arc<VersionedChunk>]) -> Result<Instance, (GuestError, &'static str)> {
        self.make_wanted(state, &|| self.is_wanted())
    }

    fn is_wanted(&self) -> bool {
        !self.control.threads.is_dismissed()
    }

    fn is_aborted(&self) -> bool {
        self.control.aborted()
    }

    fn open_call(&self) -> Call {
        self.open
    }

    fn number(&self, call: Call) -> u64 {
        call.number
    }

    fn parallelism(&self) -> u32 {
        self.parallelism
    }

    fn description(&self) -> &Description {
        &self.spec.description
    }
}
