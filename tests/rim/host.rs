//! Logs that cannot be written, signals, limits of the system, and the text of guests on a terminal.
