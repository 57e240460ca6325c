//! Commands that servers read in different ways, so that no rule can be asked for certain: refused ahead of
//! the rules, and only where one asks for what is unsure. The same function answers `check --explain`.

use super::replies;
use crate::ftp::{self, Command, Verb};
use crate::policy::{self, Policy};

/// What the client gets instead of a verdict; `None`: the rules can be asked.
pub fn unsure_reply(policy: &Policy, command: &Command) -> Option<&'static str> {
    if policy.rules.is_empty() {
        return None;
    }
    let (word, argument, name) = (command.word(), command.argument(), command.name());
    let text = command.line().text();
    // One server ends the verb at a byte that is part of it to another, or drops a line that begins with
    // a blank, or is empty, without an answer.
    let is_word = !word.is_empty() && word.iter().all(u8::is_ascii_alphanumeric);
    if !is_word || !text.starts_with(word) {
        return Some(replies::UNREADABLE);
    }
    if ftp::has_single_iac(text) {
        return Some(replies::SINGLE_IAC);
    }
    let names_user = command.verb() == Verb::User && policy.asks_for_users();
    let names_file = policy.asks_for_path(word, argument);
    if (names_user || names_file) && name.iter().any(u8::is_ascii_control) {
        // `_` to Pure-FTPd, and themselves to others; tabs are blanks to some.
        return Some(replies::CONTROL_BYTE);
    }
    // The first word of SITE is a command of its own.
    let site = (command.verb() == Verb::Site).then(|| first_word(argument));
    let asked = if names_user { Some(name) } else { site };
    if asked.is_some_and(policy::has_quotes_or_options) {
        return Some(replies::QUOTES);
    }
    if names_file && name.starts_with(b" ") {
        // Part of the name to one server (ProFTPD; `_` to Pure-FTPd), and nothing to another.
        return Some(replies::BLANK_NAME);
    }
    // aioftp takes all that Unicode calls white space off the end of a line, no-break spaces among them.
    let blank_behind = name.ends_with(b" ") || ends_in_white_space(name);
    let names_something = names_user || policy.asks_for_name(word, argument);
    (blank_behind && names_something).then_some(replies::BLANK_BEHIND)
}

/// True for white space of more than one byte in UTF-8; the others are blanks and control characters.
fn ends_in_white_space(name: &[u8]) -> bool {
    /// RFC 3629 §3.
    const LONGEST_UTF8: usize = 4;
    let tail = name.get(name.len().saturating_sub(LONGEST_UTF8)..).unwrap_or_default();
    let last = String::from_utf8_lossy(tail).chars().next_back();
    last.is_some_and(|last| !last.is_ascii() && last.is_whitespace())
}

fn first_word(argument: &[u8]) -> &[u8] {
    argument.split(|&byte| byte == b' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::Line;
    use crate::policy::{Among, CommandPattern, OwnReply, Pattern, Rule, RuleVerdict, When};
    use bytes::Bytes;

    fn reply(when: When, line: &'static [u8]) -> Option<&'static str> {
        let verdict = RuleVerdict::Refuse(OwnReply::default());
        let rules = vec![Rule { name: "a rule".into(), when, verdict }];
        let policy = Policy { rules, ..Policy::default() };
        unsure_reply(&policy, &Command::parse(Line::from_bytes(Bytes::from_static(line))))
    }

    fn paths() -> When {
        let commands = ["STOR", "DELE", "LIST", "STOU"];
        let commands = commands.iter().map(|text| CommandPattern::parse(text).unwrap());
        let paths = Among::Of(vec![Pattern::path("/secret/**").unwrap()]);
        When { commands: Among::Of(commands.collect()), paths, ..When::default() }
    }

    #[test]
    fn names_that_servers_read_differently_are_refused() {
        for (line, expected) in [
            (&b"DELE secret\x01plan.txt\r\n"[..], replies::CONTROL_BYTE),
            (b"DELE a\x0bb\r\n", replies::CONTROL_BYTE),
            (b"DELE a\x7f\r\n", replies::CONTROL_BYTE),
            (b"DELE \ta\r\n", replies::CONTROL_BYTE),
            (b"STOR a.csv\t\r\n", replies::CONTROL_BYTE),
            (b"LIST -la\t/secret\r\n", replies::CONTROL_BYTE),
            (b"STOR  a\r\n", replies::BLANK_NAME),
            (b"STOR a.csv \r\n", replies::BLANK_BEHIND),
            (b"LIST -la a \r\n", replies::BLANK_BEHIND),
            (b"STOR a.csv\xc2\xa0\r\n", replies::BLANK_BEHIND),
            (b"STOR \xe3\x80\x80\r\n", replies::BLANK_BEHIND),
            (b"ST-OR a\r\n", replies::UNREADABLE),
            (b" STOR a\r\n", replies::UNREADABLE),
            (b"\r\n", replies::UNREADABLE),
            (b"STOR a\xffb\r\n", replies::SINGLE_IAC),
            (b"SITE CH\"MOD 777 a\r\n", replies::QUOTES),
            (b"SITE -x CHMOD 777 a\r\n", replies::QUOTES),
        ] {
            assert_eq!(reply(paths(), line), Some(expected), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn what_no_rule_asks_for_may_be_spelled_as_it_is() {
        for line in [
            &b"RETR a\x01b \r\n"[..],
            b"USER a\x01\r\n",
            b"LIST \r\n",
            b"LIST -la \r\n",
            b"STOU \r\n",
            b"STOR a b.csv\r\n",
            b"SITE CHMOD 644 \"a b\"\r\n",
            b"SITE\r\n",
            b"STOR \xc3\x9cbergabe\r\n",
            b"STOR \xc3\xa0\r\n",
            b"STOR a\xa0\r\n",
            b"STOR a\xc2\xa0b\r\n",
            b"STOR a\r\n",
        ] {
            assert_eq!(reply(paths(), line), None, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn users_are_asked_for_by_rules_on_users() {
        let users = Among::Of(vec![Pattern::name("svc_*").unwrap()]);
        let when = || When { users: users.clone(), ..When::default() };
        assert_eq!(reply(when(), b"USER svc\x01a\r\n"), Some(replies::CONTROL_BYTE));
        for line in [&b"USER \"svc_a\"\r\n"[..], b"USER svc\"_a\r\n", b"USER -x svc_a\r\n"] {
            assert_eq!(reply(when(), line), Some(replies::QUOTES), "{}", line.escape_ascii());
        }
        assert_eq!(reply(when(), b"USER svc_a\xe2\x80\x83\r\n"), Some(replies::BLANK_BEHIND));
        assert_eq!(reply(when(), b"USER svc_a\r\n"), None);
        assert_eq!(reply(when(), b"RETR a\x01b\r\n"), None);
    }
}
