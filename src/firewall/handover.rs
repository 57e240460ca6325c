//! A table that outlives the process: its socket is kept elsewhere, and the next process goes on
//! with it.
//!
//! The kernel removes an owned table when the last descriptor of the socket that made it is closed
//! (see `nftables`). A service manager that keeps one keeps the table, and with it the captures of
//! control connections, while nobody runs. The next process replaces the table over that very
//! socket in one batch: there is no moment without captures.

use super::netlink::Socket;
use rustix::net::{AddressFamily, netlink, sockopt};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

/// What an earlier process has left behind.
#[derive(Debug)]
pub struct Predecessor {
    /// The name of its table.
    pub table: String,
    /// The socket that owns it, of [`super::Firewall::hand_over`].
    pub socket: OwnedFd,
}

impl Predecessor {
    /// The socket, ready for use, and the name of its table. `None`, and told, if it is of another
    /// kind or of another network namespace than that of the calling thread.
    pub(super) fn adopt(self) -> Option<(Socket, String)> {
        let Self { table, socket } = self;
        match adopt(socket) {
            Ok(socket) => {
                tracing::info!(table, "goes on with the table that was left behind");
                Some((socket, table))
            }
            Err(reason) => {
                tracing::warn!(table, %reason, "the table left behind cannot be taken over");
                None
            }
        }
    }
}

fn adopt(socket: OwnedFd) -> io::Result<Socket> {
    let is_ours = sockopt::socket_domain(&socket)? == AddressFamily::NETLINK
        && sockopt::socket_protocol(&socket)? == Some(netlink::NETFILTER);
    if !is_ours {
        return Err(io::Error::other("it is no netlink socket of the firewall"));
    }
    // Any socket of this namespace will do to compare with.
    let here = UnixDatagram::unbound()?;
    if namespace(&socket)? != namespace(&here)? {
        return Err(io::Error::other("it belongs to another network namespace"));
    }
    let mut socket = Socket::from_fd(socket);
    // Answers that the earlier process has not read, or the news that some were lost.
    loop {
        match socket.receive(false) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(socket),
            Err(error) if error.raw_os_error() != Some(libc::ENOBUFS) => return Err(error),
            _ => {}
        }
    }
}

/// The number of the network namespace that a socket belongs to.
#[allow(unsafe_code, reason = "an option of sockets that has no safe function")]
fn namespace(socket: &impl AsRawFd) -> io::Result<u64> {
    let mut value = 0u64;
    let mut length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: the number lives through the call and has the length given.
    let got = unsafe {
        let (fd, value) = (socket.as_raw_fd(), (&raw mut value).cast());
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_NETNS_COOKIE, value, &raw mut length)
    };
    if got < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}
