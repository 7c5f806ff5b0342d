//! The engine of wasmtime that all components of a runtime share, with the thread that counts its ticks.
//!
//! Everything that bounds guests as a whole is set here: how many there may be, how large they may become, which parts of WebAssembly
//! they may use. What bounds one instance is in [`Limits`](super::Limits).

use super::contract::operator::Stateless;
use super::deadline::Timer;
use super::fault::{FRAMES_MAX, chain};
use super::guest::GuestState;
use super::limits::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX};
use super::load::LoadError;
use super::settings::{RESERVATION_BYTES, Settings};
use super::wasi;
use crate::panics::guarded;
use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use wasmtime::component::{Component as Compiled, HasSelf, InstancePre, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, UpdateDeadline};

/// Room that a memory grows into before it has to move, where there is little address space.
const TIGHT_GROWTH_BYTES: u64 = 4 << 20;
/// Memory behind each memory that no guest can touch, where there is little address space.
const TIGHT_GUARD_BYTES: u64 = 64 << 10;
/// Share of the address space that is left which memories may take, as one part of so many.
const ADDRESS_SPACE_SHARE: u64 = 2;
/// Tables of one component: its own, and that through which its imports are called.
const TABLES_MAX: u32 = 4;
/// Host memory for the bookkeeping of one instance: a pointer or so for each function, global and table.
const BOOKKEEPING_BYTES_MAX: usize = 8 << 20;
/// Memories of dropped instances whose address space is kept for the next instance of the same component.
const WARM_MAX: u32 = 16;
/// Memory of a dropped instance that is wiped and kept, so that its successor finds pages: asking the system for them is a third of the time
/// that restoring a state of 10 MB takes. What is beyond goes back to the system.
const WARM_BYTES_MAX: usize = 64 << 20;

/// Fuel of a store before each call, where instructions are counted. No call comes near it.
const FUEL: u64 = u64::MAX;

/// The engine of a runtime, as its components and instances need it for as long as they live.
pub(super) struct SharedEngine {
    pub(super) engine: Engine,
    linker: Linker<GuestState>,
    /// The linker with the virtual WASI; made for the first component that imports it.
    wasi_linker: OnceLock<Linker<GuestState>>,
    pub(super) settings: Settings,
    _ticker: Ticker,
}

impl SharedEngine {
    /// Starts an engine and its ticks.
    ///
    /// # Errors
    /// [`LoadError::Engine`] where there is too little address space.
    pub(super) fn start(settings: &Settings) -> Result<Self, LoadError> {
        let engine = engine(settings)?;
        let mut linker = Linker::new(&engine);
        Stateless::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest: &mut GuestState| guest)
            .map_err(|error| LoadError::Engine(chain(&error)))?;
        let ticker = Ticker::start(&engine, settings.tick).map_err(|error| LoadError::Engine(error.to_string()))?;
        Ok(Self { engine, linker, wasi_linker: OnceLock::new(), settings: settings.clone(), _ticker: ticker })
    }

    /// Puts something behind every import of a component; `wasi:*` only where it is imported.
    pub(super) fn link(&self, compiled: &Compiled) -> wasmtime::Result<InstancePre<GuestState>> {
        if !compiled.component_type().imports(&self.engine).any(|(name, _)| wasi::is_wasi(name)) {
            return self.linker.instantiate_pre(compiled);
        }
        let mut linker = match self.wasi_linker.get() {
            Some(linker) => linker.clone(),
            None => {
                let mut linker = self.linker.clone();
                wasi::link(&mut linker)?;
                self.wasi_linker.get_or_init(|| linker).clone()
            }
        };
        wasi::link_denied(&mut linker, &self.engine, compiled)?;
        linker.instantiate_pre(compiled)
    }

    /// A store of wasmtime for one instance, whose calls end at their deadlines.
    pub(super) fn store(&self, guest: GuestState) -> Store<GuestState> {
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| &mut guest.meter);
        let tick = self.settings.tick;
        store.epoch_deadline_callback(move |guest| {
            Ok(match guest.data().timer.left() {
                Some(left) => UpdateDeadline::Continue(ticks(left, tick)),
                None => UpdateDeadline::Interrupt,
            })
        });
        store
    }

    /// Starts the deadline of a call that is about to be made, and the count of its instructions where they are counted.
    pub(super) fn start_call(&self, store: &mut Store<GuestState>, limit: Duration) {
        if self.settings.fuel {
            // It fails only where the engine does not count.
            let _ = store.set_fuel(FUEL);
        }
        store.data_mut().timer = Timer::start(limit);
        store.set_epoch_deadline(ticks(limit, self.settings.tick));
    }

    /// Instructions since [`Self::start_call`]; 0 where they are not counted.
    pub(super) fn burnt(&self, store: &Store<GuestState>) -> u64 {
        if self.settings.fuel { FUEL - store.get_fuel().unwrap_or(FUEL) } else { 0 }
    }
}

/// Ticks after which a call is certainly past its deadline: the current tick has partly gone.
fn ticks(deadline: Duration, tick: Duration) -> u64 {
    let ticks = deadline.as_nanos().div_ceil(tick.as_nanos().max(1)).saturating_add(1);
    // Deadlines far beyond the age of the universe must not wrap around when the engine adds its count to them.
    u64::try_from(ticks).unwrap_or(u64::MAX).min(u64::MAX / 2)
}

/// Starts the engine with whole reservations, or with small ones where those do not fit.
fn engine(settings: &Settings) -> Result<Engine, LoadError> {
    let left = address_space_left();
    if left.is_none_or(|left| settings.wide_bytes() <= left / ADDRESS_SPACE_SHARE) {
        match new_engine(&config(settings)) {
            Ok(engine) => return Ok(engine),
            Err(why) => tracing::debug!(why, "memories cannot have their whole reservations"),
        }
    }
    let gib = settings.wide_bytes() >> 30;
    tracing::info!("guests are given address space as they need it, which is slower: {gib} GiB for all are not to be had (`ulimit -v`)");
    new_engine(&tight(settings)).map_err(LoadError::Engine)
}

fn new_engine(config: &Config) -> Result<Engine, String> {
    guarded(|| Engine::new(config).map_err(|error| chain(&error))).unwrap_or_else(Err)
}

/// Address space that this process may still take; `None` where nothing but the machine limits it.
fn address_space_left() -> Option<u64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::As).current?;
    let used_pages = std::fs::read_to_string("/proc/self/statm").ok();
    let used_pages = used_pages.and_then(|text| text.split(' ').next()?.parse::<u64>().ok()).unwrap_or(0);
    Some(limit.saturating_sub(used_pages.saturating_mul(rustix::param::page_size() as u64)))
}

fn config(settings: &Settings) -> Config {
    let mut config = Config::new();
    // Calls are synchronous; support for concurrent ones taxes each of them.
    config.concurrency_support(false);
    config.epoch_interruption(true);
    config.max_wasm_stack(settings.stack_bytes_max);
    config.consume_fuel(settings.fuel);
    config.memory_reservation(RESERVATION_BYTES);
    config.wasm_backtrace_max_frames(NonZeroUsize::new(FRAMES_MAX));
    // The same input gives the same bytes on every machine, for replay.
    config.cranelift_nan_canonicalization(true);
    config.relaxed_simd_deterministic(true);
    // Components that call each other do so through code of wasmtime's that has the memories of both.
    config.wasm_multi_memory(true);
    // What no operator needs stays out.
    config.wasm_memory64(false);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(settings)));
    config
}

/// The configuration of [`config`] with as little address space as it takes. What the pool bounds is bounded by the meter of each instance.
fn tight(settings: &Settings) -> Config {
    let mut config = config(settings);
    config.memory_reservation(0);
    config.memory_reservation_for_growth(TIGHT_GROWTH_BYTES);
    config.memory_guard_size(TIGHT_GUARD_BYTES);
    config.guard_before_linear_memory(false);
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    config
}

fn pool(settings: &Settings) -> PoolingAllocationConfig {
    let instances = settings.instances_max;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances);
    pool.max_component_instance_size(BOOKKEEPING_BYTES_MAX);
    pool.total_core_instances(instances.saturating_mul(CORE_INSTANCES_MAX));
    pool.max_core_instances_per_component(CORE_INSTANCES_MAX);
    pool.max_core_instance_size(BOOKKEEPING_BYTES_MAX);
    pool.total_memories(settings.memories_max());
    pool.max_memories_per_component(MEMORIES_MAX);
    pool.max_memories_per_module(MEMORIES_MAX);
    pool.max_memory_size(usize::try_from(settings.memory_bytes_max).unwrap_or(usize::MAX));
    pool.total_tables(instances.saturating_mul(TABLES_MAX));
    pool.max_tables_per_component(TABLES_MAX);
    pool.max_tables_per_module(TABLES_MAX);
    pool.table_elements(TABLE_ELEMENTS_MAX);
    pool.max_unused_warm_slots(WARM_MAX);
    pool.linear_memory_keep_resident(WARM_BYTES_MAX);
    pool.pagemap_scan(Enabled::Auto);
    pool
}

/// The thread that counts ticks, so that calls end at their deadlines.
struct Ticker {
    /// Dropped to end the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: &Engine, tick: Duration) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let engine = engine.weak();
        let thread = std::thread::Builder::new().name("wasm-ticks".to_owned()).spawn(move || {
            while stopped.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                let Some(engine) = engine.upgrade() else { break };
                engine.increment_epoch();
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // It cannot panic; and if it did, there is nobody left to tell.
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_early() {
        let tick = Duration::from_millis(5);
        assert_eq!(ticks(Duration::ZERO, tick), 1);
        assert_eq!(ticks(Duration::from_millis(5), tick), 2);
        assert_eq!(ticks(Duration::from_millis(6), tick), 3);
        assert_eq!(ticks(Duration::MAX, tick), u64::MAX / 2);
    }
}
