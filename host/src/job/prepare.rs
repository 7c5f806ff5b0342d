//! From a topology file to a plan with loaded components: everything that can be checked before a row is read.

use super::error::{Error, failed};
use super::recovery;
use crate::store::{self, Intercept, Store};
use crate::wasm::{Component, GrantError, Grants, INSTANCES_MAX, Limits, PreopenedFolder, Runtime, Settings};
use reprise_core::description::Description;
use reprise_core::plain::plain;
use reprise_core::topology::{self, Operator, Plan, Problem, Topology};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A job that may start.
pub struct Prepared {
    /// The checked plan.
    pub plan: Plan,
    /// The components, in the order of the operators.
    pub components: Vec<Component>,
    /// Their bytes, for capsules.
    pub component_bytes: Vec<Arc<Vec<u8>>>,
    /// Folder of the topology file; relative paths start here.
    pub base_dir: PathBuf,
}

/// A topology file that was read.
pub(super) struct TopologyFile {
    /// Its path, for people.
    shown: String,
    text: String,
}

impl TopologyFile {
    /// Reads a file; its components and inputs may be missing.
    pub fn read(path: &Path) -> Result<(Topology, Self), Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.into(), source })?;
        let file = Self { shown: path.display().to_string(), text };
        match topology::parse(&file.text, &|name| std::env::var(name).ok()) {
            Ok(topology) => Ok((topology, file)),
            Err(problems) => Err(file.mistakes(&problems)),
        }
    }

    fn mistakes(&self, problems: &[Problem]) -> Error {
        Error::Topology(topology::render_quoted(problems, &self.shown, &self.text))
    }
}

/// The folder in which relative paths of a topology file start.
pub(super) fn folder(path: &Path) -> PathBuf {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf()
}

/// Opens the store of a topology, with the limits that it sets.
pub(super) async fn store(topology: &Topology, base_dir: &Path, intercept: Option<Arc<dyn Intercept>>) -> Result<Store, Error> {
    let settings = &topology.checkpoint;
    let limits = store::StoreLimits {
        timeout: settings.timeout,
        retries: settings.retries,
        backoff_min: settings.backoff_min,
        backoff_max: settings.backoff_max,
        ..store::StoreLimits::default()
    };
    let opened = Store::open_with(&settings.store, base_dir, &topology.name, limits, intercept).await;
    opened.map_err(failed("open the store"))
}

/// Opens the store of the job of a topology file. Components are not looked at.
///
/// # Errors
/// Mistakes of the topology, and a store that cannot be opened.
pub async fn open_store(path: &Path) -> Result<Store, Error> {
    Ok(open_store_with_names(path).await?.0)
}

/// As [`open_store`], with the names of the operators in the order of the topology file.
///
/// # Errors
/// As [`open_store`].
pub async fn open_store_with_names(path: &Path) -> Result<(Store, Vec<String>), Error> {
    let (topology, _) = TopologyFile::read(path)?;
    let store = store(&topology, &folder(path), None).await?;
    Ok((store, topology.operators.into_iter().map(|operator| operator.name).collect()))
}

/// Workers that made the newest checkpoint of a topology file's job; 1 where there is none.
///
/// # Errors
/// As [`open_store`], and [`Error::Store`].
pub async fn workers_of(path: &Path) -> Result<u32, Error> {
    let (topology, _) = TopologyFile::read(path)?;
    let store = store(&topology, &folder(path), None).await?;
    Ok(recovery::glance(&store, &topology.name).await?.map_or(1, |manifest| manifest.workers))
}

/// Reads, checks and plans a topology, and loads its components.
///
/// # Errors
/// Every mistake of the topology at once, with its line; a component that cannot be loaded is one of them.
pub fn prepare(path: &Path, workers: u32, cache_dir: Option<PathBuf>) -> Result<Prepared, Error> {
    let (topology, file) = TopologyFile::read(path)?;
    let base_dir = folder(path);
    if let Some(problem) = too_many_instances(&topology, workers) {
        return Err(file.mistakes(&[problem]));
    }
    let overlaps = super::overlap::problems(&topology, &base_dir);
    if !overlaps.is_empty() {
        return Err(file.mistakes(&overlaps));
    }
    let mut runtimes = BTreeMap::new();
    for fuel in topology.operators.iter().map(|operator| operator.fuel) {
        if let Entry::Vacant(place) = runtimes.entry(fuel) {
            let settings = settings(&topology, &base_dir, (fuel, workers), cache_dir.clone());
            place.insert(Runtime::new(&settings).map_err(Error::Runtime)?);
        }
    }

    let (mut components, mut component_bytes, mut descriptions, mut problems) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for operator in &topology.operators {
        match load(&runtimes[&operator.fuel], &base_dir, operator) {
            Ok((component, description, bytes)) => {
                components.push(component);
                component_bytes.push(bytes);
                descriptions.push(Some(description));
            }
            Err(problem) => {
                problems.push(problem);
                descriptions.push(None);
            }
        }
    }
    match topology::plan(topology, descriptions) {
        Ok(plan) if problems.is_empty() => Ok(Prepared { plan, components, component_bytes, base_dir }),
        Ok(_) => Err(file.mistakes(&problems)),
        Err(more) => {
            problems.extend(more);
            problems.sort_by_key(|problem| (problem.line, problem.column));
            Err(file.mistakes(&problems))
        }
    }
}

/// Instances that an operator may have at once: beside each its successor and the one that was dropped last, and for all the one that
/// describes itself.
fn room(operator: &Operator, workers: u32) -> u32 {
    operator.instances(workers).saturating_mul(if operator.standby { 6 } else { 3 }).saturating_add(1)
}

fn too_many_instances(topology: &Topology, workers: u32) -> Option<Problem> {
    let room = |operator: &&Operator| room(operator, workers);
    // Operators whose instructions are counted have a runtime of their own; all together is what people can add up.
    let all = topology.operators.iter().map(|operator| room(&operator)).fold(0, u32::saturating_add);
    let most = topology.operators.iter().max_by_key(room).filter(|_| all > INSTANCES_MAX)?;
    let message = format!(
        "the operators need room for {all} instances, that is three for each and six with `standby`; at most {INSTANCES_MAX} are possible"
    );
    let help = format!("lower `parallelism` or `--workers`: operator `{}` alone has {} instances", most.name, most.instances(workers));
    Some(Problem { line: most.line, column: 1, message, help: Some(help) })
}

/// Settings of the engine for the operators whose instructions are counted, or for the others: counting slows down all that an engine
/// compiles.
fn settings(topology: &Topology, base_dir: &Path, (fuel, workers): (bool, u32), cache_dir: Option<PathBuf>) -> Settings {
    let operators = || topology.operators.iter().filter(|operator| operator.fuel == fuel);
    let memory_bytes_max = operators().map(|o| o.memory_bytes_max).max().unwrap_or(1 << 20);
    let instances_max = operators().map(|operator| room(operator, workers)).fold(0, u32::saturating_add).max(1);
    // A component that cannot be read is a mistake of the topology, told when it is loaded.
    let memories = |operator: &Operator| std::fs::read(base_dir.join(&operator.component)).map_or(1, |bytes| crate::wasm::memories(&bytes));
    let further = |operator: &Operator| room(operator, workers).saturating_mul(memories(operator).saturating_sub(1));
    let further_memories_max = operators().map(further).fold(0, u32::saturating_add);
    let stack_bytes_max = usize::try_from(topology.limits.stack_bytes_max).unwrap_or(usize::MAX);
    Settings { cache_dir, instances_max, further_memories_max, memory_bytes_max, stack_bytes_max, fuel, ..Settings::default() }
}

/// What one instance of an operator may use.
pub(super) fn limits_of(operator: &Operator) -> Limits {
    let further = &operator.limits;
    Limits {
        memory_bytes_max: operator.memory_bytes_max,
        deadline: operator.deadline,
        output_bytes_max: operator.output_bytes_max,
        call_output_bytes_max: further.call_output_bytes_max,
        table_elements_max: further.table_elements_max,
        core_instances_max: further.core_instances_max,
        host_calls_per_call_max: further.host_calls_max.into(),
        log_lines_per_call_max: further.log_lines_per_call_max,
        log_lines_per_second_max: further.log_lines_per_second_max,
        snapshot_bytes_max: further.snapshot_bytes_max,
    }
}

/// What the topology grants the guests of an operator, with the folders found.
fn grants(operator: &Operator, base_dir: &Path) -> Result<Grants, GrantError> {
    let folders = operator.grant.folders.iter().map(|folder| PreopenedFolder::new(&folder.guest, &base_dir.join(&folder.path)));
    Ok(Grants { environment: operator.grant.variables.clone(), folders: folders.collect::<Result<_, _>>()? })
}

/// What the topology of a file grants the guests of one of its operators. No component is looked at.
///
/// # Errors
/// Mistakes of the topology, an operator that it does not have, and a folder that is not there.
pub fn grants_of(path: &Path, operator: &str) -> Result<Grants, Error> {
    let (topology, file) = TopologyFile::read(path)?;
    let Some(found) = topology.operators.iter().find(|found| found.name == operator) else {
        let names: Vec<&str> = topology.operators.iter().map(|operator| operator.name.as_str()).collect();
        let (shown, operator) = (plain(&file.shown), plain(operator));
        return Err(Error::Topology(format!("{shown} has no operator `{operator}`; it has {}\n", names.join(", "))));
    };
    grants(found, &folder(path)).map_err(|error| file.mistakes(&[grant_problem(found, &error)]))
}

fn grant_problem(operator: &Operator, error: &GrantError) -> Problem {
    let help = match error {
        GrantError::Folder { .. } => "`folders` in `grant` holds paths relative to the topology file",
        GrantError::Unused { .. } => "take it out of `grant`, or build the component so that it imports WASI",
    };
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Problem { line: operator.line, column: 1, message: format!("{error}{cause}"), help: Some(help.to_owned()) }
}

fn load(runtime: &Runtime, base_dir: &Path, operator: &Operator) -> Result<(Component, Description, Arc<Vec<u8>>), Problem> {
    let path = &base_dir.join(&operator.component);
    let problem = |message: String, help: &str| Problem { line: operator.line, column: 1, message, help: Some(help.into()) };
    let bytes = std::fs::read(path).map_err(|error| {
        problem(format!("cannot read component `{}`: {error}", path.display()), "`component` is a path relative to the topology file")
    })?;
    let component = runtime.load_named(&bytes, &format!("`{}`", operator.component)).map_err(|error| {
        let mut text = format!("component `{}`: {error}", path.display());
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            text.push_str(&format!(": {inner}"));
            cause = inner.source();
        }
        problem(text, "`reprise inspect` shows what a component imports and exports")
    })?;
    let description = component.describe().map_err(|error| {
        let help = match error.call {
            "instantiate" => "where memory or address space is what it lacks, raise the limit (`ulimit -v`, the memory of the container)",
            _ => "the operator's `describe` must return a legal description",
        };
        problem(format!("component `{}` {error}", path.display()), help)
    })?;
    let granted = grants(operator, base_dir).and_then(|grants| component.granted(grants));
    let component = granted.map_err(|error| grant_problem(operator, &error))?;
    Ok((component, description, Arc::new(bytes)))
}
