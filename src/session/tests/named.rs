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
        ("stor  /x/\u{fc}\r", command("STOR", "Some(\" /x/\u{fc}\")")),
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

    let mut bench = Bench::logged_in();
    bench.offer();
    bench.used();
    bench.say(Side::Client, "RETR early\r\nRETR late\r\n");
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
    bench.say(Side::Server, "150 give me a PASV\r\n");
    assert_eq!(bench.ended(), command("RETR", r#"Some("first")"#));
}

/// What is told of changes, one a line.
fn changes(told: &str) -> Vec<&str> {
    let start = "Report(ChangeEnded { ";
    told.lines().filter_map(|line| line.strip_prefix(start)?.strip_suffix(" })")).collect()
}

fn change(verb: &str, path: &str, renamed: &str, code: &str) -> String {
    format!("verb: \"{verb}\", path: {path}, renamed: {renamed}, code: {code}")
}

#[test]
fn a_login_that_is_refused_is_told_with_who_tried_and_no_password() {
    let refused = |told: &str| -> Vec<String> {
        let start = "Report(LoginRefused { ";
        let lines = told.lines().filter_map(|line| line.strip_prefix(start)?.strip_suffix(" })"));
        lines.map(str::to_owned).collect()
    };
    let mut bench = greeted();
    // The password ahead of the user.
    let mut told = bench.say(Side::Client, "PASS s3cr3t\r\n");
    told += &bench.say(Side::Server, "503 USER first\r\n");
    told += &bench.say(Side::Client, "USER anna\r\npass\ts3cr3t\r\n ACCT s3cr3t\r\n");
    told += &bench.say(Side::Server, "331 password\r\n530 no\r\n530 no\r\n");
    told += &bench.say(Side::Client, "USER bella\r\n");
    told += &bench.say(Side::Server, "530-not\r\n530 you\r\n");
    // That was not taken: the password is anna's still.
    told += &bench.say(Side::Client, "PASS s3cr3t\r\n");
    told += &bench.say(Side::Server, "421 enough\r\n");
    assert_eq!(
        refused(&told),
        [
            "user: None, code: 503",
            r#"user: Some("anna"), code: 530"#,
            r#"user: Some("anna"), code: 530"#,
            r#"user: Some("bella"), code: 530"#,
            r#"user: Some("anna"), code: 421"#,
        ]
    );
    assert_eq!(users(&told), [""; 0]);
    let mut reports = told.lines().filter(|line| line.starts_with("Report("));
    assert!(!reports.any(|report| report.contains("s3cr3t")), "{told}");
}

#[test]
fn a_change_is_told_with_the_reply_to_it() {
    for (line, verb, path) in [
        ("DELE a file", "DELE", r#"Some("a file")"#),
        ("dele", "DELE", "None"),
        ("MKD \u{fc}\t", "MKD", "Some(\"\u{fc}\\x09\")"),
        ("DELE  a ", "DELE", r#"Some(" a ")"#),
        ("SITE  CHMOD 777 a ", "SITE", r#"Some(" CHMOD 777 a ")"#),
        ("XMKD a", "XMKD", r#"Some("a")"#),
        ("RMD a", "RMD", r#"Some("a")"#),
        ("XRMD a", "XRMD", r#"Some("a")"#),
        ("MFMT 20261121113000 a", "MFMT", r#"Some("20261121113000 a")"#),
        ("MDTM 20261121113000 a b", "MDTM", r#"Some("20261121113000 a b")"#),
        ("MFF mode=0777; a", "MFF", r#"Some("mode=0777; a")"#),
        ("SITE CHMOD 777 a", "SITE", r#"Some("CHMOD 777 a")"#),
        ("site exec rm -r /", "SITE", r#"Some("exec rm -r /")"#),
        ("SITE", "SITE", "None"),
    ] {
        let mut bench = Bench::logged_in();
        assert_eq!(changes(&bench.say(Side::Client, &format!("{line}\r\n"))), [""; 0]);
        let told = bench.say(Side::Server, "250-so\r\n250 done\r\n");
        assert_eq!(changes(&told), [change(verb, path, "None", "Some(250)")], "{line}");
    }
    for line in ["MDTM a", "MDTM 20261121113000", "MDTM 2026112111300x a", "SIZE a", "CWD a", "PWD"]
    {
        let mut bench = Bench::logged_in();
        bench.say(Side::Client, &format!("{line}\r\n"));
        assert_eq!(changes(&bench.say(Side::Server, "250 done\r\n")), [""; 0], "{line}");
    }
}

#[test]
fn of_a_site_that_may_hold_a_password_only_the_word_is_told() {
    for line in [
        "PSWD old s3cr3t",
        " PSWD s3cr3t",
        "adduser eva s3cr3t",
        "PASSWORD=s3cr3t",
        "GPASS\ts3cr3t",
        "é s3cr3t",
    ] {
        let mut bench = Bench::logged_in();
        bench.say(Side::Client, &format!("SITE {line}\r\n"));
        let told = bench.say(Side::Server, "200 done\r\n");
        assert_eq!(changes(&told).len(), 1, "{told}");
        assert!(!changes(&told)[0].contains("s3cr3t"), "{told}");
        let word = line.trim_start().split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap();
        assert!(changes(&told)[0].contains(word), "{told}");
    }
}

#[test]
fn a_rename_is_told_once_with_both_names() {
    let mut bench = Bench::logged_in();
    let told = bench.say(Side::Client, "RNFR a\r\nRNTO b\r\nRNFR c\r\nRNTO d\r\nRNTO e\r\n");
    assert_eq!(changes(&told), [""; 0]);
    let told = bench.say(
        Side::Server,
        "350 go on\r\n250 done\r\n550 no such file\r\n503 RNFR first\r\n503 RNFR first\r\n",
    );
    assert_eq!(
        changes(&told),
        [
            change("RNTO", r#"Some("b")"#, r#"Some("a")"#, "Some(250)"),
            change("RNFR", r#"Some("c")"#, "None", "Some(550)"),
            change("RNTO", r#"Some("d")"#, "None", "Some(503)"),
            change("RNTO", r#"Some("e")"#, "None", "Some(503)"),
        ]
    );
}

#[test]
fn a_change_without_a_reply_is_told_at_the_end() {
    let mut bench = Bench::logged_in();
    bench.say(Side::Client, "DELE a\r\nNOOP\r\nRNFR b\r\nRNTO c\r\n");
    let told = bench.tell(Event::ConnectionClosed { side: Side::Client, orderly: false });
    assert_eq!(
        changes(&told),
        [
            change("DELE", r#"Some("a")"#, "None", "None"),
            change("RNTO", r#"Some("c")"#, r#"Some("b")"#, "None"),
        ]
    );
    // A server that answers PASV has left unanswered what came before.
    let mut bench = Bench::logged_in();
    bench.say(Side::Client, "DELE a\r\nEPSV\r\n");
    let told = bench.say(Side::Server, "229 ok (|||6446|)\r\n");
    assert_eq!(changes(&told), [change("DELE", r#"Some("a")"#, "None", "None")]);
}

#[test]
fn a_refusal_names_the_verb() {
    let mut bench = greeted();
    let told = bench.say(Side::Client, "EPSV\r\nLPSV\r\n");
    let mut bench = Bench::logged_in();
    let told = told + &bench.say(Side::Client, "PORT 192,0,2,99,200,1\r\nEPRT |9|x|1|\r\nEPSV\r\n");
    let told = told + &bench.say(Side::Server, "229 ok (|||80|)\r\n");
    let verbs: Vec<_> = told
        .lines()
        .filter_map(|line| line.strip_prefix("Report(Refused { verb: ")?.split(", ").next())
        .collect();
    assert_eq!(verbs, [r#""EPSV""#, r#""LPSV""#, r#""PORT""#, r#""EPRT""#, r#""EPSV""#], "{told}");
}
