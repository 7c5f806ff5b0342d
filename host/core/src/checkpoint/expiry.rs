//! What goes of the things that a job keeps for people: what is too old, and the oldest of what is too much.
//!
//! Nothing goes that is spared, whatever its age: what a manifest or a savepoint names, what is asked to be sent again, what may be on
//! its way into a manifest. And the newest thing stays while it is not too old, however large it is.

/// A thing that is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptObject {
    /// When it was written, by the clock of the store: milliseconds since 1970-01-01T00:00:00Z. First, so that things sort by age.
    pub written_ms: i64,
    /// Where it is.
    pub path: String,
    /// Its length.
    pub size_bytes: u64,
}

/// The things that go, oldest first, where the rest is at most `age_ms` old and has at most `bytes_max` bytes, as far as what is spared allows.
#[must_use]
pub fn expired(
    mut things: Vec<KeptObject>,
    now_ms: i64,
    (age_ms, bytes_max): (i64, u64),
    spared: impl Fn(&str) -> bool,
) -> Vec<KeptObject> {
    things.sort_unstable();
    // A thing may be listed twice.
    things.dedup();
    let mut bytes = things.iter().fold(0u64, |sum, thing| sum.saturating_add(thing.size_bytes));
    let newest = things.last().map(|newest| newest.path.clone());
    let oldest_ms = now_ms.saturating_sub(age_ms);
    let mut gone = Vec::new();
    for thing in things {
        let is_too_much = bytes > bytes_max && newest.as_ref() != Some(&thing.path);
        if (thing.written_ms < oldest_ms || is_too_much) && !spared(&thing.path) {
            bytes = bytes.saturating_sub(thing.size_bytes);
            gone.push(thing);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn things(of: &[(i64, u64)]) -> Vec<KeptObject> {
        of.iter()
            .map(|(written_ms, size_bytes)| KeptObject { written_ms: *written_ms, path: format!("p{written_ms}"), size_bytes: *size_bytes })
            .collect()
    }

    fn gone(of: &[(i64, u64)], now_ms: i64, keep: (i64, u64), spared: &[&str]) -> Vec<i64> {
        expired(things(of), now_ms, keep, |path| spared.contains(&path)).into_iter().map(|thing| thing.written_ms).collect()
    }

    #[test]
    fn what_is_too_old_goes_and_what_is_too_much_goes_oldest_first() {
        let of = [(30, 5), (10, 5), (20, 5), (40, 5)];
        assert_eq!(gone(&of, 40, (30, 100), &[]), [0i64; 0], "at most as old as that");
        assert_eq!(gone(&of, 45, (20, 100), &[]), [10, 20]);
        assert_eq!(gone(&of, 40, (1_000, 20), &[]), [0i64; 0], "exactly as much as that");
        assert_eq!(gone(&of, 40, (1_000, 19), &[]), [10]);
        assert_eq!(gone(&of, 40, (1_000, 5), &[]), [10, 20, 30]);
        assert_eq!(gone(&of, 45, (20, 9), &[]), [10, 20, 30]);
        assert_eq!(gone(&[], 45, (20, 9), &[]), [0i64; 0]);
    }

    #[test]
    fn what_is_spared_stays_and_the_newest_while_it_is_not_too_old() {
        let of = [(10, 5), (20, 5), (30, 5)];
        assert_eq!(gone(&of, 40, (100, 0), &["p10"]), [20]);
        assert_eq!(gone(&of, 40, (100, 0), &["p10", "p20"]), [0i64; 0]);
        assert_eq!(gone(&[(10, 500)], 40, (100, 1), &[]), [0i64; 0]);
        assert_eq!(gone(&[(10, 5), (10, 5), (20, 5)], 40, (100, 1), &[]), [10], "a thing that is listed twice goes once");
        assert_eq!(gone(&[(10, 500)], 1_000, (1, 1_000), &[]), [10], "the newest one goes when it is too old");
        assert_eq!(gone(&of, 1_000, (1, 0), &["p30"]), [10, 20]);
        assert_eq!(gone(&of, i64::MIN, (i64::MAX, 100), &[]), [0i64; 0], "a clock that is wrong deletes nothing of an age to come");
    }

    #[test]
    fn what_stays_fits_or_is_spared() {
        for seed in 0..200u64 {
            let of: Vec<(i64, u64)> = (0..seed % 9).map(|index| ((index * 7 + seed) as i64 % 50, (index * seed) % 13)).collect();
            let spared = format!("p{}", seed % 50);
            let (age, bytes) = ((seed % 40) as i64, seed % 30);
            let all = things(&of);
            let gone = expired(all.clone(), 50, (age, bytes), |path| path == spared);
            let stays: Vec<&KeptObject> = all.iter().filter(|thing| !gone.iter().any(|gone| gone.path == thing.path)).collect();
            let newest = all.iter().max().map(|newest| newest.path.clone());
            assert!(stays.iter().all(|thing| thing.path == spared || thing.written_ms >= 50 - age), "{seed}");
            let free = |thing: &&&KeptObject| thing.path != spared && Some(&thing.path) != newest.as_ref();
            let sum: u64 = stays.iter().map(|thing| thing.size_bytes).sum();
            assert!(sum <= bytes || stays.iter().filter(free).count() == 0, "{seed}: {sum} {stays:?}");
            assert!(gone.iter().all(|thing| thing.path != spared), "{seed}");
        }
    }
}
