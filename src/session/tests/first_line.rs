//! Peers that say nothing.

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn connect(bench: &mut Bench) {
    let (server, seen_as) = (at("10.0.0.5:21"), at("10.0.0.1:33000"));
    bench.tell(Event::ServerConnected { server, seen_as, wants_certificate: false });
}

#[test]
fn a_server_that_never_greets_is_given_up() {
    let mut bench = Bench::connecting();
    connect(&mut bench);
    // Neither a beginning of a greeting nor a client that is early changes it.
    bench.say(Side::Server, "220-wait\r\n");
    bench.say(Side::Client, "USER a\r\n");
    assert_eq!(bench.timeout(), Some(PATIENCE));
    let told = bench.go_to(PATIENCE);
    assert!(told.contains("GreetingTimeout"), "{told}");
}

#[test]
fn a_client_that_says_nothing_is_given_up() {
    let mut bench = Bench::connecting();
    connect(&mut bench);
    bench.go_to(Duration::from_secs(10));
    bench.say(Side::Server, "220 ready\r\n");
    // A byte each second makes no line.
    for second in 11..40 {
        assert!(bench.go_to(Duration::from_secs(second)).is_empty());
        bench.say(Side::Client, "U");
    }
    let told = bench.go_to(Duration::from_secs(40));
    assert!(told.contains("FirstLineTimeout") && told.contains("421 "), "{told}");
}

#[test]
fn a_client_that_has_said_something_has_the_time_of_the_login() {
    let mut bench = Bench::connecting();
    connect(&mut bench);
    bench.say(Side::Server, "220 ready\r\n");
    bench.say(Side::Client, "USER a\r\n");
    assert_eq!(bench.timeout(), Some(Duration::from_secs(60)));
}

#[test]
fn an_early_first_line_counts() {
    let mut bench = Bench::connecting();
    connect(&mut bench);
    bench.say(Side::Client, "USER a\r\n");
    bench.say(Side::Server, "220 ready\r\n");
    assert_eq!(bench.timeout(), Some(Duration::from_secs(60)));
}

#[test]
fn a_limit_that_is_reached_is_told_to_the_client() {
    let mut bench = Bench::connecting();
    let told = bench.tell(Event::ServerLimitReached);
    assert!(told.contains("ServerFull") && told.contains("421 "), "{told}");
    let mut bench = Bench::connecting();
    let told = bench.tell(Event::DescriptorsScarce);
    assert!(told.contains("NoDescriptors") && told.contains("421 "), "{told}");
    let mut bench = Bench::logged_in();
    bench.say(Side::Client, "USER b\r\n");
    bench.say(Side::Server, "530 no\r\n");
    let told = bench.tell(Event::LoginLimitReached);
    assert!(told.contains("FailedLogins") && told.contains("421 "), "{told}");
}

#[test]
fn a_user_who_never_logs_in_gets_no_more_time_by_rein() {
    let mut bench = Bench::connecting();
    connect(&mut bench);
    bench.say(Side::Server, "220 ready\r\n");
    bench.go_to(Duration::from_secs(20));
    bench.say(Side::Client, "REIN\r\n");
    bench.say(Side::Server, "220 again\r\n");
    assert_eq!(bench.timeout(), Some(LOGIN));
}

#[test]
fn case_22_long_arguments_without_an_answer_hold_the_client_back() {
    let mut bench = Bench::logged_in();
    let name = "x".repeat(4000);
    let mut forwarded = 0;
    for _ in 0..200 {
        let told = bench.say(Side::Client, &format!("DELE {name}\r\n"));
        forwarded += told.matches("DELE").count().min(1);
    }
    assert!((10..30).contains(&forwarded), "{forwarded} commands are kept");
    assert!(!bench.session.wants_bytes(Side::Client));
    assert!(bench.say(Side::Server, "250 gone\r\n").contains("DELE"), "there is room again");
}
