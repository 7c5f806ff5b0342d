//! From the place of a bucket, the environment and the profile to a client for S3.
//!
//! The names of variables are those of the client library, which are the usual ones where there are usual ones. A variable wins over the
//! profile. Addresses have the bucket in their path, unless the host is asked to have it in the name of the server.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key, S3ConditionalPut};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

use super::location::Location;
use super::profile::{self, Form, Profiles};
use super::{LARGE_BYTES, path, settings};
use crate::panics::guarded;

/// Time to reach a server; an attempt's own limit covers the rest.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Size of a file with profiles.
const PROFILES_BYTES_MAX: u64 = 1 << 20;
/// Any of these says who we are, so that the profile is not asked.
const CREDENTIALS: [&str; 4] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SKIP_SIGNATURE"];

/// The variables that say how buckets are reached.
#[derive(Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Names of variables of ours whose values are no text.
    broken: Vec<String>,
}

impl Environment {
    /// Those of the process.
    pub fn of_process() -> Self {
        let (mut variables, mut broken) = (Vec::new(), Vec::new());
        // A name that is no text is none of ours.
        for (name, value) in std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))) {
            match value.into_string() {
                Ok(value) => variables.push((name, value)),
                Err(_) if is_ours(&name) => broken.push(name),
                Err(_) => {}
            }
        }
        Self { broken, ..Self::new(variables.into_iter()) }
    }

    /// Those given. An empty one is as good as none.
    pub fn new(variables: impl Iterator<Item = (String, String)>) -> Self {
        Self { variables: variables.filter(|(name, value)| is_ours(name) && !value.is_empty()).collect(), broken: Vec::new() }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    fn any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.variables.contains_key(*name))
    }

    /// The path of a file with profiles: where a variable says, else below the home folder.
    fn file(&self, variable: &str, below_home: &str) -> Option<String> {
        let home = self.get("HOME");
        match self.get(variable) {
            Some(given) => match (given.strip_prefix("~/"), home) {
                (Some(rest), Some(home)) => Some(format!("{home}/{rest}")),
                _ => Some(given.to_owned()),
            },
            None => home.map(|home| format!("{home}/{below_home}")),
        }
    }

    /// What the chosen profile says, as variables.
    fn profile(&self) -> Result<Vec<(&'static str, String)>, String> {
        let files = [
            (self.file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"), Form::Credentials),
            (self.file("AWS_CONFIG_FILE", ".aws/config"), Form::Config),
        ];
        let chosen = self.get("AWS_PROFILE").or(self.get("AWS_DEFAULT_PROFILE"));
        let name = chosen.unwrap_or("default");
        let mut read = Vec::new();
        for (file, form) in &files {
            read.push(match file {
                Some(file) => read_profiles(file, *form)?,
                None => Profiles::default(),
            });
        }
        if chosen.is_some() && !read.iter().any(|profiles| profiles.contains(name)) {
            let places: Vec<String> = files.into_iter().filter_map(|(file, _)| Some(format!("`{}`", file?))).collect();
            let places = if places.is_empty() { "no file, since HOME is not set".to_owned() } else { places.join(" or ") };
            return Err(format!("there is no profile `{name}` in {places}\n  help: mend AWS_PROFILE, or add the profile"));
        }
        profile::variables(&read, name, !self.any(&CREDENTIALS)).map_err(|reason| format!("profile `{name}` {reason}"))
    }

    /// Everything that sets up a client, in the order in which it is applied: the later one wins. All of it is checked.
    fn settings(&self, bucket: &str) -> Result<Vec<(Key, String)>, String> {
        if let Some(name) = self.broken.first() {
            return Err(format!("{name} is no text\n  help: set it to text, or unset it"));
        }
        let mut profile = self.profile()?;
        profile.retain(|(name, _)| match *name {
            "AWS_REGION" => !self.any(&["AWS_REGION", "AWS_DEFAULT_REGION"]),
            "AWS_ENDPOINT_URL" => !self.any(&["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"]),
            _ => true,
        });
        let from_profile = profile.into_iter().map(|(name, value)| (name, format!("{name}, as the profile has it,"), value));
        let variables = self.variables.iter().map(|(name, value)| (name.as_str(), name.clone(), value.clone()));
        let mut named = Vec::new();
        for (name, shown, value) in from_profile.chain(variables) {
            let Ok(key) = name.to_ascii_lowercase().parse::<Key>() else { continue };
            settings::check(&shown, key, &value)?;
            named.push((key, shown, value));
        }
        let is_endpoint = |key: &Key| matches!(key, Key::Endpoint | Key::S3Endpoint);
        let style = named.iter().rev().find(|(key, ..)| *key == Key::VirtualHostedStyleRequest);
        if style.is_some_and(|(.., value)| is_true(value)) {
            for (_, shown, endpoint) in named.iter_mut().filter(|(key, ..)| is_endpoint(key)) {
                *endpoint = settings::with_bucket(shown, endpoint, bucket)?;
            }
        }
        let mut settings: Vec<(Key, String)> = named.into_iter().map(|(key, _, value)| (key, value)).collect();
        if settings.iter().any(|(key, value)| is_endpoint(key) && value.starts_with("http://")) {
            settings.insert(0, (Key::Client(object_store::ClientConfigKey::AllowHttp), "true".to_owned()));
        }
        Ok(settings)
    }
}

/// Variables that are looked at here.
fn is_ours(name: &str) -> bool {
    name.starts_with("AWS_") || name == "HOME"
}

/// As the client library reads a yes.
fn is_true(value: &str) -> bool {
    ["1", "true", "on", "yes", "y"].contains(&value.to_ascii_lowercase().as_str())
}

/// The profiles of a file; none if it does not exist.
fn read_profiles(file: &str, form: Form) -> Result<Profiles, String> {
    let opened = match std::fs::File::open(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Profiles::default()),
        opened => opened,
    };
    let mut text = String::new();
    let read = opened.and_then(|opened| opened.take(PROFILES_BYTES_MAX + 1).read_to_string(&mut text));
    read.map_err(|error| format!("cannot read `{file}`: {error}\n  help: mend the file, or let {} name another", form.variable()))?;
    if text.len() as u64 > PROFILES_BYTES_MAX {
        return Err(format!("`{file}` is longer than {PROFILES_BYTES_MAX} bytes\n  help: let {} name another file", form.variable()));
    }
    profile::parse(&text, form).map_err(|malformed| format!("`{file}`, line {}: {}", malformed.line, malformed.message))
}

/// The bucket of an url, given what follows `s3:`.
///
/// # Errors
/// What is wrong with the url, the profile or the variables, and what to do.
pub fn locate(rest: &str, environment: &Environment) -> Result<Location, String> {
    let Some(rest) = rest.strip_prefix("//") else {
        return Err("write `s3://BUCKET/PREFIX`".to_owned());
    };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_end_matches('/');
    if bucket.is_empty() || !bucket.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte)) {
        return Err(format!("`{bucket}` is no name of a bucket"));
    }
    if !prefix.is_empty() {
        path::check(prefix).map_err(|reason| format!("the prefix after the bucket is not allowed: {reason}"))?;
    }
    // The retries of this module are the only ones, and so are its limits on time: see its head.
    let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: 0, retry_timeout: Duration::MAX };
    let client = ClientOptions::new().with_timeout_disabled().with_connect_timeout(CONNECT_TIMEOUT);
    let mut builder = AmazonS3Builder::new().with_client_options(client);
    for (key, value) in environment.settings(bucket)? {
        builder = builder.with_config(key, value);
    }
    // It is an error that the process has one already: then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = builder
        .with_bucket_name(bucket)
        .with_retry(retry)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // Objects are deleted one at a time; the bulk call is missing from some servers.
        .with_config(Key::DisableBulkDelete, "true");
    let help = "set AWS_REGION, AWS_ENDPOINT_URL and the credentials, as variables or in the profile that AWS_PROFILE names";
    let objects = match guarded(|| builder.build()) {
        Ok(built) => built.map_err(|error| format!("{error}\n  help: {help}"))?,
        Err(words) => return Err(format!("the client library gave up: {words}\n  help: {help}; please report this")),
    };
    let shown = if prefix.is_empty() { format!("s3://{bucket}") } else { format!("s3://{bucket}/{prefix}") };
    Ok(Location {
        objects: Arc::new(objects),
        prefix: prefix.to_owned(),
        shown,
        large_bytes: Some(LARGE_BYTES),
        folder: None,
        strays: Arc::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn write(folder: &Path, file: &str, text: &str) {
        std::fs::create_dir_all(folder.join(".aws")).expect("the folder is there");
        std::fs::write(folder.join(".aws").join(file), text).expect("the folder is there");
    }

    /// What a client would be told last about each of these.
    fn told(environment: &Environment, keys: &[Key]) -> Vec<Option<String>> {
        let settings = environment.settings("bucket").expect("it is right");
        let last = |key: &Key| settings.iter().rev().find(|(set, _)| set == key).map(|(_, value)| value.clone());
        keys.iter().map(last).collect()
    }

    const WHO: [Key; 3] = [Key::AccessKeyId, Key::SecretAccessKey, Key::Token];
    const WHERE: [Key; 3] = [Key::Region, Key::Endpoint, Key::VirtualHostedStyleRequest];

    fn some(values: [&str; 3]) -> Vec<Option<String>> {
        values.into_iter().map(|value| Some(value.to_owned()).filter(|value| !value.is_empty())).collect()
    }

    #[test]
    fn the_profile_says_what_the_variables_do_not() {
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = home.path().to_str().expect("it is text");
        write(
            home.path(),
            "credentials",
            "[default]\naws_access_key_id = A\naws_secret_access_key = S\n[other]\naws_access_key_id = OA\naws_secret_access_key = OS\naws_session_token = OT\n",
        );
        write(
            home.path(),
            "config",
            "[default]\nregion = here\n[profile other]\nregion = there\nendpoint_url = http://store:9000\ns3 =\n  addressing_style = path\n",
        );

        let default = environment(&[("HOME", folder)]);
        assert_eq!(told(&default, &WHO), some(["A", "S", ""]));
        assert_eq!(told(&default, &WHERE), some(["here", "", ""]));
        for variable in ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"] {
            let other = environment(&[("HOME", folder), (variable, "other")]);
            assert_eq!(told(&other, &WHO), some(["OA", "OS", "OT"]));
            assert_eq!(told(&other, &WHERE), some(["there", "http://store:9000", "false"]));
            assert_eq!(told(&other, &[Key::Client(object_store::ClientConfigKey::AllowHttp)]), [Some("true".to_owned())]);
        }

        let overruled = environment(&[
            ("HOME", folder),
            ("AWS_PROFILE", "other"),
            ("AWS_ACCESS_KEY_ID", "E"),
            ("AWS_SECRET_ACCESS_KEY", "F"),
            ("AWS_DEFAULT_REGION", "elsewhere"),
            ("AWS_ENDPOINT_URL_S3", "https://s3"),
        ]);
        assert_eq!(told(&overruled, &WHO), some(["E", "F", ""]), "the token of the profile belongs to the keys of the profile");
        assert_eq!(told(&overruled, &WHERE), some(["", "", "false"]));
        assert_eq!(told(&overruled, &[Key::DefaultRegion, Key::S3Endpoint]), [Some("elsewhere".to_owned()), Some("https://s3".to_owned())]);
    }

    #[test]
    fn files_may_lie_elsewhere_and_may_be_missing() {
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = home.path().to_str().expect("it is text");
        write(home.path(), "mine", "[default]\naws_access_key_id = A\naws_secret_access_key = S\n");
        for path in [format!("{folder}/.aws/mine"), "~/.aws/mine".to_owned()] {
            let found = environment(&[("HOME", folder), ("AWS_SHARED_CREDENTIALS_FILE", &path)]);
            assert_eq!(told(&found, &WHO), some(["A", "S", ""]));
        }
        assert_eq!(told(&environment(&[("HOME", folder)]), &WHO), some(["", "", ""]));
        assert_eq!(told(&environment(&[]), &WHO), some(["", "", ""]));
        let error = environment(&[("HOME", folder), ("AWS_PROFILE", "x")]).settings("bucket").expect_err("there is none");
        assert_eq!(
            error,
            format!(
                "there is no profile `x` in `{folder}/.aws/credentials` or `{folder}/.aws/config`\n  help: mend AWS_PROFILE, or add the profile"
            )
        );
    }

    #[test]
    fn files_that_cannot_be_read_are_named_with_their_line() {
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = home.path().to_str().expect("it is text");
        write(home.path(), "config", "[default]\nregion = here\nSECRET\n");
        let error = environment(&[("HOME", folder)]).settings("bucket").expect_err("the third line is wrong");
        assert!(error.starts_with(&format!("`{folder}/.aws/config`, line 3: ")) && error.contains("help:"), "{error}");
        assert!(!error.contains("SECRET"), "what a line of credentials holds is not shown: {error}");
        write(home.path(), "config", &"#\n".repeat(1 << 19));
        assert!(environment(&[("HOME", folder)]).settings("bucket").is_ok(), "as long as it may be");
        write(home.path(), "config", &"#\n".repeat((1 << 19) + 1));
        let error = environment(&[("HOME", folder)]).settings("bucket").expect_err("it is too long");
        assert!(error.contains("longer than 1048576 bytes"), "{error}");
        std::fs::write(home.path().join(".aws/config"), [0xff, 0xfe]).expect("the folder is there");
        assert!(environment(&[("HOME", folder)]).settings("bucket").is_err(), "it is not text");
    }

    #[test]
    fn the_bucket_is_in_the_path_or_in_the_name_of_the_server() {
        let endpoint = |pairs: &[(&str, &str)]| told(&environment(pairs), &[Key::Endpoint]).remove(0);
        let given = ("AWS_ENDPOINT_URL", "https://store:9000");
        assert_eq!(endpoint(&[given]).as_deref(), Some("https://store:9000"));
        assert_eq!(endpoint(&[given, ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "false")]).as_deref(), Some("https://store:9000"));
        let hosted = ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true");
        assert_eq!(endpoint(&[given, hosted]).as_deref(), Some("https://bucket.store:9000"));
        assert_eq!(endpoint(&[("AWS_ENDPOINT_URL", "https://bucket.store"), hosted]).as_deref(), Some("https://bucket.store"));
    }
}
