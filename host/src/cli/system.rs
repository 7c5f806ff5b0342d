//! What a process asks of the system before it does anything: as many open files as it may have.

/// Raises the limit on open files to the most that this process may set it to: the usual one of 1,024 is for programs that wait with `select`.
/// Where that is refused the limit stays, and whoever opens too many files says so.
#[cfg(unix)]
pub(super) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

#[cfg(not(unix))]
pub(super) fn raise_open_files() {}
