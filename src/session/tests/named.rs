//! Users and files that are told, and what is not.

use super::*;

/// A session whose server has greeted.
fn greeted() -> Bench {
    let mut bench = Bench::connecting();
    let (server, seen_as) = (at("10.0.0.5:21"), at("10.0.0.1:33000"));
    bench.tell(Event::ServerConnected { server, seen_as, wants_certificate: false });
    bench.say(Side::Server, "220 ready\r\n");
    bench
}

/// The users of the logins that are told.
fn users(told: &str) -> Vec<&str> {
    let start = "LoginAccepted { user: ";
    told.split(start).skip(1).filter_map(|rest| rest.split(" }").next()).collect()
}

impl Bench {
    /// The connection of the transfer comes.
    fn used(&mut self) {
        let id = self.id();
        self.tell(Event::PinholeUsed { id, side: Side::Client });
    }

    /// The data connection ends; what is told of its command.
    fn ended(&mut self) -> String {
        let (id, outcome) = (self.id(), DataOutcome::Completed);
        let told = self.tell(Event::DataConnectionEnded { id, outcome, bytes: None });
        let command = told.split("command: ").nth(1).expect("it is told");
        command.split(", path: Kernel").next().unwrap().to_owned()
    }
}

fn command(verb: &str, path: &str) -> String {
    format!("Some(TransferCommand {{ verb: \"{verb}\", path: {path} }})")
}

#[test]
fn the_user_of_a_login_is_told_and_the_password_never() {
    let mut bench = greeted();
    let mut told = String::new();
    for (from, line) in [
        (Side::Client, "USER anna\r\n"),
        (Side::Server, "331 password\r\n"),
        (Side::Client, "PASS s3cr3t\r\n"),
        (Side::Server, "332 account\r\n"),
        (Side::Client, "ACCT s3cr3t\r\n"),
        (Side::Server, "230 in\r\n"),
        // A second password of one who is in already.
        (Side::Client, "PASS s3cr3t\r\n"),
        (Side::Server, "230 again\r\n"),
    ] {
        told += &bench.say(from, line);
    }
    assert_eq!(users(&told), [r#"Some("anna")"#]);
    let reports = told.lines().filter(|line| line.starts_with("Report("));
    let reports: Vec<_> = reports.collect();
    assert_eq!(reports.len(), 5, "{told}");
    assert!(!reports.iter().any(|report| report.contains("s3cr3t")), "{reports:#?}");
}

#[test]
fn every_user_is_told_that_comes_in() {
    let mut bench = greeted();
    let mut told = bench.say(Side::Client, "USER a\r\nUSER b\r\n");
    told += &bench.say(Side::Server, "230 in\r\n");
    told += &bench.say(Side::Server, "230 in\r\n");
    assert_eq!(users(&told), [r#"Some("a")"#, r#"Some("b")"#]);
    // One that is refused does not come in, and the one before stays.
    told = bench.say(Side::Client, "USER c\r\n");
    told += &bench.say(Side::Server, "530 no\r\n");
    told += &bench.say(Side::Client, "PASS x\r\n");
    told += &bench.say(Side::Server, "230 you are in\r\n");
    assert_eq!(users(&told), [""; 0]);
    told = bench.say(Side::Client, "REIN\r\n");
    told += &bench.say(Side::Server, "220 again\r\n");
    told += &bench.say(Side::Client, "PASS x\r\n");
    told += &bench.say(Side::Server, "230 in\r\n");
    assert_eq!(users(&told), ["None"]);
    told = bench.say(Side::Client, "USER b\r\n");
    told += &bench.say(Side::Server, "331 password\r\n");
    told += &bench.say(Side::Client, "PASS x\r\n");
    told += &bench.say(Side::Server, "230 in\r\n");
    assert_eq!(users(&told), [r#"Some("b")"#]);
}

#[test]
fn a_transfer_has_the_name_that_the_client_gave() {
    for (line, expected) in [
        ("RETR a file", command("RETR", r#"Some("a file")"#)),
        ("stor  /x/\u{fc}\r", command("STOR", "Some(\"/x/\u{fc}\")")),
        ("LIST", command("LIST", "None")),
    ] {
        let mut bench = Bench::logged_in();
        bench.offer();
        bench.say(Side::Client, &format!("{}\r\n", line.trim_end()));
        bench.used();
        bench.say(Side::Server, "150 here\r\n");
        bench.say(Side::Server, "226 done\r\n");
        assert_eq!(bench.ended(), expected);
    }
}

#[test]
fn the_name_is_known_before_the_server_has_said_so() {
    let mut bench = Bench::logged_in();
    bench.offer();
    bench.used();
    bench.say(Side::Client, "RETR early\r\n");
    assert_eq!(bench.ended(), command("RETR", r#"Some("early")"#));
}

#[test]
fn what_the_server_refused_is_no_name() {
    let mut bench = Bench::logged_in();
    bench.offer();
    bench.say(Side::Client, "RETR missing\r\n");
    bench.used();
    bench.say(Side::Server, "550 no such file\r\n");
    assert_eq!(bench.ended(), "None");
}

#[test]
fn of_several_names_the_one_that_the_server_took_is_told() {
    let mut bench = Bench::logged_in();
    bench.offer();
    bench.say(Side::Client, "RETR first\r\nRETR second\r\n");
    bench.used();
    bench.say(Side::Server, "150 first\r\n");
    assert_eq!(bench.ended(), command("RETR", r#"Some("first")"#));

    let mut bench = Bench::logged_in();
    bench.offer();
    bench.say(Side::Client, "RETR first\r\nRETR second\r\n");
    bench.used();
    bench.say(Side::Server, "550 no\r\n150 second\r\n");
    assert_eq!(bench.ended(), command("RETR", r#"Some("second")"#));

    // The server ends badly what it had begun, and what comes then is not of this connection.
    let mut bench = Bench::logged_in();
    bench.offer();
    bench.say(Side::Client, "RETR first\r\n");
    bench.used();
    bench.say(Side::Server, "150 first\r\n426 broken\r\n");
    bench.say(Side::Client, "RETR second\r\n");
    assert_eq!(bench.ended(), command("RETR", r#"Some("first")"#));
}
