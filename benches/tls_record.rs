//! What it costs to follow TLS records: those of a control connection, which hold a line each, and
//! the largest, whole and in pieces. One iteration is [`RECORDS`] records.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has to stop")]

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use ftpgate::tls::record::{RecordFollower, Then};

fn main() {
    divan::main();
}

/// Records a sample follows one after the other.
const RECORDS: usize = 1000;

/// Application data with bodies of these sizes in turn.
fn stream(sizes: &[usize]) -> Vec<u8> {
    let mut stream = Vec::new();
    for size in sizes.iter().cycle().take(RECORDS) {
        let [high, low] = u16::try_from(*size).unwrap().to_be_bytes();
        stream.extend_from_slice(&[23, 3, 3, high, low]);
        stream.resize(stream.len() + size, 0xa5);
    }
    stream
}

/// Follows the stream in pieces of `piece` bytes.
fn follow(bencher: Bencher<'_, '_>, stream: &[u8], piece: usize) {
    bencher.counter(ItemsCount::new(RECORDS)).counter(BytesCount::new(stream.len())).bench_local(
        || {
            let mut follower = RecordFollower::new();
            for bytes in black_box(stream).chunks(piece) {
                assert_eq!(follower.follow(black_box(bytes)).then, Then::More);
            }
            follower.application_records()
        },
    );
}

/// 60 to 200 bytes, as lines and replies in TLS are.
const CONTROL: &[usize] = &[60, 74, 89, 112, 200];
/// The most that peers put into one: 2^14 bytes of plaintext and what TLS 1.3 adds.
const LARGE: &[usize] = &[16_384 + 17];

const WHOLE: usize = usize::MAX;
/// The most that a read of the driver brings.
const READ: usize = 4096;
/// The payload of a segment on Ethernet.
const SEGMENT: usize = 1448;

#[divan::bench(args = [WHOLE, READ, SEGMENT, 7, 1])]
fn control_records(bencher: Bencher<'_, '_>, piece: usize) {
    follow(bencher, &stream(CONTROL), piece);
}

#[divan::bench(args = [WHOLE, READ, SEGMENT, 7])]
fn large_records(bencher: Bencher<'_, '_>, piece: usize) {
    follow(bencher, &stream(LARGE), piece);
}

/// As they arrive in a session: each record a piece of its own.
#[divan::bench]
fn one_control_record_a_read(bencher: Bencher<'_, '_>) {
    let stream = stream(&[89]);
    follow(bencher, &stream, 89 + 5);
}
