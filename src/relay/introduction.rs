//! PROXY headers on connections: clients that a load balancer introduces, and what servers are told
//! about clients.
//!
//! Not here: what a header looks like (see `net::proxy_protocol`).

use super::admission::{Denial, Permit};
use crate::net::proxy_protocol::{self, Header, HeaderFault, Version};
use crate::net::reset_on_close;
use crate::policy::bypass::Network;
use crate::report::CloseCause;
use crate::session::Parties;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// From the accepted connection to its whole header. A balancer sends it as soon as the connection
/// stands; HAProxy's specification asks for room for one lost packet, 3 s and more.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Data connections whose headers are read at the same time for one transfer. A balancer's headers
/// come with its connections, so that more of them than that are strangers who send nothing: the one
/// that has said nothing for longest makes room.
const MOST_READING: usize = 8;

/// Bytes that are looked at in one go; most headers have fewer.
const PEEK_SIZE: usize = 256;

/// After an `accept` that failed for lack of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a listener does with PROXY headers (`proxy_protocol`).
#[derive(Debug, Clone, Default)]
pub struct ProxyProtocol {
    /// Whose connections have to begin with one; nobody else's is believed.
    pub accept_from: Arc<[Network]>,
    /// What the control connection to the server begins with, if with anything.
    pub send: Option<Version>,
    /// The data connections that are dialled to the server begin with the same.
    pub send_data: bool,
}

impl ProxyProtocol {
    /// True if connections of `peer` have to begin with a header.
    pub(super) fn expects_from(&self, peer: IpAddr) -> bool {
        expects(&self.accept_from, peer)
    }

    /// What the server is told about a client that dialled `destination`; empty if nothing.
    pub(super) fn header(&self, client: SocketAddr, destination: SocketAddr) -> Vec<u8> {
        self.send.map(|version| version.encode(client, destination)).unwrap_or_default()
    }
}

fn expects(accept_from: &[Network], peer: IpAddr) -> bool {
    accept_from.iter().any(|network| network.contains(peer))
}

/// What PROXY headers mean for the data connections of one session.
#[derive(Debug, Clone, Default)]
pub(super) struct DataHeaders {
    /// Whose connections have to begin with one, where the client dials and has been introduced
    /// itself.
    pub(super) accept_from: Option<Arc<[Network]>>,
    /// What connections begin with that are dialled to the server, if with anything.
    to_server: Option<ServerHeader>,
}

impl DataHeaders {
    /// For a session of these parties.
    pub(super) fn of(settings: &ProxyProtocol, parties: &Parties) -> Self {
        let accept_from = parties.introduced_at.map(|_| Arc::clone(&settings.accept_from));
        let header = |version| ServerHeader {
            version,
            client: parties.client,
            dialled: parties.original_dst.0.ip(),
        };
        let to_server = settings.send.filter(|_| settings.send_data).map(header);
        Self { accept_from, to_server }
    }

    /// What a connection to this port of the server begins with; empty if with nothing. A balancer on
    /// the way may go by the port in the header: HAProxy does.
    pub(super) fn to_server(&self, port: u16) -> Vec<u8> {
        let header = self.to_server.as_ref();
        let encoded = header.map(|ServerHeader { version, client, dialled }| {
            version.encode(*client, SocketAddr::new(*dialled, port))
        });
        encoded.unwrap_or_default()
    }
}

/// The header of a session's data connections.
#[derive(Debug, Clone)]
struct ServerHeader {
    version: Version,
    /// As on the control connection: which port the client's data comes from is not always known
    /// when the server is dialled.
    client: SocketAddr,
    /// The address that the client dialled.
    dialled: IpAddr,
}

/// Why a connection has no header that is believed.
#[derive(Debug, Error)]
pub(super) enum NoHeader {
    /// It ended before its first byte: a check whether somebody listens.
    #[error("the connection ended without a byte")]
    Silent,
    /// It ended in the middle.
    #[error("the connection ended inside it")]
    Cut,
    /// It did not come in time.
    #[error("it has not come within {} s", HEADER_TIMEOUT.as_secs())]
    Late,
    /// It is none.
    #[error("{0}")]
    Fault(#[from] HeaderFault),
}

impl From<io::Error> for NoHeader {
    fn from(_: io::Error) -> Self {
        Self::Cut
    }
}

/// Takes the header off the connection, and not a byte more.
pub(super) async fn read_header(stream: &mut TcpStream) -> Result<Header, NoHeader> {
    timeout(HEADER_TIMEOUT, take_header(stream)).await.unwrap_or(Err(NoHeader::Late))
}

async fn take_header(stream: &mut TcpStream) -> Result<Header, NoHeader> {
    let mut taken = Vec::new();
    loop {
        let mut peeked = [0; PEEK_SIZE];
        let count = match stream.peek(&mut peeked).await {
            Ok(count) if count > 0 => count,
            _ if taken.is_empty() => return Err(NoHeader::Silent),
            _ => return Err(NoHeader::Cut),
        };
        let before = taken.len();
        taken.extend_from_slice(peeked.get(..count).unwrap_or_default());
        let parsed = proxy_protocol::parse(&taken)?;
        // As long as it is not whole, all that has come belongs to it.
        let length = parsed.map_or(taken.len(), |(_, length)| length);
        let of_it = peeked.get_mut(..length.saturating_sub(before)).unwrap_or_default();
        stream.read_exact(of_it).await?;
        if let Some((header, _)) = parsed {
            return Ok(header);
        }
    }
}

/// A client whose connection a balancer carries, once it is known.
pub(super) struct Introduced {
    /// The client.
    pub(super) client: SocketAddr,
    /// Where it dialled.
    pub(super) dialled: SocketAddr,
    /// As the client's own.
    pub(super) permit: Permit,
}

/// Why a connection that has to be introduced leads to no session.
pub(super) struct NotIntroduced {
    /// The client as far as it is known: the balancer before that.
    pub(super) client: SocketAddr,
    /// Where it dialled.
    pub(super) dialled: SocketAddr,
    pub(super) cause: CloseCause,
    /// What the client is told; empty: nothing.
    pub(super) reply: &'static [u8],
}

/// Reads the header of a connection that `peer` has made to `local`, and counts its session as one
/// of the client that it names.
pub(super) async fn introduce(
    stream: &mut TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
    permit: Permit,
) -> Result<Introduced, NotIntroduced> {
    let (client, dialled) = match read_header(stream).await {
        Ok(Header::Proxied { source, destination }) => (source, destination),
        Ok(Header::Own) => (peer, local),
        Err(reason) => {
            let cause = match reason {
                NoHeader::Silent => CloseCause::ClientClosed,
                NoHeader::Cut | NoHeader::Late | NoHeader::Fault(_) => {
                    tracing::warn!(
                        %peer, %reason,
                        "no PROXY header, which proxy_protocol.accept_from asks of this address: \
                         turn it on there, or take the address from the list"
                    );
                    CloseCause::NoProxyHeader
                }
            };
            return Err(NotIntroduced { client: peer, dialled: local, cause, reply: &[] });
        }
    };
    match permit.name(client.ip()) {
        Ok(permit) => Ok(Introduced { client, dialled, permit }),
        Err(Denial { cause, reply }) => Err(NotIntroduced { client, dialled, cause, reply }),
    }
}

/// A connection whose header is being read; `None` if it is not the awaited one.
type Reading = Pin<Box<dyn Future<Output = Option<TcpStream>> + Send>>;

/// Accepts the one data connection of `peer`: from its own address, or from a balancer whose header
/// names it. Whatever else comes is reset, and holds nobody up (case 10). Ends when the session
/// cancels it.
pub(super) async fn accept_introduced(
    listener: &TcpListener,
    peer: IpAddr,
    accept_from: &[Network],
) -> TcpStream {
    let mut reading: VecDeque<Reading> = VecDeque::new();
    loop {
        let accepted = match poll_fn(|cx| poll_first(listener, &mut reading, cx)).await {
            First::Introduced(stream) => return stream,
            First::Accepted(accepted) => accepted,
        };
        match accepted {
            Ok((stream, from)) if expects(accept_from, from.ip()) => {
                reset_on_close(&stream);
                while reading.len() >= MOST_READING {
                    reading.pop_front();
                }
                reading.push_back(Box::pin(introduced_as(stream, from, peer)));
            }
            Ok((stream, from)) if from.ip().to_canonical() == peer => return stream,
            Ok((stranger, _)) => reset_on_close(&stranger),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// What happens first while data connections are awaited and read.
enum First {
    /// The rightful one.
    Introduced(TcpStream),
    /// One more.
    Accepted(io::Result<(TcpStream, SocketAddr)>),
}

fn poll_first(
    listener: &TcpListener,
    reading: &mut VecDeque<Reading>,
    cx: &mut Context<'_>,
) -> Poll<First> {
    let mut rightful = None;
    reading.retain_mut(|one| match one.as_mut().poll(cx) {
        Poll::Pending => true,
        Poll::Ready(stream) => {
            rightful = rightful.take().or(stream);
            false
        }
    });
    match rightful {
        Some(stream) => Poll::Ready(First::Introduced(stream)),
        None => listener.poll_accept(cx).map(First::Accepted),
    }
}

/// The connection, if its header names `peer`, or if it is the balancer's own and that is `peer`.
async fn introduced_as(mut stream: TcpStream, from: SocketAddr, peer: IpAddr) -> Option<TcpStream> {
    let named = match read_header(&mut stream).await {
        Ok(Header::Proxied { source, .. }) => source.ip(),
        Ok(Header::Own) => from.ip().to_canonical(),
        Err(reason) => {
            tracing::debug!(%from, %reason, "no PROXY header on a data connection");
            return None;
        }
    };
    if named != peer {
        tracing::debug!(%from, %named, "a data connection of somebody else");
        return None;
    }
    Some(stream)
}

/// Sends a header, if there is one, as the first thing on a connection.
pub(super) async fn send_header(stream: &mut TcpStream, header: &[u8]) -> io::Result<()> {
    // Fewer bytes than any send buffer has room for: nothing is waited for.
    stream.write_all(header).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::Ipv4Addr;

    #[tokio::test]
    async fn case_10_a_header_that_has_come_is_read_before_its_connection_makes_room() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let dial = |source: &str| {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            write!(stream, "PROXY TCP4 {source} 203.0.113.7 40001 50000\r\n").unwrap();
            stream
        };
        // All of them wait to be accepted, as after a moment in which the thread had other work.
        let rightful = dial("192.0.2.2");
        let _others: Vec<_> = (0..2 * MOST_READING).map(|_| dial("192.0.2.9")).collect();
        let balancers = [Network::new(Ipv4Addr::LOCALHOST.into(), 32).unwrap()];
        let peer = "192.0.2.2".parse().unwrap();
        let accepted = accept_introduced(&listener, peer, &balancers);
        let stream = timeout(Duration::from_secs(5), accepted).await.expect("it is read");
        assert_eq!(stream.peer_addr().unwrap(), rightful.local_addr().unwrap());
    }
}
