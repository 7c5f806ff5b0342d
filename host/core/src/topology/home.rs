//! Paths that begin with `~`: a shell makes the home folder of them, this host does not, and a folder of that name is never meant.

use super::problem::{Problems, quote};
use super::table::{Given, Placed, Reader, Section};

/// Reads a path or a url. One that begins with `~` is refused.
pub(super) fn place(section: &mut Section<'_>, reader: &mut Reader<'_>, key: &'static str, example: &str) -> Given<String> {
    let given = section.text(reader, key, example);
    given.get().into_iter().for_each(|placed| check(key, placed, &mut reader.problems));
    given
}

/// Refuses a path that begins with `~`.
pub(super) fn check(key: &str, placed: &Placed<String>, problems: &mut Problems<'_>) {
    let Some((scheme, rest)) = home(&placed.value) else { return };
    let message = format!("`{key}`: \"{}\" begins with `~`, which only a shell expands", quote(&placed.value));
    let (scheme, rest) = (quote(scheme), quote(rest));
    problems.add(
        placed.at,
        message,
        Some(format!("write \"{scheme}${{HOME}}{rest}\", or \"{scheme}./~{rest}\" for a folder that is called so")),
    );
}

/// What comes before and after the `~` that a path or a `file:` url begins with.
fn home(value: &str) -> Option<(&str, &str)> {
    let scheme = if value.starts_with("file:") { "file:" } else { "" };
    let path = &value[scheme.len()..];
    let rest = path.strip_prefix("//").filter(|_| !scheme.is_empty()).unwrap_or(path).strip_prefix('~')?;
    // `~name/` is the home folder of another user. A file such as `~lock` is a file.
    let user = rest.split_once('/').map(|(user, _)| user);
    let is_user = |user: &str| user.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    (rest.is_empty() || user.is_some_and(is_user)).then_some((scheme, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_shell_would_expand_is_refused() {
        for (value, found) in [
            ("~", ("", "")),
            ("~/in/*.txt", ("", "/in/*.txt")),
            ("~ann/in", ("", "ann/in")),
            ("file:~/state", ("file:", "/state")),
            ("file://~/state", ("file:", "/state")),
        ] {
            assert_eq!(home(value), Some(found), "{value}");
        }
        for value in ["", "./~/in", "in/~", "~lock", "file:./~", "a~/b", "s3://~/x", "/~/x", "file:/~", "~ a/b", "memory:~"] {
            assert_eq!(home(value), None, "{value}");
        }
    }
}
