//! Loading components: checks, compiles or takes from the cache, and links them to the engine that they share.

use super::component::Component;
use super::engine::SharedEngine;
use super::fault::chain;
use super::load::{BinaryKind, LoadError, World, componentise, kind, read};
use super::parts;
use super::precompiled::{CompiledCache, Key};
use super::settings::Settings;
use crate::panics::guarded;
use reprise_core::ids::Digest;
use reprise_core::plain::plain;
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;
use wasmtime::component::Component as Compiled;

/// Time that a component may compile before that is told.
const COMPILING_TOLD_AFTER: Duration = Duration::from_millis(1_500);

/// The runtime of components: their engine, and the cache of compiled ones. Clones share it; the thread of its ticks ends when the last clone, and the last component and instance, are gone.
#[derive(Clone)]
pub struct Runtime {
    engine: Arc<SharedEngine>,
    cache: Option<Arc<CompiledCache>>,
}

impl Runtime {
    /// Starts the engine.
    ///
    /// # Errors
    /// [`LoadError::Setting`], or [`LoadError::Engine`] where there is too little address space. A cache that cannot be used is done without.
    pub fn new(settings: &Settings) -> Result<Self, LoadError> {
        settings.check()?;
        let cache = settings.cache_dir.as_deref().and_then(open_cache).map(Arc::new);
        Ok(Self { engine: Arc::new(SharedEngine::start(settings)?), cache })
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

    /// Makes a component ready as [`Runtime::load`] does, with a name for people who wait for it.
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
        let engine = &self.engine.engine;
        let key = Key::new(engine, &digest);
        let cache = self.cache.as_deref();
        // What is in the cache was checked before it was put there.
        if let Some(compiled) = cache.and_then(|cache| cache.get(engine, key)) {
            return Component::new(&self.engine, compiled, Digest(digest));
        }
        parts::validate(bytes)?;
        let encoded;
        let component = match kind {
            BinaryKind::Component => bytes,
            BinaryKind::Module => {
                encoded = componentise(bytes)?;
                &encoded
            }
        };
        let _: World = read(kind, component)?.check()?;
        parts::count(component)?;
        let compiled = {
            let _told = CompilingNotice::start(name, bytes.len(), cache.is_some());
            Compiled::from_binary(engine, component).map_err(|e| LoadError::Invalid(chain(&e)))?
        };
        let component = Component::new(&self.engine, compiled, Digest(digest))?;
        if let Some(cache) = cache
            && let Err(error) = cache.put(key, component.compiled())
        {
            tracing::warn!(%error, "cannot keep a compiled component; it will be compiled again");
        }
        Ok(component)
    }
}

/// The cache at a folder; none where it cannot be used, which costs time and nothing else.
fn open_cache(path: &Path) -> Option<CompiledCache> {
    let opened = CompiledCache::open(path);
    opened
        .inspect_err(|error| {
            tracing::warn!(
                path = %path.display(), %error,
                "compiled components cannot be kept there, so that each start compiles them anew; name another folder with `--cache`"
            );
        })
        .ok()
}

/// The notice that a component is being compiled, where that takes long. Dropped when it is compiled.
struct CompilingNotice {
    /// Dropped to end the thread.
    _over: Option<Sender<()>>,
}

impl CompilingNotice {
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
