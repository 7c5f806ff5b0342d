//! "Did you mean": the known name nearest to one that is not known.

/// Names longer than this are not compared.
const NAME_CHARS_MAX: usize = 64;

/// Edits (insert, remove, replace, swap neighbours) that turn `a` into `b`.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let mut edits = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                edits = edits.min(before[j - 1] + 1);
            }
            row.push(edits);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// The candidate that is nearest to `name`, if one is near enough to be a slip: one edit for every three characters, at least one.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let chars = |text: &str| -> Option<Vec<char>> {
        let chars: Vec<char> = text.chars().flat_map(char::to_lowercase).take(NAME_CHARS_MAX + 1).collect();
        (chars.len() <= NAME_CHARS_MAX).then_some(chars)
    };
    let wanted = chars(name)?;
    let limit = (wanted.len() / 3).max(1);
    let near = |candidate: &'a str| {
        let found = chars(candidate)?;
        // A name of one letter is one edit away from every other: that is no slip.
        let fits = found.len().abs_diff(wanted.len()) <= limit && found.len().max(wanted.len()) > 1;
        let edits = fits.then(|| distance(&wanted, &found))?;
        (edits <= limit).then_some((edits, candidate))
    };
    candidates.into_iter().filter_map(near).min_by_key(|(edits, _)| *edits).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let known = ["component", "config", "deadline", "input", "memory"];
        assert_eq!(nearest("componnet", known), Some("component"));
        assert_eq!(nearest("inputs", known), Some("input"));
        assert_eq!(nearest("Memory", known), Some("memory"));
        assert_eq!(nearest("parallelism", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest("a", ["b"]), None);
        assert_eq!(nearest(&"x".repeat(100_000), known), None);
    }
}
