//! From the place of a bucket and the environment to a client for S3.
//!
//! The names of variables are those of the client library, which are the usual ones where there are usual ones. Without credentials in the
//! variables the client asks the container or the machine for them. Profiles are not read: where other tools would use one, an error says how
//! to export it. Addresses have the bucket in their path, unless the host is asked to have it in the name of the server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key, S3ConditionalPut};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

use super::handle::Store;
use super::limits::LARGE_BYTES;
use super::{path, settings};
use crate::panics::guarded;
use reprise_core::plain::plain;

/// Time to reach a server; an attempt's own limit covers the rest.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Variables of which each gives the client credentials, so that no profile is missed.
const CREDENTIALS: [&str; 6] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
];

/// What to do where no profile is meant.
const ELSE: &str =
    "for the credentials of the container or the machine, unset AWS_PROFILE and set AWS_SHARED_CREDENTIALS_FILE to /dev/null";

/// The variables that say how buckets are reached.
#[derive(Debug, Default)]
pub struct BucketEnvironment {
    variables: BTreeMap<String, String>,
    /// Names of variables of ours whose values are no text.
    broken: Vec<String>,
}

impl BucketEnvironment {
    /// The variables of the process.
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

    /// The variables that are given. An empty one is as good as none.
    pub fn new(variables: impl Iterator<Item = (String, String)>) -> Self {
        Self { variables: variables.filter(|(name, value)| is_ours(name) && !value.is_empty()).collect(), broken: Vec::new() }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The profile that a variable names, with what is said of it.
    fn named_profile(&self) -> Option<(String, &str)> {
        let named = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"].into_iter().find_map(|variable| Some((variable, self.get(variable)?)));
        named.map(|(variable, name)| (format!("{variable} names the profile `{}`", plain(name)), name))
    }

    /// The file of profiles that other tools would take credentials from, likewise: where a variable says, else below the home folder.
    fn default_profile(&self) -> Option<(String, &str)> {
        let home = self.get("HOME");
        let file = match (self.get("AWS_SHARED_CREDENTIALS_FILE"), home) {
            (Some(given), Some(home)) => given.strip_prefix("~/").map_or_else(|| given.to_owned(), |rest| format!("{home}/{rest}")),
            (Some(given), None) => given.to_owned(),
            (None, home) => format!("{}/.aws/credentials", home?),
        };
        let is_there = std::fs::metadata(&file).is_ok_and(|found| found.is_file() && found.len() > 0);
        is_there.then(|| (format!("no variable holds credentials, but there is `{}`", plain(&file)), "default"))
    }

    /// Tells of a profile that other tools would use.
    ///
    /// # Errors
    /// Nothing else says who we are: another identity than the one that is meant must not be used in silence.
    fn check_profile(&self) -> Result<(), String> {
        if CREDENTIALS.iter().any(|name| self.variables.contains_key(*name)) {
            if let Some((what, name)) = self.named_profile() {
                tracing::warn!("{what}, which is not read: the credentials are those of the other variables; {}", export(name));
            }
            return Ok(());
        }
        let Some((what, name)) = self.named_profile().or_else(|| self.default_profile()) else { return Ok(()) };
        Err(format!("{what}; profiles are not read\n  help: {}; {ELSE}", export(name)))
    }

    /// The settings of a client, in the order in which it is applied: the later one wins. All of it is checked.
    fn settings(&self, bucket: &str) -> Result<Vec<(Key, String)>, String> {
        if let Some(name) = self.broken.first() {
            return Err(format!("{name} is no text\n  help: set it to text, or unset it"));
        }
        self.check_profile()?;
        let mut named = Vec::new();
        for (name, value) in &self.variables {
            let Ok(key) = name.to_ascii_lowercase().parse::<Key>() else { continue };
            settings::check(name, key, value)?;
            named.push((key, name, value.clone()));
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

/// True for a value that the client library reads as a yes.
fn is_true(value: &str) -> bool {
    ["1", "true", "on", "yes", "y"].contains(&value.to_ascii_lowercase().as_str())
}

/// Help for a profile: how its credentials get into the environment.
fn export(profile: &str) -> String {
    let is_word = |sign: char| sign.is_ascii_alphanumeric() || "-_.@/+=:,".contains(sign);
    let name = if profile.chars().all(is_word) { profile.to_owned() } else { format!("'{}'", plain(profile).replace('\'', r"'\''")) };
    format!(
        r#"export its credentials with `eval "$(aws configure export-credentials --profile {name} --format env)"`, and set AWS_REGION and AWS_ENDPOINT_URL as the profile has them"#
    )
}

/// The bucket of an url, given what follows `s3:`.
///
/// # Errors
/// What is wrong with the url or the variables, and what to do.
pub fn locate(rest: &str, environment: &BucketEnvironment) -> Result<Store, String> {
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
    let help = "set AWS_REGION, AWS_ENDPOINT_URL and the credentials as variables of the environment";
    let objects = match guarded(|| builder.build()) {
        Ok(built) => built.map_err(|error| format!("{error}\n  help: {help}"))?,
        Err(words) => return Err(format!("the client library gave up: {words}\n  help: {help}; please report this")),
    };
    let shown = if prefix.is_empty() { format!("s3://{bucket}") } else { format!("s3://{bucket}/{prefix}") };
    Ok(Store { prefix: prefix.to_owned(), large_bytes: Some(LARGE_BYTES), ..Store::new(Arc::new(objects), shown) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BucketEnvironment {
        BucketEnvironment::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    /// What a client would be told last about each of these.
    fn told(environment: &BucketEnvironment, keys: &[Key]) -> Vec<Option<String>> {
        let settings = environment.settings("bucket").expect("it is right");
        let last = |key: &Key| settings.iter().rev().find(|(set, _)| set == key).map(|(_, value)| value.clone());
        keys.iter().map(last).collect()
    }

    const HOW: &str = r#"export its credentials with `eval "$(aws configure export-credentials --profile NAME --format env)"`, and set AWS_REGION and AWS_ENDPOINT_URL as the profile has them"#;

    #[test]
    fn a_profile_is_not_read_and_the_error_says_how_to_export_it() {
        let refusal = |variables: &[(&str, &str)]| environment(variables).settings("bucket").expect_err("nobody says who we are");
        for variable in ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"] {
            let how = HOW.replace("NAME", "jobs");
            let expected = format!("{variable} names the profile `jobs`; profiles are not read\n  help: {how}; {ELSE}");
            assert_eq!(refusal(&[(variable, "jobs")]), expected);
        }
        assert!(refusal(&[("AWS_PROFILE", "two words")]).contains("--profile 'two words' --format"));
        for credentials in CREDENTIALS {
            assert!(environment(&[("AWS_PROFILE", "jobs"), (credentials, "http://x")]).settings("bucket").is_ok(), "{credentials}");
        }
    }

    #[test]
    fn a_file_of_credentials_is_not_passed_over_in_silence_where_nothing_else_says_who_we_are() {
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = home.path().to_str().expect("it is text");
        let file = home.path().join(".aws/credentials");
        std::fs::create_dir(home.path().join(".aws")).expect("the folder is there");
        let settings = |variables: &[(&str, &str)]| environment(variables).settings("bucket");
        assert_eq!(settings(&[]), Ok(Vec::new()));
        assert_eq!(settings(&[("HOME", folder)]), Ok(Vec::new()), "there is no file");
        std::fs::write(&file, "").expect("the folder is there");
        assert_eq!(settings(&[("HOME", folder)]), Ok(Vec::new()), "it says nothing");
        std::fs::write(&file, "[default]\naws_access_key_id = A\naws_secret_access_key = TOPSECRET\n").expect("the folder is there");
        let shown = file.display().to_string();
        for variables in [
            vec![("HOME", folder)],
            vec![("HOME", folder), ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")],
            vec![("AWS_SHARED_CREDENTIALS_FILE", shown.as_str())],
        ] {
            let how = HOW.replace("NAME", "default");
            let expected = format!("no variable holds credentials, but there is `{shown}`; profiles are not read\n  help: {how}; {ELSE}");
            assert_eq!(settings(&variables), Err(expected));
        }
        assert_eq!(settings(&[("HOME", folder), ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")]), Ok(Vec::new()));
        let keys = settings(&[("HOME", folder), ("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "S")]);
        assert_eq!(keys, Ok(vec![(Key::AccessKeyId, "A".to_owned()), (Key::SecretAccessKey, "S".to_owned())]));
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
