use super::*;

const LIMIT: usize = 32;

/// Everything found in the pieces, read to the end after each: lines as `L`, with `!` after a Synch.
fn read(pieces: &[&[u8]]) -> Vec<String> {
    let mut reader = LineReader::new(LIMIT);
    let mut found = Vec::new();
    for piece in pieces {
        reader.push(piece);
        while let Some(item) = reader.next_item() {
            found.push(match item {
                LineItem::Line(line) => {
                    let mark = if line.synch() { "!" } else { "" };
                    format!("L{mark} {}", line.raw().escape_ascii())
                }
                LineItem::Answer(answer) => format!("A {}", answer.escape_ascii()),
                LineItem::Violation(violation) => format!("{violation:?}"),
            });
        }
    }
    found
}

fn text_of(raw: &'static [u8]) -> Vec<u8> {
    Line::from_bytes(Bytes::from_static(raw)).text().to_vec()
}

#[test]
fn case_13_pipelined_lines_come_one_by_one() {
    assert_eq!(
        read(&[b"NOOP\r\nPORT 1,2\r\n\r\nPA"]),
        ["L NOOP\\r\\n", "L PORT 1,2\\r\\n", "L \\r\\n"]
    );
}

#[test]
fn case_14_a_line_in_pieces_is_the_same_line() {
    assert_eq!(read(&[b"N", b"", b"OOP\r", b"\n", b"Q"]), ["L NOOP\\r\\n"]);
}

#[test]
fn case_21_lf_alone_ends_a_line_and_is_forwarded_so() {
    assert_eq!(read(&[b"NOOP\nQUIT\r\n"]), ["L NOOP\\n", "L QUIT\\r\\n"]);
    assert_eq!(text_of(b"NOOP\n"), b"NOOP");
    assert_eq!(text_of(b"NOOP\r\n"), b"NOOP");
    assert_eq!(text_of(b"\r\n"), b"");
}

#[test]
fn case_21_any_other_cr_and_any_nul_is_forbidden() {
    let streams: [&[u8]; 8] = [
        b"USER a\rPASS b\r\n",
        b"USER a\r\0\r\n",
        b"USER a\r\r\n",
        b"US\0ER\r\n",
        b"\0",
        b"\rUSER a\r\n",
        b"a\r\xff\xff\n",
        b"a\r\xffx\n",
    ];
    for stream in streams {
        assert_eq!(read(&[stream]), ["ForbiddenByte"], "{}", stream.escape_ascii());
    }
    assert_eq!(read(&[b"USER a\r", b"P"]), ["ForbiddenByte"], "told before the line ends");
    assert_eq!(read(&[b"USER a\r", b"\r\n"]), ["ForbiddenByte"], "doubled, in two pieces");
    assert_eq!(read(&[b"USER a\r"]), [""; 0], "the LF may still come");
}

#[test]
fn case_22_the_limit_includes_the_terminator() {
    let longest = [&[b'x'; LIMIT - 2][..], b"\r\n"].concat();
    assert_eq!(read(&[&longest]).len(), 1);
    assert!(read(&[&longest])[0].starts_with("L x"));
    let longer = [&b"x"[..], &longest].concat();
    assert_eq!(read(&[&longer]), ["TooLong"]);
    assert_eq!(read(&[&[b'x'; LIMIT - 1]]), [""; 0]);
    assert_eq!(read(&[&[b'x'; LIMIT]]), ["TooLong"], "told before the line ends");
}

#[test]
fn case_22_nothing_is_kept_after_a_violation() {
    let mut reader = LineReader::new(LIMIT);
    reader.push(&[b'x'; 1000]);
    assert_eq!(reader.next_item(), Some(LineItem::Violation(LineViolation::TooLong)));
    reader.push(b"NOOP\r\n");
    assert_eq!((reader.next_item(), reader.buffered()), (None, 0));
    assert!(reader.take_rest().is_empty());
}

#[test]
fn case_22_endless_telnet_is_too_long() {
    assert_eq!(read(&[&b"\xff\xf1".repeat(LIMIT / 2)]), [""; 0]);
    assert_eq!(read(&[&b"\xff\xf1".repeat(LIMIT / 2 + 1)]), ["TooLong"]);
    assert_eq!(read(&[&[b"\xff\xfa", &[b'x'; LIMIT][..]].concat()]), ["TooLong"]);
    assert_eq!(read(&[&b"\xff\xfd\x01".repeat(1000)]).last().unwrap(), "TooLong");
    // Each line begins the count anew.
    let lines = [&b"\xff\xf1".repeat(LIMIT / 2)[..], b"NOOP\r\n"].concat().repeat(3);
    assert_eq!(read(&[&lines]), ["L NOOP\\r\\n"; 3]);
}

#[test]
fn case_23_negotiation_is_answered_at_once_and_declined() {
    assert_eq!(read(&[b"\xff\xfd\x06"]), ["A \\xff\\xfc\\x06"], "DO: WONT");
    assert_eq!(read(&[b"\xff\xfb\x01"]), ["A \\xff\\xfe\\x01"], "WILL: DONT");
    assert_eq!(read(&[b"\xff\xfc\x01\xff\xfe\x01NOOP\r\n"]), ["L NOOP\\r\\n"], "no answer");
    assert_eq!(read(&[b"NO\xff", b"\xfd", b"\x06OP\r\n"]), ["A \\xff\\xfc\\x06", "L NOOP\\r\\n"]);
    assert_eq!(read(&[b"\xff\xfd\xffNOOP\r\n"]), ["A \\xff\\xfc\\xff", "L NOOP\\r\\n"]);
}

#[test]
fn case_23_the_synch_ahead_of_abor_is_remembered_for_that_line_only() {
    for synch in [&b"\xff\xf4\xff\xf2"[..], b"\xff\xf4", b"\xff\xf2"] {
        let stream = [b"NOOP\r\n", synch, b"ABOR\r\nNOOP\r\n"].concat();
        assert_eq!(read(&[&stream]), ["L NOOP\\r\\n", "L! ABOR\\r\\n", "L NOOP\\r\\n"]);
    }
    assert_eq!(read(&[b"AB\xff\xf2OR\r\n"]), ["L! ABOR\\r\\n"]);
}

#[test]
fn case_23_commands_within_a_verb_are_removed() {
    for command in 240..=249u8 {
        let stream = [b"PO\xff", &[command][..], b"RT 1\r\n"].concat();
        assert!(read(&[&stream])[0].ends_with("PORT 1\\r\\n"), "{command}");
    }
    assert_eq!(read(&[b"NO\xff\xfa\x18a\xff\xffb\n\xff\xf0OP\r\n"]), ["L NOOP\\r\\n"]);
    assert_eq!(read(&[b"NOOP\r\xff\xf1\n"]), ["L NOOP\\r\\n"], "also within the terminator");
}

#[test]
fn case_23_bytes_of_data_stay() {
    assert_eq!(
        read(&[b"RETR \xff\xff\r\n"]),
        ["L RETR \\xff\\xff\\r\\n"],
        "doubled for the far side"
    );
    assert_eq!(read(&[b"RETR \xffa\xff\r\n"]), ["L RETR \\xffa\\xff\\r\\n"], "Latin-1");
}

#[test]
fn case_25_what_follows_a_line_can_be_taken_as_it_came() {
    let mut reader = LineReader::new(LIMIT);
    reader.push(b"AUTH TLS\r\n\x16\x03\x01\xff\xfd\0\r");
    assert!(matches!(reader.next_item(), Some(LineItem::Line(_))));
    assert_eq!(reader.buffered(), 7);
    assert_eq!(reader.take_rest(), &b"\x16\x03\x01\xff\xfd\0\r"[..]);
    assert_eq!(reader.buffered(), 0);
    reader.push(b"EPSV\r\n");
    assert!(matches!(reader.next_item(), Some(LineItem::Line(line)) if line.text() == b"EPSV"));
}

#[test]
fn the_rest_of_a_line_under_way_is_taken_with_it() {
    let mut reader = LineReader::new(LIMIT);
    reader.push(b"AU\xff\xf1TH");
    assert_eq!(reader.next_item(), None);
    assert_eq!(reader.take_rest(), &b"AUTH"[..]);
}

#[test]
fn an_undisturbed_line_is_handed_out_without_a_copy() {
    let mut reader = LineReader::new(LIMIT);
    reader.push(b"NOOP\r\nQUIT\r\n");
    let start = reader.raw.as_ptr();
    let Some(LineItem::Line(first)) = reader.next_item() else { panic!("a line") };
    let Some(LineItem::Line(second)) = reader.next_item() else { panic!("a line") };
    assert_eq!(first.raw().as_ptr(), start);
    assert_eq!(second.raw().as_ptr(), start.wrapping_add(first.raw().len()));
    assert_eq!(reader.raw.capacity(), 0, "an idle reader holds no memory");
}
