//! Panics with a message when it meets poison.

components::evil!("panic", || panic!("the value was poison"));
