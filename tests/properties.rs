//! Holds the checks against input made at random, out of the pieces that matter to each.

mod checks;

use proptest::prelude::*;

/// Bytes made of some of the `pieces` and some bytes of any kind.
fn made_of(pieces: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop::sample::select(pieces).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

const TELNET: &[&[u8]] = &[
    b"NOOP\r\n",
    b"RETR a",
    b"x",
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xff\xff",
    b"\xff\xf4",
    b"\xff\xf2",
    b"\xff\xf1",
    b"\xff\xfd\x06",
    b"\xff\xfb\x01",
    b"\xff\xfc",
    b"\xff\xfa",
    b"\xff\xf0",
];

const COMMANDS: &[&[u8]] = &[
    b"PORT",
    b"pasv",
    b"EPRT",
    b"EPSV",
    b"RETR",
    b"GET",
    b" ",
    b"\t",
    b"\r\n",
    b"\n",
    b"1",
    b"1,2",
    b"|1|",
    b"/a b",
    b"HTTP/1.1",
    b"227",
    b"-",
    b"(",
    b"ALL",
    b"\xe9",
];

const REPLIES: &[&[u8]] = &[
    b"227",
    b"226",
    b"100",
    b"599",
    b"600",
    b"631",
    b"000",
    b"220",
    b" ",
    b"-",
    b"\r\n",
    b"\n",
    b"x",
    b"211-",
    b"211 End\r\n",
];

const ADDRESSES: &[&[u8]] = &[
    b"227 ",
    b"229 ",
    b"(",
    b")",
    b"|",
    b",",
    b"0",
    b"1",
    b"2",
    b"7",
    b"255",
    b"256",
    b"10,0,0,5,",
    b"195,80",
    b"=",
    b" ",
    b"-",
    b"+",
    b"01",
    b"|||",
    b"6446",
    b"::1",
    b"192.0.2.1",
    b"%eth0",
    b"65536",
    b"!",
    b":",
    b"Entering Passive Mode",
];

/// Both versions of the PROXY header.
const HEADERS: &[&[u8]] = &[
    b"PROXY ",
    b"TCP4 ",
    b"TCP6 ",
    b"UNKNOWN",
    b"192.0.2.2 203.0.113.7 ",
    b"2001:db8::2 2001:db8::7 ",
    b"::ffff:192.0.2.2 ",
    b"40000 21",
    b"\r\n",
    b"\r",
    b" ",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\x21\x11\0\x0c",
    b"\x21\x21\0\x24",
    b"\x20\0\0\0",
    b"\x21\x11\0\x13",
    b"\xc0\0\x02\x02\xcb\0\x71\x07\x9c\x40\0\x15",
    b"\x03\0\x04\0\0\0\0",
    b"\x04\0\x04",
    b"USER a\r\n",
];

/// Records, and what stands in the place of one.
const RECORDS: &[&[u8]] = &[
    b"\x14\x03\x03\0\x01\x01",
    b"\x15\x03\x03\0\x02\x01\0",
    b"\x16\x03\x01\0\x06\x01\0\0\x02\x03\x03",
    b"\x16\x03\x03\0\x06\x02\0\0\x02\x03\x03",
    b"\x16\x03\x03\0\x05\x99\0\0\x01\x16",
    b"\x16\x03\x03\0\x03\x01\0\0",
    b"\x17\x03\x03\0\x05CCC\r\n",
    b"\x17\x03\x01\0\0",
    b"\x18\x03\x04\0\x01\x01",
    b"\x17\x03\x03\0\x28",
    b"\x17\x03\x03\x48",
    b"\x17\x03",
    b"\0",
    b"\x01",
    b"EPSV\r\n",
    b"\x17\x03\x05\0\x01",
];

/// A stream of records, ahead of which an old ClientHello may stand.
fn records() -> impl Strategy<Value = Vec<u8>> {
    const OLD_HELLO: &[u8] = b"\x80\x0c\x01\x03\x01\0\x03\0\0\0\0\x05\0\x04";
    let first = prop_oneof![4 => Just(&b""[..]), 1 => Just(OLD_HELLO), 1 => Just(&OLD_HELLO[..7])];
    // Whole records for the most part: anything else ends the stream soon.
    let whole = prop::collection::vec(prop::sample::select(&RECORDS[..9]), 0..16);
    (first, whole, made_of(RECORDS))
        .prop_map(|(first, whole, rest)| [first, &whole.concat(), &rest].concat())
}

/// Settings and steps of a conversation; whole negotiations are more likely than chance makes them.
fn conversation() -> impl Strategy<Value = Vec<u8>> {
    // Lines of the peers by their place in the vocabulary, and answers of the executor.
    const PASSAGES: &[&[u8]] = &[
        &[0, 3, 16, 5, 37],
        &[0, 4, 16, 14, 37],
        &[0, 8, 37, 16, 19],
        &[0, 13, 37, 16, 19],
        &[0, 3, 16, 7, 0x90, 8, 0x90, 10, 37],
        &[0, 4, 16, 5, 37],
        &[0, 8, 16, 5, 37, 42, 0],
        &[0, 16, 16, 20, 16, 21],
        &[0, 3, 0x80, 16, 0x80, 24],
        &[16, 5, 0x90, 21],
        &[42, 0, 48, 0, 0],
        &[45, 0, 48, 0, 1],
        &[0, 25, 16, 29],
        // TLS and the range, connections through it, and the return to text.
        &[0, 25, 16, 29, 44, 5],
        &[0, 25, 16, 29, 44, 5, 59, 0, 59, 1, 60, 0, 0],
        &[59, 0],
        &[59, 1, 60, 0, 0],
        &[0, 4],
    ];
    // Where TLS ends at the gateway: handshakes, the server's answers, and what is agreed inside.
    const ENDED: &[&[u8]] = &[
        &[14, 0],
        &[14, 1, 24, 0],
        &[24, 0],
        &[24, 0, 24, 0, 24, 0],
        &[24, 0, 14, 0, 24, 0, 14, 0],
        &[8, 0, 24, 0, 14, 1],
        &[8, 0, 24, 0, 14, 2, 33, 0],
        &[8, 1, 9, 2, 24, 0, 24, 0],
        &[8, 1, 9, 2, 24, 5, 24, 5],
        &[8, 15, 24, 0, 24, 0, 24, 0, 37],
        &[8, 4, 24, 0, 24, 0, 24, 0],
        &[0, 0, 24, 0],
        &[0, 0, 0x80, 1, 24, 0, 24, 0],
        &[12, 5],
        &[12, 7],
        // The start, with words ahead of it, behind it and amid it.
        &[58, 14, 0],
        &[58, 16, 0, 0x90, 3, 14, 1],
        &[0, 0, 58, 24, 0, 14, 0, 24, 0],
        &[58, 0, 0, 24, 0, 14, 0, 24, 0, 14, 0],
        &[58, 14, 0, 24, 0, 16, 30, 24, 0],
        &[58, 24, 0, 29, 11, 14, 0],
        &[58, 29, 7, 14, 0],
        &[8, 0, 0x80, 0],
        &[0, 16, 24, 3, 42, 0, 47, 0, 24, 0, 48, 0, 0],
    ];
    let step = prop_oneof![
        3 => prop::sample::select(PASSAGES).prop_map(<[u8]>::to_vec),
        3 => prop::sample::select(ENDED).prop_map(<[u8]>::to_vec),
        4 => (any::<u8>(), any::<u8>()).prop_map(|(code, operand)| vec![code, operand]),
    ];
    let settings =
        (any::<bool>(), any::<[u8; 4]>()).prop_map(|(log_in, [flags, choices, more, ended])| {
            let flags = if log_in { flags | 0x80 } else { flags };
            let mut settings = vec![flags, choices, more];
            if choices & 0x80 != 0 {
                settings.push(ended);
            }
            settings
        });
    (settings, prop::collection::vec(step, 0..24))
        .prop_map(|(settings, steps)| [settings, steps.concat()].concat())
}

/// The same for the reference model: its own vocabulary, of which whole negotiations are made.
fn ruled_conversation() -> impl Strategy<Value = Vec<u8>> {
    const PASSAGES: &[&[u8]] = &[
        &[0, 2, 20, 12],
        &[0, 2, 20, 12, 40, 46],
        &[0, 3, 20, 23],
        &[0, 5, 40, 20, 5],
        &[0, 9, 45],
        &[0, 6, 40, 20, 10],
        &[0, 24, 20, 6],
        &[20, 7, 48],
        &[0, 2, 20, 18, 20, 20, 20, 17],
        &[0, 29, 20, 29, 20, 30, 20, 33],
        &[0, 22, 20, 5],
        &[0, 30, 20, 0],
        &[0, 31, 0x80, 2],
        &[50, 2],
        &[56, 20, 0],
    ];
    let step = prop_oneof![
        4 => prop::sample::select(PASSAGES).prop_map(<[u8]>::to_vec),
        2 => (0..40u8, any::<u8>()).prop_map(|(code, operand)| vec![code, operand]),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(code, operand)| vec![code, operand]),
    ];
    (any::<u8>(), prop::collection::vec(step, 0..24))
        .prop_map(|(settings, steps)| [vec![settings], steps.concat()].concat())
}

/// A choice of the owner's rules, settings, and steps most of which are lines that rules are about and
/// replies to them.
fn judged_conversation() -> impl Strategy<Value = Vec<u8>> {
    let step = prop_oneof![
        5 => (0..60u8).prop_map(|line| vec![4, line]),
        2 => (0..60u8).prop_map(|line| vec![0x84, line]),
        9 => Just(vec![22, 0]),
        1 => (0..8u8).prop_map(|manner| vec![22, manner]),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(code, operand)| vec![code, operand]),
    ];
    let settings =
        (0..16u8, any::<[u8; 4]>()).prop_map(|(rules, [flags, choices, more, ended])| {
            let mut settings = vec![rules, flags | 0x80, choices & 0x9f, more];
            if choices & 0x80 != 0 {
                settings.push(ended);
            }
            settings
        });
    (settings, prop::collection::vec(step, 0..40))
        .prop_map(|(settings, steps)| [settings, steps.concat()].concat())
}

/// Attributes and names of a certificate: what it is, how long, and what stands in it.
const ATTRIBUTES: &[&[u8]] = &[
    b"\0\x05ftp.x",
    b"\0\x04a,b=",
    b"\x01\x03#x ",
    b"\x05\x02a?",
    b"\x0a\x01\xe9",
    b"\x14\x02\x01\x02",
    b"\x80\x0bftp.example",
    b"\x81\x04\xc0\0\x02\x05",
    b"\x82\x03a@b",
    b"\x80\x03a\0b",
    b"\0\x06\x1b[2J\r\n",
    b"\x03\xff",
];

/// Keys and values of a configuration.
const SETTINGS: &[&[u8]] = &[
    b"listeners:\n",
    b"  - name: a\n",
    b"    listen: \"0.0.0.0:2121\"\n",
    b"    server: \"192.0.2.1:21\"\n",
    b"    capture: redirect\n",
    b"    tls: { mode: intercept }\n",
    b"data: { ports: 5-1 }\n",
    b"limits: { sessions: 0 }\n",
    b"policies: { x: {} }\n",
    b"telemetry:\n",
    b"nonsense: &a [*a]\n",
    b"\"\\e[2J\": 1\n",
    b"\t",
    b"{",
    b"# comment\n",
];

const FEATURES: &[&[u8]] = &[
    b" AUTH TLS",
    b" auth",
    b" PBSZ",
    b" PROT",
    b" CCC",
    b" LPRT",
    b"211-",
    b"lpsv",
    b" SSCN",
    b" REIN",
    b" EPSV",
    b"SSL;",
    b"\t",
    b"\r\n",
    b"\n",
];

/// Patterns, and what is held against them behind the end of the line.
const PATTERNS: &[&[u8]] = &[
    b"*", b"**", b"?", b"/", b"a", b"A", b"ab", b"\\", b"\\x2f", b"\\*", b"\n", b"\n/", b"..",
    b".", b"'", b"\xe4",
];

/// A packet of IPv4 with TCP, its length in front, between a client and a server or a third one.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    const SAID: &[&[u8]] = &[
        b"",
        b"220 hello\r\n",
        b"USER a\r\n",
        b"PASS s3cret\r\n",
        b"230 in\r\n",
        b"PASV\r\n",
        b"227 ok (198,51,100,10,0,99)\r\n",
        b"227 ok (10,0,0,5,195,80)\r\n",
        b"PORT 192,0,2,2,200,1\r\n",
        b"EPSV\r\n",
        b"229 ok (|||50000|)\r\n",
        b"RETR a\x1b[2J\r\n",
        b"150 go\r\n",
        b"226 done\r\n",
        b"AUTH TLS\r\n",
        b"234 go\r\n",
        b"\x16\x03\x01\0\x04abcd",
        b"\x17\x03\x03\0\x04abcd",
        b"QUIT\r\n",
        b"xyz",
    ];
    let flags = prop::sample::select(&[0x02u8, 0x12, 0x10, 0x18, 0x18, 0x18, 0x11, 0x04][..]);
    (0..6u8, flags, 0..80u8, 0..80u8, prop::sample::select(SAID)).prop_map(
        |(ends, flags, sequence, acknowledges, said)| {
            let (client, server) = ([192, 0, 2, 2], [198, 51, 100, 10]);
            let (from, to, ports) = match ends {
                0 | 1 => (client, server, [0x9c, 0x40, 0, 21]),
                2 | 3 => (server, client, [0, 21, 0x9c, 0x40]),
                4 => (client, server, [0x9c, 0x41, 0xc3, 0x50]),
                _ => (server, client, [0xc3, 0x50, 0x9c, 0x41]),
            };
            let length = u8::try_from(40 + said.len()).unwrap_or(u8::MAX);
            let mut packet = vec![length, 0x45, 0, 0, length, 0, 0, 0, 0, 64, 6, 0, 0];
            packet.extend(from.into_iter().chain(to).chain(ports));
            packet.extend([
                0,
                0,
                0,
                sequence,
                0,
                0,
                0,
                acknowledges,
                0x50,
                flags,
                1,
                0,
                0,
                0,
                0,
                0,
            ]);
            packet.extend(said);
            packet
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn line(limit in prop_oneof![0..24u8, any::<u8>()], stream in made_of(TELNET)) {
        checks::line(&[&[limit], &stream[..]].concat());
    }

    #[test]
    fn command(stream in made_of(COMMANDS)) {
        checks::command(&[&stream[..], b"\n"].concat());
    }

    #[test]
    fn reply(stream in made_of(REPLIES)) {
        checks::reply(&[&stream[..], b"\n"].concat());
    }

    #[test]
    fn session(conversation in conversation()) {
        checks::session(&conversation);
    }

    #[test]
    fn session_policy(conversation in judged_conversation()) {
        checks::session_policy(&conversation);
    }

    #[test]
    fn session_model(conversation in ruled_conversation()) {
        checks::session_model(&conversation);
    }

    #[test]
    fn certificate(plan in made_of(ATTRIBUTES)) {
        checks::certificate(&plan);
    }

    #[test]
    fn client_hello(plan in prop::collection::vec(any::<u8>(), 0..80)) {
        checks::client_hello(&plan);
    }

    #[test]
    fn conntrack(plan in prop::collection::vec(prop_oneof![0..10u8, any::<u8>()], 0..80)) {
        checks::conntrack(&plan);
    }

    #[test]
    fn config(text in made_of(SETTINGS)) {
        checks::config(&text);
    }

    #[test]
    fn feat(stream in made_of(FEATURES)) {
        checks::feat(&[&stream[..], b"\n"].concat());
    }

    #[test]
    fn pattern(text in made_of(PATTERNS)) {
        checks::pattern(&text);
    }

    #[test]
    fn observe(packets in prop::collection::vec(packet(), 0..60)) {
        checks::observe(&packets.concat());
    }

    #[test]
    fn observe_any(stream in prop::collection::vec(any::<u8>(), 0..200)) {
        checks::observe(&stream);
    }

    #[test]
    fn proxy_header(stream in made_of(HEADERS)) {
        checks::proxy_header(&stream);
    }

    #[test]
    fn tls_record(stream in records()) {
        checks::tls_record(&stream);
    }

    #[test]
    fn tls_record_any(stream in prop::collection::vec(any::<u8>(), 0..64)) {
        checks::tls_record(&stream);
        checks::tls_record(&[b"\x17\x03\x03\0\x01a", &stream[..]].concat());
    }

    #[test]
    fn host_port(text in made_of(ADDRESSES)) {
        checks::host_port(&text);
    }

    #[test]
    fn host_port_written(octets in prop::collection::vec(any::<u8>(), 19)) {
        checks::host_port(&octets);
    }

    #[test]
    fn host_port_read(
        words in "[A-Za-z ]{0,12}[(=]?", octets in any::<[u8; 6]>(), port in 1..=u16::MAX,
        delimiter in 33..=126u8,
    ) {
        let [a, b, c, d, e, f] = octets;
        let passive = format!("227 {words}{a},{b},{c},{d},{e},{f})");
        let joined = words.ends_with(|c: char| c.is_ascii_alphanumeric()) ;
        prop_assert_eq!(ftpgate::ftp::parse_227(passive.as_bytes()).is_ok(), !joined);
        checks::host_port(passive.as_bytes());

        let x = char::from(delimiter);
        let extended = format!("229 {words} ({x}{x}{x}{port}{x})");
        let readable = !x.is_ascii_digit() && x != ')';
        prop_assert_eq!(ftpgate::ftp::parse_229(extended.as_bytes()).is_ok(), readable);
        checks::host_port(extended.as_bytes());
    }
}
