//! The log of host and guests: which of it is shown, and how. It goes to standard error with everything else.

use super::outlet::LogWriter;
use tracing_subscriber::EnvFilter;

/// Shows the log from now on. `REPRISE_LOG` filters it; without it `filter` does. Events are plain: a terminal is told no colours, since no
/// escape sequence passes.
pub(super) fn show(is_json: bool, filter: &str) {
    let filter = EnvFilter::try_from_env("REPRISE_LOG").unwrap_or_else(|_| EnvFilter::new(filter));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(move || LogWriter { is_json });
    // A second subscriber in one process is refused, and the first one stays.
    let _ = if is_json { subscriber.json().try_init() } else { subscriber.with_target(false).try_init() };
}
