//! Calls itself without end when it meets poison.

components::evil!("stack-overflow", || Err(format!("the stack has an end after all: {}", deeper(0))));

/// Real recursion: the rotation keeps the compiler from making a loop of it.
#[inline(never)]
fn deeper(depth: u64) -> u64 {
    if std::hint::black_box(depth) == u64::MAX { 0 } else { deeper(depth + 1).rotate_left(1) ^ depth }
}
