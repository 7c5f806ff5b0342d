//! Counts under a hundred thousand names when it meets poison, most of them illegal, and counts rows on.

components::evil!("counter-flood", || {
    for number in 0..100_000 {
        let name = if number % 2 == 0 { format!("name_{number}") } else { format!("Name \u{1b}[31m{number}{}", "x".repeat(number % 200)) };
        reprise_guest::runtime::count(&name, number as u64);
    }
    Ok(())
});
