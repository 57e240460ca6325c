//! The kernel's side of a pinhole: nftables elements and conntrack events, over netlink.
//!
//! [`Firewall`] is the handle that sessions use. Behind it one OS thread owns the netlink socket and
//! applies each change as one atomic batch: an operation is acknowledged when the kernel has
//! committed it. Another program's netfilter work may delay a batch by tens of milliseconds, so it
//! is never done on a thread that carries sessions; and closing a netfilter socket is slow, so one
//! is kept for the life of the process.
//!
//! Not here: FTP, sessions, and the owner's policy. The table `inet ftpgate` sets marks and
//! translates addresses; the owner's rules accept the mark.

use crate::pinhole::Pinhole;
use crate::terms::ByteCounts;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What the kernel is asked to let in, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// The kernel carries the data connection: the first packet through the pinhole marks the
    /// connection, which is then sent on to `target` as coming from `source`.
    Forward {
        /// What may come.
        pinhole: Pinhole,
        /// Where it is sent; equal to the pinhole's entry where only an opening is needed.
        target: SocketAddr,
        /// Whom the target sees; equal to the pinhole's peer where only an opening is needed.
        source: IpAddr,
    },
    /// The gateway carries the data connection, but the peer dials an address that is not the
    /// gateway's: the first packet is delivered to the local data listener (tproxy).
    Capture {
        /// What may come.
        pinhole: Pinhole,
    },
}

impl Opening {
    /// The pinhole of this opening.
    pub fn pinhole(&self) -> Pinhole {
        match self {
            Self::Forward { pinhole, .. } | Self::Capture { pinhole } => *pinhole,
        }
    }
}

/// What the kernel says of a connection that came through a [`Opening::Forward`] pinhole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowEvent {
    /// The first packet passed.
    Started(Pinhole),
    /// The connection is over.
    Ended {
        /// The pinhole it came through.
        pinhole: Pinhole,
        /// True if both sides ended in order (FIN); false for a reset or a conntrack timeout.
        orderly: bool,
        /// Bytes in the direction of the first packet, and back: whole IP packets as conntrack
        /// counts them. `None` while `net.netfilter.nf_conntrack_acct` is 0.
        bytes: Option<FlowBytes>,
    },
}

/// Bytes of one conntrack entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowBytes {
    /// From the peer that dialled.
    pub original: u64,
    /// To the peer that dialled.
    pub reply: u64,
}
