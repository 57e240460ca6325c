//! One data connection on the relay path: two legs, each awaited or dialled by itself, then joined.

use super::data_tls::{HANDSHAKE_TIMEOUT, LegTls};
use super::intake::Ticket;
use super::introduction::{DataHeaders, accept_introduced, send_header};
use super::openings::keeps_port;
use super::pump::{self, Leg};
use super::shared::{PortLease, Shared};
use super::splice;
use crate::net::{self, Dialling, reset_on_close};
use crate::report::{DataOutcome, TlsVersion};
use crate::session::Dial;
use crate::telemetry::RunningBytes;
use crate::terms::{ByteCounts, Side, TransferId};
use crate::tls::failure::Failure;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

/// A peer that has just offered its address answers at once, or its network is broken.
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

/// After an `accept` that failed for lack of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a data connection tells its session.
#[derive(Debug)]
pub(super) enum DataEvent {
    /// The awaited connection of this side has come.
    Used {
        /// Which transfer.
        id: TransferId,
        /// Whose connection.
        side: Side,
    },
    /// The TLS handshake with this side is over.
    HandshakeEnded {
        /// Which transfer.
        id: TransferId,
        /// With whom.
        side: Side,
        /// What was agreed on, and whether an earlier session was resumed; or why it failed.
        outcome: Result<(TlsVersion, bool), Failure>,
    },
    /// Both legs stand, with TLS where they are protected.
    Joined {
        /// Which transfer.
        id: TransferId,
    },
    /// It is over.
    Ended {
        /// Which transfer.
        id: TransferId,
        /// How.
        outcome: DataOutcome,
        /// What was moved.
        bytes: ByteCounts,
    },
}

/// One leg that is to be made.
pub(super) struct PlannedLeg {
    /// How it gets its connection.
    pub(super) source: LegSource,
    /// What is begun on it then, if it is protected.
    pub(super) tls: Option<LegTls>,
}

/// How one leg gets its connection.
pub(super) enum LegSource {
    /// The peer dials an address of the gateway.
    Listening {
        /// Bound to that address.
        listener: TcpListener,
        /// The only address that may connect.
        peer: IpAddr,
        /// The port stays taken while it is listened on.
        lease: Option<PortLease>,
    },
    /// The peer dials a foreign address; the firewall captures it.
    Captured {
        /// The place in the intake.
        ticket: Ticket,
        /// The port stays taken while it is awaited.
        lease: Option<PortLease>,
    },
    /// The gateway dials.
    Dialled(Dial),
}

impl LegSource {
    /// The port of the pool, for a holder that outlives the wait.
    fn take_lease(&mut self) -> Option<PortLease> {
        match self {
            Self::Listening { lease, .. } | Self::Captured { lease, .. } => lease.take(),
            Self::Dialled(_) => None,
        }
    }
}

/// A running task that carries one transfer.
pub(super) struct DataTask {
    task: JoinHandle<()>,
    orders: mpsc::UnboundedSender<Side>,
    /// Connections that are still awaited.
    awaited: Arc<AtomicUsize>,
    awaits: bool,
    takes_upload: Arc<Notify>,
    bytes: Arc<RunningBytes>,
}

impl DataTask {
    /// Starts to await, and to dial when told or when the other leg's connection has come.
    pub(super) fn start(
        id: TransferId,
        client: PlannedLeg,
        server: PlannedLeg,
        shared: Arc<Shared>,
        headers: Arc<DataHeaders>,
        events: mpsc::UnboundedSender<DataEvent>,
    ) -> Self {
        let (orders, orders_in) = mpsc::unbounded_channel();
        let is_awaited = |leg: &PlannedLeg| !matches!(leg.source, LegSource::Dialled(_));
        let count = [&client, &server].into_iter().filter(|leg| is_awaited(leg)).count();
        let awaited = Arc::new(AtomicUsize::new(count));
        let takes_upload = Arc::new(Notify::new());
        let bytes = Arc::<RunningBytes>::default();
        let carrier = Carrier {
            id,
            shared,
            headers,
            events,
            orders: orders_in,
            awaited: Arc::clone(&awaited),
            takes_upload: Arc::clone(&takes_upload),
            bytes: Arc::clone(&bytes),
        };
        let task = tokio::spawn(carrier.run(client, server));
        Self { task, orders, awaited, awaits: count > 0, takes_upload, bytes }
    }

    /// Dials one leg of a transfer in which both legs dial.
    pub(super) fn dial(&self, side: Side) {
        // The task may have ended already; then it has said so.
        let _ = self.orders.send(side);
    }

    /// What the client sends may move, where TLS made it wait.
    pub(super) fn take_upload(&self) {
        self.takes_upload.notify_one();
    }

    /// What it has moved so far.
    pub(super) fn bytes(&self) -> Arc<RunningBytes> {
        Arc::clone(&self.bytes)
    }

    /// True if there was something to await, and all of it has come.
    pub(super) fn is_complete(&self) -> bool {
        self.awaits && self.awaited.load(Ordering::Acquire) == 0
    }

    /// Closes whatever is open, and returns when it is closed.
    pub(super) async fn cancel(self) {
        self.task.abort();
        // An error is what the abort leads to.
        let _ = self.task.await;
    }
}

struct Carrier {
    id: TransferId,
    shared: Arc<Shared>,
    headers: Arc<DataHeaders>,
    events: mpsc::UnboundedSender<DataEvent>,
    orders: mpsc::UnboundedReceiver<Side>,
    awaited: Arc<AtomicUsize>,
    takes_upload: Arc<Notify>,
    bytes: Arc<RunningBytes>,
}

impl Carrier {
    async fn run(mut self, client: PlannedLeg, mut server: PlannedLeg) {
        let server_port = if keeps_port(Side::Server) { server.source.take_lease() } else { None };
        let connected = self.connect_legs(client.source, server.source).await;
        let (outcome, bytes) = match connected {
            Ok(streams) => self.carry(streams, client.tls, server.tls).await,
            Err(_) => (DataOutcome::ConnectFailed, ByteCounts::default()),
        };
        drop(server_port);
        // A session that is over does not listen any more.
        let _ = self.events.send(DataEvent::Ended { id: self.id, outcome, bytes });
    }

    /// Begins TLS on the legs that are protected, on both at the same time, and joins them.
    async fn carry(
        &self,
        (client, server): (TcpStream, TcpStream),
        client_tls: Option<LegTls>,
        server_tls: Option<LegTls>,
    ) -> (DataOutcome, ByteCounts) {
        let timeout = self.shared.settings().data_idle_timeout;
        if client_tls.is_none() && server_tls.is_none() {
            let _ = self.events.send(DataEvent::Joined { id: self.id });
            return splice::join(client, server, &self.shared.pipes, timeout, &self.bytes).await;
        }
        // Where one fails, the other is dropped with it, which resets it.
        let secured = tokio::try_join!(
            self.secure(Side::Client, client, client_tls),
            self.secure(Side::Server, server, server_tls),
        );
        let Ok((client, server)) = secured else {
            return (DataOutcome::HandshakeFailed, ByteCounts::default());
        };
        let _ = self.events.send(DataEvent::Joined { id: self.id });
        let bytes = Arc::clone(&self.bytes);
        pump::join(client, server, self.takes_upload.notified(), timeout, bytes).await
    }

    /// The leg as it is joined. Why there is none is told before it is said.
    async fn secure(&self, side: Side, stream: TcpStream, tls: Option<LegTls>) -> Result<Leg, ()> {
        let Some(tls) = tls else { return Ok(Leg::clear(stream)) };
        let (leg, outcome) = match tls.shake_hands(stream, HANDSHAKE_TIMEOUT).await {
            Ok((leg, agreed)) => (Ok(leg), Ok((agreed.version, agreed.resumed))),
            Err(failure) => (Err(()), Err(failure)),
        };
        let _ = self.events.send(DataEvent::HandshakeEnded { id: self.id, side, outcome });
        leg
    }

    /// Both connections, or none. Until a transfer has ended in order, every close of a connection is
    /// a reset: also where one has come alone, or the task is cut short with the gateway.
    async fn connect_legs(
        &mut self,
        client: LegSource,
        server: LegSource,
    ) -> io::Result<(TcpStream, TcpStream)> {
        match (client, server) {
            (LegSource::Dialled(client), LegSource::Dialled(server)) => {
                self.dial_as_told(client, server).await
            }
            (LegSource::Dialled(client), server) => {
                let server = self.wait_for(Side::Server, server).await?;
                let client = self.dial(Side::Client, client).await?;
                Ok((client, server))
            }
            (client, LegSource::Dialled(server)) => {
                let client = self.wait_for(Side::Client, client).await?;
                let server = self.dial(Side::Server, server).await?;
                Ok((client, server))
            }
            (client, server) => tokio::try_join!(
                self.wait_for(Side::Client, client),
                self.wait_for(Side::Server, server),
            ),
        }
    }

    async fn dial_as_told(
        &mut self,
        client_leg: Dial,
        server_leg: Dial,
    ) -> io::Result<(TcpStream, TcpStream)> {
        let (mut client, mut server) = (None, None);
        loop {
            let side = self.orders.recv().await.ok_or(io::ErrorKind::ConnectionAborted)?;
            let (leg, slot) = match side {
                Side::Client => (client_leg, &mut client),
                Side::Server => (server_leg, &mut server),
            };
            if slot.is_none() {
                *slot = Some(self.dial(side, leg).await?);
            }
            if let (Some(_), Some(_)) = (&client, &server)
                && let (Some(client), Some(server)) = (client.take(), server.take())
            {
                return Ok((client, server));
            }
        }
    }

    /// The one connection that is awaited. What held the place for it is closed when it has come.
    async fn wait_for(&self, side: Side, source: LegSource) -> io::Result<TcpStream> {
        let stream = match source {
            LegSource::Listening { listener, peer, lease } => {
                let stream = match (side, &self.headers.accept_from) {
                    (Side::Client, Some(balancers)) => {
                        accept_introduced(&listener, peer, balancers).await
                    }
                    (Side::Client, None) | (Side::Server, _) => accept_only(&listener, peer).await,
                };
                drop((listener, lease));
                stream
            }
            LegSource::Captured { ticket, lease } => {
                let stream = ticket.connection().await.ok_or(io::ErrorKind::ConnectionAborted)?;
                drop(lease);
                stream
            }
            LegSource::Dialled(leg) => return self.dial(side, leg).await,
        };
        reset_on_close(&stream);
        self.awaited.fetch_sub(1, Ordering::AcqRel);
        let _ = self.events.send(DataEvent::Used { id: self.id, side });
        Ok(stream)
    }

    async fn dial(&self, side: Side, leg: Dial) -> io::Result<TcpStream> {
        let mut stream = dial(leg).await?;
        match side {
            Side::Client => {}
            Side::Server => {
                send_header(&mut stream, &self.headers.to_server(leg.to.port())).await?;
            }
        }
        Ok(stream)
    }
}

/// Accepts the rightful peer; strangers are reset (case 10). Ends when the session cancels it.
async fn accept_only(listener: &TcpListener, peer: IpAddr) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, from)) if from.ip().to_canonical() == peer => return stream,
            Ok((stranger, _)) => reset_on_close(&stranger),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn dial(leg: Dial) -> io::Result<TcpStream> {
    let Dial { to, from, foreign, third: _ } = leg;
    let dialling = Dialling { to, from: Some(from), foreign };
    let stream = tokio::time::timeout(DIAL_TIMEOUT, net::connect(dialling)).await??;
    reset_on_close(&stream);
    Ok(stream)
}

#[cfg(test)]
mod tests;
