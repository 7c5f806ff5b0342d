//! Refuses whatever config it is given.

use reprise_guest::{Context, Description, Operator, Output, Record, export};

#[derive(Default)]
struct OpenError;

impl Operator for OpenError {
    fn describe() -> Description {
        components::counting("open-error")
    }

    fn open(&mut self, context: &Context) -> Result<(), String> {
        Err(format!("config {} is refused", context.config))
    }

    fn record(&mut self, _: Record<'_>, _: &mut Output) -> Result<(), String> {
        Ok(())
    }
}

export!(OpenError);
