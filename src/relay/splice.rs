//! Moves the bytes of one data connection between two sockets without copying them through this
//! process: socket → pipe → socket with splice(2).
//!
//! Every end is passed on as what it is: a FIN as a half-close, an error as a reset.

use crate::net::end_on_close;
use crate::report::DataOutcome;
use crate::telemetry::RunningBytes;
use crate::terms::{ByteCounts, Direction};
use rustix::fd::{AsFd, OwnedFd};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A pipe of this size keeps both sockets busy at 10 Gbit/s; larger ones measured no faster.
const PIPE_SIZE: usize = 1024 * 1024;
/// What the kernel gives where the user's share of pipe memory is used up.
const DEFAULT_PIPE_SIZE: usize = 64 * 1024;
/// Idle pipes that are kept: 64 MiB, the share of an unprivileged user (`pipe-user-pages-soft`).
const KEPT_PIPES: usize = 64;

/// An empty pipe and how much it holds.
#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    size: usize,
}

impl Pipe {
    fn open() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        let size = fcntl_setpipe_size(&write, PIPE_SIZE).unwrap_or(DEFAULT_PIPE_SIZE);
        Ok(Self { read, write, size })
    }
}

/// Pipes for reuse: making and sizing one costs more than moving a small file.
#[derive(Debug, Default)]
pub(super) struct PipePool {
    idle: Mutex<Vec<Pipe>>,
}

impl PipePool {
    fn take(&self) -> io::Result<Pipe> {
        match self.idle.lock().ok().and_then(|mut idle| idle.pop()) {
            Some(pipe) => Ok(pipe),
            None => Pipe::open(),
        }
    }

    /// Gives back a pipe that is empty.
    fn give(&self, pipe: Pipe) {
        if let Ok(mut idle) = self.idle.lock()
            && idle.len() < KEPT_PIPES
        {
            idle.push(pipe);
        }
    }
}

/// Moves bytes both ways until both directions have ended, one fails, or nothing moves for
/// `idle_timeout`. The connections come set to be reset when closed (case 46); only where both
/// directions have ended in order is their close an orderly one. What moves is counted in `bytes`.
pub(super) async fn join(
    client: TcpStream,
    server: TcpStream,
    pipes: &PipePool,
    idle_timeout: Duration,
    bytes: &RunningBytes,
) -> (DataOutcome, ByteCounts) {
    let outcome = {
        let both = async {
            tokio::try_join!(
                move_bytes(&client, &server, pipes, (bytes, Direction::Upload)),
                move_bytes(&server, &client, pipes, (bytes, Direction::Download)),
            )
        };
        let moved = || {
            let ByteCounts { upload, download } = bytes.counts();
            upload + download
        };
        tokio::select! {
            moved = both => match moved {
                Ok(_) => DataOutcome::Completed,
                Err(_) => DataOutcome::Aborted,
            },
            () = stalled(moved, idle_timeout) => DataOutcome::IdleTimeout,
        }
    };
    if outcome == DataOutcome::Completed {
        end_on_close(&client);
        end_on_close(&server);
    }
    (outcome, bytes.counts())
}

/// One direction, up to and including the half-close.
async fn move_bytes(
    from: &TcpStream,
    to: &TcpStream,
    pipes: &PipePool,
    (moved, direction): (&RunningBytes, Direction),
) -> io::Result<()> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    // Most directions of FTP carry nothing but a FIN: the pipe is taken with the first byte.
    from.readable().await?;
    let pipe = pipes.take()?;
    loop {
        let filled = from
            .async_io(Interest::READABLE, || {
                Ok(splice(from.as_fd(), None, &pipe.write, None, pipe.size, flags)?)
            })
            .await?;
        if filled == 0 {
            break;
        }
        let mut left = filled;
        while left > 0 {
            let sent = to
                .async_io(Interest::WRITABLE, || {
                    Ok(splice(&pipe.read, None, to.as_fd(), None, left, flags)?)
                })
                .await?;
            left -= sent;
            moved.add(direction, sent as u64);
        }
        // Reading again at once would find a segment or two: a turn of the other tasks later there
        // is a pipeful, at the price of one system call instead of many.
        if filled < pipe.size / 2 {
            tokio::task::yield_now().await;
        }
    }
    pipes.give(pipe);
    match rustix::net::shutdown(to, rustix::net::Shutdown::Write) {
        // The peer has reset meanwhile: its own direction tells.
        Ok(()) | Err(rustix::io::Errno::NOTCONN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Returns once the count of what has moved has not changed for `idle_timeout`.
pub(super) async fn stalled(moved: impl Fn() -> u64, idle_timeout: Duration) {
    let (mut last, mut since) = (moved(), Instant::now());
    // Four looks per timeout keep the error below a quarter of it.
    let look = (idle_timeout / 4).max(Duration::from_millis(1));
    loop {
        tokio::time::sleep(look).await;
        let current = moved();
        if current != last {
            (last, since) = (current, Instant::now());
        } else if since.elapsed() >= idle_timeout {
            return;
        }
    }
}
