//! Which paths are allowed: those that mean the same in every store.

/// Bytes of a path. S3 allows 1,024 with the prefix.
const PATH_BYTES_MAX: usize = 768;
/// Bytes of a segment. File systems allow 255; an unfinished file has a suffix.
const SEGMENT_BYTES_MAX: usize = 240;
/// Signs that a segment may have beside letters and digits.
const SIGNS: &str = "-_.=+@,!()'";

/// Checks a path: segments of ASCII letters, digits and [`SIGNS`], joined by `/`; none empty, `.` or `..`.
///
/// Everything else is escaped, forbidden or ambiguous in one store or another.
///
/// # Errors
/// What is wrong, to be read after the path.
pub fn check(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Err("it is empty".to_owned());
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(format!("it has {} bytes, more than {PATH_BYTES_MAX}", path.len()));
    }
    path.split('/').try_for_each(segment)
}

/// Checks one segment of a path.
///
/// # Errors
/// As [`check`].
pub fn segment(segment: &str) -> Result<(), String> {
    match segment {
        "" => return Err("it has an empty segment".to_owned()),
        "." | ".." => return Err(format!("it has a segment `{segment}`")),
        _ => {}
    }
    if segment.len() > SEGMENT_BYTES_MAX {
        return Err(format!("it has a segment of {} bytes, more than {SEGMENT_BYTES_MAX}", segment.len()));
    }
    match segment.chars().find(|letter| !letter.is_ascii_alphanumeric() && !SIGNS.contains(*letter)) {
        Some(letter) => Err(format!("it contains {letter:?}; allowed are ASCII letters, digits and {SIGNS}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_are_allowed() {
        for path in ["a", "a/b/c", "snapshots/count/0/12-3.full", "..a/a..b/a.", "A=1,b@c+d!(e)'f'", &"x".repeat(SEGMENT_BYTES_MAX)] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn paths_that_stores_read_differently_are_refused() {
        let long = vec!["abcdefg"; 100].join("/");
        let refused =
            ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a b", "a\\b", "a#1", "a%2fb", "é", "a\0", "a\nb", "a:b", "*", "~"];
        for path in refused.into_iter().chain([long.as_str(), &"x".repeat(SEGMENT_BYTES_MAX + 1)]) {
            assert!(check(path).is_err(), "{path:?}");
        }
    }
}
