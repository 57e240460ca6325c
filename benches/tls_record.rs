//! What it costs to follow TLS records: those of a control connection, which hold a line each, and
//! the largest, whole and in pieces; and what a session with TLS costs beside one in the clear.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has to stop")]

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use ftpgate::addr::{ByOwn, OriginalDst};
use ftpgate::session::{Action, Event, Parties, Session, Settings};
use ftpgate::terms::Side;
use ftpgate::tls::record::{RecordFollower, Then};
use std::sync::Arc;
use std::time::Instant;

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

/// A session that has logged in, in the clear or with TLS established.
fn session(secured: bool) -> Session {
    let settings = Settings { kernel: true, ..Settings::default() };
    let address = |text: &str| text.parse().unwrap();
    let parties = Parties {
        client: address("192.0.2.2:40000"),
        original_dst: OriginalDst(address("203.0.113.7:21")),
        dials_gateway: true,
        external_client: ByOwn::default(),
        external_server: ByOwn::default(),
        introduced_at: None,
    };
    let now = Instant::now();
    let mut session = Session::new(Arc::new(settings), parties, now);
    let (server, seen_as) = (address("10.0.0.5:21"), address("10.0.0.1:33000"));
    session.handle_event(Event::ServerConnected { server, seen_as, wants_certificate: false }, now);
    let mut say = |from, bytes: &[u8]| {
        session.handle_event(Event::BytesReceived { from, bytes }, now);
        while session.poll_action().is_some() {}
    };
    say(Side::Server, b"220 ready\r\n");
    if secured {
        say(Side::Client, b"AUTH TLS\r\n");
        say(Side::Server, b"234 go\r\n");
        for from in [Side::Client, Side::Server] {
            say(from, &[22, 3, 3, 0, 1, 0]);
            say(from, &stream(&[60]));
        }
    } else {
        say(Side::Client, b"USER a\r\n");
        say(Side::Server, b"230 in\r\n");
    }
    session
}

/// A command and its reply through a whole session: in the clear, and as two records. What goes
/// through is copied once in either case, into what is to be sent.
#[divan::bench(args = [false, true])]
fn exchange(bencher: Bencher<'_, '_>, secured: bool) {
    let record = |line: &[u8]| {
        let mut record = vec![23, 3, 3, 0, u8::try_from(line.len()).unwrap() + 17];
        record.resize(line.len() + 22, 0xa5);
        record
    };
    let plain: [(Side, &[u8]); 2] =
        [(Side::Client, b"NOOP\r\n"), (Side::Server, b"200 NOOP ok.\r\n")];
    let said = plain.map(|(from, line)| (from, if secured { record(line) } else { line.into() }));
    let mut session = session(secured);
    let now = Instant::now();
    bencher.bench_local(|| {
        let mut sent = 0;
        for (from, bytes) in &said {
            session
                .handle_event(Event::BytesReceived { from: *from, bytes: black_box(bytes) }, now);
            while let Some(action) = session.poll_action() {
                if let Action::SendBytes { bytes, .. } = action {
                    sent += bytes.len();
                }
            }
        }
        sent
    });
}
