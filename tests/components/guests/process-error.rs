//! Answers `process` with an error when it meets poison.

components::evil!("process-error", || Err("the value was poison".to_owned()));
