//! Calls itself some thousand times when it meets poison, and traps at the bottom: a small stack overflows before.

components::evil!("stack-deep", || Err(format!("there is no bottom: {}", deeper(2500))));

/// Real recursion: the rotation keeps the compiler from making a loop of it.
#[inline(never)]
fn deeper(left: u64) -> u64 {
    if std::hint::black_box(left) == 0 { std::process::abort() } else { deeper(left - 1).rotate_left(1) ^ left }
}
