//! What data connection may come, for whom, through which address: plain values.
//!
//! An [`Expectation`] says what a session awaits; the executor turns it into a [`Pinhole`] by
//! choosing a port where none is given ([`PortPool`]). A pinhole admits exactly one connection,
//! from exactly one address, and then is gone.
//!
//! Not here: how the kernel is told (see [`crate::firewall`]), and how long a pinhole may stay
//! open (a setting of the session).

mod pool;

pub use pool::{PortPool, PortRange, PortRangeError};

use crate::addr::canonical;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A data connection that a session awaits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Expectation {
    /// The only address that may connect: the one known from the control connection.
    pub peer: IpAddr,
    /// The address that the peer will dial.
    pub address: IpAddr,
    /// The port that the peer will dial; `None`: one of the gateway's pool, chosen at random.
    pub port: Option<u16>,
    /// True if `address` belongs to the far side and not to the gateway, so that the peer's packets
    /// only pass through here and have to be captured to be relayed.
    pub foreign: bool,
}

/// The opening for one data connection: the key under which the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pinhole {
    /// The only address that may connect.
    pub peer: IpAddr,
    /// The address and port that the peer dials.
    pub entry: SocketAddr,
}

impl Pinhole {
    /// The pinhole through which a connection from `peer` to `entry` would come.
    pub fn between(peer: SocketAddr, entry: SocketAddr) -> Self {
        Self { peer: peer.ip().to_canonical(), entry: canonical(entry) }
    }
}

impl fmt::Display for Pinhole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.peer, self.entry)
    }
}
