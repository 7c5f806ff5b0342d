//! What each import of a component gets, by its name alone.

use crate::wasm::contract::IMPORTS;

/// The beginning of the names of WASI.
const WASI: &str = "wasi:";
/// Sockets: linked, so that components which carry them by habit can run, and denied.
const SOCKETS: &str = "wasi:sockets/";

/// The answer to an import of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// An interface of `reprise:operator`.
    Contract,
    /// The virtual WASI answers: how, and what a topology can put into it.
    Virtual(&'static str, Option<Gift>),
    /// The import is there, and refuses whatever it is asked for.
    Denied(&'static str),
    /// The component is refused for it: why.
    Refused(&'static str),
}

/// A kind of grant that a topology can give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gift {
    /// `grant.env`.
    Environment,
    /// `grant.folders`.
    Folders,
}

impl Answer {
    /// The answer in one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Contract => "contract",
            Self::Virtual(..) => "virtual",
            Self::Denied(_) => "denied",
            Self::Refused(_) => "refused",
        }
    }

    /// The meaning of the answer, for people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Contract => "what every operator gets",
            Self::Virtual(text, _) | Self::Denied(text) | Self::Refused(text) => text,
        }
    }

    /// The grant that a topology can put into it.
    #[must_use]
    pub fn gift(self) -> Option<Gift> {
        if let Self::Virtual(_, gift) = self { gift } else { None }
    }
}

impl Gift {
    /// The key in the table `grant` of an operator.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Environment => "env",
            Self::Folders => "folders",
        }
    }
}

/// True for what the virtual WASI may have to answer.
pub(in crate::wasm) fn is_wasi(import: &str) -> bool {
    import.starts_with(WASI)
}

/// True for what is linked to be denied.
pub(super) fn is_denied(import: &str) -> bool {
    matches!(answer(import), Answer::Denied(_))
}

/// The answer to an import of this name.
pub(in crate::wasm) fn answer(import: &str) -> Answer {
    if IMPORTS.contains(&import) {
        return Answer::Contract;
    }
    if !is_wasi(import) {
        return Answer::Refused("no operator is given this interface, and it cannot be granted");
    }
    let (name, version) = import.split_once('@').unwrap_or((import, ""));
    if !version.starts_with("0.2.") {
        return Answer::Refused("only version 0.2 of WASI is answered");
    }
    let virtually = |text| Answer::Virtual(text, None);
    match name {
        "wasi:io/error" | "wasi:io/poll" | "wasi:io/streams" => virtually("streams and waits of the virtual WASI; a wait is over at once"),
        "wasi:clocks/wall-clock" => virtually("the `now` of the call"),
        "wasi:clocks/monotonic-clock" => virtually("begins at the `now` of the call; 1us a look, and what was slept"),
        "wasi:random/random" | "wasi:random/insecure" => virtually("the generator of `runtime.random`, repeated in a replay"),
        "wasi:random/insecure-seed" => virtually("a seed for hash tables, the same in every call of an instance"),
        "wasi:cli/stdout" => virtually("lines in the log, at info"),
        "wasi:cli/stderr" => virtually("lines in the log, at warn"),
        "wasi:cli/stdin" => virtually("empty"),
        "wasi:cli/exit" => virtually("a trap"),
        "wasi:cli/terminal-input" | "wasi:cli/terminal-output" => virtually("there is no terminal"),
        "wasi:cli/terminal-stdin" | "wasi:cli/terminal-stdout" | "wasi:cli/terminal-stderr" => virtually("there is no terminal"),
        "wasi:cli/environment" => Answer::Virtual("no arguments; no variables but those of `grant.env`", Some(Gift::Environment)),
        "wasi:filesystem/preopens" => Answer::Virtual("no folders but those of `grant.folders`", Some(Gift::Folders)),
        "wasi:filesystem/types" => virtually("reading in granted folders; every write is refused"),
        _ if name.starts_with(SOCKETS) => Answer::Denied("every attempt fails with `access-denied`; a network cannot be granted"),
        _ if name.starts_with("wasi:http/") => Answer::Refused("no operator reaches a network, and it cannot be granted"),
        _ => Answer::Refused("no operator is given this part of WASI, and it cannot be granted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_import_has_one_answer() {
        let word = |import: &str| answer(import).word();
        assert_eq!(word("reprise:operator/runtime@0.1.0"), "contract");
        assert_eq!(word("reprise:operator/runtime@0.2.0"), "refused");
        for version in ["0.2.0", "0.2.6", "0.2.99"] {
            assert_eq!(word(&format!("wasi:cli/stdout@{version}")), "virtual");
            assert_eq!(word(&format!("wasi:sockets/tcp@{version}")), "denied");
            assert_eq!(word(&format!("wasi:http/outgoing-handler@{version}")), "refused");
        }
        for refused in
            ["wasi:cli/stdout", "wasi:cli/stdout@0.3.0", "wasi:cli/stdout@0.20.0", "wasi:cli/run@0.2.0", "wasi:x/y@0.2.0", "", "a"]
        {
            assert_eq!(word(refused), "refused", "{refused}");
        }
    }

    #[test]
    fn only_the_environment_and_the_preopens_can_be_given_more() {
        let given = |import: &str| answer(import).gift().map(Gift::key);
        assert_eq!(given("wasi:cli/environment@0.2.6"), Some("env"));
        assert_eq!(given("wasi:filesystem/preopens@0.2.6"), Some("folders"));
        assert_eq!(given("wasi:filesystem/types@0.2.6"), None);
        assert_eq!(given("wasi:sockets/tcp@0.2.6"), None);
    }
}
