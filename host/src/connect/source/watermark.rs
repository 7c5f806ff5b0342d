//! Which splits hold the watermark of a reader, and which are idle.
//!
//! A split is idle that was found without new rows for the time `idle-after`, at every look. Only looks count: a split whose turn does not come,
//! since the reader waits for the dataflow, does not become idle. An idle split is left out of the minimum until it gives rows again, which may
//! then be late. Time is an argument.

use std::time::{Duration, Instant};

/// A split that holds the watermark back is named after this time without rows.
const TELL_AFTER: Duration = Duration::from_secs(3);

/// For how long a split has had nothing.
#[derive(Debug, Default)]
pub struct IdlenessTimer {
    /// The first and the last look that found nothing, since there was something.
    looks: Option<(Instant, Instant)>,
    is_told: bool,
}

impl IdlenessTimer {
    /// Notes a look at the split.
    pub fn note(&mut self, found: bool, now: Instant) {
        if found {
            *self = Self::default();
        } else {
            self.looks = Some((self.looks.map_or(now, |(first, _)| first), now));
        }
    }

    /// Without rows for at least so long.
    pub fn lasts(&self, time: Duration) -> bool {
        self.looks.is_some_and(|(first, last)| last.saturating_duration_since(first) >= time)
    }

    /// True once, where the split is to be named since it holds the watermark back.
    pub fn tells(&mut self, holds: bool, idle_after: Duration) -> bool {
        let tells = holds && !self.is_told && self.lasts(TELL_AFTER.min(idle_after));
        self.is_told |= tells;
        tells
    }

    /// What is said then.
    pub fn told(&self, path: &str, idle_after: Option<Duration>) -> String {
        let then = match idle_after {
            Some(after) => format!("after {after:?} without rows (`idle-after`) it no longer does"),
            None => "set `idle-after` to leave it out when it has no more rows".to_owned(),
        };
        format!("input `{}` has had no new rows for a while and holds the watermark back; {then}", path.escape_debug())
    }
}

/// The least time of splits that are not idle; `None` where one of those has no time yet. Where all are idle, the latest of all: which of them
/// became idle last says nothing.
pub fn least<'a>(splits: impl Iterator<Item = (Option<i64>, &'a IdlenessTimer)>, idle_after: Duration) -> Option<i64> {
    let (mut awake, mut idle): (Option<Option<i64>>, Option<i64>) = (None, None);
    for (time, quiet) in splits {
        if quiet.lasts(idle_after) {
            idle = idle.max(time);
        } else {
            // No time is less than any.
            awake = Some(awake.map_or(time, |least| least.min(time)));
        }
    }
    awake.unwrap_or(idle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_is_idle_by_looks_alone() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut quiet = IdlenessTimer::default();
        quiet.note(false, start);
        assert!(!quiet.lasts(second), "one look is no time");
        quiet.note(false, start + second);
        assert!(quiet.lasts(second));
        quiet.note(true, start + second * 2);
        assert!(!quiet.lasts(second));
        quiet.note(false, start + second * 9);
        assert!(!quiet.lasts(second), "it had rows between");
    }

    #[test]
    fn who_is_idle_is_left_out_and_who_has_no_time_yet_holds() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut idle = IdlenessTimer::default();
        idle.note(false, start);
        idle.note(false, start + second);
        let awake = IdlenessTimer::default();
        assert_eq!(least([(Some(5), &idle), (Some(9), &awake)].into_iter(), second), Some(9));
        assert_eq!(least([(Some(5), &idle), (Some(9), &awake)].into_iter(), Duration::MAX), Some(5));
        assert_eq!(least([(None, &idle), (Some(9), &awake)].into_iter(), second), Some(9));
        assert_eq!(least([(None, &awake), (Some(9), &awake)].into_iter(), second), None);
        assert_eq!(least([(Some(5), &idle), (None, &idle), (Some(7), &idle)].into_iter(), second), Some(7));
        assert_eq!(least(std::iter::empty(), second), None);
    }

    #[test]
    fn who_holds_is_named_once() {
        let start = Instant::now();
        let mut quiet = IdlenessTimer::default();
        quiet.note(false, start);
        assert!(!quiet.tells(true, Duration::MAX));
        quiet.note(false, start + TELL_AFTER);
        assert!(!quiet.tells(false, Duration::MAX));
        assert!(quiet.tells(true, Duration::MAX));
        assert!(!quiet.tells(true, Duration::MAX));
    }
}
