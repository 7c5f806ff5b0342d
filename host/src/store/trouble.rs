//! What the operating system says when a file cannot be read or written, and what to do about it: one table for all that write to disks.

use std::error::Error;
use std::io;

/// A kind of trouble of the operating system with a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Numbers of the operating system that mean it.
    numbers: &'static [i32],
    /// The trouble in words, to be read alone.
    pub what: &'static str,
    /// The way out of the trouble.
    pub help: &'static str,
    /// The consequence for the job, where a store has this trouble.
    job: &'static str,
    /// True where the same call may succeed later without anyone changing anything in the job.
    pub is_passing: bool,
    /// True where the rights of the user forbid it.
    pub is_refusal: bool,
}

impl Trouble {
    /// The trouble and the way out of it in one line: for a store that has it.
    pub fn advice(&self) -> String {
        let job = if self.job.is_empty() { String::new() } else { format!(": {}", self.job) };
        format!("{}; {}{job}", self.what, self.help)
    }
}

const fn passing(numbers: &'static [i32], what: &'static str, help: &'static str) -> Trouble {
    Trouble { numbers, what, help, job: "", is_passing: true, is_refusal: false }
}

const fn lasting(numbers: &'static [i32], what: &'static str, help: &'static str) -> Trouble {
    Trouble { numbers, what, help, job: "", is_passing: false, is_refusal: false }
}

const fn refusal(numbers: &'static [i32], what: &'static str, help: &'static str) -> Trouble {
    Trouble { numbers, what, help, job: "", is_passing: false, is_refusal: true }
}

/// Said of trouble that a store sits out.
const GOES_ON: &str = "nothing is lost, and the job goes on when there is room";

/// The numbers are those of Linux.
static TROUBLES: [Trouble; 14] = [
    Trouble { job: GOES_ON, ..passing(&[28], "there is no space left on the disk", "free space there") },
    Trouble { job: GOES_ON, ..passing(&[122], "the disk quota of this user or project is used up", "free space or raise the quota") },
    passing(
        &[5],
        "the disk reports an input/output error",
        "look at the log of the kernel (`dmesg`): the disk or the way to it may be failing",
    ),
    passing(&[116], "the network file system has lost the file (stale handle)", "look whether the server is up, and mount it again"),
    passing(&[24, 23], "too many files are open", "raise the limit of open files (`ulimit -n`)"),
    passing(&[12], "the system has no memory left for this", "free memory, or give the machine more"),
    passing(&[16, 26], "the file or folder is in use", "look what else uses it"),
    refusal(
        &[30],
        "the file system is read-only",
        "mount it writable; a disk that has failed is often mounted read-only by the system, and the log of the kernel (`dmesg`) says so",
    ),
    refusal(
        &[13],
        "this user may not do that there",
        "give this user the right to read and write there (`ls -ld` shows who may), or run the job as another user",
    ),
    refusal(
        &[1],
        "the operating system does not permit it",
        "look at the rights and attributes of the place (`ls -ld`, `lsattr`), or use another file system",
    ),
    lasting(&[36], "a name is too long for the file system", "use a shorter path, or a file system that takes names of 255 bytes"),
    lasting(&[20, 21], "a file is where a folder should be, or the other way round", "move it away"),
    lasting(&[40], "links lead in a circle", "mend the links on the way there"),
    lasting(&[95, 38], "the file system does not know this operation", "use another file system"),
];

/// The trouble that an error of the operating system means; `None` for those that say enough themselves.
pub fn of(error: &io::Error) -> Option<&'static Trouble> {
    let number = error.raw_os_error().or_else(|| match error.kind() {
        // Errors that were made again on the way here have only their kind left.
        io::ErrorKind::StorageFull => Some(28),
        io::ErrorKind::QuotaExceeded => Some(122),
        io::ErrorKind::ReadOnlyFilesystem => Some(30),
        io::ErrorKind::PermissionDenied => Some(13),
        io::ErrorKind::InvalidFilename => Some(36),
        io::ErrorKind::NotADirectory => Some(20),
        io::ErrorKind::IsADirectory => Some(21),
        _ => None,
    })?;
    TROUBLES.iter().find(|trouble| trouble.numbers.contains(&number))
}

/// The trouble that the error of the operating system means which is at the bottom of a chain of causes.
pub fn below(error: &(dyn Error + 'static)) -> Option<&'static Trouble> {
    /// Chains are short; this ends one that bites its tail.
    const LINKS_MAX: usize = 16;
    let links = std::iter::successors(Some(error), |link| (**link).source()).take(LINKS_MAX);
    of(links.filter_map(|link| link.downcast_ref::<io::Error>()).last()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_trouble_has_words_of_its_own() {
        let (mut numbers, mut words) = (BTreeSet::new(), BTreeSet::new());
        for trouble in &TROUBLES {
            assert!(trouble.numbers.iter().all(|number| numbers.insert(number)), "{trouble:?}");
            assert!(words.insert(trouble.what) && !trouble.help.is_empty() && !(trouble.is_passing && trouble.is_refusal), "{trouble:?}");
            for number in trouble.numbers {
                assert_eq!(of(&io::Error::from_raw_os_error(*number)), Some(trouble));
            }
        }
        assert_eq!(of(&io::Error::from_raw_os_error(2)), None, "that something is not there says enough");
        assert!(of(&io::Error::from(io::ErrorKind::StorageFull)).expect("it is known").what.contains("space"));
        assert!(!of(&io::Error::from_raw_os_error(30)).expect("it is known").help.contains("credentials"));
    }

    #[test]
    fn a_store_says_what_becomes_of_the_job() {
        let advice = |number| of(&io::Error::from_raw_os_error(number)).expect("it is known").advice();
        assert_eq!(advice(28), format!("there is no space left on the disk; free space there: {GOES_ON}"));
        assert_eq!(advice(24), "too many files are open; raise the limit of open files (`ulimit -n`)");
    }

    #[test]
    fn the_cause_at_the_bottom_counts() {
        let inner = io::Error::from_raw_os_error(28);
        let outer = object_store::Error::Generic { store: "x", source: Box::new(inner) };
        assert!(below(&outer).expect("it is known").is_passing);
        assert_eq!(below(&object_store::Error::Generic { store: "x", source: "no".into() }), None);
    }
}
