//! Mistakes in the variables that say how a bucket is reached, and in the place of a store.

use crate::support::{Counting, Ended, Place};

/// A job over a bucket, run to its end with these variables beside good ones.
fn run(variables: &[(&str, &str)]) -> Ended {
    let store = "s3://bucket/prefix";
    let mut place = Counting { store, checkpoint: "timeout = \"200ms\"\nretries = 0", ..Counting::default() }.place("a,1,1\n");
    let home = place.path("home").display().to_string();
    let usual =
        [("AWS_ACCESS_KEY_ID", "KEY"), ("AWS_SECRET_ACCESS_KEY", "KEY"), ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("HOME", &home)];
    place.set(usual.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
    place.run(&["run", "job.toml"])
}

#[test]
fn a_mistake_in_a_variable_is_told_with_its_name_and_never_its_secret() {
    let addresses = [
        "10.8.0.84:9000",
        "minio:9000",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:9 ",
        "http://127.0.0.1:9\n",
        "http://",
        "http://a b",
        "ftp://store",
        "http://TOPSECRET:TOPSECRET@store",
        "https://[::1",
        "//store",
    ];
    let mut tries: Vec<(&str, &str)> = addresses.iter().map(|address| ("AWS_ENDPOINT_URL", *address)).collect();
    tries.extend(
        ["TOPSECRET\n", "TOPSECRET\r", " TOPSECRET", "TOPSECRET\u{e9}"]
            .iter()
            .flat_map(|value| ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"].map(|name| (name, *value))),
    );
    tries.extend(["eu-west-1\n", "eu west", "eu/west"].map(|region| ("AWS_REGION", region)));
    tries.extend([("AWS_DEFAULT_REGION", "eu west"), ("AWS_ENDPOINT_URL_S3", "store:9"), ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")]);
    for (name, value) in tries {
        let ended = run(&[(name, value)]);
        assert_eq!(ended.code(), Some(4), "{name}={value:?}: {ended}");
        assert!(ended.stderr.contains(name) && ended.stderr.contains("help: "), "{name}={value:?}: {ended}");
        assert!(
            !ended.stderr.contains("panicked") && !ended.stderr.contains("SECRET\n") && !ended.stderr.contains("TOPSECRET"),
            "{name}={value:?}: {ended}"
        );
    }
}

#[test]
fn a_profile_is_not_read_and_the_error_says_how_to_export_it() {
    let mut place = Counting { store: "s3://bucket", ..Counting::default() }.place("a,1,1\n");
    place.write("home/.aws/credentials", "[default]\naws_access_key_id = A\naws_secret_access_key = TOPSECRET\n");
    let home = ("HOME".to_owned(), place.path("home").display().to_string());
    for (profile, name) in [("jobs", "jobs"), ("", "default")] {
        place.set(vec![home.clone(), ("AWS_PROFILE".to_owned(), profile.to_owned())]);
        let ended = place.run(&["run", "job.toml"]);
        assert_eq!(ended.code(), Some(4), "{ended}");
        let how = format!("`eval \"$(aws configure export-credentials --profile {name} --format env)\"`");
        assert!(ended.stderr.contains("profiles are not read") && ended.stderr.contains(&how), "{ended}");
        assert!(!ended.stderr.contains("TOPSECRET") && !ended.stderr.contains("panicked"), "{ended}");
    }
}

#[test]
fn a_variable_that_is_no_text_is_told() {
    use std::os::unix::ffi::OsStrExt;
    let place = Counting { store: "s3://bucket", ..Counting::default() }.place("a,1,1\n");
    let mut command = place.command();
    command.args(["run", "job.toml"]).env("AWS_SESSION_TOKEN", std::ffi::OsStr::from_bytes(b"\xff\xfe")).stdin(std::process::Stdio::null());
    let ended = crate::support::Running::start(command).wait();
    assert_eq!(ended.code(), Some(4), "{ended}");
    assert!(ended.stderr.contains("AWS_SESSION_TOKEN is no text"), "{ended}");
}

#[test]
fn a_path_that_only_a_shell_expands_is_refused_before_a_folder_of_that_name_is_made() {
    let base = Counting::default().text();
    let cases = [
        ("\"file:./state\"", "\"file:~/state\"", "store"),
        ("\"file:./state\"", "\"file://~/state\"", "store"),
        ("path = \"in/*\"", "path = \"~/in/*\"", "path"),
        ("path = \"out\"", "path = \"~\"", "path"),
        ("path = \"out\"", "path = \"~ann/out\"", "path"),
    ];
    for (from, to, key) in cases {
        let text = base.replace(from, to);
        assert_ne!(text, base, "{from}");
        let place = Place::with(&text);
        place.write("in/rows.txt", "a,1,1\n");
        for command in ["check", "run"] {
            let ended = place.run(&[command, "job.toml"]);
            assert_eq!(ended.code(), Some(2), "{to}: {ended}");
            let said = format!("{}{}", ended.stdout, ended.stderr);
            assert!(
                said.contains(&format!("`{key}`")) && said.contains("which only a shell expands") && said.contains("${HOME}"),
                "{to}: {ended}"
            );
        }
        assert!(!place.path("~").exists(), "{to}");
    }
    // What the help says works.
    let mut place = Place::with(&base.replace("\"file:./state\"", "\"file:${HOME}/state\"").replace("path = \"out\"", "path = \"./~\""));
    place.write("in/rows.txt", "a,1,1\n");
    place.set(vec![("HOME".into(), place.path("home").display().to_string())]);
    place.finish(1);
    assert!(place.path("home/state/counting").is_dir() && place.path("~").is_dir());
}
