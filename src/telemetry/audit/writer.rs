//! The thread that writes the audit, and how a line comes into the file.

use super::journal::Journal;
use super::{Batch, MOST_QUEUED, Shared};
use crate::telemetry::metrics::AuditOutcomes;
use prometheus::IntCounter;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

/// The owner reads and writes, a group may read (a log shipper), nobody else: users and file names
/// stand in it.
const MODE: u32 = 0o640;

/// After an attempt to write what is kept.
const TRIED_AGAIN: Duration = Duration::from_secs(1);

/// The writing end.
pub(super) struct Writer<W> {
    pub(super) file: Option<FileEnd<W>>,
    pub(super) journal: Option<Journal>,
}

/// Opens the file anew.
type Reopen<W> = Box<dyn FnMut() -> io::Result<W> + Send>;

/// The file.
pub(super) struct FileEnd<W> {
    sink: W,
    reopen: Reopen<W>,
    counts: AuditOutcomes,
    /// The file ends in the midst of a line.
    torn: bool,
    /// It has been told that nothing can be written.
    failing: bool,
    /// What cannot be written is kept for another attempt.
    keeps: bool,
    /// What is kept: it begins where the file ends, in the midst of a line as it may be.
    kept: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Of each place, what it did not get.
    pub(super) fn lost(&self) -> Vec<IntCounter> {
        let file = self.file.as_ref().map(|file| file.counts.lost.clone());
        let journal = self.journal.as_ref().map(Journal::lost);
        file.into_iter().chain(journal).collect()
    }

    pub(super) fn run(mut self, shared: &Shared) {
        loop {
            let behind = self.is_behind();
            let mut queue = shared.queue();
            if behind && !queue.closed {
                let waited = shared.work.wait_timeout(queue, TRIED_AGAIN);
                queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            while !behind && queue.batch.is_empty() && !queue.closed {
                queue = shared.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let over = queue.closed && queue.batch.is_empty();
            if over && !behind {
                return;
            }
            let batch = std::mem::take(&mut queue.batch);
            queue.writing = true;
            queue.overflowing = false;
            drop(queue);
            self.work_off(&batch);
            let behind = self.is_behind();
            shared.failing.send_if_modified(|was| std::mem::replace(was, behind) != behind);
            shared.queue().writing = behind;
            shared.idle.notify_all();
            if over {
                return;
            }
        }
    }

    /// True if lines are kept for another attempt.
    fn is_behind(&self) -> bool {
        self.file.as_ref().is_some_and(|file| !file.kept.is_empty())
            || self.journal.as_ref().is_some_and(Journal::is_behind)
    }

    fn work_off(&mut self, batch: &Batch) {
        if let Some(file) = &mut self.file {
            if batch.reopen {
                file.open_anew();
            }
            if !batch.bytes.is_empty() || !file.kept.is_empty() {
                file.write(&batch.bytes);
            }
        }
        if let Some(journal) = &mut self.journal {
            journal.send(batch.lines());
        }
    }
}

impl FileEnd<File> {
    /// Appends to the file at `path`, now and whenever it is opened anew.
    pub(super) fn open(path: &Path, counts: AuditOutcomes) -> io::Result<Self> {
        let path: PathBuf = path.to_owned();
        let mut options = OpenOptions::new();
        // A pipe without a reader is an error rather than a start that never ends.
        options.append(true).create(true).mode(MODE).custom_flags(libc::O_NONBLOCK);
        let sink = options.open(&path)?;
        Ok(Self::new(sink, Box::new(move || options.open(&path)), counts))
    }
}

impl<W: Write> FileEnd<W> {
    pub(super) fn new(sink: W, reopen: Reopen<W>, counts: AuditOutcomes) -> Self {
        let (torn, failing, keeps, kept) = (false, false, false, Vec::new());
        Self { sink, reopen, counts, torn, failing, keeps, kept }
    }

    /// Keeps what cannot be written, or loses it.
    pub(super) fn keeping(self, keeps: bool) -> Self {
        Self { keeps, ..self }
    }

    /// Goes on in the file that has the name now. Without one, in the file that had it.
    fn open_anew(&mut self) {
        // Else the next line ends it: the name may still be that of the same file.
        let torn = self.torn;
        let _ = self.end_torn_line();
        if torn && let Some(end) = self.kept.iter().position(|byte| *byte == b'\n') {
            // The rest of a line would begin the next file.
            self.kept.drain(..=end);
            self.counts.lost.inc();
        }
        match (self.reopen)() {
            Ok(sink) => {
                self.sink = sink;
                tracing::info!("telemetry.audit.path is opened anew");
            }
            Err(error) => tracing::error!(
                %error,
                "telemetry.audit.path cannot be opened anew: the file opened before is written on"
            ),
        }
    }

    fn write(&mut self, batch: &[u8]) {
        let result = if self.keeps { self.write_kept(batch) } else { self.write_or_lose(batch) };
        self.counts.failing.set(i64::from(result.is_err()));
        match (result, self.keeps) {
            (Err(error), keeps) if !std::mem::replace(&mut self.failing, true) => {
                let lines = if keeps { "no session goes on" } else { "lines are lost" };
                tracing::error!(%error, "telemetry.audit.path cannot be written: {lines}");
            }
            (Err(_), _) => {}
            (Ok(()), keeps) if std::mem::replace(&mut self.failing, false) => {
                let lines = if keeps { "no line was given up" } else { "lines are missing in it" };
                tracing::warn!("telemetry.audit.path can be written again; {lines}");
            }
            (Ok(()), _) => {}
        }
    }

    fn write_or_lose(&mut self, batch: &[u8]) -> io::Result<()> {
        let (written, result) = self.write_lines(batch);
        let (done, rest) = batch.split_at(written);
        self.counts.written.inc_by(lines(done));
        self.counts.lost.inc_by(lines(rest));
        result
    }

    /// Goes on where the file ends. What is more than can be kept is lost.
    fn write_kept(&mut self, batch: &[u8]) -> io::Result<()> {
        let room = MOST_QUEUED.saturating_sub(self.kept.len());
        if batch.len() <= room {
            self.kept.extend_from_slice(batch);
        } else {
            self.counts.lost.inc_by(lines(batch));
        }
        let (written, result) = write_all(&mut self.sink, &self.kept);
        if let Some(last) = written.checked_sub(1) {
            self.torn = self.kept.get(last) != Some(&b'\n');
        }
        let done = self.kept.drain(..written);
        self.counts.written.inc_by(lines(done.as_slice()));
        drop(done);
        result
    }

    /// How many bytes of `batch` were written, and why no more. What was torn before gets its line
    /// end first.
    fn write_lines(&mut self, batch: &[u8]) -> (usize, io::Result<()>) {
        if let Err(error) = self.end_torn_line() {
            return (0, Err(error));
        }
        let (written, result) = write_all(&mut self.sink, batch);
        if let Some(last) = written.checked_sub(1) {
            self.torn = batch.get(last) != Some(&b'\n');
        }
        (written, result)
    }

    fn end_torn_line(&mut self) -> io::Result<()> {
        if self.torn {
            write_all(&mut self.sink, b"\n").1?;
            self.torn = false;
        }
        Ok(())
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

#[cfg(test)]
mod tests;
