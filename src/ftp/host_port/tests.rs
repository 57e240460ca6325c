use super::*;

fn v4(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn eprt(argument: &str) -> Result<SocketAddr, EprtError> {
    parse_eprt(argument.as_bytes()).map(|eprt| eprt.address)
}

#[test]
fn port_is_six_plain_numbers() {
    assert_eq!(parse_port(b"192,0,2,2,195,80"), Ok(v4("192.0.2.2:50000")));
    assert_eq!(parse_port(b"0,0,0,0,0,0"), Ok(v4("0.0.0.0:0")), "policy judges");
    assert_eq!(parse_port(b"255,255,255,255,255,255"), Ok(v4("255.255.255.255:65535")));
    assert_eq!(format_port(v4("192.0.2.2:50000")), "192,0,2,2,195,80");
}

#[test]
fn case_8_malformed_arguments_of_port() {
    for argument in [
        "",
        ",",
        "1,2,3,4,5",
        "1,2,3,4,5,6,7",
        "1,2,3,4,5,6,",
        ",1,2,3,4,5,6",
        "1,2,3,4,5,256",
        "256,2,3,4,5,6",
        "1,2,3,4,,6",
        "1,2,3,4,5,-6",
        "+1,2,3,4,5,6",
        "1, 2,3,4,5,6",
        "1,2,3,4,5,6 ",
        "1,2,3,4,05,6",
        "00,0,0,0,0,0",
        "1,2,3,4,5,0x6",
        "1.2.3.4.5.6",
        "1,2,3,4,5,4294967302",
        "1,2,3,4,5,18446744073709551622",
        "1,2,3,4,5,\u{666}",
    ] {
        assert_eq!(parse_port(argument.as_bytes()), Err(HostPortError::Malformed), "{argument:?}");
    }
}

#[test]
fn case_19_eprt_with_any_delimiter() {
    let address = "192.0.2.2:6446".parse().unwrap();
    for delimiter in 33..=126u8 {
        let d = char::from(delimiter);
        let read = parse_eprt(format!("{d}1{d}192.0.2.2{d}6446{d}").as_bytes());
        // A delimiter that occurs in a field is the writer's own mistake.
        let expected = if ".012469".contains(d) {
            Err(EprtError::Malformed)
        } else {
            Ok(Eprt { address, delimiter })
        };
        assert_eq!(read, expected, "{d}");
    }
    for argument in [" 1 192.0.2.2 6446 ", "\x7f1\x7f192.0.2.2\x7f6446\x7f"] {
        assert_eq!(eprt(argument), Err(EprtError::Malformed), "{argument:?}");
    }
}

#[test]
fn case_19_eprt_with_scoped_and_mapped_addresses() {
    assert_eq!(eprt("|2|2001:db8::2|6446|"), Ok("[2001:db8::2]:6446".parse().unwrap()));
    assert_eq!(eprt("|2|fe80::1%eth0|6446|"), Ok("[fe80::1]:6446".parse().unwrap()));
    let mapped = eprt("|2|::ffff:192.0.2.2|6446|").unwrap();
    assert_eq!(crate::addr::canonical(mapped), "192.0.2.2:6446".parse().unwrap());
}

#[test]
fn case_19_eprt_of_an_unknown_family() {
    for family in ["0", "3", "12", "999999999999"] {
        let read = eprt(&format!("|{family}|192.0.2.2|6446|"));
        assert_eq!(read, Err(EprtError::UnknownProtocol), "{family}");
    }
}

#[test]
fn case_8_malformed_arguments_of_eprt() {
    for argument in [
        "",
        "|",
        "||||",
        "|1|192.0.2.2|6446",
        "1|192.0.2.2|6446|",
        "|1|192.0.2.2|6446||",
        "|1|192.0.2.2|65536|",
        "|1|192.0.2.2|-1|",
        "|1|192.0.2.2|+1|",
        "|1|192.0.2.2| 1|",
        "|1|192.0.2.2|01|",
        "|1|192.0.2.2||",
        "|1|192.0.2.256|1|",
        "|1|192.0.2|1|",
        "|1|2001:db8::2|1|",
        "|2|192.0.2.2|1|",
        "|1|example.com|1|",
        "||192.0.2.2|1|",
        "|x|192.0.2.2|1|",
        "|1|192.0.2.2%eth0|1|",
        "|01|192.0.2.2|",
        "|1|\u{e9}|1|",
    ] {
        assert_eq!(eprt(argument), Err(EprtError::Malformed), "{argument:?}");
    }
    assert_eq!(eprt("|1|192.0.2.2|0|").unwrap().port(), 0, "policy judges");
}

#[test]
fn eprt_is_written_with_the_clients_delimiter_where_that_can_be_read() {
    let (four, six) = ("192.0.2.2:6446".parse().unwrap(), "[2001:db8::2]:6446".parse().unwrap());
    assert_eq!(format_eprt(four, b'|'), "|1|192.0.2.2|6446|");
    assert_eq!(format_eprt(four, b':'), ":1:192.0.2.2:6446:");
    assert_eq!(format_eprt(six, b'!'), "!2!2001:db8::2!6446!");
    for (address, delimiter) in [(four, b'.'), (four, b'6'), (four, b' '), (four, 200)] {
        assert_eq!(format_eprt(address, delimiter), "|1|192.0.2.2|6446|", "{delimiter}");
    }
    for delimiter in [b':', b'd', b'2'] {
        assert_eq!(format_eprt(six, delimiter), "|2|2001:db8::2|6446|", "{delimiter}");
    }
}

#[test]
fn case_17_227_in_the_words_of_many_servers() {
    for text in [
        "227 Entering Passive Mode (192,0,2,9,195,80).",
        "227 Entering Passive Mode (192,0,2,9,195,80)",
        "227 Entering Passive Mode 192,0,2,9,195,80",
        "227 =192,0,2,9,195,80",
        "227 192,0,2,9,195,80",
        "227 Entering Passive Mode. 192,0,2,9,195,80.",
        "227 Passivmodus f\u{fc}r IPv4, bitte (192,0,2,9,195,80)",
        "227 Ok, 1 port: (192,0,2,9,195,80)",
        "227-Entering ( 192,0,2,9,195,80 )",
        "227 Passive mode, 192,0,2,9,195,80 , thank you",
    ] {
        let reply = parse_227(text.as_bytes()).unwrap_or_else(|_| panic!("{text}"));
        assert_eq!(reply.address, v4("192.0.2.9:50000"), "{text}");
        assert_eq!(&text[reply.span], "192,0,2,9,195,80", "{text}");
    }
}

#[test]
fn case_8_malformed_numbers_in_227() {
    for text in [
        "",
        "2",
        "227",
        "227 ",
        "227 Entering Passive Mode",
        "2271,2,3,4,5,6",
        "227 (1,2,3,4,5)",
        "227 (1,2,3,4,5,6,7)",
        "227 (1,2,3,4,5,256)",
        "227 (1,2,3,4,5,-6)",
        "227 (-1,2,3,4,5,6)",
        "227 (+1,2,3,4,5,6)",
        "227 (1, 2,3,4,5,6)",
        "227 (1,2,3,4,5, 6)",
        "227 (1 ,2,3,4,5,6)",
        "227 (1,2,3,4,5,6 ,7)",
        "227 (0, 1,2,3,4,5,6)",
        "227 (01,2,3,4,5,6)",
        "227 (1,2,3,4,5,6,)",
        "227 (1,2,3,4,5,0x10)",
        "227 x1,2,3,4,5,6",
        "227 (1,2,3,4,5,6) or (1,2,3,4,5,7)",
        "227 (1.2.3.4:5)",
        "227 (|||5000|)",
    ] {
        assert_eq!(parse_227(text.as_bytes()), Err(HostPortError::Malformed), "{text:?}");
    }
}

#[test]
fn case_17_229_with_any_delimiter() {
    for text in [
        "229 Entering Extended Passive Mode (|||6446|)",
        "229 Entering Extended Passive Mode (!!!6446!)",
        "229 Ok (EPSV) (:::6446:).",
        "229-(\"\"\"6446\")",
    ] {
        let reply = parse_229(text.as_bytes()).unwrap_or_else(|_| panic!("{text}"));
        let d = char::from(reply.delimiter);
        assert_eq!((reply.port, reply.blank), (6446, true), "{text}");
        assert_eq!(text[reply.span], format!("{d}{d}{d}6446{d}"), "{text}");
        assert_eq!(&text[reply.port_span], "6446", "{text}");
    }
}

#[test]
fn case_18_229_with_family_and_address_is_understood() {
    for text in ["229 (|1|192.0.2.9|6446|)", "229 (|2|2001:db8::9|6446|)", "229 (|1||6446|)"] {
        let reply = parse_229(text.as_bytes()).unwrap();
        assert_eq!((reply.port, reply.blank), (6446, false), "{text}");
    }
}

#[test]
fn case_18_malformed_229() {
    for text in [
        "",
        "229",
        "229 ok",
        "229 (|||0|)",
        "229 (|||1000000|)",
        "229 (|||65536|)",
        "229 (|||-1|)",
        "229 (|||+1|)",
        "229 (||| 1|)",
        "229 (|||01|)",
        "229 (||||)",
        "229 (||6446|)",
        "229 (||||6446|)",
        "229 (|||6446|",
        "229 (|||6446)",
        "229 |||6446|",
        "229 (   6446 )",
        "229 (|||6446|) (|||6447|)",
        "229 (55564465)",
    ] {
        assert_eq!(parse_229(text.as_bytes()), Err(HostPortError::Malformed), "{text:?}");
    }
}

#[test]
fn epsv_arguments() {
    for (argument, expected) in [
        ("", EpsvArgument::None),
        ("1", EpsvArgument::Ipv4),
        ("2", EpsvArgument::Ipv6),
        ("ALL", EpsvArgument::All),
        ("all", EpsvArgument::All),
        ("3", EpsvArgument::Unknown),
        ("1 2", EpsvArgument::Unknown),
    ] {
        assert_eq!(parse_epsv(argument.as_bytes()), expected, "{argument}");
    }
}

#[test]
fn case_42_a_splice_leaves_every_other_byte() {
    let line = Bytes::from_static(b"227 \xe9 (10,0,0,5,4,1).\r\n");
    let span = parse_227(line.strip_suffix(b"\r\n").unwrap()).unwrap().span;
    assert_eq!(
        splice(&line, span, b"203,0,113,7,195,80"),
        &b"227 \xe9 (203,0,113,7,195,80).\r\n"[..]
    );
    assert_eq!(splice(&line, 0..4, b""), line.slice(4..));
    assert_eq!(splice(&line, 90..99, b"x").len(), line.len() + 1, "outside: at the end");
}
