//! The sockets that the process was started with (`sd_listen_fds(3)`): whoever starts it has bound
//! them, and keeps them while it restarts, so that the kernel goes on completing connections.
//!
//! For listeners, and for what an earlier process has left with the service manager. Not here: what
//! that is, and what the service manager is told.

use super::sockets::{self, NetError};
use crate::addr::canonical;
use socket2::{SockRef, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use thiserror::Error;

/// The sockets are taken once: a second owner would close what the first one uses.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The environment announces sockets that are not there, or that it does not describe.
#[derive(Debug, Error)]
#[error(
    "cannot take the sockets that LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES announce: {0}; start \
     the process without these variables, or as sd_listen_fds(3) has it"
)]
pub struct InheritedError(#[source] io::Error);

/// Sockets that nobody has asked for yet.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<Named>,
}

#[derive(Debug)]
struct Named {
    /// Of LISTEN_FDNAMES: `FileDescriptorName=` of a unit, or FDNAME of what a process has stored.
    name: String,
    socket: OwnedFd,
}

impl Inherited {
    /// Takes what LISTEN_FDS announces, if LISTEN_PID is this process; a second call finds nothing.
    /// No child process will see the sockets.
    ///
    /// # Errors
    /// The environment contradicts itself, or what is open.
    #[allow(unsafe_code, reason = "what a service manager hands over are numbers of descriptors")]
    pub fn take() -> Result<Self, InheritedError> {
        if TAKEN.swap(true, Ordering::Relaxed) {
            return Ok(Self::default());
        }
        let found = sd_notify::listen_fds_with_names().map_err(InheritedError)?;
        let sockets = found.map(|(fd, name)| {
            // SAFETY: it is open, for it has just been marked to be closed on exec, and whoever has
            // started this process says that it is this process's to own; `TAKEN` is the only owner.
            let socket = unsafe { OwnedFd::from_raw_fd(fd) };
            Named { name, socket }
        });
        Ok(Self { sockets: sockets.collect() })
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Listens on `address` as [`super::listen`] does, with the socket that was handed over for it
    /// if there is one.
    ///
    /// # Errors
    /// As [`Inherited::listener`] and [`super::listen`].
    pub fn listen(
        &mut self,
        address: SocketAddr,
        transparent: bool,
        dual: bool,
    ) -> Result<TcpListener, NetError> {
        match self.listener(address, transparent, dual)? {
            Some(socket) => Ok(socket),
            None => sockets::listen(address, transparent, dual),
        }
    }

    /// Takes the TCP socket that listens on just this address, whatever its name: the rules that
    /// steer clients to a listener are written from its address. It is made transparent where that
    /// is asked for, and does not block.
    ///
    /// # Errors
    /// It cannot be made what is asked for. `dual` cannot be changed once a socket is bound.
    pub fn listener(
        &mut self,
        address: SocketAddr,
        transparent: bool,
        dual: bool,
    ) -> Result<Option<TcpListener>, NetError> {
        let listens_there = |named: &Named| listens_on(&named.socket) == Some(address);
        let Some(at) = self.sockets.iter().position(listens_there) else { return Ok(None) };
        let Named { name, socket } = self.sockets.remove(at);
        let socket = TcpListener::from(socket);
        sockets::adopt_listener(&socket, address, transparent)?;
        if dual && SockRef::from(&socket).only_v6().is_ok_and(|only| only) {
            return Err(NetError::OnlyV6 { address, name });
        }
        tracing::info!(name, %address, "a listening socket was handed over");
        Ok(Some(socket))
    }

    /// Takes the sockets whose names begin with `prefix`, each with the rest of its name.
    pub fn named(&mut self, prefix: &str) -> Vec<(String, OwnedFd)> {
        let (taken, left) = std::mem::take(&mut self.sockets)
            .into_iter()
            .partition(|named: &Named| named.name.starts_with(prefix));
        self.sockets = left;
        let rest = |named: Named| Some((named.name.strip_prefix(prefix)?.to_owned(), named.socket));
        Vec::into_iter(taken).filter_map(rest).collect()
    }

    /// Closes what nobody has asked for, and tells its name and what it is.
    pub fn left_over(self) -> impl Iterator<Item = (String, String)> {
        self.sockets.into_iter().map(|Named { name, socket }| {
            let what = match listens_on(&socket) {
                Some(address) => format!("listens on {address}"),
                None => "no listening TCP socket".to_owned(),
            };
            (name, what)
        })
    }
}

/// Where it listens, if it is a TCP socket that does.
fn listens_on(socket: &OwnedFd) -> Option<SocketAddr> {
    let socket = SockRef::from(socket);
    let listens = socket.r#type().ok()? == Type::STREAM && socket.is_listener().ok()?;
    listens.then(|| socket.local_addr().ok()?.as_socket().map(canonical))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket};
    use std::net::Ipv4Addr;
    use std::os::unix::net::UnixDatagram;

    fn inherited(sockets: impl IntoIterator<Item = (&'static str, OwnedFd)>) -> Inherited {
        let named = |(name, socket): (&str, OwnedFd)| Named { name: name.to_owned(), socket };
        Inherited { sockets: sockets.into_iter().map(named).collect() }
    }

    fn bound() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[test]
    fn a_listener_gets_the_socket_of_its_address_with_the_clients_that_wait_there() {
        let (first, address) = bound();
        let (second, other) = bound();
        let _waiting = std::net::TcpStream::connect(address).unwrap();
        let mut inherited = inherited([("b", second.into()), ("a", first.into())]);
        let socket = inherited.listen(address, false, false).unwrap();
        let (mut accepted, mut tries) = (socket.accept(), 0);
        while accepted.is_err() && tries < 100 {
            std::thread::sleep(std::time::Duration::from_millis(10));
            (accepted, tries) = (socket.accept(), tries + 1);
        }
        accepted.expect("the client that came before");
        assert_eq!(socket.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(inherited.listener(address, false, false).unwrap().is_none(), "taken");
        let left: Vec<_> = inherited.left_over().collect();
        assert_eq!(left, [("b".to_owned(), format!("listens on {other}"))]);
    }

    #[test]
    fn where_nothing_was_handed_over_a_socket_is_bound() {
        let mut inherited = Inherited::default();
        let socket = inherited.listen((Ipv4Addr::LOCALHOST, 0).into(), false, false).unwrap();
        std::net::TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    }

    #[test]
    fn what_does_not_listen_is_no_listener() {
        let unbound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        unbound.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let address = unbound.local_addr().unwrap().as_socket().unwrap();
        let datagrams = UnixDatagram::unbound().unwrap();
        let mut inherited = inherited([("bound", unbound.into()), ("other", datagrams.into())]);
        assert!(inherited.listener(address, false, false).unwrap().is_none());
        let left: Vec<_> = inherited.left_over().map(|(_, what)| what).collect();
        assert_eq!(left, ["no listening TCP socket", "no listening TCP socket"]);
    }

    #[test]
    fn a_socket_for_ipv6_alone_cannot_take_ipv4_as_well() {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
        socket.set_only_v6(true).unwrap();
        let Ok(()) = socket.bind(&"[::]:0".parse::<SocketAddr>().unwrap().into()) else { return };
        socket.listen(1).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let again: OwnedFd = socket.try_clone().unwrap().into();
        let refused = inherited([("six", socket.into())]).listener(address, false, true);
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("BindIPv6Only=both") && text.contains("six"), "{text}");
        assert!(inherited([("six", again)]).listener(address, false, false).unwrap().is_some());
    }

    #[test]
    fn what_bears_a_prefix_is_taken_by_it() {
        let (first, _) = bound();
        let (second, _) = bound();
        let mut inherited = inherited([("kept-x", first.into()), ("ftp", second.into())]);
        let taken: Vec<_> = inherited.named("kept-").into_iter().map(|(rest, _)| rest).collect();
        assert_eq!(taken, ["x"]);
        assert!(inherited.named("kept-").is_empty() && !inherited.is_empty());
    }
}
