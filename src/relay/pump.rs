//! Moves the bytes of one data connection whose legs are not both clear: they come out of the TLS of
//! one leg and go into the TLS of the other.
//!
//! Every end is passed on as what it is (cases 39, 46): close_notify as close_notify and FIN, what is
//! cut off as a reset. TLS has two ends for a direction, its own close_notify and the FIN below it.
//! A FIN alone may be the work of anybody on the way, so that it ends nothing; except that many peers
//! answer the other side's end so, in a direction that has carried nothing.
//!
//! Not here: one leg by itself (see `leg`), the handshakes (see `data_tls`), legs that are both clear
//! (see `splice`).

mod leg;

pub use leg::Leg;

use super::splice::stalled;
use crate::report::DataOutcome;
use crate::telemetry::RunningBytes;
use crate::terms::ByteCounts;
use leg::{Came, Scratch};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Reads in a row before other tasks of the thread have their turn: a few milliseconds of
/// encryption.
const READS_IN_A_ROW: usize = 16;

/// Moves bytes both ways until both directions have ended, one fails, or nothing moves for
/// `idle_timeout`. Nothing is read from the client before `takes_upload`. The connections
/// come set to be reset when closed; only where both directions have ended in order is their close an
/// orderly one. What moves is counted in `bytes`.
pub async fn join(
    client: Leg,
    server: Leg,
    takes_upload: impl Future<Output = ()>,
    idle_timeout: Duration,
    bytes: Arc<RunningBytes>,
) -> (DataOutcome, ByteCounts) {
    let moved = AtomicU64::new(0);
    let mut pump =
        Pump { client, server, upload: Direction::default(), download: Direction::default() };
    let mut takes_upload = pin!(takes_upload);
    let mut holds_upload = true;
    let outcome = tokio::select! {
        outcome = poll_fn(|cx| {
            holds_upload = holds_upload && takes_upload.as_mut().poll(cx).is_pending();
            let outcome = pump.poll(holds_upload, cx);
            moved.store(pump.moved(), Ordering::Relaxed);
            bytes.set(pump.carried());
            outcome
        }) => outcome,
        () = stalled(|| moved.load(Ordering::Relaxed), idle_timeout) => DataOutcome::IdleTimeout,
    };
    if outcome == DataOutcome::Completed {
        pump.client.end_on_close();
        pump.server.end_on_close();
    }
    (outcome, pump.carried())
}

struct Pump {
    client: Leg,
    server: Leg,
    upload: Direction,
    download: Direction,
}

/// One direction, and how far it has come.
#[derive(Debug, Clone, Copy, Default)]
struct Direction {
    stage: Stage,
    /// Payload that was taken in. At most one read of it is not with the kernel yet.
    carried: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    /// Bytes may come.
    #[default]
    Carrying,
    /// A FIN came without close_notify, where it may be the answer to the end of the other
    /// direction, which is not known yet.
    Doubtful,
    /// It has ended in order; what it has carried is being sent.
    Flushing,
    /// Its end is being sent.
    Ending,
    /// Its end is with the kernel.
    Ended,
}

impl Stage {
    /// True if nothing but an end in order can have led here.
    fn is_orderly_end(self) -> bool {
        match self {
            Self::Carrying | Self::Doubtful => false,
            Self::Flushing | Self::Ending | Self::Ended => true,
        }
    }
}

/// Why a direction cannot go on.
#[derive(Debug)]
enum Cut {
    /// A FIN without close_notify.
    Truncated,
    /// A reset, an error, or something that is not TLS.
    Broken,
}

impl From<io::Error> for Cut {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

impl Pump {
    /// What shows that something moves.
    fn moved(&self) -> u64 {
        let sent = self.client.sent() + self.server.sent();
        sent + self.upload.carried + self.download.carried
    }

    fn carried(&self) -> ByteCounts {
        ByteCounts { upload: self.upload.carried, download: self.download.carried }
    }

    fn poll(&mut self, holds_upload: bool, cx: &mut Context<'_>) -> Poll<DataOutcome> {
        let Self { client, server, upload, download } = self;
        loop {
            let before = (upload.stage, download.stage);
            let up = match holds_upload {
                true => Poll::Pending,
                false => upload.poll(client, server, *download, cx),
            };
            let down = download.poll(server, client, *upload, cx);
            match (up, down) {
                (Poll::Ready(Err(Cut::Truncated)), _) | (_, Poll::Ready(Err(Cut::Truncated))) => {
                    return Poll::Ready(DataOutcome::Truncated);
                }
                (Poll::Ready(Err(Cut::Broken)), _) | (_, Poll::Ready(Err(Cut::Broken))) => {
                    return Poll::Ready(DataOutcome::Aborted);
                }
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {
                    return Poll::Ready(DataOutcome::Completed);
                }
                // One direction may wait for the end of the other.
                _ if before != (upload.stage, download.stage) => {}
                _ => break,
            }
        }
        // What TLS itself has to say, as answer to what was read. That it cannot be said is told by
        // the direction that carries something.
        for leg in [client, server] {
            let _ = leg.poll_flush(cx);
        }
        Poll::Pending
    }
}

impl Direction {
    /// Goes on from `from` to `to`, up to and including the end. `back` is the other direction.
    fn poll(
        &mut self,
        from: &mut Leg,
        to: &mut Leg,
        back: Self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Cut>> {
        loop {
            match self.stage {
                Stage::Carrying => {
                    self.stage = ready!(self.carry(from, to, back, cx))?;
                }
                Stage::Doubtful => {
                    if !back.stage.is_orderly_end() {
                        return Poll::Pending;
                    }
                    self.stage = Stage::Flushing;
                }
                Stage::Flushing => {
                    to.finish()?;
                    ready!(to.poll_flush(cx))?;
                    self.stage = Stage::Ending;
                }
                Stage::Ending => {
                    match ready!(to.poll_end(cx)) {
                        Ok(()) => {}
                        // It has all that there was, has said its own last word, and is gone.
                        Err(_) if back.stage.is_orderly_end() => {}
                        Err(error) => return Poll::Ready(Err(error.into())),
                    }
                    self.stage = Stage::Ended;
                }
                Stage::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Moves bytes until they end, and says which way.
    fn carry(
        &mut self,
        from: &mut Leg,
        to: &mut Leg,
        back: Self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stage, Cut>> {
        for _ in 0..READS_IN_A_ROW {
            // Never more than one read is kept: the sender waits for the receiver.
            ready!(to.poll_flush(cx))?;
            let came = Scratch::with(|scratch| {
                let came = ready!(from.poll_read(cx, scratch))?;
                if let Came::Bytes(count) = came {
                    to.send(cx, scratch.plain(count))?;
                }
                Poll::Ready(Ok::<_, Cut>(came))
            });
            match ready!(came)? {
                Came::Bytes(count) => self.carried += count as u64,
                Came::End => return Poll::Ready(Ok(Stage::Flushing)),
                Came::Cut if self.carried == 0 && back.is_evident() => {
                    return Poll::Ready(Ok(Stage::Doubtful));
                }
                Came::Cut => return Poll::Ready(Err(Cut::Truncated)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// True if this is the direction that the transfer is about.
    fn is_evident(&self) -> bool {
        self.carried > 0 || self.stage.is_orderly_end()
    }
}

#[cfg(test)]
mod tests;
