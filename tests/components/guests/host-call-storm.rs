//! Asks its host what time it is, for ever, when it meets poison.

components::evil!("host-call-storm", || loop {
    std::hint::black_box(reprise_guest::runtime::now());
});
