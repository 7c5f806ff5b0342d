//! Refuses a job that would read what it writes itself, or write to one place twice: looks where paths really lead, through links too.
//!
//! Whether a path can match is decided in [`reprise_core::topology::overlap`].

use reprise_core::topology::overlap::{WrittenContents, WrittenFolder, can_match, is_wild, is_within, part_matches};
use reprise_core::topology::{Problem, STDIN, Sink, SinkFormat, SinkKind, SourceKind, Topology};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Entries of folders that are looked at for links, over all sources. What lies behind further ones is not seen here.
const ENTRIES_MAX: usize = 100_000;

/// Every overlap, with its line.
pub(super) fn problems(topology: &Topology, base_dir: &Path) -> Vec<Problem> {
    let store = local(&topology.checkpoint.store).map(|path| resolve(base_dir, &format!("{path}/{}", topology.name)));
    let outputs: Vec<(&Sink, String)> =
        topology.sinks.iter().filter_map(|sink| Some((sink, resolve(base_dir, folder_of(sink)?)))).collect();
    let mut problems = shared(&outputs, store.as_deref());
    let mut entries = ENTRIES_MAX;
    for source in &topology.sources {
        let SourceKind::File(file) = &source.kind;
        if file.path == STDIN {
            continue;
        }
        let told = |what: String, folder: &str| Problem {
            line: source.line,
            column: 1,
            message: format!(
                "source `{}` reads what the job itself writes: \"{}\" can match {what}, in `{folder}`",
                source.name, file.path
            ),
            help: Some("let the job write to another folder, or let `path` say more exactly what is to be read".to_owned()),
        };
        for (sink, folder) in &outputs {
            let what = WrittenContents::Output { sink: sink.name.clone(), extension: extension(sink) };
            if reaches(base_dir, &file.path, &WrittenFolder { folder: folder.clone(), what }, &mut entries) {
                problems.push(told(format!("output of sink `{}` (line {})", sink.name, sink.line), folder));
            }
        }
        if let Some(folder) = &store
            && reaches(base_dir, &file.path, &WrittenFolder { folder: folder.clone(), what: WrittenContents::Store }, &mut entries)
        {
            problems.push(told("objects of the store (`checkpoint.store`)".to_owned(), folder));
        }
    }
    problems
}

/// Sinks that share a folder, or write into the store.
fn shared(outputs: &[(&Sink, String)], store: Option<&str>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let problem = |sink: &Sink, message: String, help: &str| Problem { line: sink.line, column: 1, message, help: Some(help.to_owned()) };
    for (at, (sink, folder)) in outputs.iter().enumerate() {
        if let Some((first, _)) = outputs[..at].iter().find(|(_, other)| other == folder) {
            let message = format!("sink `{}` writes to `{folder}`, as sink `{}` (line {}) does", sink.name, first.name, first.line);
            problems.push(problem(sink, message, "give each sink a folder of its own"));
        }
        if let Some(store) = store.filter(|store| is_within(folder, store)) {
            let message = format!("sink `{}` writes to `{folder}`, which lies in the store of the job, `{store}`", sink.name);
            problems.push(problem(sink, message, "let it write to a folder outside of `checkpoint.store`"));
        }
    }
    problems
}

/// The folder of a url; `None` where it is none.
fn local(url: &str) -> Option<&str> {
    url.strip_prefix("file:")
}

fn folder_of(sink: &Sink) -> Option<&str> {
    match &sink.kind {
        SinkKind::File(file) => Some(&file.path),
        SinkKind::Objects(objects) => local(&objects.url),
        SinkKind::Stdout(_) => None,
    }
}

fn extension(sink: &Sink) -> &'static str {
    let format = match &sink.kind {
        SinkKind::File(file) => file.format,
        SinkKind::Objects(objects) => objects.format,
        SinkKind::Stdout(stdout) => stdout.format,
    };
    match format {
        SinkFormat::Json => "json",
        SinkFormat::Lines => "txt",
        SinkFormat::Csv => "csv",
    }
}

/// Where a path leads: absolute, with links and `..` resolved as far as it exists, and up to the first part with a wildcard.
fn resolve(base_dir: &Path, path: &str) -> String {
    let absolute = std::path::absolute(base_dir).unwrap_or_else(|_| base_dir.to_path_buf()).join(path);
    let (mut at, mut is_literal) = (PathBuf::from("/"), true);
    // The folder of the topology file may have a `*` in its name.
    let literal = absolute.components().count() - Path::new(path).components().count().min(absolute.components().count());
    for (number, part) in absolute.components().enumerate() {
        match part {
            Component::Normal(name) => {
                is_literal = is_literal && (number < literal || !is_wild(&name.to_string_lossy()));
                at.push(name);
                if is_literal && let Ok(real) = fs::canonicalize(&at) {
                    at = real;
                }
            }
            Component::ParentDir => drop(at.pop()),
            _ => {}
        }
    }
    at.to_string_lossy().into_owned()
}

/// True where a path or glob can match what is written, as it stands or through a link.
fn reaches(base_dir: &Path, path: &str, written: &WrittenFolder, entries: &mut usize) -> bool {
    let resolved = resolve(base_dir, path);
    let parts: Vec<&str> = resolved.split('/').filter(|part| !part.is_empty()).collect();
    let literal = parts.iter().position(|part| is_wild(part)).unwrap_or(parts.len());
    let start = format!("/{}", parts[..literal].join("/"));
    let mut seen = BTreeSet::new();
    let mut open = vec![(PathBuf::from(start), parts[literal..].to_vec(), true)];
    while let Some((folder, rest, is_jump)) = open.pop() {
        if is_jump && can_match(&format!("{}/{}", folder.display(), rest.join("/")), written) {
            return true;
        }
        let Some((part, after)) = rest.split_first() else { continue };
        if !seen.insert((folder.clone(), rest.len())) {
            continue;
        }
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if *entries == 0 {
                return false;
            }
            *entries -= 1;
            let (name, kind) = (entry.file_name().to_string_lossy().into_owned(), entry.file_type());
            let (is_folder, is_link) = kind.map_or((false, false), |kind| (kind.is_dir(), kind.is_symlink()));
            let matches = if *part == "**" { !name.starts_with('.') } else { part_matches(part, &name) };
            if !matches || !(is_folder || is_link) {
                continue;
            }
            let next = if is_link { fs::canonicalize(entry.path()).ok() } else { Some(entry.path()) };
            let Some(next) = next else { continue };
            if *part == "**" {
                open.push((next.clone(), rest.clone(), is_link));
            }
            // A link in the last place may be one to a file of ours.
            open.push((next, after.to_vec(), is_link));
        }
        if *part == "**" {
            open.push((folder, after.to_vec(), false));
        }
    }
    false
}
