//! Traps when it meets poison in a bad millisecond, so that the fault passes by itself. One of two is bad, in no pattern: hosts and machines
//! have timers, and a pattern could be met again and again.

fn is_bad(millisecond: i64) -> bool {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (millisecond as u64).wrapping_mul(MIX);
    (mixed ^ mixed >> 32).wrapping_mul(MIX) >> 63 == 1
}

components::evil!("trap-sometimes", || if is_bad(reprise_guest::runtime::now()) { std::process::abort() } else { Ok(()) });
