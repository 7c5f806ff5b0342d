//! Wants 64 MiB of memory before it does anything.

use std::cell::Cell;

thread_local! {
    static LARGE: Cell<[u8; 64 << 20]> = const { Cell::new([0; 64 << 20]) };
}

components::evil!("large-start", || {
    LARGE.with(|large| std::hint::black_box(large.as_ptr()));
    Ok(())
});
