//! The audit: who fetched, stored and changed what, as lines of JSON in a file, and in the journal.
//! `docs/audit.md` describes them, `docs/audit.schema.json` is their schema.
//!
//! | file | what it holds |
//! |---|---|
//! | `session` | which reports become a line, and what a session's lines have in common |
//! | `line` | one line of JSON |
//! | `writer` | the thread that writes, and how a line comes into the file |
//! | `journal` | how a line comes into the journal |
//!
//! A thread of its own writes, from a queue with a bound: a disk that hangs stops no session. What
//! does not fit, or cannot be written, is counted and told in the log.

mod journal;
mod line;
mod session;
#[cfg(test)]
mod tests;
mod writer;

pub use journal::SOCKET as JOURNAL_SOCKET;
pub(crate) use line::rfc_3339;
pub(super) use session::SessionAudit;

use super::metrics::AuditLines;
use journal::Journal;
use prometheus::IntCounter;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use writer::{FileEnd, Writer};

/// Bytes that wait for the disk: some ten thousand lines, a minute of a busy gateway.
const MOST_QUEUED: usize = 4 * 1024 * 1024;

/// Where audit lines go: each to all of these.
#[derive(Debug, Clone, Copy, Default)]
pub struct AuditPlaces<'a> {
    /// The file that they are appended to.
    pub file: Option<&'a Path>,
    /// The socket of the journal, [`JOURNAL_SOCKET`] as a rule.
    pub journal: Option<&'a Path>,
    /// What becomes of sessions while one of them cannot be written.
    pub on_error: AuditFailure,
}

/// What becomes of sessions while the audit cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuditFailure {
    /// They go on, and the lines are lost.
    #[default]
    Continue,
    /// They end, and no new ones are taken; the lines wait, as many as there is room for.
    Stop,
}

/// Why there is no audit, with the key that asks for it.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file cannot be opened.
    #[error("telemetry.audit.path: cannot append to {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no journal.
    #[error(
        "telemetry.audit.journald: no journal listens at {}; write false where systemd-journald does \
         not run",
        path.display()
    )]
    Journal {
        /// Its socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The writer cannot be started.
    #[error("telemetry.audit: the thread that writes it cannot be started")]
    Thread(#[source] io::Error),
}

/// Where audit lines go. Cheap to clone; what is open is closed behind the last one.
#[derive(Clone)]
pub(super) struct AuditLog(Arc<Handle>);

/// The last handle that goes ends the writer, when it has written what there is.
struct Handle(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to do, or nothing more to come.
    work: Condvar,
    /// Everything is done.
    idle: Condvar,
    /// Of each place, what it did not get.
    lost: Vec<IntCounter>,
    /// Lines wait for a place that cannot be written.
    failing: watch::Sender<bool>,
    /// They do, and whoever is interested may know.
    keeps: bool,
}

#[derive(Default)]
struct Queue {
    batch: Batch,
    /// The writer has taken a batch and not finished with it, or keeps lines for another attempt.
    writing: bool,
    closed: bool,
    /// It has been told that the queue is full.
    overflowing: bool,
}

/// What there is to do at once.
#[derive(Default)]
struct Batch {
    /// The file is to be opened anew ahead of the lines.
    reopen: bool,
    /// Whole lines.
    bytes: Vec<u8>,
    /// Which they are.
    lines: Vec<Entry>,
}

/// A line of a batch.
struct Entry {
    event: &'static str,
    /// Its bytes, with the line end.
    length: usize,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.reopen
    }

    /// The lines, each with its event and its line end.
    fn lines(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let mut rest = self.bytes.as_slice();
        self.lines.iter().map(move |entry| {
            let (line, more) = rest.split_at_checked(entry.length).unwrap_or((rest, &[]));
            rest = more;
            (entry.event, line)
        })
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.queue().closed = true;
        self.0.work.notify_one();
    }
}

impl AuditLog {
    /// Writes to `places`, of which there is one at least.
    pub(super) fn open(places: AuditPlaces<'_>, counts: &AuditLines) -> Result<Self, AuditError> {
        let file = places.file.map(|path| {
            let opened = FileEnd::open(path, counts.file.clone());
            opened.map_err(|source| AuditError::File { path: path.to_owned(), source })
        });
        let journal = places.journal.map(|path| {
            let opened = Journal::open(path, counts.journal.clone());
            opened.map_err(|source| AuditError::Journal { path: path.to_owned(), source })
        });
        let keeps = places.on_error == AuditFailure::Stop;
        let file = file.transpose()?.map(|file| file.keeping(keeps));
        let journal = journal.transpose()?.map(|journal| journal.keeping(keeps));
        Self::start(Writer { file, journal }, keeps).map_err(AuditError::Thread)
    }

    fn start(writer: Writer<impl Write + Send + 'static>, keeps: bool) -> io::Result<Self> {
        let shared = Arc::new(Shared { lost: writer.lost(), keeps, ..Shared::default() });
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(&of_thread))?;
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// Queues one line, its end included; never waits for the disk.
    fn push(&self, event: &'static str, line: &[u8]) {
        let shared = &self.0.0;
        let mut queue = shared.queue();
        if queue.batch.bytes.len() + line.len() > MOST_QUEUED {
            shared.lost.iter().for_each(IntCounter::inc);
            if !std::mem::replace(&mut queue.overflowing, true) {
                tracing::error!("telemetry.audit cannot be written fast enough: lines are lost");
            }
            return;
        }
        queue.batch.bytes.extend_from_slice(line);
        queue.batch.lines.push(Entry { event, length: line.len() });
        drop(queue);
        shared.work.notify_one();
    }

    /// Whether lines wait for a place that cannot be written, where they do.
    pub(super) fn failing(&self) -> Option<watch::Receiver<bool>> {
        let shared = &self.0.0;
        shared.keeps.then(|| shared.failing.subscribe())
    }

    /// Has the file opened anew, by the writer.
    pub(super) fn reopen(&self) {
        let shared = &self.0.0;
        shared.queue().batch.reopen = true;
        shared.work.notify_one();
    }

    /// Waits until everything is done or given up; false if that takes longer than `timeout`.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let shared = &self.0.0;
        let busy = |queue: &mut Queue| queue.writing || !queue.batch.is_empty();
        let waited = shared.idle.wait_timeout_while(shared.queue(), timeout, busy);
        let (_queue, result) = waited.unwrap_or_else(PoisonError::into_inner);
        !result.timed_out()
    }
}
