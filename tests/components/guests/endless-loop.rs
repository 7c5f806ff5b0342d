//! Never returns when it meets poison.

components::evil!("endless-loop", || loop {
    std::hint::black_box(());
});
