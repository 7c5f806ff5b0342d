//! Traps when it meets poison, and traps when state is restored to it.

use components::lies::{Liar, Lie, Outcome};

struct RestoreTrap;

impl Lie for RestoreTrap {
    const NAME: &'static str = "restore-trap";

    fn outcome(_: &mut Outcome) {
        std::process::abort();
    }

    fn restored() {
        std::process::abort();
    }
}

type Guest = Liar<RestoreTrap>;
components::export_lying!(Guest);
