//! Traps when it meets poison at an odd millisecond, so that the fault passes by itself.

components::evil!("trap-sometimes", || if reprise_guest::runtime::now() % 2 == 1 { std::process::abort() } else { Ok(()) });
