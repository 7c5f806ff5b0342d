//! Whether a setting of a bucket can be used, looked at before the client library sees it: what that takes for granted it does not check.
//!
//! A message names the setting and what is wrong with it, and never shows the value of one that may be a secret.

use object_store::ClientConfigKey;
use object_store::aws::AmazonS3ConfigKey as Key;
use url::{Host, Url};

/// The subject of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// The address of a server.
    Address,
    /// The address of a server, with a name and a password where it wants them. These are not shown.
    Proxy,
    /// The address of a server, with a query where it wants one. That is not shown.
    Service,
    /// It becomes a part of the name of a server.
    Region,
    /// It is not shown, and becomes a part of a header.
    Secret,
    /// Anything else: a word, a number, a path.
    Plain,
}

fn about(key: Key) -> About {
    match key {
        Key::Endpoint | Key::S3Endpoint | Key::StsEndpoint | Key::MetadataEndpoint => About::Address,
        Key::ContainerCredentialsFullUri => About::Service,
        Key::Client(ClientConfigKey::ProxyUrl) => About::Proxy,
        Key::Region | Key::DefaultRegion => About::Region,
        Key::AccessKeyId | Key::SecretAccessKey | Key::Token | Key::Encryption(_) => About::Secret,
        _ => About::Plain,
    }
}

/// Checks one setting. `name`: the variable that says it.
///
/// # Errors
/// What is wrong with it, and what to do.
pub fn check(name: &str, key: Key, value: &str) -> Result<(), String> {
    let about = about(key);
    let wrong = |what: &str, help: &str| Err(format!("{name} {what}\n  help: {help}"));
    // A file of secrets often ends with a line end that no editor shows.
    if value.ends_with(['\n', '\r']) {
        return wrong("ends with a line end", "take the line end away: `printf %s` writes a value without one, `echo` with one");
    }
    if value.trim() != value {
        return wrong("begins or ends with a space", "take the space away");
    }
    if let Some(sign) = value.chars().find(|sign| !matches!(sign, ' '..='~')) {
        let what = if sign.is_control() { "holds a line end or another control character" } else { "holds a letter that is not ASCII" };
        if about != About::Plain || sign.is_control() {
            return wrong(what, "copy the value again, in one piece and without anything around it");
        }
    }
    let address = |value: &str, whose: &str| {
        check_address(value, whose).or_else(|what| {
            wrong(&what, "write the scheme, the server and the port: `https://HOST:PORT`, or `http://HOST:PORT` where nobody listens in")
        })
    };
    match about {
        About::Address => address(value, "which do not belong there"),
        About::Proxy => address(&without_user(value), "in which `/`, `?`, `#` and `@` are to be written as `%2F`, `%3F`, `%23` and `%40`"),
        About::Service => address(value.split('?').next().unwrap_or_default(), "which do not belong there"),
        About::Region if !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) => wrong(
            &format!("is {value:?}, which is no name of a region"),
            "write a region such as `eu-central-1`; servers of your own often take any",
        ),
        _ => Ok(()),
    }
}

/// An address without the name and the password in it.
fn without_user(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let (server, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let server = server.rsplit_once('@').map_or(server, |(_, server)| server);
    format!("{scheme}://{server}{path}")
}

/// The address of a server, as this module lets it pass. `user`: what is said of a name and a password in it.
///
/// # Errors
/// What is wrong, to be read after the name of the setting.
fn check_address(value: &str, user: &str) -> Result<(), String> {
    // It may hold a password, so it is shown only once that is known not to be so.
    let Some((scheme, rest)) = value.split_once("://") else {
        let server = value.split('/').next().unwrap_or_default();
        return Err(if server.contains('@') { "has no scheme".into() } else { format!("is {value:?}, which has no scheme") });
    };
    if rest.contains('@') {
        return Err(format!("holds a name or a password, {user}"));
    }
    if !matches!(scheme, "http" | "https") {
        return Err(format!("is {value:?}, whose scheme is neither `https` nor `http`"));
    }
    // The parser passes over slashes too many.
    let is_whole =
        |url: &Url| !rest.starts_with('/') && url.has_host() && url.query().is_none() && url.fragment().is_none() && !value.contains(' ');
    match Url::parse(value) {
        Ok(url) if is_whole(&url) => Ok(()),
        Ok(_) => Err(format!("is {value:?}, which is no address of a server")),
        Err(error) => Err(format!("is {value:?}, which is no address of a server: {error}")),
    }
}

/// The address of a server with the bucket in its name, where the client library expects it.
///
/// # Errors
/// Why it cannot be there, and what to do.
pub fn with_bucket(name: &str, address: &str, bucket: &str) -> Result<String, String> {
    let refused = |why: &str| {
        let help = "set AWS_VIRTUAL_HOSTED_STYLE_REQUEST to `false`: then the bucket is in the path";
        Err(format!("{name} is {address:?}, and the bucket `{bucket}` cannot be a part of the name of that server: {why}\n  help: {help}"))
    };
    let Some((scheme, server)) = address.split_once("://") else { return refused("it has no scheme") };
    match Url::parse(address).as_ref().map(Url::host) {
        Ok(Some(Host::Domain(_))) => {}
        Ok(_) => return refused("it is a number and no name"),
        Err(error) => return refused(&error.to_string()),
    }
    let has_it = server.strip_prefix(bucket).is_some_and(|rest| rest.starts_with('.'));
    let whole = if has_it { address.to_owned() } else { format!("{scheme}://{bucket}.{server}") };
    match Url::parse(&whole) {
        Ok(_) => Ok(whole),
        Err(error) => refused(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(key: Key, value: &str) -> String {
        check("AWS_X", key, value).expect_err(value)
    }

    #[test]
    fn addresses_are_whole() {
        let right =
            ["http://store:9000", "https://s3.example", "https://127.0.0.1:9", "http://[::1]:9000/", "https://store/below", "http://store"];
        for address in right {
            assert_eq!(check("AWS_X", Key::Endpoint, address), Ok(()), "{address}");
        }
        let wrong = [
            "10.8.0.84:9000",
            "minio:9000",
            "localhost",
            "store",
            "http://",
            "http:///x",
            "http://127.0.0.1:99999",
            "http://store:port",
            "ftp://store",
            "http://store ",
            " http://store",
            "http://store\n",
            "http://sto re",
            "http://store\r\n",
            "http://store?x",
            "http://store#x",
            "http://a b:9",
            "s3://bucket",
            "http://[::1",
            "http://é",
            "//store",
            "http://store:-1",
            "http//store",
        ];
        for address in wrong {
            for key in [Key::Endpoint, Key::S3Endpoint, Key::StsEndpoint, Key::MetadataEndpoint, Key::Client(ClientConfigKey::ProxyUrl)] {
                let refusal = refusal(key, address);
                assert!(refusal.starts_with("AWS_X ") && refusal.contains("help: "), "{address:?}: {refusal}");
            }
        }
        assert!(refusal(Key::Endpoint, "minio:9000").contains("has no scheme"));
        assert!(refusal(Key::Endpoint, "http://h:99999").contains("port"), "{}", refusal(Key::Endpoint, "http://h:99999"));
    }

    #[test]
    fn what_may_be_a_secret_is_never_shown() {
        for key in [Key::AccessKeyId, Key::SecretAccessKey, Key::Token] {
            for value in ["TOPSECRET\n", "TOPSECRET\r", " TOPSECRET", "TOPSECRET\u{e9}", "TOPSECRET\0", "TOPSECRET\u{202e}", "TOP\nSECRET"]
            {
                let refusal = refusal(key, value);
                assert!(!refusal.contains("SECRET") && refusal.contains("help: "), "{refusal}");
            }
            assert_eq!(check("AWS_X", key, "AKIA/+=abc"), Ok(()));
            assert_eq!(check("AWS_X", key, "a secret of a server of one's own"), Ok(()));
        }
        for address in ["http://user:TOPSECRET@store", "https://TOPSECRET@store:9", "user:TOPSECRET@store"] {
            assert!(!refusal(Key::Endpoint, address).contains("SECRET"), "{address}");
        }
    }

    #[test]
    fn a_proxy_may_want_a_password_and_a_service_a_query_and_neither_is_shown() {
        let proxy = Key::Client(ClientConfigKey::ProxyUrl);
        for address in
            ["http://proxy:3128", "http://user:TOPSECRET@proxy:3128", "https://TOPSECRET@proxy", "http://u:TOP%40SECRET@[::1]:9/"]
        {
            assert_eq!(check("AWS_X", proxy, address), Ok(()), "{address}");
        }
        let service = Key::ContainerCredentialsFullUri;
        for address in ["http://169.254.170.23/v1/credentials", "http://127.0.0.1:1338/role?id=TOPSECRET@x", "https://host?a=b"] {
            assert_eq!(check("AWS_X", service, address), Ok(()), "{address}");
        }
        let wrong = [
            "ftp://u:TOPSECRET@proxy",
            "http://u:TOP/SECRET@proxy",
            "u:TOPSECRET@proxy",
            "http://u:TOPSECRET@",
            "http://u:TOPSECRET@h:99999",
        ];
        for address in wrong {
            assert!(!refusal(proxy, address).contains("SECRET"), "{address}: {}", refusal(proxy, address));
        }
        for address in ["http://host:port?TOPSECRET", "http://TOPSECRET@host?x", "host?TOPSECRET"] {
            assert!(!refusal(service, address).contains("SECRET"), "{address}: {}", refusal(service, address));
        }
    }

    #[test]
    fn regions_are_names() {
        for region in ["eu-west-1\n", "eu west", "eu/west", "", "a@b", "a:b", "\u{e9}"].into_iter().filter(|region| !region.is_empty()) {
            assert!(refusal(Key::Region, region).contains("AWS_X"), "{region:?}");
        }
        assert_eq!(check("AWS_X", Key::DefaultRegion, "eu-central-1"), Ok(()));
        assert_eq!(check("AWS_X", Key::RoleSessionName, "ümlaut"), Ok(()), "words of others are theirs");
        assert!(refusal(Key::RoleSessionName, "a\u{7}b").contains("control"));
    }

    #[test]
    fn a_bucket_goes_into_names_alone() {
        let put = |address: &str| with_bucket("AWS_X", address, "bucket");
        assert_eq!(put("https://store:9000").as_deref(), Ok("https://bucket.store:9000"));
        assert_eq!(put("https://bucket.store").as_deref(), Ok("https://bucket.store"));
        for address in ["http://127.0.0.1:9", "http://[::1]:9", "http://10.1", "store"] {
            let refusal = put(address).expect_err(address);
            assert!(refusal.contains("AWS_VIRTUAL_HOSTED_STYLE_REQUEST"), "{refusal}");
        }
    }
}
