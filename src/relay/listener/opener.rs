//! Finds and dials the server of one session.
//!
//! Not here: the session that is told of it (see `driver`).

use super::super::admission::Seat;
use super::super::driver::Driver;
use super::super::introduction::send_header;
use super::super::shared::{End, OwnEnd, Shared};
use super::{ListenerSettings, ServerAddress};
use crate::addr::OriginalDst;
use crate::net::{self, Dialling};
use crate::session::{Event, Source};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};

/// A server that does not answer within this time is not there for the client either, whose own
/// patience is rarely longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// A client with the ends of a connection of the gateway's own is refused after this time, unless the
/// server of that connection has spoken: few take longer to greet, and such a client is rare.
const LOOP_PATIENCE: Duration = Duration::from_secs(2);

/// The control connection to a server.
struct Connected {
    stream: TcpStream,
    own_end: OwnEnd,
    seat: Seat,
}

/// Why there is no connection to a server.
enum NotConnected {
    /// It has as many sessions as `limits.sessions_per_server` lets it have.
    Full,
    /// What is left of descriptors is kept for data connections.
    DescriptorsScarce,
    /// It cannot be reached.
    Failed(io::Error),
}

impl From<io::Error> for NotConnected {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => Self::DescriptorsScarce,
            _ => Self::Failed(error),
        }
    }
}

/// What `asked` comes to, or that it takes too long.
async fn in_time<T>(
    until: tokio::time::Instant,
    asked: impl Future<Output = Result<T, NotConnected>>,
) -> Result<T, NotConnected> {
    let timeout = |_| NotConnected::Failed(io::ErrorKind::TimedOut.into());
    tokio::time::timeout_at(until, asked).await.map_err(timeout)?
}

/// What it takes to find and dial the server of one session.
pub(super) struct Opener {
    pub(super) settings: Arc<ListenerSettings>,
    pub(super) shared: Arc<Shared>,
    pub(super) own_address: SocketAddr,
    pub(super) client: SocketAddr,
    pub(super) original_dst: OriginalDst,
    /// The two ends of its control connection: as the session knows them, as the kernel reports
    /// them, and as they were ahead of any other rule of this host.
    pub(super) ends: [End; 3],
}

impl Opener {
    /// Gives the driver its server, or tells its session why there is none.
    pub(super) async fn open(self, driver: &mut Driver) {
        let leads_back = tokio::select! {
            leads_back = self.leads_back() => leads_back,
            () = driver.wait_for_server() => return,
        };
        if leads_back {
            return driver.tell(Event::LoopDetected);
        }
        let until = tokio::time::Instant::now() + CONNECT_TIMEOUT;
        let servers = tokio::select! {
            servers = in_time(until, self.servers()) => servers,
            () = driver.wait_for_server() => return,
        };
        let mut last = NotConnected::Failed(io::ErrorKind::NotFound.into());
        for to in servers.unwrap_or_else(|error| {
            last = error;
            Vec::new()
        }) {
            if !driver.may_dial(to).await {
                return;
            }
            let dialled = tokio::select! {
                dialled = in_time(until, self.dial(to)) => dialled,
                () = driver.wait_for_server() => return,
            };
            match dialled {
                Ok(Connected { stream, own_end, seat }) => {
                    return driver.attach_server(stream, own_end, seat);
                }
                Err(error) => last = error,
            }
        }
        match last {
            NotConnected::Full => driver.tell(Event::ServerLimitReached),
            NotConnected::DescriptorsScarce => driver.tell(Event::DescriptorsScarce),
            NotConnected::Failed(error) => {
                tracing::warn!(%error, server = %self.server_name(), "cannot reach the server");
                driver.tell(Event::ServerConnectFailed);
            }
        }
    }

    /// True if the server that would be dialled is this gateway (case 48): the client has dialled
    /// the listener although it should have been captured on its way to a server, or the client is
    /// a connection of the gateway's own.
    async fn leads_back(&self) -> bool {
        let to_itself = self.settings.server == ServerAddress::Original
            && self.original_dst.0.port() == self.own_address.port()
            && net::interfaces::is_local(self.original_dst.0.ip());
        to_itself || self.shared.leads_back(&self.ends, LOOP_PATIENCE).await
    }

    async fn servers(&self) -> Result<Vec<SocketAddr>, NotConnected> {
        match &self.settings.server {
            ServerAddress::Original => Ok(vec![self.original_dst.0]),
            ServerAddress::Fixed { host, port } => {
                Ok(lookup_host((host.as_str(), *port)).await?.collect())
            }
        }
    }

    async fn dial(&self, to: SocketAddr) -> Result<Connected, NotConnected> {
        let seat = self.shared.take_seat(to).ok_or(NotConnected::Full)?;
        let from = match self.settings.session.source {
            Source::Gateway => None,
            Source::Client => Some(self.client.ip()),
        };
        let dialling = Dialling { to, from, foreign: from.is_some() };
        let (dialled, own_end) = self.shared.dial(dialling)?;
        // Many may have been admitted at a time, each of which then takes one more.
        if net::are_descriptors_scarce(&dialled) {
            return Err(NotConnected::DescriptorsScarce);
        }
        let mut stream = dialled.established().await?;
        net::tune_control(&stream)?;
        let headers = &self.settings.proxy_protocol;
        send_header(&mut stream, &headers.header(self.client, self.original_dst.0)).await?;
        Ok(Connected { stream, own_end, seat })
    }

    fn server_name(&self) -> String {
        match &self.settings.server {
            ServerAddress::Original => self.original_dst.to_string(),
            ServerAddress::Fixed { host, port } => format!("{host}:{port}"),
        }
    }
}
