//! Describes itself with one more output each time that it is asked.

use components::lies::{Description, Liar, Lie, Port};
use std::cell::Cell;

thread_local! {
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

struct DescribeChanges;

impl Lie for DescribeChanges {
    const NAME: &'static str = "describe-changes";

    fn described(description: &mut Description) {
        let asked = ASKED.get() + 1;
        ASKED.set(asked);
        let port = description.outputs[0].clone();
        description.outputs.extend((0..asked).map(|number| Port { name: format!("output-{number}"), ..port.clone() }));
    }
}

type Guest = Liar<DescribeChanges>;
components::export_lying!(Guest);
