//! The audit: who fetched and stored which file, as lines of JSON in a file. `docs/audit.md` has the
//! schema.
//!
//! | file | what it holds |
//! |---|---|
//! | `session` | which reports become a line, and what a session's lines have in common |
//! | `line` | one line of JSON |
//!
//! A thread of its own writes, from a queue with a bound: a disk that hangs stops no session. What
//! does not fit, or cannot be written, is counted and told in the log.

mod line;
mod session;
#[cfg(test)]
mod tests;

pub(crate) use line::rfc_3339;
pub(super) use session::SessionAudit;

use super::metrics::AuditLines;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes that wait for the disk: some ten thousand lines, a minute of a busy gateway.
const MOST_QUEUED: usize = 4 * 1024 * 1024;

/// The owner reads and writes, a group may read (a log shipper), nobody else: users and file names
/// stand in it.
const MODE: u32 = 0o640;

/// Where audit lines go. Cheap to clone; the file is closed behind the last one.
#[derive(Clone)]
pub(super) struct AuditLog(Arc<Handle>);

/// The last handle that goes ends the writer, when it has written what there is.
struct Handle(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// There is something to write, or nothing more to come.
    work: Condvar,
    /// Everything is written.
    idle: Condvar,
    counts: AuditLines,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// The writer has taken bytes and not finished with them.
    writing: bool,
    closed: bool,
    /// It has been told that the queue is full.
    overflowing: bool,
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
    /// Appends to the file at `path`.
    ///
    /// # Errors
    /// It cannot be opened, or the thread not be started.
    pub(super) fn open(path: &Path, counts: AuditLines) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        // A pipe without a reader is an error rather than a start that never ends.
        options.append(true).create(true).mode(MODE).custom_flags(libc::O_NONBLOCK);
        Self::start(options.open(path)?, counts)
    }

    fn start(sink: impl Write + Send + 'static, counts: AuditLines) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            idle: Condvar::new(),
            counts,
        });
        let writer = Writer { sink, torn: false, failing: false };
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(&of_thread))?;
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// Queues one line, its end included; never waits for the disk.
    fn push(&self, line: &[u8]) {
        let shared = &self.0.0;
        let mut queue = shared.queue();
        if queue.bytes.len() + line.len() > MOST_QUEUED {
            shared.counts.lost.inc();
            if !std::mem::replace(&mut queue.overflowing, true) {
                tracing::error!(
                    "telemetry.audit.path cannot be written fast enough: lines are lost"
                );
            }
            return;
        }
        queue.bytes.extend_from_slice(line);
        drop(queue);
        shared.work.notify_one();
    }

    /// Waits until everything is written or given up; false if that takes longer than `timeout`.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let shared = &self.0.0;
        let busy = |queue: &mut Queue| queue.writing || !queue.bytes.is_empty();
        let waited = shared.idle.wait_timeout_while(shared.queue(), timeout, busy);
        let (_queue, result) = waited.unwrap_or_else(PoisonError::into_inner);
        !result.timed_out()
    }
}

/// The writing end.
struct Writer<W> {
    sink: W,
    /// The file ends in the midst of a line.
    torn: bool,
    /// It has been told that nothing can be written.
    failing: bool,
}

impl<W: Write> Writer<W> {
    fn run(mut self, shared: &Shared) {
        loop {
            let mut queue = shared.queue();
            while queue.bytes.is_empty() && !queue.closed {
                queue = shared.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            if queue.bytes.is_empty() {
                return;
            }
            let batch = std::mem::take(&mut queue.bytes);
            queue.writing = true;
            queue.overflowing = false;
            drop(queue);
            self.write(&batch, &shared.counts);
            shared.queue().writing = false;
            shared.idle.notify_all();
        }
    }

    fn write(&mut self, batch: &[u8], counts: &AuditLines) {
        let (written, result) = self.write_lines(batch);
        let (done, rest) = batch.split_at(written);
        counts.written.inc_by(lines(done));
        counts.lost.inc_by(lines(rest));
        match result {
            Err(error) if !std::mem::replace(&mut self.failing, true) => {
                tracing::error!(%error, "telemetry.audit.path cannot be written: lines are lost");
            }
            Err(_) => {}
            Ok(()) if std::mem::replace(&mut self.failing, false) => {
                tracing::warn!(
                    "telemetry.audit.path can be written again; lines are missing in it"
                );
            }
            Ok(()) => {}
        }
    }

    /// How many bytes of `batch` were written, and why no more. What was torn before gets its line
    /// end first.
    fn write_lines(&mut self, batch: &[u8]) -> (usize, io::Result<()>) {
        if self.torn {
            let (_, result) = write_all(&mut self.sink, b"\n");
            if result.is_err() {
                return (0, result);
            }
            self.torn = false;
        }
        let (written, result) = write_all(&mut self.sink, batch);
        if let Some(last) = written.checked_sub(1) {
            self.torn = batch.get(last) != Some(&b'\n');
        }
        (written, result)
    }
}

/// Like [`Write::write_all`], and says how far it came.
fn write_all(sink: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match sink.write(rest) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// How many lines end in `bytes`.
fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}
