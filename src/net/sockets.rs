//! Listening, dialling and asking where a client wanted to go, with the options that the standard
//! library lacks.

use crate::addr::canonical;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpStream;

/// Connections that the kernel completes ahead of `accept`, per listener.
const BACKLOG: i32 = 1024;

/// A control connection is silent while a transfer runs (RFC 6384 §8 asks to keep it alive): probes
/// start after this time and stay below the idle timeout of every common NAT.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// Between two probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Unanswered probes before the peer is taken for dead: two minutes in all.
const KEEPALIVE_RETRIES: u32 = 4;

/// What the kernel may hold of a control connection in each direction, which it doubles for its own
/// needs: lines want no more, and left to itself it lets a peer that does not read take megabytes of
/// memory that all connections of the host share (net.ipv4.tcp_mem).
const CONTROL_BUFFER: usize = 64 * 1024;

/// What went wrong with a socket, and what to do about it.
#[derive(Debug, Error)]
pub enum NetError {
    /// A listener could not be bound.
    #[error("cannot listen on {address}: {reason}{}", advice(.reason))]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        reason: io::Error,
    },
    /// A socket may not be made transparent.
    #[error(
        "cannot make the socket for {address} transparent: {reason}; IP_TRANSPARENT needs the \
         capability CAP_NET_ADMIN: run as root, or give the program the right with \
         `setcap cap_net_admin,cap_net_bind_service+ep`"
    )]
    Transparent {
        /// Of which socket.
        address: SocketAddr,
        /// Why.
        reason: io::Error,
    },
    /// A socket that was handed over does not take the families that it should.
    #[error(
        "the socket `{name}` that was handed over for {address} takes IPv6 only, while `listen` \
         means IPv4 as well: bind it for both (systemd: BindIPv6Only=both)"
    )]
    OnlyV6 {
        /// Where it listens.
        address: SocketAddr,
        /// As the service manager names it.
        name: String,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need the capability CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrInUse => "; another process listens there already",
        io::ErrorKind::AddrNotAvailable => "; no interface of this host has that address",
        _ => "",
    }
}

/// Listens on `address`; with `dual`, `[::]` takes
/// IPv4 as well. A transparent listener also accepts
/// connections to addresses that are not this host's. The socket does not block.
pub fn listen(
    address: SocketAddr,
    transparent: bool,
    dual: bool,
) -> Result<std::net::TcpListener, NetError> {
    let failed = |reason| NetError::Listen { address, reason };
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))
        .map_err(failed)?;
    socket.set_reuse_address(true).map_err(failed)?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual).map_err(failed)?;
    }
    if transparent {
        set_transparent(&SockRef::from(&socket), address)?;
    }
    socket.bind(&address.into()).map_err(failed)?;
    socket.listen(BACKLOG).map_err(failed)?;
    Ok(socket.into())
}

/// Makes of a socket that listens on `address` what [`listen`] would have made of it.
pub(super) fn adopt_listener(
    socket: &std::net::TcpListener,
    address: SocketAddr,
    transparent: bool,
) -> Result<(), NetError> {
    let failed = |reason| NetError::Listen { address, reason };
    let socket = SockRef::from(socket);
    if transparent {
        set_transparent(&socket, address)?;
    }
    socket.set_nonblocking(true).map_err(failed)?;
    // A second time only changes the length of the queue.
    socket.listen(BACKLOG).map_err(failed)
}

fn set_transparent(socket: &SockRef<'_>, address: SocketAddr) -> Result<(), NetError> {
    let set = if address.is_ipv4() {
        socket.set_ip_transparent_v4(true)
    } else {
        socket.set_ip_transparent_v6(true)
    };
    set.map_err(|reason| NetError::Transparent { address, reason })
}

/// A connection to be made.
#[derive(Debug, Clone, Copy)]
pub struct Dialling {
    /// Where to.
    pub to: SocketAddr,
    /// The local address that the peer has to see; `None` leaves the choice to the routing table.
    pub from: Option<IpAddr>,
    /// True if `from` is not an address of this host (IP_TRANSPARENT, CAP_NET_ADMIN).
    pub foreign: bool,
}

/// A connection that is being made.
pub struct Dialled(TcpStream);

impl AsFd for Dialled {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Dialled {
    /// Our own end, which is chosen when the first packet leaves.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Waits until the peer has answered. Gives up when the kernel does; the caller bounds the time.
    pub async fn established(self) -> io::Result<TcpStream> {
        self.0.writable().await?;
        match self.0.take_error()? {
            None => Ok(self.0),
            Some(error) => Err(error),
        }
    }
}

/// Dials a peer and waits for it, as [`Dialled::established`].
pub async fn connect(dialling: Dialling) -> io::Result<TcpStream> {
    dial(dialling)?.established().await
}

/// Sends a peer the first packet of a connection.
pub fn dial(dialling: Dialling) -> io::Result<Dialled> {
    let Dialling { to, from, foreign } = dialling;
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(to), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(from) = from {
        let local = SocketAddr::new(from, 0);
        if foreign {
            set_transparent(&SockRef::from(&socket), local).map_err(io::Error::other)?;
        }
        bind_without_port(&socket)?;
        socket.bind(&local.into())?;
    }
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(Dialled(TcpStream::from_std(socket.into())?)),
    }
}

/// Leaves the choice of the local port to `connect`, which may then reuse a port towards another
/// peer: without it one address has ports for some 28 000 connections in all.
#[allow(unsafe_code, reason = "an option of sockets that has no safe function")]
fn bind_without_port(socket: &Socket) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let on: libc::c_int = 1;
    const SIZE: libc::socklen_t = 4;
    const { assert!(size_of::<libc::c_int>() == SIZE as usize) };
    // SAFETY: the descriptor is open for the life of `socket`, and the option reads one int.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            SIZE,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Where the client of a redirected connection dialled (SO_ORIGINAL_DST). An error means that
/// conntrack knows nothing of it: the connection was not redirected.
pub fn original_dst(stream: &std::net::TcpStream) -> io::Result<SocketAddr> {
    let socket = SockRef::from(stream);
    let found = if canonical(stream.peer_addr()?).is_ipv4() {
        socket.original_dst_v4()?
    } else {
        socket.original_dst_v6()?
    };
    let address = found.as_socket().ok_or_else(|| io::Error::other("not an IP address"))?;
    Ok(canonical(address))
}

/// Makes a control connection quick, alive, small, and readable in order: urgent data (the Telnet Synch
/// ahead of ABOR) stays in line with the rest.
pub fn tune_control(stream: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_out_of_band_inline(true)?;
    socket.set_recv_buffer_size(CONTROL_BUFFER)?;
    socket.set_send_buffer_size(CONTROL_BUFFER)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(KEEPALIVE_IDLE + KEEPALIVE_INTERVAL * KEEPALIVE_RETRIES))
}

/// Makes the coming close a reset, so that an abnormal end is seen as one by the peer (case 46): also
/// the close that the kernel does for a process that is killed.
pub fn reset_on_close(stream: &impl AsFd) {
    // Failing only means that the peer sees an orderly end of a broken connection.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Takes [`reset_on_close`] back: what is unsent is still sent, and then the end.
pub fn end_on_close(stream: &impl AsFd) {
    // Failing means that the connection is gone already.
    let _ = SockRef::from(stream).set_linger(None);
}
