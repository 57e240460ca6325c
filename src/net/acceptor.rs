//! Accepts connections that are to be carried by another runtime than the one that awaits them.

use crate::addr::canonical;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

/// A listening socket whose connections belong to no runtime yet.
#[derive(Debug)]
pub struct Acceptor {
    socket: tokio::net::TcpListener,
}

impl Acceptor {
    /// Takes a listening socket that does not block.
    ///
    /// # Errors
    /// The runtime cannot watch it.
    pub fn new(socket: TcpListener) -> io::Result<Self> {
        Ok(Self { socket: tokio::net::TcpListener::from_std(socket)? })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection, which does not block, and its peer.
    ///
    /// # Errors
    /// No descriptor or no memory is left; the next call may succeed.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.socket.accept().await?;
        Ok((stream.into_std()?, canonical(peer)))
    }
}
