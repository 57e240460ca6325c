//! Follows every recorded conversation of `tests/records/*.rec` across every place where it can be
//! cut. `tests/records/record.py` makes them, and its head has the notation; what it knows of a
//! conversation it has from OpenSSL and from what it did itself.

#![allow(clippy::unwrap_used, reason = "a test tells by panicking")]

#[path = "checks/tls_record.rs"]
#[allow(unreachable_pub, reason = "a module of a test")]
mod tls_record;

use ftpgate::tls::record::{Followed, RecordFollower, Then};
use std::fs;
use std::path::Path;
use tls_record::{pieces_of, tls_record};

/// One direction of a recorded conversation, without the text ahead of TLS.
#[derive(Debug, Default)]
struct Direction {
    /// From the first byte of TLS to the end.
    bytes: Vec<u8>,
    /// How many of them come ahead of the first line in the clear.
    boundary: usize,
    has_text: bool,
    application_records: u32,
    is_tls13: bool,
}

/// Both directions of a conversation, the client's first.
fn read(text: &str) -> [Direction; 2] {
    let mut directions = [Direction::default(), Direction::default()];
    let mut current = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(version) = line.strip_prefix("version ") {
            directions.iter_mut().for_each(|direction| direction.is_tls13 = version == "TLSv1.3");
        } else if let Some(counts) = line.strip_prefix("records ") {
            let words: Vec<_> = counts.split(' ').collect();
            let ["C", client, "S", server] = words[..] else { panic!("not counts: {line}") };
            directions[0].application_records = client.parse().unwrap();
            directions[1].application_records = server.parse().unwrap();
        } else if let Some(more) = line.strip_prefix("   ") {
            directions[current].add_tls(more);
        } else {
            current = usize::from(line.starts_with('S'));
            match line.split_at(3) {
                ("C= " | "S= ", hex) => directions[current].add_tls(hex),
                ("C> " | "S> ", text) => directions[current].add_text(text),
                _ => panic!("not a line of a recording: {line}"),
            }
        }
    }
    directions
}

impl Direction {
    fn add_tls(&mut self, hex: &str) {
        let octets = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
        self.bytes.extend(octets.map(Result::unwrap));
        if !self.has_text {
            self.boundary = self.bytes.len();
        }
    }

    /// Text ahead of TLS is no part of this.
    fn add_text(&mut self, line: &str) {
        if !self.bytes.is_empty() {
            self.has_text = true;
            self.bytes.extend_from_slice(line.as_bytes());
            self.bytes.extend_from_slice(b"\r\n");
        }
    }

    /// Follows the pieces and finds what was recorded.
    fn hold<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>, how: &str) {
        let mut follower = RecordFollower::new();
        let mut seen = 0;
        for piece in pieces {
            let found = follower.follow(piece);
            let left = self.boundary.saturating_sub(seen);
            seen += piece.len();
            let then = if seen > self.boundary { Then::Text } else { Then::More };
            assert_eq!(found, Followed { tls: left.min(piece.len()), then }, "{how}, up to {seen}");
        }
        assert_eq!(seen, self.bytes.len(), "{how}");
        assert!(follower.has_begun() && follower.at_boundary(), "{how}");
        assert_eq!(follower.application_records(), self.application_records, "{how}");
        assert_eq!(follower.is_tls13(), self.is_tls13, "{how}");
    }
}

/// Every direction of every recording, with its name.
fn directions() -> Vec<(String, Direction)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rec"));
    files.sort();
    assert!(files.len() >= 30, "only {} recordings found", files.len());
    let mut all = Vec::new();
    for file in files {
        let [client, server] = read(&fs::read_to_string(&file).unwrap());
        all.push((format!("{} client", file.display()), client));
        all.push((format!("{} server", file.display()), server));
    }
    all
}

#[test]
fn the_boundary_is_the_recorded_one_at_every_cut() {
    let mut with_text = 0;
    for (name, direction) in directions() {
        // The captured output of a failing test names the recording.
        println!("{name}");
        with_text += usize::from(direction.has_text);
        let bytes = &direction.bytes[..];
        direction.hold([bytes], "whole");
        direction.hold(bytes.chunks(1), "byte by byte");
        for at in 0..=bytes.len() {
            let (a, b) = bytes.split_at(at);
            direction.hold([a, b], &format!("cut at {at}"));
        }
        for seed in 0..200 {
            direction.hold(pieces_of(bytes, seed), &format!("in pieces of seed {seed}"));
        }
        tls_record(bytes);
    }
    assert!(with_text >= 50, "{with_text} directions return to text");
}

/// What the follower is not told and a boundary alone would not show: the recordings are what their
/// names say.
#[test]
fn the_recordings_hold_each_end_of_tls() {
    let last_record = |name: &str| {
        let (_, direction) =
            directions().into_iter().find(|(found, _)| found.ends_with(name)).expect(name);
        let tls = &direction.bytes[..direction.boundary];
        let mut follower = RecordFollower::new();
        let starts = (0..tls.len()).filter(|at| {
            let is_start = follower.at_boundary();
            assert_eq!(follower.follow(&tls[*at..=*at]).tls, 1);
            is_start
        });
        tls[starts.last().unwrap()]
    };
    // Up to TLS 1.2 an alert (21) shows as one.
    for (name, client, server) in [
        ("1.2-both-client-first", 21, 21),
        ("1.2-both-server-first", 21, 21),
        ("1.2-client-only", 21, 23),
        ("1.2-server-only", 23, 21),
        ("1.2-neither", 23, 23),
        ("1.3-both-client-first", 23, 23),
    ] {
        assert_eq!(last_record(&format!("{name}.rec client")), client, "{name}");
        assert_eq!(last_record(&format!("{name}.rec server")), server, "{name}");
    }
}
