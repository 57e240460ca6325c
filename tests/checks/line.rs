//! Framing: the reader agrees with a plain model, byte for byte, however the input is split.

use ftpgate::ftp::{LineItem, LineReader, LineViolation};

/// A [`LineItem`] laid open.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Line { raw: Vec<u8>, synch: bool },
    Answer(Vec<u8>),
    Violation(LineViolation),
}

/// The first byte is the limit of the reader, less one; the rest is the stream.
pub fn line(input: &[u8]) {
    let Some((&limit, stream)) = input.split_first() else { return };
    let limit = usize::from(limit) + 1;
    let expected = model(limit, stream);
    assert_eq!(read(limit, [stream]), expected, "in one piece");
    assert_eq!(read(limit, stream.chunks(1)), expected, "byte by byte");
    assert_eq!(read(limit, stream.chunks(3)), expected, "by threes");
    for at in (0..stream.len()).step_by(1 + stream.len() / 64) {
        let (a, b) = stream.split_at(at);
        assert_eq!(read(limit, [a, b]), expected, "split at {at}");
    }
    for item in &expected {
        if let Seen::Line { raw, .. } = item {
            assert!(raw.len() <= limit);
        }
    }
    rest_is_untouched(limit, stream);
}

/// Reads the pieces one after the other, each to the end.
fn read<'a>(limit: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut reader = LineReader::new(limit);
    let mut items = Vec::new();
    let mut pushed = 0;
    for piece in pieces {
        reader.push(piece);
        pushed += piece.len();
        while let Some(item) = reader.next_item() {
            items.push(open(item));
            assert!(reader.buffered() <= pushed);
        }
        // A line under way, and a Telnet command whose end is still to come.
        assert!(reader.buffered() <= limit + 3, "{} bytes held", reader.buffered());
    }
    if let Some(Seen::Violation(_)) = items.last() {
        reader.push(b"NOOP\r\n");
        assert_eq!((reader.next_item(), reader.buffered()), (None, 0));
    }
    items
}

fn open(item: LineItem) -> Seen {
    match item {
        LineItem::Line(line) => {
            let (text, raw) = (line.text(), line.raw());
            assert!(!text.iter().any(|b| b"\r\n\0".contains(b)), "{text:?}");
            assert!([&b"\n"[..], b"\r\n"].contains(&&raw[text.len()..]), "{raw:?}");
            Seen::Line { raw: raw.to_vec(), synch: line.synch() }
        }
        LineItem::Answer(answer) => Seen::Answer(answer.to_vec()),
        LineItem::Violation(violation) => Seen::Violation(violation),
    }
}

/// Whatever follows a line can still be taken as it came, and nothing is lost in between.
fn rest_is_untouched(limit: usize, stream: &[u8]) {
    for stop_after in 1..4 {
        let mut reader = LineReader::new(limit);
        reader.push(stream);
        let mut consumed = Vec::new();
        let mut count = 0;
        while count < stop_after {
            match reader.next_item() {
                Some(LineItem::Line(line)) => {
                    consumed.extend_from_slice(line.raw());
                    count += 1;
                }
                Some(LineItem::Answer(_)) => {}
                Some(LineItem::Violation(_)) | None => return,
            }
        }
        let rest = reader.take_rest();
        assert!(stream.ends_with(&rest));
        assert_eq!(reader.buffered(), 0);
        if !stream.contains(&255) {
            assert_eq!([&consumed[..], &rest].concat(), stream);
        }
    }
}

/// The rules of framing, one byte after the other and without any care for speed.
fn model(limit: usize, stream: &[u8]) -> Vec<Seen> {
    let (mut items, mut text, mut synch, mut telnet) = (Vec::new(), Vec::new(), false, 0);
    let mut at = 0;
    let violation = |mut items: Vec<Seen>, violation| {
        items.push(Seen::Violation(violation));
        items
    };
    while let Some(&byte) = stream.get(at) {
        let command = match (byte, stream.get(at + 1)) {
            (255, None) => return items,
            (255, Some(&next)) if next >= 240 => Some(next),
            _ => None,
        };
        let (kept, removed, answer) = match command {
            None => (1, 0, None),
            Some(255) => (2, 0, None),
            Some(250) => {
                // An unfinished subnegotiation counts as far as its bytes are sure to belong to it.
                let mut len = 2;
                while let Some(&inner) = stream.get(at + len) {
                    match (inner, stream.get(at + len + 1)) {
                        (255, None) => break,
                        (255, Some(&next)) => {
                            len += 2;
                            if next == 240 {
                                break;
                            }
                        }
                        _ => len += 1,
                    }
                }
                (0, len, None)
            }
            Some(verb @ 251..=254) => {
                let Some(&option) = stream.get(at + 2) else { return items };
                let reply = match verb {
                    251 => Some(254),
                    253 => Some(252),
                    _ => None,
                };
                (0, 3, reply.map(|reply| Seen::Answer(vec![255, reply, option])))
            }
            Some(verb) => {
                synch |= [242, 244].contains(&verb);
                (0, 2, None)
            }
        };
        for &byte in &stream[at..at + kept] {
            let bare_cr = text.last() == Some(&b'\r') && byte != b'\n';
            if byte == 0 || bare_cr {
                return violation(items, LineViolation::ForbiddenByte);
            }
            text.push(byte);
        }
        at += kept + removed;
        telnet += removed;
        if telnet > limit {
            return violation(items, LineViolation::TooLong);
        }
        items.extend(answer);
        if text.last() == Some(&b'\n') {
            items.push(Seen::Line { raw: std::mem::take(&mut text), synch });
            (synch, telnet) = (false, 0);
        } else if text.len() >= limit {
            return violation(items, LineViolation::TooLong);
        }
    }
    items
}
