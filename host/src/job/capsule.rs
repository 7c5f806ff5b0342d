//! Capsules: written beside the quarantine, read back and tried again by `reprise replay`.

use super::blocking::blocking;
use crate::engine::{CrashDumps, Failure, GuestCall, GuestDump, Reproduced, reproduce};
use crate::store::Store;
use crate::wasm::{self, Call, GrantError, Grants, GuestError, InstanceIdentity, Limits, LoadError, PreopenedFolder, Runtime, Settings};
use bytes::Bytes;
use reprise_core::checkpoint::capsule::{CallStamp, Capsule, CapsuleCall, CapsuleCells, CapsuleFault, CapsuleInput, CapsuleRows};
use reprise_core::checkpoint::paths;
use reprise_core::codec::record;
use reprise_core::ids::{Digest, Epoch, Generation, Instance};
use reprise_core::operator::{CallInput, FailedCall, OutputDigest, VersionedChunk};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A component of more bytes does not go into each capsule: it is stored once, beside them.
const COMPONENT_BYTES_MAX: usize = 16 << 20;
/// Bytes of a component that is read beside a capsule: no host loads a larger one.
const BESIDE_BYTES_MAX: u64 = wasm::COMPONENT_BYTES_MAX as u64;

/// What capsules of one operator have in common.
#[derive(Clone)]
pub(super) struct Origin {
    pub job: String,
    pub operator: String,
    pub line: u32,
    pub config: String,
    pub digest: Digest,
    pub component: Arc<Vec<u8>>,
    pub limits: Limits,
    /// Stack of a guest.
    pub stack_bytes_max: u64,
    /// Its instructions were counted: code that counts takes more of the stack.
    pub fuel: bool,
    /// Names of granted variables, and granted folders as the guest sees them.
    pub grants: (Vec<String>, Vec<String>),
    /// Bytes of one capsule.
    pub bytes_max: u64,
}

impl Origin {
    /// About how many bytes a capsule of a dump would have.
    fn estimate(&self, dump: &GuestDump) -> u64 {
        let state: u64 = dump.state.iter().map(|held| held.chunk.size_bytes() as u64 + 12 * held.chunk.len() as u64).sum();
        let calls: u64 = dump.calls.iter().map(|entry| bytes(&entry.input)).sum();
        let failed = if let FailedCall::Input(input) = &dump.failed { bytes(input) } else { 0 };
        state + calls + failed + self.attached().map_or(0, |bytes| bytes.len() as u64)
    }

    fn attached(&self) -> Option<&Vec<u8>> {
        Some(self.component.as_ref()).filter(|bytes| !bytes.is_empty() && bytes.len() <= COMPONENT_BYTES_MAX)
    }

    /// The component where it does not go into capsules, and the object that holds it for all of them.
    pub fn beside(&self) -> Option<(String, Arc<Vec<u8>>)> {
        (self.component.len() > COMPONENT_BYTES_MAX).then(|| (paths::component(self.digest), Arc::clone(&self.component)))
    }

    /// What the guest might use, by name.
    fn limits_out(&self) -> Vec<(String, u64)> {
        let limits = &self.limits;
        let named = [
            ("memory-bytes", limits.memory_bytes_max),
            ("deadline-ns", u64::try_from(limits.deadline.as_nanos()).unwrap_or(u64::MAX)),
            ("output-bytes", limits.output_bytes_max),
            ("call-output-bytes", limits.call_output_bytes_max),
            ("table-elements", limits.table_elements_max.into()),
            ("core-instances", limits.core_instances_max.into()),
            ("host-calls-per-call", limits.host_calls_per_call_max),
            ("log-lines-per-second", limits.log_lines_per_second_max.into()),
            ("log-lines-per-call", limits.log_lines_per_call_max.into()),
            ("snapshot-bytes", limits.snapshot_bytes_max),
            ("stack-bytes", self.stack_bytes_max),
            ("fuel", self.fuel.into()),
        ];
        named.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// The bytes of a capsule; `None` where it would be larger than it may be.
    pub fn encode(&self, dump: &GuestDump, instance: Instance, epoch: Epoch) -> Option<Vec<u8>> {
        if self.estimate(dump) > self.bytes_max {
            return None;
        }
        let capsule = Capsule {
            job: self.job.clone(),
            operator: self.operator.clone(),
            line: self.line,
            instance,
            parallelism: dump.parallelism,
            epoch,
            config: self.config.clone(),
            component: self.digest,
            component_bytes: self.attached().cloned(),
            limits: self.limits_out(),
            variables: self.grants.0.clone(),
            folders: self.grants.1.clone(),
            open: numbered(dump.open),
            state: dump.state.iter().map(|held| CapsuleCells::new(held.version, &held.chunk)).collect(),
            calls: dump
                .calls
                .iter()
                .map(|e| CapsuleCall { call: numbered(e.call), given: given(&e.input), digest: e.returned.digest() })
                .collect(),
            failed: numbered(dump.call),
            given: match &dump.failed {
                FailedCall::Input(input) => given(input),
                FailedCall::Snapshot { scope, part_bytes_max } => CapsuleInput::Snapshot { scope: *scope, part_bytes_max: *part_bytes_max },
                FailedCall::Start => CapsuleInput::Start,
            },
            fault: fault(&dump.fault),
        };
        record::encode(&capsule).ok().filter(|bytes| bytes.len() as u64 <= self.bytes_max)
    }
}

/// Stores the capsules of a failure that ends an attempt, whose epoch is never reported. The failure is what it is where that cannot be done.
pub(super) async fn keep(store: &Store, origin: Origin, generation: Generation, failure: &mut Failure) {
    let Failure::Guest { instance, epoch, error, dumps: kept, .. } = failure else { return };
    let CrashDumps::Unwritten(dumps) = std::mem::take(kept) else { return };
    let (origin, instance, epoch) = (Arc::new(origin), Instance(*instance), *epoch);
    if let Some((path, bytes)) = origin.beside().filter(|_| !dumps.is_empty())
        && let Err(cause) = store.create(&path, Bytes::from_owner(SharedBytes(bytes))).await
    {
        tracing::warn!(path, %cause, "the component that capsules name cannot be stored");
    }
    let mut number = 0;
    for dump in dumps {
        let path = paths::capsule(&origin.operator, instance, epoch, generation, number);
        // Others of the epoch are stored, too.
        let is_its = dump.fault.call == error.call && dump.fault.fault == error.fault;
        let encoder = Arc::clone(&origin);
        let Ok(Some(bytes)) = blocking(move || encoder.encode(&dump, instance, epoch)).await else { continue };
        if let Err(cause) = store.create(&path, bytes.into()).await {
            tracing::warn!(path, %cause, "a capsule cannot be stored");
            return;
        }
        number += 1;
        if is_its {
            *kept = CrashDumps::Capsule(path);
        }
    }
}

fn bytes(input: &CallInput) -> u64 {
    if let CallInput::Rows { rows, .. } = input { rows.size_bytes() as u64 } else { 16 }
}

fn numbered(call: Call) -> CallStamp {
    CallStamp { number: call.number, now_ms: call.now_ms }
}

fn call(numbered: CallStamp) -> Call {
    // How far a guest had slept before is not in a capsule.
    Call { number: numbered.number, now_ms: numbered.now_ms, instant_ns: 0 }
}

fn given(input: &CallInput) -> CapsuleInput {
    match input {
        CallInput::Rows { input, rows } => CapsuleInput::Rows { input: *input, rows: CapsuleRows::new(rows) },
        CallInput::Watermark(watermark) => CapsuleInput::Watermark(*watermark),
    }
}

fn fault(error: &GuestError) -> CapsuleFault {
    CapsuleFault {
        call: error.call.to_owned(),
        kind: error.fault.kind().to_owned(),
        message: error.to_string(),
        backtrace: error.backtrace.clone(),
    }
}

/// What the guest of a capsule may use, and the runtime that it ran in. What a capsule does not name is the default, and names that are not
/// known are of a later version.
fn limits_in(named: &[(String, u64)]) -> (Limits, Settings) {
    let mut limits = Limits::default();
    let mut settings = Settings { instances_max: 2, ..Settings::default() };
    for (name, value) in named {
        let value = *value;
        match name.as_str() {
            "memory-bytes" => limits.memory_bytes_max = value.min(settings.memory_bytes_max),
            "deadline-ns" => limits.deadline = Duration::from_nanos(value),
            "output-bytes" => limits.output_bytes_max = value,
            "call-output-bytes" => limits.call_output_bytes_max = value,
            "table-elements" => limits.table_elements_max = u32::try_from(value).unwrap_or(u32::MAX),
            "core-instances" => limits.core_instances_max = u32::try_from(value).unwrap_or(u32::MAX),
            "host-calls-per-call" => limits.host_calls_per_call_max = value,
            "log-lines-per-second" => limits.log_lines_per_second_max = u32::try_from(value).unwrap_or(u32::MAX),
            "log-lines-per-call" => limits.log_lines_per_call_max = u32::try_from(value).unwrap_or(u32::MAX),
            "snapshot-bytes" => limits.snapshot_bytes_max = value,
            // The runtime refuses what is out of range.
            "stack-bytes" => settings.stack_bytes_max = usize::try_from(value).unwrap_or(usize::MAX),
            "fuel" => settings.fuel = value != 0,
            _ => tracing::warn!(name, "the capsule has a limit that this host does not know"),
        }
    }
    settings.memory_bytes_max = limits.memory_bytes_max.max(1 << 20);
    (limits, settings)
}

/// Why a capsule cannot be tried.
#[derive(Debug, thiserror::Error)]
pub enum CapsuleError {
    /// A file cannot be read.
    #[error("cannot read `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no capsule, or a damaged one.
    #[error("`{}` is no capsule that can be used: {why}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The component is not in it.
    #[error(
        "the component was too large to go along\n  help: put the object `{}` of the store beside the capsule, or give the component with `--component FILE`; its SHA-256 is {digest}",
        paths::component(*.digest)
    )]
    Missing {
        /// Its digest.
        digest: Digest,
    },
    /// What was granted is not in it.
    #[error("the operator was granted {what}, which is not in the capsule\n  help: give it with `{option}`")]
    Ungranted {
        /// What.
        what: String,
        /// How.
        option: String,
    },
    /// What is given is not granted here.
    #[error("the operator cannot be granted what is given")]
    Grant(#[from] GrantError),
    /// The component cannot be loaded.
    #[error("the component cannot be loaded")]
    Load(#[from] LoadError),
}

/// What came of trying a capsule.
#[derive(Debug)]
pub struct Reproduction {
    /// What it is about; the component's bytes, the state and the calls are not in it any more.
    pub capsule: Capsule,
    /// Another component was given than the one that failed.
    pub is_other_component: bool,
    /// Cells restored.
    pub cells: usize,
    /// Calls repeated before the one that failed.
    pub calls: usize,
    /// What happened now.
    pub attempt: Reproduced,
}

impl Reproduction {
    /// The same call failed in the same way at the same place.
    #[must_use]
    pub fn is_reproduced(&self) -> bool {
        let fault = &self.capsule.fault;
        let is_same_place = |backtrace: &[String]| {
            // Time that several calls share may run out in one of them or between two.
            let is_between = fault.kind == "deadline" && (backtrace.is_empty() || fault.backtrace.is_empty());
            is_between || backtrace == fault.backtrace
        };
        matches!(&self.attempt, Reproduced::Failed(error)
            if error.call == fault.call && error.fault.kind() == fault.kind && is_same_place(&error.backtrace))
    }
}

/// What goes along with a capsule.
#[derive(Debug, Default)]
pub struct CapsuleExtras {
    /// Another component than the one in it.
    pub component: Option<PathBuf>,
    /// Values of the environment variables that the operator was granted.
    pub variables: Vec<(String, String)>,
    /// The folders that it was granted: as the guest sees them, and where they are.
    pub folders: Vec<(String, PathBuf)>,
}

impl CapsuleExtras {
    /// What the operator is granted again; all that it was granted must be there.
    fn grants(&self, capsule: &Capsule) -> Result<Grants, CapsuleError> {
        let missing = |what: String, option: String| CapsuleError::Ungranted { what, option };
        for name in &capsule.variables {
            if !self.variables.iter().any(|(given, _)| given == name) {
                return Err(missing(format!("the environment variable `{name}`"), format!("--env {name}=VALUE")));
            }
        }
        for guest in &capsule.folders {
            if !self.folders.iter().any(|(given, _)| given == guest) {
                return Err(missing(format!("the folder `{guest}`"), format!("--folder {guest}=PATH")));
            }
        }
        let folders = self.folders.iter().map(|(guest, path)| PreopenedFolder::new(guest, path)).collect::<Result<_, _>>()?;
        Ok(Grants { environment: self.variables.clone(), folders })
    }
}

/// Reads a capsule and makes its calls again.
///
/// # Errors
/// See [`CapsuleError`].
pub fn reproduce_capsule(path: &Path, beside: &CapsuleExtras) -> Result<Reproduction, CapsuleError> {
    let read = |path: &Path| std::fs::read(path).map_err(|source| CapsuleError::Read { path: path.to_owned(), source });
    let damaged = |why: String| CapsuleError::Damaged { path: path.to_owned(), why };
    let mut capsule: Capsule = record::decode(&read(path)?).map_err(|error| damaged(error.to_string()))?;
    let grants = beside.grants(&capsule)?;
    let bytes = match (&beside.component, capsule.component_bytes.take()) {
        (Some(other), _) => read(other)?,
        (None, Some(bytes)) => bytes,
        (None, None) => find_beside(path, capsule.component).ok_or(CapsuleError::Missing { digest: capsule.component })?,
    };
    let dump = dump(&mut capsule).map_err(damaged)?;
    let (limits, settings) = limits_in(&capsule.limits);
    let settings = settings.with_memories(crate::wasm::memories(&bytes));
    let loaded = Runtime::new(&settings)?.load(&bytes)?.granted(grants)?;
    let identity = InstanceIdentity { job: capsule.job.clone(), operator: capsule.operator.clone(), instance: capsule.instance.0, seed: 0 };
    let attempt = reproduce(&loaded, &capsule.config, &limits, identity, &dump);
    Ok(Reproduction {
        is_other_component: loaded.digest() != capsule.component,
        cells: dump.state.iter().map(|held| held.chunk.len()).sum(),
        calls: dump.calls.len(),
        attempt,
        capsule,
    })
}

/// The component of a capsule that does not hold it: where the store has it, or in the same folder. Another file of that name is none.
fn find_beside(capsule: &Path, digest: Digest) -> Option<Vec<u8>> {
    use sha2::Digest as _;
    let stored = paths::component(digest);
    let name = Path::new(&stored).file_name()?;
    let folder = capsule.parent()?;
    // A path such as `x.capsule` has an empty folder, which means the present one.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let places = [folder.join("..").join(paths::COMPONENTS).join(name), folder.join(paths::COMPONENTS).join(name), folder.join(name)];
    places.into_iter().find_map(|place| {
        let is_short = std::fs::metadata(&place).is_ok_and(|meta| meta.len() <= BESIDE_BYTES_MAX);
        let bytes = is_short.then(|| std::fs::read(&place).ok())??;
        (sha2::Sha256::digest(&bytes)[..] == digest.0).then_some(bytes)
    })
}

/// Bytes that several hold.
pub(super) struct SharedBytes(pub Arc<Vec<u8>>);

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn input(given: CapsuleInput) -> Result<CallInput, String> {
    match given {
        CapsuleInput::Rows { input, rows } => Ok(CallInput::Rows { input, rows: rows.batch()? }),
        CapsuleInput::Watermark(watermark) => Ok(CallInput::Watermark(watermark)),
        CapsuleInput::Snapshot { .. } | CapsuleInput::Start => {
            Err("a call that succeeded was given neither rows nor a watermark".to_owned())
        }
    }
}

/// Takes state and calls out of a capsule.
fn dump(capsule: &mut Capsule) -> Result<GuestDump, String> {
    let versioned = |cells: CapsuleCells| {
        let version = cells.version;
        cells.chunk().map(|chunk| Arc::new(VersionedChunk { version, chunk }))
    };
    let done = |done: CapsuleCall| {
        Ok(Arc::new(GuestCall { input: input(done.given)?, call: call(done.call), returned: OutputDigest::known_by(done.digest) }))
    };
    Ok(GuestDump {
        parallelism: capsule.parallelism,
        open: call(capsule.open),
        state: std::mem::take(&mut capsule.state).into_iter().map(versioned).collect::<Result<_, String>>()?,
        calls: std::mem::take(&mut capsule.calls).into_iter().map(done).collect::<Result<_, String>>()?,
        failed: match capsule.given.clone() {
            CapsuleInput::Snapshot { scope, part_bytes_max } => FailedCall::Snapshot { scope, part_bytes_max },
            CapsuleInput::Start => FailedCall::Start,
            given => FailedCall::Input(input(given)?),
        },
        call: call(capsule.failed),
        fault: GuestError::missing(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin {
            job: "job".into(),
            operator: "count".into(),
            line: 1,
            config: "{}".into(),
            digest: Digest([0; 32]),
            component: Arc::default(),
            limits: Limits {
                memory_bytes_max: 2 << 20,
                deadline: Duration::from_millis(7),
                output_bytes_max: 1,
                call_output_bytes_max: 2,
                table_elements_max: 3,
                core_instances_max: 4,
                host_calls_per_call_max: 5,
                log_lines_per_call_max: 6,
                log_lines_per_second_max: 7,
                snapshot_bytes_max: 8,
            },
            stack_bytes_max: 64 << 10,
            fuel: true,
            grants: Default::default(),
            bytes_max: 1 << 20,
        }
    }

    #[test]
    fn what_a_guest_might_use_comes_back_from_a_capsule() {
        let origin = origin();
        let (limits, settings) = limits_in(&origin.limits_out());
        assert_eq!(format!("{limits:?}"), format!("{:?}", origin.limits));
        assert_eq!((settings.stack_bytes_max, settings.fuel, settings.memory_bytes_max), (64 << 10, true, 2 << 20));
    }

    #[test]
    fn a_large_component_is_found_beside_the_capsule_and_another_one_is_not_taken_for_it() {
        use sha2::Digest as _;
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let bytes = b"a component".to_vec();
        let digest = Digest(sha2::Sha256::digest(&bytes).into());
        let capsule = folder.path().join("capsules/count/1.capsule");
        std::fs::create_dir_all(folder.path().join("capsules/count")).expect("it is new");
        let name = format!("{digest}.wasm");
        let origin = Origin { component: Arc::new(vec![0; COMPONENT_BYTES_MAX]), digest, ..origin() };
        assert!(origin.beside().is_none() && origin.attached().is_some());
        let origin = Origin { component: Arc::new(vec![0; COMPONENT_BYTES_MAX + 1]), ..origin };
        assert!(origin.attached().is_none());
        assert_eq!(origin.beside().map(|(path, _)| path), Some(format!("capsules/components/{name}")));
        assert_eq!(find_beside(&capsule, digest), None);
        for place in ["capsules/components", "capsules/count/components", "capsules/count"] {
            let place = folder.path().join(place);
            std::fs::create_dir_all(&place).expect("it is new");
            std::fs::write(place.join(&name), b"another one").expect("the folder is there");
            assert_eq!(find_beside(&capsule, digest), None);
            std::fs::write(place.join(&name), &bytes).expect("the folder is there");
            assert_eq!(find_beside(&capsule, digest), Some(bytes.clone()));
            std::fs::remove_file(place.join(&name)).expect("it is there");
        }
    }

    #[test]
    fn what_a_capsule_does_not_name_is_the_default_and_what_is_out_of_range_is_refused() {
        let (limits, settings) = limits_in(&[("snapshot-bytes".into(), 9), ("of-a-later-version".into(), 1)]);
        let expected = Limits { snapshot_bytes_max: 9, ..Limits::default() };
        assert_eq!(format!("{limits:?}"), format!("{expected:?}"));
        assert_eq!((settings.stack_bytes_max, settings.fuel), (Settings::default().stack_bytes_max, false));
        let (_, settings) = limits_in(&[("stack-bytes".into(), u64::MAX)]);
        assert!(matches!(Runtime::new(&settings), Err(LoadError::Setting { name: "stack_bytes_max", .. })));
    }
}
