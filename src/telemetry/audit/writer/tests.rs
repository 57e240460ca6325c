//! A file that is appended to, cut, moved away, and that cannot be written.

use super::*;
use crate::report::Report;
use crate::telemetry::Telemetry;
use crate::telemetry::audit::tests::{COMES_WITHIN, place, writing_to};
use crate::telemetry::audit::{AuditLog, AuditPlaces, MOST_QUEUED};
use crate::terms::SessionId;
use serde_json::Value;
use std::collections::VecDeque;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

fn counts() -> AuditOutcomes {
    // Each registry is one of its own, so that tests do not count for each other.
    crate::telemetry::metrics::Metrics::new().audit_lines_total.file
}

fn counted(counts: &AuditOutcomes) -> (u64, u64) {
    (counts.written.get(), counts.lost.get())
}

/// The log of a writer of these answers, each of which is one write.
fn log_into(sink: impl Write + Send + 'static, counts: &AuditOutcomes) -> AuditLog {
    let reopen = Box::new(|| Err(ErrorKind::NotFound.into()));
    let file = Some(FileEnd::new(sink, reopen, counts.clone()));
    AuditLog::start(Writer { file, journal: None }, false).unwrap()
}

#[test]
fn the_file_is_appended_to_and_others_may_not_read_it() {
    let (_folder, path) = place();
    for id in [1, 2] {
        let telemetry = writing_to(&path);
        let session = telemetry.listener("out").session(SessionId(id));
        session.record(&Report::LoginAccepted { user: None });
        assert!(telemetry.flush_audit(COMES_WITHIN));
        // As logrotate does with `copytruncate`.
        if id == 1 {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains("\"session\":1"), "{text}");
        }
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & !0o640, 0, "{mode:o}");
    assert_eq!(mode & 0o600, 0o600, "{mode:o}");
}

#[test]
fn the_file_may_be_emptied_while_it_is_written() {
    let (_folder, path) = place();
    let telemetry = writing_to(&path);
    let session = telemetry.listener("out").session(SessionId(1));
    for _ in 0..2 {
        session.record(&Report::LoginAccepted { user: None });
        assert!(telemetry.flush_audit(COMES_WITHIN));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with('{') && text.lines().count() == 1, "{text:?}");
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    }
}

#[test]
fn a_path_that_cannot_be_written_is_an_error_at_once() {
    let (folder, path) = place();
    for path in [folder.path().to_owned(), path.join("below-no-folder")] {
        let places = AuditPlaces { file: Some(&path), ..AuditPlaces::default() };
        assert!(Telemetry::new().with_audit(places).is_err(), "{path:?}");
    }
}

/// Takes what it is told to: so many bytes of a write, or an error.
struct Sink {
    answers: VecDeque<Result<usize, ErrorKind>>,
    taken: mpsc::Sender<Vec<u8>>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.answers.pop_front().unwrap_or(Ok(usize::MAX))?;
        let taken = &bytes[..bytes.len().min(most)];
        self.taken.send(taken.to_vec()).unwrap();
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_disk_that_fails_is_counted_and_tears_no_line_that_comes_later() {
    let (taken, received) = mpsc::channel();
    let answers = [
        Err(ErrorKind::Interrupted),
        Ok(usize::MAX),
        // The second line is torn; then even its end cannot be written; then all is well.
        Ok(3),
        Err(ErrorKind::StorageFull),
        Err(ErrorKind::StorageFull),
    ];
    let counts = counts();
    let sink = Sink { answers: answers.into(), taken };
    let log = log_into(sink, &counts);
    for line in ["first\n", "second\n", "third\n", "fourth\n"] {
        log.push("login", line.as_bytes());
        assert!(log.flush(COMES_WITHIN));
    }
    drop(log);
    let written: Vec<u8> = received.into_iter().flatten().collect();
    assert_eq!(String::from_utf8(written).unwrap(), "first\nsec\nfourth\n");
    assert_eq!(counted(&counts), (2, 2));
}

#[test]
fn what_a_disk_does_not_take_is_kept_where_nothing_goes_on_without_it() {
    let (taken, received) = mpsc::channel();
    let full = || Err(ErrorKind::StorageFull);
    // The second line is torn, and goes on where it was torn.
    let answers = [Ok(usize::MAX), Ok(3), full(), full(), Ok(2), full()];
    let counts = counts();
    let sink = Sink { answers: answers.into(), taken };
    let reopen = Box::new(|| Err(ErrorKind::NotFound.into()));
    let file = Some(FileEnd::new(sink, reopen, counts.clone()).keeping(true));
    let log = AuditLog::start(Writer { file, journal: None }, true).unwrap();
    let failing = log.failing().unwrap();
    log.push("login", b"first\n");
    assert!(log.flush(COMES_WITHIN));
    assert!(!*failing.borrow());
    log.push("login", b"second\n");
    let before = std::time::Instant::now();
    while !*failing.borrow() {
        assert!(before.elapsed() < COMES_WITHIN);
        std::thread::yield_now();
    }
    assert!(!log.flush(Duration::from_millis(1)), "it waits");
    assert_eq!(counts.failing.get(), 1);
    log.push("login", b"third\n");
    assert!(log.flush(COMES_WITHIN));
    assert!(!*failing.borrow());
    assert_eq!(counts.failing.get(), 0);
    drop(log);
    let written: Vec<u8> = received.into_iter().flatten().collect();
    assert_eq!(String::from_utf8(written).unwrap(), "first\nsecond\nthird\n");
    assert_eq!(counted(&counts), (3, 0));
}

/// Takes nothing until it is let go.
struct Stuck(mpsc::Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_disk_that_hangs_stops_nobody_and_fills_no_memory() {
    let (go, stuck) = mpsc::channel();
    let counts = counts();
    let log = log_into(Stuck(stuck), &counts);
    let line = [&[b'x'; 1023][..], b"\n"].concat();
    let before = SystemTime::now();
    let fit = u64::try_from(MOST_QUEUED / line.len()).unwrap();
    for _ in 0..3 * fit {
        log.push("login", &line);
    }
    assert!(before.elapsed().unwrap() < COMES_WITHIN);
    assert!(!log.flush(Duration::from_millis(20)));
    assert!(log.0.0.queue().batch.bytes.len() <= MOST_QUEUED);
    // What the writer holds besides is one queue at most.
    let lost = counted(&counts).1;
    assert!((fit..=2 * fit).contains(&lost), "{lost} of {}", 3 * fit);
    drop(go);
    assert!(log.flush(COMES_WITHIN));
    assert_eq!(counted(&counts), (3 * fit - lost, lost));
}

/// A log that writes lines of one number each to the file at `path`.
fn numbered(log: &AuditLog, from: usize, to: usize) {
    for number in from..to {
        log.push("login", format!("{{\"number\":{number}}}\n").as_bytes());
    }
}

/// The numbers in the file at `path`.
fn numbers(path: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(path).unwrap();
    let line = |line: &str| serde_json::from_str::<Value>(line).expect(line)["number"].as_u64();
    text.lines().map(|text| line(text).unwrap()).collect()
}

#[test]
fn a_file_that_is_moved_away_and_opened_anew_loses_no_line() {
    let (folder, path) = place();
    let places = AuditPlaces { file: Some(&path), ..AuditPlaces::default() };
    let counts = crate::telemetry::metrics::Metrics::new().audit_lines_total;
    let log = AuditLog::open(places, &counts).unwrap();
    let rounds = 20;
    for round in 0..rounds {
        // What waits still is in one of the two files.
        numbered(&log, round * 100, round * 100 + 50);
        std::fs::rename(&path, folder.path().join(format!("{round}"))).unwrap();
        numbered(&log, round * 100 + 50, round * 100 + 100);
        log.reopen();
        assert!(log.flush(COMES_WITHIN));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & !0o640, 0, "{mode:o}");
    }
    numbered(&log, rounds * 100, rounds * 100 + 1);
    assert!(log.flush(COMES_WITHIN));
    let moved = (0..rounds).flat_map(|round| numbers(&folder.path().join(format!("{round}"))));
    let all: Vec<_> = moved.chain(numbers(&path)).collect();
    assert_eq!(all, (0..=2000).collect::<Vec<u64>>());
    assert!(numbers(&path).contains(&2000));
    assert_eq!(counted(&counts.file), (2001, 0));
}

#[test]
fn a_file_that_cannot_be_opened_anew_is_written_on() {
    let (folder, path) = place();
    let telemetry = writing_to(&path);
    let session = telemetry.listener("out").session(SessionId(1));
    let moved = folder.path().join("moved");
    std::fs::rename(&path, &moved).unwrap();
    // A folder stands where the file was.
    std::fs::create_dir(&path).unwrap();
    telemetry.reopen_audit();
    session.record(&Report::LoginAccepted { user: None });
    assert!(telemetry.flush_audit(COMES_WITHIN));
    assert_eq!(std::fs::read_to_string(&moved).unwrap().lines().count(), 1);
    std::fs::remove_dir(&path).unwrap();
    telemetry.reopen_audit();
    session.record(&Report::LoginAccepted { user: None });
    assert!(telemetry.flush_audit(COMES_WITHIN));
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    assert_eq!(std::fs::read_to_string(&moved).unwrap().lines().count(), 1);
}
