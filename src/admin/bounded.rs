//! A listener for a service that few should use: so many connections and no more, and none that
//! stays silent, or is never done with its request.

use axum::serve::Listener;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, Sleep, sleep};

/// How long the listener rests when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Where connections come from.
pub(super) trait Accept: Send + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// The address of either end.
    type Address: Send;

    /// The next connection that is wanted, and who it is.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Self::Address)>> + Send;

    /// Where it listens.
    fn address(&self) -> io::Result<Self::Address>;
}

impl Accept for TcpListener {
    type Stream = TcpStream;
    type Address = SocketAddr;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        Self::accept(self).await
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

/// Accepts while fewer than `limit` connections are open; the others wait in the kernel's queue, or
/// the oldest ends for each of them.
pub(super) struct Bounded<L> {
    listener: L,
    permits: Arc<Semaphore>,
    silence: Duration,
    /// Those that are open, the oldest first: dropping one ends it. `None` where newcomers wait.
    open: Option<VecDeque<oneshot::Sender<()>>>,
}

impl<L> Bounded<L> {
    /// `silence` is how long a connection may ask for nothing, and how long a request, from its first
    /// byte, may be without an answer.
    pub(super) fn new(listener: L, limit: usize, silence: Duration) -> Self {
        Self { listener, permits: Arc::new(Semaphore::new(limit)), silence, open: None }
    }

    /// As [`new`](Self::new) for a service that anybody may reach: strangers who hold all connections
    /// and ask for nothing cannot keep out who asks and has an answer in a moment.
    pub(super) fn ending_the_oldest(listener: L, limit: usize, silence: Duration) -> Self {
        Self { open: Some(VecDeque::new()), ..Self::new(listener, limit, silence) }
    }

    /// A place for one more connection.
    async fn place(&mut self) -> (OwnedSemaphorePermit, Option<oneshot::Receiver<()>>) {
        let permits = Arc::clone(&self.permits);
        let Some(open) = &mut self.open else { return (acquire(permits).await, None) };
        open.retain(|one| !one.is_closed());
        let permit = match Arc::clone(&permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                open.pop_front();
                acquire(permits).await
            }
        };
        let (ends, ended) = oneshot::channel();
        open.push_back(ends);
        (permit, Some(ended))
    }
}

async fn acquire(permits: Arc<Semaphore>) -> OwnedSemaphorePermit {
    match permits.acquire_owned().await {
        Ok(permit) => permit,
        Err(_) => unreachable!("the semaphore is never closed"),
    }
}

impl<L: Accept> Listener for Bounded<L> {
    type Io = BoundedStream<L::Stream>;
    type Addr = L::Address;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // Whoever waits does so in the kernel's queue; whoever need not is here when the oldest ends.
        let mut place = if self.open.is_none() { Some(self.place().await) } else { None };
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let (permit, ended) = match place.take() {
                        Some(place) => place,
                        None => self.place().await,
                    };
                    let deadline = Box::pin(sleep(self.silence));
                    let silence = self.silence;
                    let io = BoundedStream {
                        stream,
                        deadline,
                        silence,
                        asks: false,
                        ended,
                        _permit: permit,
                    };
                    return (io, peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "no HTTP connection could be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.address()
    }
}

/// A connection that fails after a silence, however slowly a request trickles in.
pub(super) struct BoundedStream<S> {
    stream: S,
    deadline: Pin<Box<Sleep>>,
    silence: Duration,
    /// A request has begun that is not answered.
    asks: bool,
    /// Told when another one needs its place.
    ended: Option<oneshot::Receiver<()>>,
    _permit: OwnedSemaphorePermit,
}

impl<S> BoundedStream<S> {
    /// Passes on what the socket said; where it has nothing, the deadline decides, which is put off by
    /// what `counts`.
    fn bound<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
        counts: bool,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            if counts {
                self.deadline.as_mut().reset(Instant::now() + self.silence);
            }
            return polled;
        }
        if let Some(ended) = &mut self.ended
            && Pin::new(ended).poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        self.deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BoundedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let begins = !self.asks;
        self.asks |= polled.is_ready();
        self.bound(cx, polled, begins)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BoundedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.asks &= polled.is_pending();
        self.bound(cx, polled, true)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
