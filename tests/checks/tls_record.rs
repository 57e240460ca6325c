//! Following TLS records: the follower agrees with a plain model that sees the whole stream, however
//! the stream is split, and loses no byte of it.

use ftpgate::tls::record::{RecordFollower, Then};

/// What is known of a stream after all of it, or after a part.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    tls: usize,
    then: Then,
    has_begun: bool,
    at_boundary: bool,
    application_records: u32,
    is_tls13: bool,
}

/// The input is the stream of one direction.
pub fn tls_record(stream: &[u8]) {
    let expected = model(stream);
    assert!(expected.tls <= stream.len());
    assert_eq!(expected.then == Then::More, expected.tls == stream.len());

    assert_eq!(follow([stream]), expected, "in one piece");
    assert_eq!(follow(stream.chunks(1)), expected, "byte by byte");
    assert_eq!(follow(stream.chunks(3)), expected, "by threes");
    assert_eq!(follow(pieces_of(stream, 7)), expected, "in pieces of many sizes");
    for at in (0..stream.len()).step_by(1 + stream.len() / 64) {
        let (a, b) = stream.split_at(at);
        assert_eq!(follow([a, b]), expected, "split at {at}");
        assert_eq!(follow([a]), model(a), "the first {at} bytes");
    }
}

/// The stream in pieces of no to 300 bytes, small ones more often; the same for the same `seed`.
pub fn pieces_of(stream: &[u8], seed: u32) -> impl Iterator<Item = &[u8]> {
    let (mut rest, mut state) = (stream, seed.wrapping_mul(2).wrapping_add(1));
    std::iter::from_fn(move || {
        state = state.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
        let bound = if state >> 30 == 0 { 300 } else { 7 };
        let size = usize::try_from((state >> 8) % bound).unwrap().min(rest.len());
        let (piece, after) = rest.split_at(size);
        let more = !rest.is_empty();
        rest = after;
        more.then_some(piece)
    })
}

/// Follows the pieces one after the other.
fn follow<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Known {
    let mut follower = RecordFollower::new();
    let (mut tls, mut then) = (0, Then::More);
    for piece in pieces {
        let found = follower.follow(piece);
        assert!(found.tls <= piece.len());
        if then != Then::More {
            assert_eq!((found.tls, found.then), (0, then), "the end is the end");
        }
        // What is not taken stands behind an end, which is there from then on.
        assert!(found.tls == piece.len() || found.then != Then::More);
        tls += found.tls;
        then = found.then;
    }
    let before = format!("{follower:?}");
    let found = follower.follow(b"");
    assert_eq!((found.tls, found.then), (0, then));
    assert_eq!(format!("{follower:?}"), before, "no bytes change nothing");
    Known {
        tls,
        then,
        has_begun: follower.has_begun(),
        at_boundary: follower.at_boundary(),
        application_records: follower.application_records(),
        is_tls13: follower.is_tls13(),
    }
}

/// The rules of records over the whole stream, without any care for speed.
fn model(stream: &[u8]) -> Known {
    // Content type, bytes of the body that are there, and how long it should be.
    let mut records: Vec<(u8, &[u8], usize)> = Vec::new();
    let mut at = 0;
    let (tls, then, at_boundary) = loop {
        let Some(rest) = stream.get(at..).filter(|rest| !rest.is_empty()) else {
            break (at, Then::More, true);
        };
        let is_first = at == 0;
        let header = &rest[..rest.len().min(5)];
        let good = (1..=header.len()).take_while(|n| may_begin_header(&header[..*n], is_first));
        match good.count() {
            0 => break (at, Then::Text, true),
            n if n < header.len() => break (at + n, Then::Garbled, false),
            n if n < 5 => break (at + n, Then::More, false),
            _ => {}
        }
        let (content, length) = match *header {
            [high, low, ..] if high >= 0x80 => {
                (22, usize::from(u16::from_be_bytes([high & 0x7f, low])) - 3)
            }
            [content, _, _, high, low] => (content, usize::from(u16::from_be_bytes([high, low]))),
            _ => unreachable!("five bytes are there"),
        };
        let body = &rest[5..];
        records.push((content, &body[..body.len().min(length)], length));
        at += 5 + length;
        if at > stream.len() {
            break (stream.len(), Then::More, false);
        }
    };
    let whole =
        |(content, body, length): &&(u8, &[u8], usize)| *content == 23 && body.len() == *length;
    let count = records.iter().filter(whole).count();
    Known {
        tls,
        then,
        has_begun: !records.is_empty(),
        at_boundary,
        application_records: u32::try_from(count).unwrap(),
        is_tls13: is_tls13(&records),
    }
}

/// Whether some header that is good goes on after these bytes.
fn may_begin_header(bytes: &[u8], is_first: bool) -> bool {
    [[22, 3, 0, 0, 1], [0x80, 0, 1, 3, 0]].into_iter().any(|mut header| {
        (0..=u8::MAX).any(|low| {
            // The low octet of the length is the only one on which another may depend.
            let place = if header[0] >= 0x80 { 1 } else { 4 };
            header[place] = low;
            header[..bytes.len()].copy_from_slice(bytes);
            is_header(header) || (is_first && is_old_hello(header))
        })
    })
}

fn is_header([content, major, minor, high, low]: [u8; 5]) -> bool {
    let length = u16::from_be_bytes([high, low]);
    (0x14..=0x18).contains(&content)
        && major == 3
        && minor <= 4
        && length <= 18_432
        && (length != 0 || content == 0x17)
}

fn is_old_hello([high, low, kind, major, minor]: [u8; 5]) -> bool {
    let length = u16::from_be_bytes([high, low]);
    (0x8000 + 9..=0x8000 + 4096).contains(&length) && kind == 1 && major == 3 && minor <= 4
}

/// Application data with no encrypted handshake record between ChangeCipherSpec and it.
fn is_tls13(records: &[(u8, &[u8], usize)]) -> bool {
    let Some(data) = records.iter().position(|record| record.0 == 23) else { return false };
    let before = &records[..data];
    let Some(change) = before.iter().position(|record| record.0 == 20) else { return true };
    before[change..].iter().filter(|record| record.0 == 22).all(|&(_, body, length)| {
        let is_whole =
            length >= 4 && usize::from(body[2]) << 8 | usize::from(body[3]) == length - 4;
        is_whole && [1, 2].contains(&body[0]) && body[1] == 0
    })
}
