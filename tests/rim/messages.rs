//! What a person reads where a job is refused: each text is a golden file, so that it is read again whenever it changes. A text says what
//! happened, where, and what to do.

use crate::golden;
use crate::support::Place;

/// A job that is refused.
struct Refused {
    /// Name of the golden file.
    name: &'static str,
    /// `checkpoint.store`.
    store: &'static str,
    /// What is in the table of the source.
    source: &'static str,
    /// What is in the table of the sink.
    sink: &'static str,
    /// Further lines of the topology.
    more: &'static str,
    /// Files beside the topology.
    files: &'static [(&'static str, &'static [u8])],
    /// Variables of the process.
    variables: &'static [(&'static str, &'static str)],
    code: i32,
}

const ORDINARY: Refused = Refused {
    name: "",
    store: "file:state",
    source: "path = \"in.txt\", format = \"lines\"",
    sink: "file = { path = \"out\" }",
    more: "",
    files: &[("in.txt", b"a\nb\n")],
    variables: &[],
    code: 2,
};

const REFUSED: &[Refused] = &[
    Refused { name: "home-of-a-shell", store: "file:~/state", ..ORDINARY },
    Refused { name: "glob", source: "path = \"in[.txt\", format = \"lines\"", ..ORDINARY },
    Refused { name: "no-file", source: "path = \"none.txt\", format = \"lines\"", code: 7, ..ORDINARY },
    Refused { name: "a-folder", source: "path = \"in\", format = \"lines\"", files: &[("in/a.txt", b"a\n")], code: 7, ..ORDINARY },
    Refused { name: "own-output", source: "path = \"out/*.json\", format = \"json\"", ..ORDINARY },
    Refused { name: "own-store", source: "path = \"**/*\", format = \"lines\"", ..ORDINARY },
    Refused {
        name: "one-folder-for-two-sinks",
        more: "[[sink]]\nname = \"other\"\ninput = \"in\"\nfile = { path = \"./out\" }\n",
        ..ORDINARY
    },
    Refused { name: "packed", files: &[("in.txt", b"\xfd7zXZ\0\0\x04abcdefgh")], code: 7, ..ORDINARY },
    Refused { name: "utf-16", files: &[("in.txt", b"\xff\xfea\0\n\0")], code: 7, ..ORDINARY },
    Refused {
        name: "no-such-column",
        source: "path = \"in.txt\", format = \"csv\", key.column = \"id\"",
        files: &[("in.txt", b"name,age\nx,1\n")],
        code: 7,
        ..ORDINARY
    },
    Refused { name: "output-is-a-file", files: &[("in.txt", b"a\n"), ("out", b"")], code: 7, ..ORDINARY },
    Refused { name: "store-is-a-file", files: &[("in.txt", b"a\n"), ("state", b"")], code: 4, ..ORDINARY },
    Refused {
        name: "endpoint",
        store: "s3://bucket/prefix",
        variables: &[("AWS_ENDPOINT_URL", "minio:9000"), ("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "S")],
        code: 4,
        ..ORDINARY
    },
    Refused {
        name: "line-end-in-a-secret",
        store: "s3://bucket/prefix",
        variables: &[("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "S\n")],
        code: 4,
        ..ORDINARY
    },
    Refused {
        name: "no-component",
        more: "[[operator]]\nname = \"op\"\ncomponent = \"op.wasm\"\ninput = \"in\"\n",
        files: &[("in.txt", b"a\n"), ("op.wasm", b"\0asm\x0d\0\x01\0 and no component")],
        ..ORDINARY
    },
];

/// Runs it; gives what it told, with the folder as `DIR` and identities of stores as `LIFE`.
fn told(refused: &Refused) -> String {
    let Refused { store, source, sink, more, .. } = refused;
    let head = format!("name = \"job\"\ncheckpoint = {{ store = \"{store}\" }}\n[[source]]\nname = \"in\"\nfile = {{ {source} }}\n");
    let mut place = Place::with(&format!("{head}[[sink]]\nname = \"out\"\ninput = \"in\"\n{sink}\n{more}"));
    for (name, bytes) in refused.files {
        place.write(name, bytes);
    }
    let variables = refused.variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let home = place.path("home").to_string_lossy().into_owned();
    place.set(variables.chain([("HOME".to_owned(), home)]).collect());
    let ended = place.run(&["run", "job.toml", "--workers", "1"]);
    assert_eq!(ended.code(), Some(refused.code), "{}: {ended}", refused.name);
    plain(&place, &ended.stderr)
}

fn plain(place: &Place, text: &str) -> String {
    let folder = place.path("");
    let folder = folder.canonicalize().unwrap_or(folder);
    let text = text.replace(folder.to_string_lossy().trim_end_matches('/'), "DIR");
    let is_life = |word: &str| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split('`').map(|word| if is_life(word) { "LIFE" } else { word }).collect::<Vec<_>>().join("`")
}

#[test]
fn each_refusal_says_what_where_and_what_to_do() {
    let mut differences = Vec::new();
    for refused in REFUSED {
        let text = told(refused);
        assert!(text.contains("help: "), "{} names no way out:\n{text}", refused.name);
        differences.extend(golden::compare(&format!("rim/{}.txt", refused.name), &text));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn output_of_another_store_is_refused_with_all_ways_out() {
    let topology = |store: &str| {
        let head = format!("name = \"job\"\ncheckpoint = {{ store = \"{store}\" }}\n[[source]]\nname = \"in\"\n");
        format!(
            "{head}file = {{ path = \"in.txt\", format = \"lines\" }}\n[[sink]]\nname = \"out\"\ninput = \"in\"\nfile = {{ path = \"out\" }}\n"
        )
    };
    let place = Place::with(&topology("file:state"));
    place.write("in.txt", "a\nb\n");
    place.finish(1);
    place.write("job.toml", topology("file:other"));
    let ended = place.run(&["run", "job.toml", "--workers", "1"]);
    assert_eq!(ended.code(), Some(7), "{ended}");
    golden::check("rim/another-store.txt", &plain(&place, &ended.stderr));
}
