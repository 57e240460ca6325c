//! Accepts clients, and finds out where they dialled.
//!
//! | file | contents |
//! |---|---|
//! | `opener` | finds and dials the server of one session |
//!
//! Not here: who may have a session (see `admission`).

mod opener;

use super::admission::Denial;
use super::advertise::Advertise;
use super::arrival::Arrival;
use super::course::CourseReceiver;
use super::driver::Driver;
use super::introduction::{DataHeaders, ProxyProtocol};
use super::shards::Shards;
use super::shared::Shared;
use super::termination::{SessionTls, Termination};
use crate::addr::{OriginalDst, canonical};
use crate::limits::{Flood, Rate};
use crate::net::{self, Acceptor, Inherited, NetError};
use crate::session::{Parties, Session, Settings};
use crate::telemetry::ListenerTelemetry;
use opener::Opener;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tracing::Instrument;

/// After an `accept` that failed for lack of descriptors or memory: sessions that end meanwhile
/// make room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Warnings about that: every pause has one.
const ACCEPT_WARNINGS: Rate = Rate::per_minute(6);

/// How clients come to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptureKind {
    /// They dial the gateway.
    Direct,
    /// They dial the server; the kernel translates the destination.
    Redirect,
    /// They dial the server; the kernel delivers the packets unchanged.
    Tproxy,
}

/// Where sessions go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAddress {
    /// Where the client dialled.
    Original,
    /// Always here; a name is resolved for each session.
    Fixed {
        /// An IP address or a name.
        host: String,
        /// The control port.
        port: u16,
    },
}

impl ServerAddress {
    /// The name of the host, if it is one.
    fn name(&self) -> Option<String> {
        match self {
            Self::Fixed { host, .. } if host.parse::<IpAddr>().is_err() => Some(host.clone()),
            Self::Fixed { .. } | Self::Original => None,
        }
    }
}

/// The settings of one listener.
#[derive(Debug, Clone)]
pub struct ListenerSettings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Take IPv4 as well, if `listen` is `[::]`.
    pub dual: bool,
    /// How clients come.
    pub capture: CaptureKind,
    /// Where they go.
    pub server: ServerAddress,
    /// What their sessions need.
    pub session: Arc<Settings>,
    /// What they tell instead of the gateway's own address.
    pub advertise: Advertise,
    /// What ends their TLS, if anything does.
    pub tls: Option<Arc<Termination>>,
    /// Who introduces them, and how they are introduced to servers.
    pub proxy_protocol: ProxyProtocol,
}

/// A bound listener.
pub struct Listener {
    socket: Acceptor,
    handle: ListenerHandle,
    shared: Arc<Shared>,
    shards: Arc<Shards>,
}

/// What of a listener can be changed while it accepts. Cheap to clone.
#[derive(Clone)]
pub struct ListenerHandle {
    address: SocketAddr,
    terms: Arc<Mutex<Terms>>,
}

/// What a new session is taken on.
#[derive(Clone)]
struct Terms {
    settings: Arc<ListenerSettings>,
    telemetry: ListenerTelemetry,
}

impl ListenerHandle {
    /// Where it listens: with the port that the kernel chose if the settings named none.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New sessions are taken on these settings; those under way keep theirs. The socket stays what it
    /// is: `listen`, `dual`, and whether `capture` is tproxy have to be as they were.
    pub fn change(&self, settings: ListenerSettings, telemetry: ListenerTelemetry) {
        *self.lock() = Terms { settings: Arc::new(settings), telemetry };
    }

    fn terms(&self) -> Terms {
        self.lock().clone()
    }

    /// Nothing panics while it is locked.
    fn lock(&self) -> std::sync::MutexGuard<'_, Terms> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// Binds the socket, or takes the one among `inherited` that was bound for it.
    pub fn bind(
        settings: ListenerSettings,
        inherited: &mut Inherited,
        shared: Arc<Shared>,
        shards: Arc<Shards>,
        telemetry: ListenerTelemetry,
    ) -> Result<Self, NetError> {
        let transparent = settings.capture == CaptureKind::Tproxy;
        let address = settings.listen;
        let socket = inherited.listen(address, transparent, settings.dual)?;
        // Accepted connections inherit the options of their listener.
        net::tune_control(&socket).map_err(|reason| NetError::Listen { address, reason })?;
        let socket =
            Acceptor::new(socket).map_err(|reason| NetError::Listen { address, reason })?;
        let address = socket.local_addr().unwrap_or(address);
        let terms = Arc::new(Mutex::new(Terms { settings: Arc::new(settings), telemetry }));
        Ok(Self { socket, handle: ListenerHandle { address, terms }, shared, shards })
    }

    /// What can be changed while it accepts.
    pub fn handle(&self) -> ListenerHandle {
        self.handle.clone()
    }

    /// Accepts until the gateway drains, or ends.
    pub async fn run(self, mut course: CourseReceiver) {
        let sessions = course.clone();
        let accept = async {
            let mut warnings = Flood::default();
            loop {
                match self.socket.accept().await {
                    Ok((stream, peer)) => self.welcome(stream, peer, sessions.clone()),
                    Err(error) => {
                        if let Some(left_out) = warnings.pass(ACCEPT_WARNINGS, Instant::now()) {
                            let listener = self.handle.address;
                            tracing::warn!(%error, %listener, left_out, "cannot accept a client");
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accept => {}
            () = course.no_more() => {}
        }
    }

    fn welcome(&self, stream: std::net::TcpStream, peer: SocketAddr, course: CourseReceiver) {
        let started = Instant::now();
        // Nothing is inherited by those that had dialled a socket before it came to this process; an
        // error means that the connection is gone, which reading will tell.
        let _ = net::tune_control(&stream);
        let Terms { settings, telemetry } = self.handle.terms();
        let id = self.shared.next_session_id();
        let telemetry = telemetry.session(id);
        let Ok(local) = original_dst(settings.capture, &stream) else { return };
        let untranslated_dst = net::original_dst(&stream).unwrap_or(local.0);
        let arrival = Arrival { settings, telemetry, started, peer, local };
        let admitted = if self.shared.is_held() {
            Err(Denial::AUDIT)
        } else if net::are_descriptors_scarce(&stream) {
            Err(Denial::DESCRIPTORS)
        } else if arrival.is_introduced() {
            self.shared.admit_unnamed()
        } else {
            self.shared.admit(peer.ip())
        };
        let permit = match admitted {
            Ok(permit) => permit,
            Err(denial) => return arrival.refuse(&stream, peer, local, denial),
        };
        let span = arrival.telemetry.span();
        let shared = Arc::clone(&self.shared);
        let closing = shared.closing(id);
        let own_address = self.handle.address;
        let begin = async move {
            // From here on the connection belongs to the thread that carries the session.
            let mut stream = TcpStream::from_std(stream).ok()?;
            let mut course = course;
            let (parties, permit) = arrival.parties(&mut stream, permit, &mut course).await?;
            let Parties { client, original_dst, .. } = parties;
            let Arrival { settings, telemetry, .. } = arrival;
            let tls = settings.tls.as_ref().map(|tls| {
                let host = settings.server.name();
                SessionTls::new(Arc::clone(tls), host, original_dst.0.ip())
            });
            let headers = DataHeaders::of(&settings.proxy_protocol, &parties);
            let session = Session::new(Arc::clone(&settings.session), parties, started);
            let driver =
                Driver::new(session, stream, Arc::clone(&shared), tls, telemetry, permit, course)
                    .obeying(closing)
                    .introduced(headers);
            let mut driver = Box::new(driver);
            let ends = [(client, original_dst.0), (peer, local.0), (peer, untranslated_dst)];
            let opener = Opener { settings, shared, own_address, client, original_dst, ends };
            opener.open(&mut driver).await;
            Some(driver)
        };
        self.shards.spawn(carry(Box::pin(begin)).instrument(span));
    }
}

/// Runs a session for as long as it lasts. What only its beginning needs is given up behind that.
async fn carry(begin: Pin<Box<impl Future<Output = Option<Box<Driver>>>>>) {
    let begun = begin.await;
    if let Some(driver) = begun {
        driver.run().await;
    }
}

fn original_dst(capture: CaptureKind, stream: &std::net::TcpStream) -> io::Result<OriginalDst> {
    let local = canonical(stream.local_addr()?);
    Ok(OriginalDst(match capture {
        CaptureKind::Direct | CaptureKind::Tproxy => local,
        // Not redirected: somebody dialled the listener itself, which the loop guard answers.
        CaptureKind::Redirect => net::original_dst(stream).unwrap_or(local),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a session holds while it is idle, for each of ten thousand. What only its beginning, a
    /// handshake or an opening needs belongs into a box of its own: kept in the task it would take its
    /// room as long as the session lasts, some 10 KiB.
    #[test]
    fn what_every_session_holds_is_small() {
        let task = carry(Box::pin(async { None })).instrument(tracing::Span::none());
        let sizes =
            [("the task", size_of_val(&task), 1024), ("the driver", size_of::<Driver>(), 3072)];
        for (what, size, most) in sizes {
            assert!(size <= most, "{what} of a session takes {size} bytes");
        }
    }
}
