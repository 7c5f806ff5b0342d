//! Allocates and touches memory until there is none when it meets poison.

components::evil!("memory-bomb", || loop {
    std::mem::forget(std::hint::black_box(vec![1u8; 1 << 20]));
});
