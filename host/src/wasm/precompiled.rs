//! Compiled components on disk, so that a large component is compiled once a machine.
//!
//! The only unsafe code of the host is here: machine code that is read back is run. A file is run only if it stands in a directory that
//! is this user's and that no other can write, and if its header names our format, its own key, and the length and SHA-256 of what follows. Any other file
//! is ignored and replaced. Files appear whole: written aside, synced, renamed. They are read, not mapped, so that a later change of the
//! file cannot reach running code.
//!
//! ```text
//! 0  magic "RPRSCWSM"   8  format, u32 LE   12  key, 32 bytes   44  length, u64 LE   52  SHA-256 of the payload   84  payload
//! ```

use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::hash::{Hash as _, Hasher};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use wasmtime::Engine;
use wasmtime::component::Component;

const MAGIC: &[u8; 8] = b"RPRSCWSM";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 84;
/// Bytes of a file that are read.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Files that are kept; the oldest go.
const FILES_MAX: usize = 128;
const SUFFIX: &str = "cwasm";

/// Names the files that one process writes aside.
static ASIDE: AtomicU64 = AtomicU64::new(0);

/// A directory of compiled components.
#[derive(Debug)]
pub(super) struct CompiledCache {
    dir: PathBuf,
}

/// The key of a compiled component, made of all that it depends on: the bytes it was made from, the version of wasmtime, its settings, the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key([u8; 32]);

impl Key {
    pub(super) fn new(engine: &Engine, component: &[u8; 32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(FORMAT.to_le_bytes());
        hash.update(component);
        let mut environment = Collect(hash);
        engine.precompile_compatibility_hash().hash(&mut environment);
        Self(environment.0.finalize().into())
    }
}

/// Feeds what is hashed to SHA-256.
struct Collect(Sha256);

impl Hasher for Collect {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0 // The digest is taken from the inside.
    }
}

impl CompiledCache {
    /// Opens a directory, and makes it where it is missing.
    ///
    /// # Errors
    /// Where it cannot be made, or where other users may write in it.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        make_private(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    fn path(&self, key: Key) -> PathBuf {
        let name: String = key.0.iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(name).with_extension(SUFFIX)
    }

    /// The compiled component of this key, where there is a sound one.
    pub(super) fn get(&self, engine: &Engine, key: Key) -> Option<Component> {
        let path = self.path(key);
        let file = match read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read a compiled component");
                return None;
            }
        };
        let Some(payload) = verify(&file, key) else {
            tracing::warn!(path = %path.display(), "a compiled component is damaged; compiling again");
            return None;
        };
        // SAFETY: `deserialize` demands bytes that `Component::serialize` of a compatible engine made. The directory is writable by this
        // user alone, so no other wrote the file; the header's key binds it to this component, this wasmtime and these settings, and its
        // SHA-256 says that the bytes are those that `put` wrote. The bytes were read into memory of our own, which nothing changes later.
        #[allow(unsafe_code)]
        let component = unsafe { Component::deserialize(engine, payload) };
        component.map_err(|error| tracing::warn!(path = %path.display(), %error, "a compiled component does not fit; compiling again")).ok()
    }

    /// Keeps a compiled component, in place of what stood under the key.
    ///
    /// # Errors
    /// Where the file cannot be written. What stood there before is whole then.
    pub(super) fn put(&self, key: Key, component: &Component) -> io::Result<()> {
        let payload = component.serialize().map_err(io::Error::other)?;
        self.make_room();
        let aside = aside(&self.dir);
        let written = write(&aside, key, &payload).and_then(|()| fs::rename(&aside, self.path(key)));
        if let Err(error) = written {
            let _ = fs::remove_file(&aside); // It may not exist; the first error is the one to tell.
            return Err(error);
        }
        File::open(&self.dir)?.sync_all()
    }

    /// Removes the oldest files, so that one more is not too many. Best effort: a file that cannot be removed stays.
    fn make_room(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        let mut files: Vec<_> = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|e| e == SUFFIX || e == "tmp"))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        files.sort();
        let surplus = (files.len() + 1).saturating_sub(FILES_MAX);
        for (_, path) in files.into_iter().take(surplus) {
            let _ = fs::remove_file(path);
        }
    }
}

/// A name in `dir` that no other file has.
fn aside(dir: &Path) -> PathBuf {
    dir.join(format!("{}-{}.tmp", std::process::id(), ASIDE.fetch_add(1, Ordering::Relaxed)))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if length > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{length} bytes; at most {FILE_BYTES_MAX} are read")));
    }
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write(path: &Path, key: Key, payload: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(&header(key, payload))?;
    file.write_all(payload)?;
    file.sync_all()
}

fn header(key: Key, payload: &[u8]) -> Vec<u8> {
    let digest: [u8; 32] = Sha256::digest(payload).into();
    let length = payload.len() as u64;
    [&MAGIC[..], &FORMAT.to_le_bytes(), &key.0, &length.to_le_bytes(), &digest].concat()
}

/// The payload of a file, if its header tells the truth about it.
fn verify(file: &[u8], key: Key) -> Option<&[u8]> {
    let (found, payload) = file.split_at_checked(HEADER_BYTES)?;
    (found == header(key, payload)).then_some(payload)
}

fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let refuse = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    let found = fs::metadata(dir)?;
    if found.mode() & WRITABLE_BY_OTHERS != 0 {
        let mode = found.mode() & 0o777;
        return refuse(format!("other users may write in it (mode {mode:03o}), and compiled code is run; `chmod 700` it"));
    }
    // A file of our own tells who we are.
    let probe = aside(dir);
    let ours = File::create_new(&probe).and_then(|file| file.metadata()).map(|file| file.uid());
    let _ = fs::remove_file(&probe); // A probe that stays is removed with the oldest files.
    if ours? == found.uid() { Ok(()) } else { refuse("it belongs to another user, and compiled code is run".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key([7; 32]);

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let payload = b"machine code";
        let file = [header(KEY, payload), payload.to_vec()].concat();
        assert_eq!(verify(&file, KEY), Some(&payload[..]));
        assert_eq!(verify(&file, Key([8; 32])), None);
        for place in 0..file.len() {
            assert_eq!(verify(&file[..place], KEY), None);
            for bit in 0..8 {
                let mut flipped = file.clone();
                flipped[place] ^= 1 << bit;
                assert_eq!(verify(&flipped, KEY), None, "byte {place} bit {bit}");
            }
        }
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        CompiledCache::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(CompiledCache::open(&path).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn the_cache_does_not_grow_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(&dir.path().join("c")).unwrap();
        (0..FILES_MAX + 5).for_each(|i| fs::write(cache.dir.join(format!("{i}.{SUFFIX}")), b"x").unwrap());
        cache.make_room();
        assert_eq!(fs::read_dir(&cache.dir).unwrap().count(), FILES_MAX - 1);
    }
}
