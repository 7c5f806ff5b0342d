//! `${NAME}` inside the string values of a topology file.
//!
//! Values are expanded one by one after the TOML is parsed, and what comes out is never parsed again. So a variable cannot close its
//! string, add a key or bring in further variables, whatever it holds.

use super::problem::quote;

/// Bytes that all variables together may add to one file.
pub const EXPANSION_BYTES_MAX: usize = 1 << 20;

/// The reason why a value of a topology cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpansionError {
    /// `${` without `}`.
    #[error("`${{` is never closed")]
    Open,
    /// What stands between the braces is no name of a variable.
    #[error("`${{{}}}` does not name an environment variable", quote(.0))]
    Name(String),
    /// The variable does not exist.
    #[error("the environment variable `{0}` is not set")]
    Unknown(String),
    /// Over [`EXPANSION_BYTES_MAX`].
    #[error("the environment variables of this file hold more than {EXPANSION_BYTES_MAX} bytes")]
    Large,
}

impl ExpansionError {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Open | Self::Name(_) => Some("write `${NAME}` for a variable, `$${` for the two characters `${`".to_owned()),
            Self::Unknown(name) => Some(format!("set `{name}`, or write `$${{` for the two characters `${{`")),
            Self::Large => None,
        }
    }
}

fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_') && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Replaces every `${NAME}` of one string value by `lookup(NAME)`, and every `$${` by `${`. A `$` before anything else stands for itself.
///
/// `room_bytes` is how much the variables may still add; it shrinks by what they did.
///
/// # Errors
/// The first fault in the value.
pub fn expand(value: &str, lookup: &dyn Fn(&str) -> Option<String>, room_bytes: &mut usize) -> Result<String, ExpansionError> {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(start) = rest.find("${") {
        let (before, after) = (&rest[..start], &rest[start + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let (name, after) = after.split_once('}').ok_or(ExpansionError::Open)?;
        if !is_variable(name) {
            return Err(ExpansionError::Name(name.to_owned()));
        }
        let found = lookup(name).ok_or_else(|| ExpansionError::Unknown(name.to_owned()))?;
        *room_bytes = room_bytes.checked_sub(found.len()).ok_or(ExpansionError::Large)?;
        out.push_str(&found);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(value: &str) -> Result<String, ExpansionError> {
        let lookup = |name: &str| match name {
            "HOME" => Some("/home/me".to_owned()),
            "EVIL" => Some("\"\n[x]\n${HOME}".to_owned()),
            _ => None,
        };
        expand(value, &lookup, &mut 100)
    }

    #[test]
    fn variables_are_replaced_and_escapes_undone() {
        assert_eq!(run("a ${HOME}/b ${HOME}").unwrap(), "a /home/me/b /home/me");
        assert_eq!(run("$${HOME} $$ $5 {}").unwrap(), "${HOME} $$ $5 {}");
        assert_eq!(run("").unwrap(), "");
    }

    #[test]
    fn what_a_variable_holds_is_not_expanded_again() {
        assert_eq!(run("${EVIL}").unwrap(), "\"\n[x]\n${HOME}");
    }

    #[test]
    fn faults_are_named() {
        assert_eq!(run("${HOME"), Err(ExpansionError::Open));
        assert_eq!(run("${}"), Err(ExpansionError::Name(String::new())));
        assert_eq!(run("${A-B}"), Err(ExpansionError::Name("A-B".into())));
        assert_eq!(run("${NOPE}"), Err(ExpansionError::Unknown("NOPE".into())));
        assert_eq!(run(&"${HOME}".repeat(13)), Err(ExpansionError::Large));
    }
}
