//! The files that tools for S3 share: profiles with credentials, region and endpoint. Text in, settings out; it reads no file.
//!
//! ```text
//! [default]                       a profile; in the config file others are written [profile NAME]
//! region = eu-central-1           # the rest of a line after ` #` or ` ;` is a remark
//! s3 =
//!   addressing_style = path       lines further in belong to the key above that has no value
//! ```
//!
//! Keys that mean nothing here are passed over: the files are other programs' too. Lines are never quoted in messages, since they may
//! hold a secret.

use std::collections::BTreeMap;

/// The two files differ in how they write the name of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `[NAME]`.
    Credentials,
    /// `[default]`, `[profile NAME]`, and sections of other kinds.
    Config,
}

impl Form {
    /// The variable that names the file.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Credentials => "AWS_SHARED_CREDENTIALS_FILE",
            Self::Config => "AWS_CONFIG_FILE",
        }
    }
}

/// The profiles of one file: keys and values by the profile's name. A key below another one is `ABOVE.KEY`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profiles(BTreeMap<String, BTreeMap<String, String>>);

impl Profiles {
    /// Whether there is such a profile.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn get(&self, profile: &str, key: &str) -> Option<&String> {
        self.0.get(profile)?.get(key).filter(|value| !value.is_empty())
    }
}

/// A line that is not in the form of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// From 1.
    pub line: usize,
    /// What is wrong with it, and what to do.
    pub message: String,
}

/// Where the reader stands.
#[derive(Default)]
struct Place {
    /// The profile, or none in a section of another kind.
    profile: Option<String>,
    in_section: bool,
    /// The last key that was not below another: its name, its indent, and whether it had a value.
    key: Option<(String, usize, bool)>,
}

/// Reads the text of a file.
///
/// # Errors
/// The first line that is not in the form of the file.
pub fn parse(text: &str, form: Form) -> Result<Profiles, Malformed> {
    let mut profiles = Profiles::default();
    let mut place = Place::default();
    for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        let malformed = |message: &str| Malformed { line: index + 1, message: message.to_owned() };
        let content = without_remark(line);
        let (indent, content) = (content.len() - content.trim_start().len(), content.trim());
        if content.is_empty() {
            continue;
        }
        if content.starts_with('[') {
            let title = content.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map(str::trim);
            let title = title.filter(|title| !title.is_empty());
            let title = title.ok_or_else(|| malformed("the section has no name or no end\n  help: write `[NAME]`"))?;
            place = Place { profile: profile_of(title, form), in_section: true, key: None };
            if let Some(profile) = &place.profile {
                profiles.0.entry(profile.clone()).or_default();
            }
            continue;
        }
        let Some((key, value)) = content.split_once('=') else {
            return Err(malformed("it is neither `[NAME]` nor `KEY = VALUE`\n  help: mend the line, or remove it"));
        };
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim().to_owned());
        if key.is_empty() {
            return Err(malformed("there is no key before the `=`\n  help: write `KEY = VALUE`"));
        }
        if !place.in_section {
            return Err(malformed("it stands before the first section\n  help: write `[default]` above it"));
        }
        let key = match &place.key {
            Some((_, above, true)) if indent > *above => {
                return Err(malformed("it is set further in than the line above, which has a value\n  help: remove the spaces before it"));
            }
            Some((above, indent_above, false)) if indent > *indent_above => format!("{above}.{key}"),
            _ => {
                place.key = Some((key.clone(), indent, !value.is_empty()));
                key
            }
        };
        if let Some(keys) = place.profile.as_ref().and_then(|profile| profiles.0.get_mut(profile)) {
            keys.insert(key, value);
        }
    }
    Ok(profiles)
}

/// A remark begins a line, or follows a space.
fn without_remark(line: &str) -> &str {
    let is_remark =
        |(at, sign): &(usize, char)| matches!(sign, '#' | ';') && line[..*at].chars().next_back().is_none_or(char::is_whitespace);
    line.char_indices().find(is_remark).map_or(line, |(at, _)| &line[..at])
}

fn profile_of(title: &str, form: Form) -> Option<String> {
    let name = match form {
        Form::Credentials => title,
        Form::Config if title == "default" => title,
        Form::Config => title.strip_prefix("profile").filter(|rest| rest.starts_with(char::is_whitespace))?.trim(),
    };
    let quoted = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
    Some(quoted.unwrap_or(name).to_owned())
}

/// What a profile says, as the variables that would say the same. `files` are in the order in which they are asked.
///
/// # Errors
/// What is wrong with the profile, to be read after its name, and what to do. Credentials are looked at only if `with_credentials`.
pub fn variables(files: &[Profiles], profile: &str, with_credentials: bool) -> Result<Vec<(&'static str, String)>, String> {
    const ID: &str = "aws_access_key_id";
    const SECRET: &str = "aws_secret_access_key";
    /// Other ways to credentials, which this host does not know.
    const UNKNOWN: [&str; 6] =
        ["credential_process", "credential_source", "role_arn", "sso_session", "sso_start_url", "web_identity_token_file"];
    let find = |key: &str| files.iter().find_map(|file| file.get(profile, key));
    let mut variables = Vec::new();
    if with_credentials {
        // The two keys and the token belong together: they come from one file.
        let has_keys = |file: &&Profiles| file.get(profile, ID).or(file.get(profile, SECRET)).is_some();
        if let Some(file) = files.iter().find(has_keys) {
            let take = |key: &str, other: &str| {
                file.get(profile, key).cloned().ok_or_else(|| format!("has `{other}` without `{key}`\n  help: add `{key}` beside it"))
            };
            variables.push(("AWS_ACCESS_KEY_ID", take(ID, SECRET)?));
            variables.push(("AWS_SECRET_ACCESS_KEY", take(SECRET, ID)?));
            variables.extend(file.get(profile, "aws_session_token").map(|token| ("AWS_SESSION_TOKEN", token.clone())));
        } else if let Some(key) = UNKNOWN.into_iter().find(|key| find(key).is_some()) {
            return Err(format!(
                "gets its credentials by `{key}`, which this host cannot do\n  help: let the tool that can put them into the environment: `aws configure export-credentials --format env`"
            ));
        }
    }
    variables.extend(find("region").map(|region| ("AWS_REGION", region.clone())));
    variables.extend(find("endpoint_url").map(|endpoint| ("AWS_ENDPOINT_URL", endpoint.clone())));
    let hosted = match find("s3.addressing_style").map(String::as_str) {
        None | Some("auto") => None,
        Some("path") => Some("false"),
        Some("virtual") => Some("true"),
        Some(_) => return Err("has an `addressing_style` that is not known\n  help: write `path`, `virtual` or `auto`".to_owned()),
    };
    variables.extend(hosted.map(|hosted| ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", hosted.to_owned())));
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles(text: &str, form: Form) -> Profiles {
        parse(text, form).expect("the text is right")
    }

    #[test]
    fn profiles_are_read_as_other_tools_read_them() {
        let config = "\u{feff}# mine\r\n\r\n[default] ; first\r\nregion=here\r\nS3 =\r\n    addressing_style = virtual # so\r\n    other = 1\r\noutput = json\r\n[profile \"two words\"]\r\n  region = there\r\n  endpoint_url = http://h/#x\r\n[sso-session s]\r\nsso_region = x\r\n[default]\r\nregion = later\r\n";
        let read = profiles(config, Form::Config);
        let get = |profile: &str, key: &str| read.get(profile, key).map(String::as_str);
        assert_eq!(get("default", "region"), Some("later"));
        assert_eq!(get("default", "s3.addressing_style"), Some("virtual"));
        assert_eq!(get("default", "s3.other"), Some("1"));
        assert_eq!(get("default", "output"), Some("json"));
        assert_eq!(get("two words", "region"), Some("there"));
        assert_eq!(get("two words", "endpoint_url"), Some("http://h/#x"), "a sign inside a value is no remark");
        assert_eq!(read.0.len(), 2, "a section of another kind is no profile");
        let read = profiles("[default]\n[profile x]\nregion = a\n", Form::Credentials);
        assert!(read.contains("default") && read.contains("profile x") && !read.contains("x"));
    }

    #[test]
    fn lines_in_another_form_are_named_by_their_number_and_not_shown() {
        for (text, line, what) in [
            ("[default\n", 1, "no end"),
            ("[ ]\n", 1, "no name"),
            ("region = x\n", 1, "before the first section"),
            ("[default]\nwJalrXUtnFEMI\n", 2, "neither"),
            ("[default]\n\n= wJalrXUtnFEMI\n", 3, "no key"),
            ("[default]\nregion = a\n  wJalrXUtnFEMI = 1\n", 3, "further in"),
        ] {
            let malformed = parse(text, Form::Config).expect_err(text);
            assert_eq!(malformed.line, line, "{text}");
            assert!(malformed.message.contains(what) && malformed.message.contains("help:"), "{text}: {}", malformed.message);
            assert!(!malformed.message.contains("wJalr"), "{}", malformed.message);
        }
    }

    #[test]
    fn keys_and_token_come_from_one_file_and_the_rest_from_the_first_that_has_it() {
        let credentials = profiles("[p]\naws_access_key_id = A\naws_secret_access_key = S\n", Form::Credentials);
        let config = profiles(
            "[profile p]\naws_access_key_id = B\naws_secret_access_key = T\naws_session_token = U\nregion = r\ns3 =\n  addressing_style = virtual\n",
            Form::Config,
        );
        let shown = |files: &[Profiles], with_credentials| {
            let variables = variables(files, "p", with_credentials).expect("it is right");
            variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        let rest = ["AWS_REGION=r", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST=true"];
        let both = [credentials, config.clone()];
        assert_eq!(shown(&both, true), [&["AWS_ACCESS_KEY_ID=A", "AWS_SECRET_ACCESS_KEY=S"][..], &rest].concat());
        assert_eq!(shown(&both, false), rest);
        let own = ["AWS_ACCESS_KEY_ID=B", "AWS_SECRET_ACCESS_KEY=T", "AWS_SESSION_TOKEN=U"];
        assert_eq!(shown(&[Profiles::default(), config], true), [&own[..], &rest].concat());
        assert_eq!(shown(&[], true), [""; 0]);
    }

    #[test]
    fn a_profile_that_cannot_be_used_says_why() {
        for (text, what) in [
            ("[default]\naws_access_key_id = A\n", "without `aws_secret_access_key`"),
            ("[default]\naws_secret_access_key = A\n", "without `aws_access_key_id`"),
            ("[default]\naws_access_key_id = A\naws_secret_access_key =\n", "without `aws_secret_access_key`"),
            ("[default]\nrole_arn = r\nsource_profile = x\n", "`role_arn`"),
            ("[default]\nsso_session = s\n", "`sso_session`"),
            ("[default]\ns3 =\n  addressing_style = odd\n", "`path`, `virtual` or `auto`"),
        ] {
            let read = profiles(text, Form::Config);
            let error = variables(std::slice::from_ref(&read), "default", true).expect_err(text);
            assert!(error.contains(what) && error.contains("help:"), "{error}");
        }
        let role = profiles("[default]\nrole_arn = r\n", Form::Config);
        assert_eq!(variables(&[role], "default", false), Ok(Vec::new()), "the environment says who we are");
    }

    #[test]
    fn no_text_panics() {
        let pieces = ["[", "]", "default", "profile ", "=", "\n", " ", "#", ";", "\u{e9}", "s3", "\r", "\u{feff}", "\t", "\""];
        let mut number = 7_u64;
        for _ in 0..20_000 {
            let text: String = (0..12)
                .map(|_| {
                    number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    pieces[(number >> 33) as usize % pieces.len()]
                })
                .collect();
            for form in [Form::Credentials, Form::Config] {
                if let Ok(read) = parse(&text, form) {
                    let _ = variables(&[read], "default", true);
                }
            }
        }
    }
}
