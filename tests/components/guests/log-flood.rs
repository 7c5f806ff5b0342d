//! Logs fifty thousand lines of 8 KiB when it meets poison, and counts on.

use reprise_guest::runtime::{Level, log};

components::evil!("log-flood", || {
    let line = "flood ".repeat(8192 / 6);
    (0..50_000).for_each(|_| log(Level::Info, &line));
    Ok(())
});
