//! What a gateway has given up, as `/proc` tells it of every thread of the real program; and what the
//! kernel then does with what is forbidden, by this program, which confines itself by the same function.
//!
//! | file | holds |
//! |---|---|
//! | `gateway.rs` | the real program with a configuration, and what `/proc` tells of it |
//! | `given_up.rs` | which user, which capabilities and which filters are left |
//! | `reach.rs` | which files are reached, which are not, and what is said of it |
//! | `deeds.rs` | what a program that was taken over would do |
//!
//! Without the usual harness, since a process is confined while it has one thread. Needs root;
//! skips loudly elsewhere.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has to stop")]

mod deeds;
mod gateway;
mod given_up;
mod reach;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;

/// Tests beside their names.
macro_rules! named {
    ($($module:ident::$test:ident,)*) => {
        &[$((concat!(stringify!($module), "::", stringify!($test)), $module::$test)),*]
    };
}

const TESTS: &[(&str, fn())] = named![
    given_up::root_becomes_another_user_in_every_thread,
    given_up::what_the_firewall_takes_is_kept,
    given_up::ambient_capabilities_go_as_well,
    given_up::each_part_can_be_switched_off_with_a_warning,
    given_up::observe_keeps_what_is_open,
    reach::files_of_root_are_reached_all_the_same,
    reach::a_user_that_is_not_there_is_said,
    reach::a_reload_cannot_reach_further,
    reach::check_and_doctor_tell_what_is_kept,
    deeds::what_is_forbidden_fails,
    deeds::what_is_hostile_ends_the_process,
    deeds::a_panic_is_told_as_ever,
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [confined, deed, folder] = arguments.as_slice()
        && confined == "--confined"
    {
        return deeds::confined_deed(deed, Path::new(folder));
    }
    if arguments.iter().any(|argument| argument == "--list") {
        TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    let tests: Vec<_> =
        TESTS.iter().filter(|(name, _)| wanted.is_none_or(|w| name.contains(w.as_str()))).collect();
    let count = tests.len();
    println!("\nrunning {count} tests");
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED {count} tests of tests/confinement: they need root");
        println!(
            "test result: ok. 0 passed; 0 failed; {count} ignored; 0 measured; 0 filtered out"
        );
        return ExitCode::SUCCESS;
    }
    let failed = tests
        .iter()
        .filter(|(name, test)| {
            let well = catch_unwind(AssertUnwindSafe(test)).is_ok();
            println!("test {name} ... {}", if well { "ok" } else { "FAILED" });
            !well
        })
        .count();
    let (passed, word) = (count - failed, if failed == 0 { "ok" } else { "FAILED" });
    println!("\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
