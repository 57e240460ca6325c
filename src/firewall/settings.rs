//! What the gateway's table has to hold, besides the pinholes that come and go.

use crate::pinhole::PortRange;
use std::net::SocketAddr;

/// What [`super::Firewall::start`] installs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Name of the table, in the family `inet`.
    pub table: String,
    /// The conntrack mark of connections let in through the kernel, and the packet mark of packets
    /// delivered to the gateway itself. Captured data connections bear the conntrack mark
    /// [`Settings::captured_mark`].
    pub mark: u32,
    /// The control connections that are steered to the gateway's listeners.
    pub captures: Vec<Capture>,
    /// Where captured data connections are delivered, if there can be any.
    pub intake: Option<Intake>,
    /// True if transparent sockets are in use: tproxy, or sockets bound to another host's address.
    /// Their packets are then delivered locally.
    pub transparent: bool,
    /// The ports that a [`super::BlindRange`] opens; without them none can be opened, and the table
    /// has nothing for it.
    pub blind_ports: Option<PortRange>,
}

impl Settings {
    /// The conntrack mark of captured data connections. Apart from `mark`, so that a packet of a
    /// forwarded connection is never taken for one of the gateway's own.
    pub fn captured_mark(&self) -> u32 {
        self.mark ^ 1
    }
}

/// Control connections to be steered to one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// How.
    pub kind: CaptureKind,
    /// The destination ports, whatever the address.
    pub ports: Vec<u16>,
    /// The listener.
    pub to: SocketAddr,
    /// The listener is `[::]` and takes IPv4 as well.
    pub dual: bool,
}

/// How a connection is steered to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptureKind {
    /// The packet keeps its destination; the listener needs IP_TRANSPARENT.
    Tproxy,
    /// The destination is translated; the listener asks for SO_ORIGINAL_DST.
    Redirect,
}

/// Ports of the local transparent listeners that take captured data connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Intake {
    /// For IPv4.
    pub v4: Option<u16>,
    /// For IPv6.
    pub v6: Option<u16>,
}
