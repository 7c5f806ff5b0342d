//! Has a table of four thousand functions, all of which may be called through a pointer.

use std::hint::black_box;

const FUNCTIONS: usize = 4096;

/// Each has a body of its own, so that no two of them become one.
fn function<const N: usize>() -> usize {
    black_box(N)
}

/// Sixteen of sixteen of sixteen.
macro_rules! sixteen {
    ($make:ident, $base:expr, $step:expr) => {
        [
            $make!($base),
            $make!($base + $step),
            $make!($base + $step * 2),
            $make!($base + $step * 3),
            $make!($base + $step * 4),
            $make!($base + $step * 5),
            $make!($base + $step * 6),
            $make!($base + $step * 7),
            $make!($base + $step * 8),
            $make!($base + $step * 9),
            $make!($base + $step * 10),
            $make!($base + $step * 11),
            $make!($base + $step * 12),
            $make!($base + $step * 13),
            $make!($base + $step * 14),
            $make!($base + $step * 15),
        ]
    };
}

macro_rules! one {
    ($n:expr) => {
        function::<{ $n }> as fn() -> usize
    };
}

macro_rules! row {
    ($n:expr) => {
        sixteen!(one, $n, 1)
    };
}

macro_rules! square {
    ($n:expr) => {
        sixteen!(row, $n, 16)
    };
}

static TABLE: [[[fn() -> usize; 16]; 16]; 16] = sixteen!(square, 0, 256);

components::evil!("table-bomb", || {
    let sum: usize = black_box(&TABLE).as_flattened().as_flattened().iter().map(|function| function()).sum();
    if sum == FUNCTIONS * (FUNCTIONS - 1) / 2 { Ok(()) } else { Err(format!("the functions add up to {sum}")) }
});
