//! Draft -> checked, for sinks: where they write, how, when rows become visible, and that no two write to one place.

use super::file::{Draft, DraftFileSink, DraftObjectsSink, DraftSink};
use super::model::{Delivery, FileSink, ObjectsSink, SinkFormat, SinkKind, StdoutSink};
use super::problem::{Problems, quote};
use super::source::{STDIN, check_path};
use super::table::{Given, Placed};
use super::word::check_word;
use std::collections::BTreeMap;

/// Where a sink writes: exactly one of its tables.
pub(super) fn check_kind(draft: &DraftSink, owner: &str, problems: &mut Problems<'_>) -> Option<SinkKind> {
    let DraftSink { file, objects, stdout, at, .. } = draft;
    let given = [("file", file.is_absent()), ("objects", objects.is_absent()), ("stdout", stdout.is_absent())];
    let given: Vec<&str> = given.into_iter().filter(|(_, absent)| !absent).map(|(key, _)| key).collect();
    match given[..] {
        [_] => {}
        [] => {
            let help = "add `file = { path = \"out\", format = \"json\" }`, `objects = { url = \"s3://bucket/prefix\" }` or `stdout = { format = \"json\" }`";
            problems.add(*at, format!("{owner} does not say where to write"), Some(help.to_owned()));
            return None;
        }
        [one, other, ..] => {
            let help = Some("keep one; a second sink may read the same".to_owned());
            problems.add(*at, format!("{owner} has both `{one}` and `{other}`"), help);
            return None;
        }
    }
    match (file, objects, stdout) {
        (Given::Is(file), _, _) => Some(SinkKind::File(check_file(file, problems))),
        (_, Given::Is(objects), _) => Some(SinkKind::Objects(check_objects(objects, problems))),
        (_, _, Given::Is(stdout)) => Some(SinkKind::Stdout(StdoutSink { format: check_format(&stdout.value.format, problems) })),
        _ => None,
    }
}

fn check_file(file: &Placed<DraftFileSink>, problems: &mut Problems<'_>) -> FileSink {
    let path = check_path(&file.value.path, ("path", "out"), (file.at, "`path` is missing".to_owned()), problems);
    if path == STDIN {
        let at = file.value.path.get().map_or(file.at, |path| path.at);
        problems.add(at, "a file sink needs a folder", Some("for standard output write `stdout = { format = \"json\" }`".to_owned()));
    }
    FileSink { path, format: check_format(&file.value.format, problems) }
}

fn check_objects(objects: &Placed<DraftObjectsSink>, problems: &mut Problems<'_>) -> ObjectsSink {
    let DraftObjectsSink { url, format, part_bytes_max } = &objects.value;
    match url {
        Given::Absent => problems.add(objects.at, "`url` is missing", Some("add `url = \"s3://bucket/prefix\"`".to_owned())),
        Given::Broken => {}
        Given::Is(placed) => {
            let help = "write \"s3://bucket/prefix\", \"file:./out\", or \"memory:NAME\" for a test";
            check_url(placed, ("url", true), ("is no place for objects", help), problems);
        }
    }
    ObjectsSink {
        url: url.get().map(|placed| placed.value.clone()).unwrap_or_default(),
        format: check_format(format, problems),
        part_bytes_max: *part_bytes_max,
    }
}

/// Looks at the url of a store. `memory_has_name`: `memory:NAME` is meant, not `memory:` alone. `unknown`: what to say of one that names no
/// place.
pub(super) fn check_url(placed: &Placed<String>, (key, memory_has_name): (&str, bool), unknown: (&str, &str), problems: &mut Problems<'_>) {
    let known = match placed.value.split_once(':') {
        Some(("file", path)) => !path.is_empty() && path != "//",
        Some(("memory", name)) if memory_has_name => {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        }
        Some(("memory", name)) => name.is_empty(),
        Some(("s3", rest)) => {
            let place = rest.strip_prefix("//").unwrap_or_default();
            let bucket = place.split('/').next().unwrap_or_default();
            if bucket.contains('@') {
                let help = Some("credentials come from the environment; write `s3://bucket/prefix`".to_owned());
                return problems.add(placed.at, format!("`{key}` seems to hold credentials, which do not belong in a topology"), help);
            }
            !bucket.is_empty()
        }
        _ => false,
    };
    if !known || placed.value.contains(char::is_control) {
        problems.add(placed.at, format!("`{key}`: \"{}\" {}", quote(&placed.value), unknown.0), Some(unknown.1.to_owned()));
    }
}

fn check_format(given: &Given<String>, problems: &mut Problems<'_>) -> SinkFormat {
    check_word(given, "format", SinkFormat::Json, problems)
}

/// When rows become visible. Standard output knows one way only.
pub(super) fn check_delivery(draft: &DraftSink, problems: &mut Problems<'_>) -> Delivery {
    let natural = if draft.stdout.is_absent() { Delivery::ExactlyOnce } else { Delivery::Immediate };
    let delivery = check_word(&draft.delivery, "delivery", natural, problems);
    if let (Delivery::Immediate, Delivery::ExactlyOnce, Some(word)) = (natural, delivery, draft.delivery.get()) {
        let help = Some("what was printed cannot be taken back: write to `file` or `objects`, or remove `delivery`".to_owned());
        problems.add(word.at, "`delivery = \"exactly-once\"` does not go with `stdout`", help);
    }
    delivery
}

/// Folders and urls, which two sinks cannot share.
pub(super) fn check_shared_places(draft: &Draft, problems: &mut Problems<'_>) {
    let mut places = BTreeMap::new();
    for sink in &draft.sinks {
        let folder = sink.file.get().and_then(|file| file.value.path.get()).map(|path| (path, "give each sink a folder of its own"));
        let url = sink.objects.get().and_then(|objects| objects.value.url.get()).map(|url| (url, "give each sink a url of its own"));
        for (place, help) in folder.into_iter().chain(url).filter(|(place, _)| !place.value.is_empty()) {
            let name = place.value.strip_suffix('/').unwrap_or(&place.value);
            if let Some(first) = places.insert(name, place.at) {
                let line = problems.places().find(first).0;
                let message = format!("the sink of line {line} writes to \"{}\" too", quote(&place.value));
                problems.add(place.at, message, Some(help.to_owned()));
            }
        }
    }
}
