//! Wrong: once it has seen rows, it says that it has another version.

use components::wrong::{Described, Wrong, with};

struct DescribeChanges;

impl Wrong for DescribeChanges {
    const NAME: &'static str = "wrong-describe-changes";

    fn described(description: &mut Described) {
        if with(|runner| runner.operator().rows) > 100 {
            description.version.push_str("-warm");
        }
    }
}

components::export_wrong!(DescribeChanges);
