use super::*;

fn command(line: &'static str) -> Command {
    Command::parse(Line::from_bytes(Bytes::from(format!("{line}\r\n"))))
}

#[test]
fn verb_and_argument_are_told_apart() {
    for (line, verb, argument) in [
        ("NOOP", Verb::Noop, ""),
        ("noop  ", Verb::Noop, ""),
        ("RETR a file", Verb::Retr, "a file"),
        ("retr \t a  b \t", Verb::Retr, "a  b"),
        ("PORT\t1,2,3,4,5,6", Verb::Port, "1,2,3,4,5,6"),
        ("  PASV", Verb::Pasv, ""),
        ("PASVX", Verb::Other, ""),
        ("", Verb::Other, ""),
        ("   ", Verb::Other, ""),
    ] {
        let command = command(line);
        assert_eq!((command.verb(), command.argument()), (verb, argument.as_bytes()), "{line:?}");
    }
}

#[test]
fn a_name_keeps_the_blanks_at_its_ends() {
    for (line, name) in [
        ("DELE a", "a"),
        (" DELE  a \t", " a \t"),
        ("DELE\ta b", "a b"),
        ("DELE  ", " "),
        ("DELE ", ""),
        ("DELE", ""),
        ("", ""),
    ] {
        assert_eq!(command(line).name(), name.as_bytes(), "{line:?}");
    }
}

#[test]
fn case_42_a_rewrite_changes_the_argument_alone() {
    for (line, rewritten) in [
        ("PORT 10,0,0,2,4,1", "PORT x\r\n"),
        ("pOrT \t 10,0,0,2,4,1  ", "pOrT \t x  \r\n"),
        (" EPRT |1|10.0.0.2|1025|", " EPRT x\r\n"),
        ("EPSV", "EPSV x\r\n"),
        ("EPSV ", "EPSV x\r\n"),
    ] {
        assert_eq!(command(line).with_argument(b"x"), rewritten, "{line:?}");
    }
    let lf_only = Command::parse(Line::from_bytes(Bytes::from_static(b"EPSV 2\n")));
    assert_eq!(lf_only.with_argument(b"1"), "EPSV 1\n");
    assert_eq!(command("EPSV").with_argument(b""), "EPSV\r\n");
}

#[test]
fn case_3_http_is_no_ftp() {
    for line in [
        "POST / HTTP/1.1",
        "GET /",
        "get / HTTP/1.0",
        "CONNECT example.com:21 HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "DELETE /a HTTP/1.1",
        "HEAD /a",
        "PRI * HTTP/2.0",
        "PROPFIND /a HTTP/1.1",
    ] {
        assert!(command(line).is_http(), "{line}");
    }
    for line in [
        "USER GET",
        "RETR HTTP/1.1",
        "STOR GET / HTTP/1.1",
        "DELE /a",
        "GET",
        "MODE S",
        "OPTS UTF8",
        "FOO HTTP/11",
        "HTTP/1.1",
    ] {
        assert!(!command(line).is_http(), "{line}");
    }
}

#[test]
fn case_3_a_request_whose_method_is_a_verb_ends_as_http() {
    for line in ["USER /x HTTP/1.1", "FEAT / HTTP/1.0", "stat * HTTP/2.0", "POST / HTTP/1.1"] {
        assert!(command(line).ends_as_http(), "{line}");
    }
    for line in ["USER http", "USER", "PASS HTTP/1", "FEAT"] {
        assert!(!command(line).ends_as_http(), "{line}");
    }
}

#[test]
fn case_6_invisible_characters_hide_no_verb() {
    for line in ["\x0bPORT 1,2,3,4,5,6", "\x0c \x1fport 1,2,3,4,5,6", "\x7fPORT\t1,2,3,4,5,6"] {
        let read = command(line);
        assert_eq!(read.verb(), Verb::Port, "{line:?}");
        assert_eq!(read.argument(), b"1,2,3,4,5,6", "{line:?}");
    }
    let read = command("PORT\x0b1,2,3,4,5,6");
    assert_eq!((read.verb(), read.argument()), (Verb::Port, &b"1,2,3,4,5,6"[..]));
    assert_eq!(command("PORT\x0b\x0b1,2,3,4,5,6").argument(), b"\x0b1,2,3,4,5,6");
    assert_eq!(command("\x0b\x0c").verb(), Verb::Other);
    let read = Command::parse(Line::from_bytes(Bytes::from_static(b"\xa0PORT\xa01,2,3,4,5,6\r\n")));
    assert_eq!((read.verb(), read.argument()), (Verb::Port, &b"1,2,3,4,5,6"[..]));
}

#[test]
fn case_5_a_client_that_speaks_as_a_server() {
    for line in ["227 Entering Passive Mode (1,2,3,4,5,6)", "230-Hello", "999 x"] {
        assert!(command(line).looks_like_reply(), "{line}");
    }
    for line in ["USER 227 x", "22 x", "2277 x", "227", "", "22x x"] {
        assert!(!command(line).looks_like_reply(), "{line}");
    }
}
