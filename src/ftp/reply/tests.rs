use super::*;

fn code(value: u16) -> Code {
    Code(value)
}

fn classify(lines: &[&str]) -> (Vec<ReplyLine>, bool) {
    let mut reader = ReplyReader::new();
    let found = lines.iter().map(|line| reader.classify(line.as_bytes())).collect();
    (found, reader.at_boundary())
}

#[test]
fn codes_tell_their_kind() {
    for (value, kinds) in [
        (150, [true, false, false, false, false]),
        (226, [false, true, false, false, false]),
        (331, [false, false, true, false, false]),
        (425, [false, false, false, true, false]),
        (550, [false, false, false, true, false]),
        (632, [false, false, false, false, true]),
    ] {
        let code = code(value);
        assert_eq!(code.value(), value);
        let found = [
            code.is_preliminary(),
            code.is_positive(),
            code.is_intermediate(),
            code.is_negative(),
            code.is_protected(),
        ];
        assert_eq!(found, kinds, "{code}");
    }
}

#[test]
fn case_15_replies_of_one_line() {
    let (found, boundary) = classify(&["220 ready", "230", "331 ", "631 QUJD"]);
    assert_eq!(found, [220, 230, 331, 631].map(|value| ReplyLine::Whole(code(value))));
    assert!(boundary);
}

#[test]
fn case_16_a_reply_of_several_lines_ends_with_its_own_code_and_a_blank() {
    let lines = [
        "211-Features:",
        " EPRT",
        "227 Entering Passive Mode (1,2,3,4,5,6)",
        "211-more",
        "211x",
        "2111",
        " 211 indented",
        "",
        "211 End",
        "226-",
        "226",
    ];
    let (found, boundary) = classify(&lines);
    let mut expected = vec![ReplyLine::First(code(211))];
    expected.extend([ReplyLine::Text; 7]);
    expected.push(ReplyLine::Last(code(211)));
    expected.extend([ReplyLine::First(code(226)), ReplyLine::Last(code(226))]);
    assert_eq!(found, expected);
    assert!(boundary);
    assert!(!classify(&lines[..8]).1);
}

#[test]
fn case_2_a_227_within_another_reply_is_text() {
    let (found, _) = classify(&["550-No such file", "227 Entering Passive Mode (1,2,3,4,5,6)"]);
    assert_eq!(found[1], ReplyLine::Text);
}

#[test]
fn case_24_lines_without_a_code_leave_the_boundary_where_it_is() {
    let strays = [
        "",
        "2",
        "22",
        "hello",
        " 220 x",
        "220x",
        "220_",
        "2200 x",
        "000 x",
        "099 x",
        "600 x",
        "630 x",
        "634 x",
        "999 x",
        "+20 x",
        "\u{e9}20 x",
        "227Entering (1,2,3,4,5,6)",
    ];
    for stray in strays {
        assert_eq!(classify(&[stray]), (vec![ReplyLine::Stray], true), "{stray:?}");
    }
    let (found, _) = classify(&["noise", "220 ready"]);
    assert_eq!(found, [ReplyLine::Stray, ReplyLine::Whole(code(220))]);
}

#[test]
fn case_5_a_server_that_speaks_as_a_client() {
    for line in
        ["PORT 192,0,2,2,4,1", "port 1,2", "PASV", "EPSV", "EPSV ALL", "EPRT |1|192.0.2.2|1025|"]
    {
        assert!(looks_like_command(line.as_bytes()), "{line}");
    }
    for line in [
        "220 PORT 1,2,3,4,5,6",
        "Port 21 is for FTP",
        "PORT",
        "Pasv is fine",
        "EPSV mode",
        "USER a",
        "EPRT",
        "",
    ] {
        assert!(!looks_like_command(line.as_bytes()), "{line}");
    }
}
