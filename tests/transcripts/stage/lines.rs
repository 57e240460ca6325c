//! Lines and records as transcripts write them, and back.

/// One blank between the columns; what is said may begin with blanks of its own.
pub(super) fn normal(line: &str) -> String {
    let (who, what) = line.split_at(2);
    let who = who.trim_end();
    let what = if who == "!" { what.trim_start() } else { what.strip_prefix(' ').unwrap_or(what) };
    format!("{who} {what}")
}

/// The records by the names that a transcript has for them.
const RECORDS: &[(&str, &[u8])] = &[
    ("{handshake}", b"\x16\x03\x01\x00\x04abcd"),
    ("{change}", b"\x14\x03\x03\x00\x01\x01"),
    ("{data}", b"\x17\x03\x03\x00\x04efgh"),
    ("{alert}", b"\x15\x03\x03\x00\x02\x01\x00"),
];

/// Records and lines.
pub(super) fn pieces(bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let record = RECORDS.iter().find(|(_, record)| rest.starts_with(record));
        let line = || rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |at| at + 1);
        let (piece, after) = rest.split_at(record.map_or_else(line, |(_, record)| record.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

pub(super) fn escape(line: &[u8]) -> String {
    if let Some((name, _)) = RECORDS.iter().find(|(_, record)| *record == line) {
        return format!("\\{name}\\");
    }
    let (body, end) = match line.strip_suffix(b"\r\n") {
        Some(body) => (body, ""),
        None => (line, "\\"),
    };
    let body = body.iter().map(|byte| match byte {
        b'\r' => "\\r".to_owned(),
        b'\n' => "\\n".to_owned(),
        0x20..=0x7e => char::from(*byte).to_string(),
        other => format!("\\x{other:02x}"),
    });
    body.collect::<String>() + end
}

pub(super) fn unescape(text: &str) -> Vec<u8> {
    let (text, end): (_, &[u8]) = match text.strip_suffix('\\') {
        Some(text) => (text, b""),
        None => (text, b"\r\n"),
    };
    let mut bytes = Vec::new();
    let mut text = text.to_owned();
    for (name, record) in RECORDS {
        let escaped: String = record.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        text = text.replace(&format!("\\{name}"), &escaped);
    }
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b'0') => 0,
            Some(b'x') => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).expect("two hexadecimal digits")
            }
            other => other.expect("an escape"),
        });
    }
    bytes.extend_from_slice(end);
    bytes
}
