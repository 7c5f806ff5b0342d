//! Never comes back from `open`.

use reprise_guest::{Context, Description, Operator, Output, Record, export};

#[derive(Default)]
struct OpenEndless;

impl Operator for OpenEndless {
    fn describe() -> Description {
        components::counting("open-endless")
    }

    fn open(&mut self, _: &Context) -> Result<(), String> {
        loop {
            std::hint::black_box(());
        }
    }

    fn record(&mut self, _: Record<'_>, _: &mut Output) -> Result<(), String> {
        Ok(())
    }
}

export!(OpenEndless);
