//! Segments to streams.

use super::*;
use std::net::SocketAddr;

fn segment<'a>(from: Side, flags: &str, sequence: u32, ack: u32, payload: &'a [u8]) -> Segment<'a> {
    let (client, server): (SocketAddr, SocketAddr) =
        ("192.0.2.2:40000".parse().unwrap(), "198.51.100.10:21".parse().unwrap());
    let (from, to) = if from == Side::Client { (client, server) } else { (server, client) };
    Segment {
        from,
        to,
        sequence,
        acknowledges: flags.contains('A').then_some(ack),
        syn: flags.contains('S'),
        fin: flags.contains('F'),
        rst: flags.contains('R'),
        payload,
        cut: 0,
    }
}

/// What came out, in words: `c`/`s` with bytes, `-n` for a hole, `.` and `!` for the ends.
fn told(streams: &mut Streams) -> String {
    let mut text = Vec::new();
    while let Some((from, piece)) = streams.next_piece() {
        let who = if from == Side::Client { "c" } else { "s" };
        text.push(match piece {
            Piece::Bytes { bytes, .. } => format!("{who}:{}", String::from_utf8(bytes).unwrap()),
            Piece::Lost(missing) => format!("{who}-{missing}"),
            Piece::Ended { orderly: true } => format!("{who}."),
            Piece::Ended { orderly: false } => format!("{who}!"),
        });
    }
    text.join(" ")
}

/// A connection whose client begins at 0 and whose server begins at 1000.
fn opened() -> Streams {
    let mut streams = Streams::new(Duration::ZERO);
    streams.push(Side::Client, &segment(Side::Client, "S", u32::MAX, 0, b""), Duration::ZERO);
    streams.push(Side::Server, &segment(Side::Server, "SA", 999, 0, b""), Duration::ZERO);
    streams
}

fn after(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn the_first_of_two_that_differ_wins() {
    let mut streams = opened();
    for (sequence, bytes) in
        [(4, &b"efgh"[..]), (2, b"CDEFG"), (6, b"XXij"), (0, b"ab"), (0, b"ZZZZZZZZ")]
    {
        streams.push(Side::Client, &segment(Side::Client, "A", sequence, 1000, bytes), after(1));
    }
    assert_eq!(told(&mut streams), "c:ab c:CD c:efgh c:ij");
    // A keep-alive has a byte that was acknowledged long ago.
    streams.push(Side::Client, &segment(Side::Client, "A", 9, 1000, b"?"), after(2));
    streams.push(Side::Client, &segment(Side::Client, "FA", 10, 1000, b"k"), after(2));
    assert_eq!(told(&mut streams), "c:k c.");
}

#[test]
fn an_answer_stands_behind_what_it_answers() {
    let mut streams = opened();
    let now = after(1);
    streams.push(Side::Server, &segment(Side::Server, "A", 1000, 4, b"227"), now);
    streams.push(Side::Server, &segment(Side::Server, "FA", 1003, 4, b""), now);
    assert_eq!(told(&mut streams), "");
    streams.push(Side::Client, &segment(Side::Client, "A", 0, 1000, b"PASV"), now);
    assert_eq!(told(&mut streams), "c:PASV s:227 s.");
}

#[test]
fn what_was_acknowledged_and_never_came_is_lost() {
    let mut streams = opened();
    streams.push(Side::Client, &segment(Side::Client, "A", 3, 1000, b"late"), after(1));
    streams.settle(after(1500));
    // Nobody has acknowledged it: it may be sent again.
    assert_eq!(told(&mut streams), "");
    streams.push(Side::Server, &segment(Side::Server, "A", 1000, 7, b"200"), after(1600));
    assert_eq!(told(&mut streams), "c-3 c:late s:200");
    // Of a whole direction nothing is in the capture.
    streams.push(Side::Client, &segment(Side::Client, "A", 7, 1010, b"next"), after(1700));
    assert_eq!(told(&mut streams), "");
    streams.settle(after(2800));
    assert_eq!(told(&mut streams), "s-7 c:next");
    streams.push(Side::Server, &segment(Side::Server, "A", 1003, 11, b"too late"), after(2900));
    assert_eq!(told(&mut streams), "s:e", "what lay in the hole is not told a second time");
}

#[test]
fn it_begins_where_it_was_seen_first() {
    let mut streams = Streams::new(Duration::ZERO);
    streams.push(Side::Server, &segment(Side::Server, "A", 5003, 700, b"def"), after(1));
    streams.push(Side::Server, &segment(Side::Server, "A", 5000, 700, b"abc"), after(2));
    assert_eq!(told(&mut streams), "");
    streams.push(Side::Client, &segment(Side::Client, "A", 700, 5006, b"xyz"), after(200));
    assert_eq!(told(&mut streams), "s:abc s:def c:xyz");
}

#[test]
fn bounds_hold() {
    let mut streams = opened();
    for n in 0..1000u32 {
        streams.push(Side::Client, &segment(Side::Client, "A", 2 + 2 * n, 1000, b"x"), after(1));
        let held = streams.client.head();
        assert!(!streams.client.is_full(), "{n} {held:?}");
    }
    let mut streams = opened();
    for n in 0..20u32 {
        let bytes = vec![b'x'; 8000];
        streams.push(
            Side::Client,
            &segment(Side::Client, "A", 1 + 8000 * n, 1000, &bytes),
            after(1),
        );
    }
    assert!(told(&mut streams).starts_with("c-1 c:x"));
    // Far beyond any window.
    let mut streams = opened();
    streams.push(Side::Client, &segment(Side::Client, "A", 1 << 30, 1000, b"x"), after(1));
    streams.finish();
    assert_eq!(told(&mut streams), "");
}

#[test]
fn a_reset_counts_where_the_peer_would_take_it() {
    let mut streams = opened();
    streams.push(Side::Server, &segment(Side::Server, "R", 1 << 30, 0, b""), after(1));
    assert_eq!(told(&mut streams), "");
    streams.push(Side::Server, &segment(Side::Server, "R", 1003, 0, b""), after(1));
    streams.push(Side::Server, &segment(Side::Server, "A", 1000, 0, b"421"), after(2));
    assert_eq!(told(&mut streams), "s:421", "it was sent ahead of the RST");
    streams.settle(after(1100));
    assert_eq!(told(&mut streams), "s!");
    assert!(streams.is_over());
    streams.push(Side::Server, &segment(Side::Server, "A", 1000, 0, b"more"), after(1));
    assert_eq!(told(&mut streams), "");
}
