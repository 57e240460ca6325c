//! What is on the wire: streams of TLS records, and packets.

use super::pieces::made_of;
use proptest::prelude::*;

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
pub(super) fn records() -> impl Strategy<Value = Vec<u8>> {
    const OLD_HELLO: &[u8] = b"\x80\x0c\x01\x03\x01\0\x03\0\0\0\0\x05\0\x04";
    let first = prop_oneof![4 => Just(&b""[..]), 1 => Just(OLD_HELLO), 1 => Just(&OLD_HELLO[..7])];
    // Whole records for the most part: anything else ends the stream soon.
    let whole = prop::collection::vec(prop::sample::select(&RECORDS[..9]), 0..16);
    (first, whole, made_of(RECORDS))
        .prop_map(|(first, whole, rest)| [first, &whole.concat(), &rest].concat())
}

/// A packet of IPv4 with TCP, its length in front, between a client and a server or a third one.
pub(super) fn packet() -> impl Strategy<Value = Vec<u8>> {
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
