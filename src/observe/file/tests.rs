//! Files as bytes.

use super::*;

type Read = (Vec<(Duration, Vec<u8>)>, Result<bool, CaptureError>);

fn read(bytes: Vec<u8>) -> Read {
    let mut packets = Vec::new();
    let mut capture = match FileCapture::from_reader(Cursor::new(bytes)) {
        Ok(capture) => capture,
        Err(error) => return (packets, Err(error)),
    };
    loop {
        let end = capture.next(&mut |packet| packets.push((packet.time, packet.bytes.to_vec())));
        match end {
            Ok(Progress::End) => return (packets, Ok(capture.is_cut_short())),
            Ok(Progress::Packet | Progress::Idle) => {}
            Err(error) => return (packets, Err(error)),
        }
    }
}

fn pcap(link: u32, packets: &[&[u8]]) -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0];
    file.extend(link.to_le_bytes());
    for packet in packets {
        let length = u32::try_from(packet.len()).unwrap().to_le_bytes();
        file.extend([&[7, 0, 0, 0, 0x20, 0xa1, 7, 0], &length[..], &length, packet].concat());
    }
    file
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 12).unwrap().to_be_bytes();
    [&kind.to_be_bytes()[..], &length, body, &length].concat()
}

/// A section in the other byte order, with nanoseconds and an offset of a minute.
fn pcapng(packet: &[u8; 4], captured: u8) -> Vec<u8> {
    let section = block(
        0x0a0d_0d0a,
        &[0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255],
    );
    let interface = block(1, &[0, 1, 0, 0, 0, 4, 0, 0, 0, 9, 0, 1, 9, 0, 0, 0, 0, 0, 0, 0]);
    let header = [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, captured, 0, 0, 0, 4];
    [section, interface, block(6, &[&header[..], packet].concat())].concat()
}

#[test]
fn both_formats_are_read() {
    let (packets, end) = read(pcap(1, &[b"one", b"", b"three"]));
    let time = Duration::from_millis(7500);
    assert_eq!(packets, [(time, b"one".to_vec()), (time, vec![]), (time, b"three".to_vec())]);
    assert!(!end.unwrap());
    let (packets, end) = read(pcapng(b"four", 4));
    assert_eq!(packets, [(Duration::from_nanos((2 << 32) + 5), b"four".to_vec())]);
    assert!(!end.unwrap());
}

#[test]
fn an_end_in_a_packet_is_told() {
    let mut file = pcap(1, &[b"one", b"two"]);
    file.pop();
    let (packets, end) = read(file);
    assert_eq!((packets.len(), end.unwrap()), (1, true));
}

#[test]
fn what_is_no_capture_or_of_another_kind_is_told() {
    assert!(matches!(read(b"220 hello\r\n".to_vec()).1, Err(CaptureError::NotACapture)));
    assert!(matches!(read(Vec::new()).1, Err(CaptureError::NotACapture)));
    assert!(matches!(read(pcap(147, &[])).1, Err(CaptureError::LinkType(147))));
    // The link type is the first word of the interface's block.
    let mut other = pcapng(b"four", 4);
    other.splice(36..38, 147_u16.to_be_bytes());
    let (packets, end) = read(other);
    assert!(matches!(end, Err(CaptureError::LinkType(147))), "{end:?}");
    assert_eq!(packets.len(), 1);
    // A packet that says to be longer than its block, and one longer than any.
    assert!(matches!(read(pcapng(b"four", 200)).1, Ok(true)));
    let more = [pcapng(b"four", 200), vec![0; 2 * BUFFER]].concat();
    assert!(read(more).1.is_err());
    let mut file = pcap(1, &[]);
    file.extend([0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 127, 255, 255, 255, 127]);
    file.extend(vec![0; 2 * BUFFER]);
    assert!(matches!(read(file).1, Err(CaptureError::Damaged(24))));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_taken(
        ng in proptest::bool::ANY, at in 0..60usize, bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80),
    ) {
        let mut file = if ng { pcapng(b"four", 4) } else { pcap(1, &[b"one", b"two"]) };
        file.truncate(at + 20);
        file.extend(bytes);
        let _ = read(file);
    }
}
