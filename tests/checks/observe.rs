//! Observing: any file is taken, and whatever is in it, what is told of it is bounded, visible text and
//! no password.

use ftpgate::observe::{FileCapture, Observer, Pretended, Progress, record};
use std::io::Cursor;

/// The input is a capture file; what is none is put into the frame of one as packets of raw IP, each
/// with its length in front.
pub fn observe(input: &[u8]) {
    let told = told_of(input.to_vec());
    let framed = told_of(frame(input));
    assert!(told.is_none() || framed.is_some());
}

/// What is told of a file, as lines of JSON; `None` if it is no capture.
fn told_of(file: Vec<u8>) -> Option<String> {
    let mut capture = FileCapture::from_reader(Cursor::new(file)).ok()?;
    let mut observer = Observer::new(Pretended::by_default(None, true), &[2121]);
    while let Ok(Progress::Packet | Progress::Idle) =
        capture.next(&mut |packet| observer.on_packet(packet))
    {}
    observer.finish();
    let mut lines = String::new();
    for control in observer.take_done() {
        assert!(control.rewrites.len() <= record::MAX_ROWS);
        assert!(control.openings.len() <= record::MAX_ROWS);
        assert!(control.transfers.len() <= record::MAX_ROWS);
        lines.push_str(&serde_json::to_string(&control).unwrap());
    }
    lines.push_str(&serde_json::to_string(&observer.summary()).unwrap());
    assert!(!lines.chars().any(char::is_control), "{lines:?}");
    // A line that has lost its end may run on into the next, which is then part of what it names.
    assert!(!lines.replace("PASS s3cret", "").contains("s3cret"), "{lines}");
    assert!(!lines.contains("\"PASS s3cret"), "{lines}");
    Some(lines)
}

/// A pcap file whose packets are the pieces of `input`.
fn frame(input: &[u8]) -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0];
    file.extend(101u32.to_le_bytes());
    let mut rest = input;
    let mut seconds = 0u32;
    while let Some((&length, after)) = rest.split_first() {
        let (packet, after) = after.split_at(usize::from(length).min(after.len()));
        let length = u32::try_from(packet.len()).unwrap().to_le_bytes();
        file.extend(seconds.to_le_bytes());
        file.extend([0; 4]);
        file.extend(length);
        file.extend(length);
        file.extend(packet);
        (rest, seconds) = (after, seconds + 1);
    }
    file
}
