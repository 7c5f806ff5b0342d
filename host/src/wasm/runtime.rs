//! The engine that all components share, and the thread that counts its ticks.
//!
//! Everything that bounds guests as a whole is set here: how many there may be, how large they may become, which parts of WebAssembly
//! they may use. What bounds one instance is in [`Limits`](super::Limits).

use super::component::Component;
use super::contract::operator::Stateless;
use super::fault::{FRAMES_MAX, chain};
use super::guest::Guest;
use super::limits::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX};
use super::load::{Kind, LoadError, World, componentise, kind, read};
use super::parts;
use super::precompiled::{Cache, Key};
use super::wasi;
use crate::panics::guarded;
use reprise_core::ids::Digest;
use reprise_core::plain::plain;
use sha2::{Digest as _, Sha256};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use wasmtime::component::{Component as Compiled, HasSelf, InstancePre, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Address space reserved for each memory, where there is enough. With 4 GiB and a guard behind them no access needs a check of its own, because a 32-bit
/// address cannot reach past them: measured, guests run 1.5 times as fast as with a smaller reservation. It is address space, not memory:
/// nothing is committed before a guest touches it.
const RESERVATION_BYTES: u64 = 4 << 30;
/// Memory behind each memory that nobody can touch, so that an access past its end is noticed. As wasmtime has it for the reservation above.
const GUARD_BYTES: u64 = 32 << 20;
/// Where there is little address space: room that a memory grows into before it has to move.
const TIGHT_GROWTH_BYTES: u64 = 4 << 20;
/// Likewise, memory behind it that nobody can touch.
const TIGHT_GUARD_BYTES: u64 = 64 << 10;
/// Share of the address space that is left which memories may take, as one part of so many.
const ADDRESS_SPACE_SHARE: u64 = 2;
/// How long a component may compile before that is told.
const COMPILING_TOLD_AFTER: Duration = Duration::from_millis(1_500);
/// Tables of one component: its own, and that through which its imports are called.
const TABLES_MAX: u32 = 4;
/// Host memory for the bookkeeping of one instance: a pointer or so for each function, global and table.
const BOOKKEEPING_BYTES_MAX: usize = 8 << 20;
/// Stack of a guest, unless a job says otherwise.
const STACK_BYTES_DEFAULT: usize = 512 << 10;
/// Memories of dropped instances whose address space is kept for the next instance of the same component.
const WARM_MAX: u32 = 16;
/// Memory of a dropped instance that is wiped and kept, so that its successor finds pages: asking the system for them is a third of the time
/// that restoring a state of 10 MB takes. What is beyond goes back to the system.
const WARM_BYTES_MAX: usize = 64 << 20;

/// Settings of a [`Runtime`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where compiled components are kept, in files that only this user can write. `None`: compile at every start.
    pub cache_dir: Option<PathBuf>,
    /// Grain of deadlines, 1 to 10 ms.
    pub tick: Duration,
    /// Instances that may live at the same time, 1 to 4096. 4 GiB of address space are reserved for each.
    pub instances_max: u32,
    /// Linear memories that all of them may have beyond one each, for components that have several.
    pub further_memories_max: u32,
    /// The most linear memory that any operator may be allowed, 64 KiB to 4 GiB.
    pub memory_bytes_max: u64,
    /// Stack of a guest, 64 KiB to 1 MiB. It is part of the calling thread's, which needs 512 KiB beyond it.
    pub stack_bytes_max: usize,
    /// Guests' instructions are counted, for [`Usage::fuel`](super::Usage). It slows them down, so that operators which ask for it are given
    /// a runtime of their own.
    pub fuel: bool,
}

/// Most instances that one runtime has room for: each takes 4 GiB of address space.
pub const INSTANCES_MAX: u32 = 4_096;

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache_dir: None,
            tick: Duration::from_millis(5),
            instances_max: 256,
            further_memories_max: 0,
            memory_bytes_max: RESERVATION_BYTES,
            stack_bytes_max: STACK_BYTES_DEFAULT,
            fuel: false,
        }
    }
}

impl Settings {
    /// The same, with room for instances of a component with so many memories each.
    #[must_use]
    pub fn with_memories(self, each: u32) -> Self {
        let further_memories_max = self.instances_max.saturating_mul(each.saturating_sub(1));
        Self { further_memories_max, ..self }
    }

    fn memories_max(&self) -> u32 {
        self.instances_max.saturating_add(self.further_memories_max)
    }

    /// Address space that is taken at the start where each memory has its whole reservation.
    fn wide_bytes(&self) -> u64 {
        u64::from(self.memories_max()).saturating_mul(RESERVATION_BYTES + GUARD_BYTES)
    }

    fn check(&self) -> Result<(), LoadError> {
        let refuse = |name, why: &str| Err(LoadError::Setting { name, why: why.to_owned() });
        if !(Duration::from_millis(1)..=Duration::from_millis(10)).contains(&self.tick) {
            return refuse("tick", "must be 1 to 10 ms");
        }
        if !(1..=INSTANCES_MAX).contains(&self.instances_max) {
            return refuse("instances_max", &format!("must be 1 to {INSTANCES_MAX}"));
        }
        if self.memories_max() > INSTANCES_MAX.saturating_mul(4) {
            return refuse("further_memories_max", &format!("must leave at most {} memories in all", INSTANCES_MAX * 4));
        }
        if !(64 << 10..=RESERVATION_BYTES).contains(&self.memory_bytes_max) {
            return refuse("memory_bytes_max", "must be 64 KiB to 4 GiB");
        }
        if !(64 << 10..=1 << 20).contains(&self.stack_bytes_max) {
            return refuse("stack_bytes_max", "must be 64 KiB to 1 MiB");
        }
        Ok(())
    }
}

/// The WebAssembly engine. Clones share it; its thread ends when the last clone, and the last component and instance, are gone.
#[derive(Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
}

/// What components and instances need of their runtime for as long as they live.
pub(super) struct Shared {
    pub(super) engine: Engine,
    linker: Linker<Guest>,
    /// With the virtual WASI; made for the first component that imports it.
    wasi_linker: OnceLock<Linker<Guest>>,
    pub(super) settings: Settings,
    cache: Option<Cache>,
    _ticker: Ticker,
}

impl Shared {
    /// Puts something behind every import of a component; `wasi:*` only where it is imported.
    pub(super) fn link(&self, compiled: &Compiled) -> wasmtime::Result<InstancePre<Guest>> {
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
}

impl Runtime {
    /// Starts the engine.
    ///
    /// # Errors
    /// [`LoadError::Setting`], or [`LoadError::Engine`] where there is too little address space. A cache that cannot be used is done without.
    pub fn new(settings: &Settings) -> Result<Self, LoadError> {
        settings.check()?;
        let cache = settings.cache_dir.as_deref().and_then(open_cache);
        let engine = engine(settings)?;
        let mut linker = Linker::new(&engine);
        Stateless::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest: &mut Guest| guest)
            .map_err(|error| LoadError::Engine(chain(&error)))?;
        let ticker = Ticker::start(&engine, settings.tick).map_err(|error| LoadError::Engine(error.to_string()))?;
        let shared = Shared { engine, linker, wasi_linker: OnceLock::new(), settings: settings.clone(), cache, _ticker: ticker };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Makes a component ready: checks what it imports and exports, compiles it (or takes the compiled one from the cache), and checks
    /// the types of its exports. No guest code runs.
    ///
    /// `bytes` are a component, or a core module with component metadata.
    ///
    /// # Errors
    /// Where the bytes are no operator of this version, want more than an operator is given, or are broken.
    pub fn load(&self, bytes: &[u8]) -> Result<Component, LoadError> {
        self.load_named(bytes, "a component")
    }

    /// As [`Runtime::load`], with a name for people who wait for it.
    ///
    /// # Errors
    /// As [`Runtime::load`].
    pub fn load_named(&self, bytes: &[u8], name: &str) -> Result<Component, LoadError> {
        // The libraries own all that they change, so that nothing broken is seen after a panic.
        guarded(|| self.load_unguarded(bytes, name)).unwrap_or_else(|why| Err(LoadError::GaveUp(why)))
    }

    fn load_unguarded(&self, bytes: &[u8], name: &str) -> Result<Component, LoadError> {
        let kind = kind(bytes)?;
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        let engine = &self.shared.engine;
        let key = Key::new(engine, &digest);
        let cache = self.shared.cache.as_ref();
        // What is in the cache was checked before it was put there.
        if let Some(compiled) = cache.and_then(|cache| cache.get(engine, key)) {
            return Component::new(&self.shared, compiled, Digest(digest));
        }
        parts::validate(bytes)?;
        let encoded;
        let component = match kind {
            Kind::Component => bytes,
            Kind::Module => {
                encoded = componentise(bytes)?;
                &encoded
            }
        };
        let _: World = read(kind, component)?.check()?;
        parts::count(component)?;
        let compiled = {
            let _told = Patience::start(name, bytes.len(), cache.is_some());
            Compiled::from_binary(engine, component).map_err(|e| LoadError::Invalid(chain(&e)))?
        };
        let component = Component::new(&self.shared, compiled, Digest(digest))?;
        if let Some(cache) = cache
            && let Err(error) = cache.put(key, component.compiled())
        {
            tracing::warn!(%error, "cannot keep a compiled component; it will be compiled again");
        }
        Ok(component)
    }
}

/// The cache at a folder; none where it cannot be used, which costs time and nothing else.
fn open_cache(path: &Path) -> Option<Cache> {
    let opened = Cache::open(path);
    opened
        .inspect_err(|error| {
            tracing::warn!(
                path = %path.display(), %error,
                "compiled components cannot be kept there, so that each start compiles them anew; name another folder with `--cache`"
            );
        })
        .ok()
}

/// Says that a component is being compiled, where that takes long; ends with the value.
struct Patience {
    /// Dropped to end the thread.
    _over: Option<Sender<()>>,
}

impl Patience {
    fn start(name: &str, bytes: usize, is_kept: bool) -> Self {
        let (over, is_over) = channel::<()>();
        let (name, megabytes) = (plain(name), bytes.div_ceil(1_000_000));
        let next = if is_kept { "this first time only" } else { "at each start, since there is no cache folder" };
        let thread = std::thread::Builder::new().name("compiling".to_owned()).spawn(move || {
            if is_over.recv_timeout(COMPILING_TOLD_AFTER) == Err(RecvTimeoutError::Timeout) {
                tracing::info!("compiling {name} ({megabytes} MB), {next}");
            }
        });
        // Without a thread nobody is told; it compiles all the same.
        Self { _over: thread.is_ok().then_some(over) }
    }
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
#[cfg(unix)]
fn address_space_left() -> Option<u64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::As).current?;
    let used_pages = std::fs::read_to_string("/proc/self/statm").ok();
    let used_pages = used_pages.and_then(|text| text.split(' ').next()?.parse::<u64>().ok()).unwrap_or(0);
    Some(limit.saturating_sub(used_pages.saturating_mul(rustix::param::page_size() as u64)))
}

#[cfg(not(unix))]
fn address_space_left() -> Option<u64> {
    None
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

/// As [`config`], with as little address space as it takes. What the pool bounds is bounded by the meter of each instance.
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
