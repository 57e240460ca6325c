//! The pieces that matter to each check, and input made of them.

use proptest::prelude::*;

/// Bytes made of some of the `pieces` and some bytes of any kind.
pub(super) fn made_of(pieces: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop::sample::select(pieces).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

pub(super) const TELNET: &[&[u8]] = &[
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

pub(super) const COMMANDS: &[&[u8]] = &[
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

pub(super) const REPLIES: &[&[u8]] = &[
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

pub(super) const ADDRESSES: &[&[u8]] = &[
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
pub(super) const HEADERS: &[&[u8]] = &[
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

/// Attributes and names of a certificate: what it is, how long, and what stands in it.
pub(super) const ATTRIBUTES: &[&[u8]] = &[
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
pub(super) const SETTINGS: &[&[u8]] = &[
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

pub(super) const FEATURES: &[&[u8]] = &[
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
pub(super) const PATTERNS: &[&[u8]] = &[
    b"*", b"**", b"?", b"/", b"a", b"A", b"ab", b"\\", b"\\x2f", b"\\*", b"\n", b"\n/", b"..",
    b".", b"'", b"\xe4",
];
