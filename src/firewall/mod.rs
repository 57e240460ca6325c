//! The kernel's side of a pinhole: nftables elements and conntrack events, over netlink.
//!
//! [`Firewall`] is the handle that sessions use. Behind it one OS thread owns the netlink socket and
//! applies each change as one atomic batch: an operation is acknowledged when the kernel has
//! committed it. Another program's netfilter work may delay a batch by tens of milliseconds, so it
//! is never done on a thread that carries sessions; and closing a netfilter socket is slow, so one
//! is kept for the life of the process.
//!
//! The table is written once as data (`rule`, `ruleset`), installed by `encode` over `nftables` and
//! printed by `render`. `handover` lets a table outlive its process. `worker` is the thread that changes it, `watcher` the one that hears from
//! conntrack, `flows` what they know; `sentry` the one that hears when others change rules, so that what they take away is put back and
//! counted (`repairs`); `kernel` is all of them together, `netlink` their transport.
//!
//! Not here: FTP, sessions, and the owner's policy. The table `inet ftpgate` sets marks and
//! translates addresses; the owner's rules accept the mark.

mod conntrack;
mod encode;
mod error;
mod expression;
mod flows;
mod handover;
mod kernel;
mod memory;
mod netlink;
mod nftables;
mod quiet;
mod range;
mod render;
mod repairs;
mod rule;
mod ruleset;
mod sentry;
mod settings;
mod watcher;
mod worker;

#[doc(hidden)]
pub use conntrack::{Flow, Happening, State, events};
pub use error::FirewallError;
pub use handover::Predecessor;
pub use memory::MemoryView;
pub use range::BlindRange;
pub use render::{owner_rules, render};
pub use repairs::Repairs;
pub use settings::{Capture, CaptureKind, Intake, Settings};

use crate::pinhole::Pinhole;
use crate::terms::FlowId;
use kernel::Kernel;
use memory::Memory;
use nftables::Nftables;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

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

/// What the kernel says of a connection that came through a [`Opening::Forward`] pinhole or a range.
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
    /// The pinhole is gone, and no connection has become known that came through it: it has expired,
    /// the owner's policy has dropped the first packet, or it was opened anew for somebody else.
    Missed(Pinhole),
    /// The first packet of a connection has passed through the range.
    StartedInRange(FlowId),
    /// A connection through the range is over. Another one may bear its name from now on.
    EndedInRange {
        /// Which.
        flow: FlowId,
        /// As in [`FlowEvent::Ended`].
        orderly: bool,
        /// As in [`FlowEvent::Ended`].
        bytes: Option<FlowBytes>,
    },
}

/// What closing a pinhole has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// It was open, and is no longer: nothing has come through it.
    Unused,
    /// It was not there any more: its one connection has used it up, or its timeout has passed.
    Gone,
}

/// Bytes of one conntrack entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowBytes {
    /// From the peer that dialled.
    pub original: u64,
    /// To the peer that dialled.
    pub reply: u64,
}

/// The handle to the kernel's side of the pinholes; cheap to clone.
///
/// Call [`Firewall::open`] before a line that names the pinhole leaves, and for every `open` that
/// succeeded either [`Firewall::clear_away`] once it is used, or [`Firewall::close`] when it is
/// refused or given up.
/// With the last handle the table goes, and with it every unused pinhole and every range;
/// connections that stand are the owner's to accept (`ct state established`).
#[derive(Debug, Clone)]
pub struct Firewall {
    backend: Backend,
}

#[derive(Debug, Clone)]
enum Backend {
    Kernel(Arc<Kernel>),
    Memory(Arc<Memory>),
}

/// `NFT_NAME_MAXLEN` is 256; this leaves room for what logs put around the name.
const TABLE_NAME_MAX: usize = 64;

impl Firewall {
    /// Installs the table in the network namespace of the calling thread, replacing an older one of
    /// the same name, and starts the threads. Blocks for some milliseconds.
    ///
    /// # Errors
    ///
    /// Without CAP_NET_ADMIN in that namespace, without a kernel feature that the settings need, and
    /// while another live process owns a table of that name.
    pub fn start(settings: &Settings) -> Result<Self, FirewallError> {
        Self::start_after(settings, None)
    }

    /// As [`Firewall::start`], over the socket that an earlier process has handed over: its table is
    /// replaced in one step, so that captures of control connections have no gap. A socket that
    /// cannot be used is told, and does not keep the firewall from starting.
    ///
    /// # Errors
    ///
    /// As [`Firewall::start`].
    pub fn start_after(
        settings: &Settings,
        predecessor: Option<Predecessor>,
    ) -> Result<Self, FirewallError> {
        check_table_name(&settings.table)?;
        let kernel = Kernel::start(settings, predecessor)?;
        Ok(Self { backend: Backend::Kernel(Arc::new(kernel)) })
    }

    /// A firewall that only remembers, for tests, and the view of what it was asked.
    pub fn memory() -> (Self, MemoryView) {
        let memory = Arc::new(Memory::default());
        let view = MemoryView::new(Arc::clone(&memory));
        (Self { backend: Backend::Memory(memory) }, view)
    }

    /// Opens a pinhole for `timeout`, in whole milliseconds; returns when the kernel has committed
    /// it. `watcher` is told what becomes of a [`Opening::Forward`].
    ///
    /// # Errors
    ///
    /// Nothing is open after an error.
    pub async fn open(
        &self,
        opening: Opening,
        timeout: Duration,
        watcher: mpsc::UnboundedSender<FlowEvent>,
    ) -> Result<(), FirewallError> {
        match &self.backend {
            Backend::Kernel(kernel) => kernel.open(opening, timeout, watcher).await,
            Backend::Memory(memory) => memory.open(opening, watcher),
        }
    }

    /// Closes a pinhole; one that is used, expired or closed already is no failure. A connection
    /// that came through it goes on, and is watched to its end, even if the news of its start are
    /// still on the way; where none comes, though the pinhole was used or has expired, the watcher of
    /// an [`Opening::Forward`] is told so.
    ///
    /// # Errors
    ///
    /// The pinhole then stays open until it expires.
    pub async fn close(&self, opening: Opening) -> Result<Closed, FirewallError> {
        match &self.backend {
            Backend::Kernel(kernel) => kernel.close(opening).await,
            Backend::Memory(memory) => Ok(memory.close(opening)),
        }
    }

    /// Clears away, some time soon, what is kept of a pinhole that has been used. Nothing waits for
    /// it and nothing depends on it: the first packet has closed the pinhole itself, and what is
    /// left would expire.
    pub fn clear_away(&self, opening: Opening) {
        match &self.backend {
            Backend::Kernel(kernel) => kernel.clear_away(opening),
            Backend::Memory(memory) => {
                memory.close(opening);
            }
        }
    }

    /// Opens the configured ports between two ends, until as many sessions as have opened the range
    /// have closed it; returns when the kernel has committed it. A pinhole to one of these ports goes
    /// before. Of every other connection from the range's client to one of them at its entry, the
    /// newest `watcher` that holds the range is told, whichever session it is for.
    ///
    /// # Errors
    ///
    /// [`FirewallError::RangeTaken`] while the same client and entry lead elsewhere: the range that
    /// stands stays as it is. After any error this call holds nothing open.
    pub async fn open_range(
        &self,
        range: BlindRange,
        watcher: mpsc::UnboundedSender<FlowEvent>,
    ) -> Result<(), FirewallError> {
        match &self.backend {
            Backend::Kernel(kernel) => kernel.open_range(range, watcher).await,
            Backend::Memory(memory) => memory.open_range(range, watcher),
        }
    }

    /// Undoes one [`Firewall::open_range`] that succeeded with this watcher; a range that is not open
    /// is no failure. After the last one no new connection passes; those that run go on, and are
    /// watched to their end, even if the news of their start are still on the way.
    ///
    /// # Errors
    ///
    /// The range is then still open, and may be closed again; new connections are not watched.
    pub async fn close_range(
        &self,
        range: BlindRange,
        watcher: &mpsc::UnboundedSender<FlowEvent>,
    ) -> Result<(), FirewallError> {
        match &self.backend {
            Backend::Kernel(kernel) => kernel.close_range(range, watcher).await,
            Backend::Memory(memory) => memory.close_range(range, watcher),
        }
    }

    /// Steers these control connections to their listeners from now on, and no others, in one step;
    /// returns when the kernel has committed it. Pinholes, ranges and connections that stand are left
    /// alone.
    ///
    /// # Errors
    ///
    /// What was steered before is then steered on.
    pub async fn capture(&self, captures: Vec<Capture>) -> Result<(), FirewallError> {
        match &self.backend {
            Backend::Kernel(kernel) => kernel.capture(captures).await,
            Backend::Memory(_) => Ok(()),
        }
    }

    /// True if connections through the kernel are watched, so that [`FlowEvent`]s come.
    pub fn counts_flows(&self) -> bool {
        match &self.backend {
            Backend::Kernel(kernel) => kernel.watches(),
            Backend::Memory(_) => true,
        }
    }

    /// Reads what has been put back since the start, after others had taken it away or news were
    /// lost. Does not keep the firewall alive.
    pub fn repairs(&self) -> impl Fn() -> Repairs + Send + Sync + use<> {
        let tally = match &self.backend {
            Backend::Kernel(kernel) => kernel.tally(),
            Backend::Memory(_) => Arc::default(),
        };
        move || tally.repairs()
    }

    /// From now on a connection through the kernel that moves nothing for `limit` is ended: conntrack
    /// forgets it, and its watcher is told of an end that was not orderly. Without this call none is.
    pub fn set_idle_timeout(&self, limit: Duration) {
        match &self.backend {
            Backend::Kernel(kernel) => kernel.set_idle_timeout(limit),
            Backend::Memory(_) => {}
        }
    }

    /// The socket that owns the table, to be kept by another process. From now on the end of this
    /// firewall only empties the table: its rules stand for as long as that process keeps the
    /// socket, and the next one goes on with it (see [`Firewall::start_after`]).
    ///
    /// # Errors
    ///
    /// Out of descriptors, or after [`Firewall::shutdown`].
    pub async fn hand_over(&self) -> Result<OwnedFd, FirewallError> {
        match &self.backend {
            Backend::Kernel(kernel) => kernel.hand_over().await,
            Backend::Memory(_) => Err(FirewallError::Stopped),
        }
    }

    /// Removes the table, and with it every unused pinhole, whoever still holds a handle; empties it
    /// after [`Firewall::hand_over`]. Blocks for some 20 ms. While connections run that came through
    /// the kernel, an idle second table (`<table>_keep`) stays behind, so that they stay translated.
    pub fn shutdown(self) {
        match &self.backend {
            Backend::Kernel(kernel) => kernel.stop(),
            Backend::Memory(memory) => memory.stop(),
        }
    }
}

/// A forward policy such as an owner has, in a table `inet demo_owner` of its own: drop what is
/// neither established nor marked. Removed when dropped.
#[derive(Debug)]
pub struct DemoPolicy {
    nftables: Nftables,
}

/// Installs a [`DemoPolicy`] in the network namespace of the calling thread.
///
/// # Errors
///
/// As [`Firewall::start`].
pub fn install_demo_policy(mark: u32) -> Result<DemoPolicy, FirewallError> {
    let nftables = Nftables::install(ruleset::demo_owner(mark), None, None)?;
    Ok(DemoPolicy { nftables })
}

impl Drop for DemoPolicy {
    fn drop(&mut self) {
        if let Err(error) = self.nftables.remove() {
            tracing::warn!(%error, "the table demo_owner is left behind");
        }
    }
}

fn check_table_name(table: &str) -> Result<(), FirewallError> {
    let well = table.starts_with(|c: char| c.is_ascii_alphabetic())
        && table.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && table.len() <= TABLE_NAME_MAX;
    match well {
        true => Ok(()),
        false => Err(FirewallError::TableName { table: table.to_owned(), limit: TABLE_NAME_MAX }),
    }
}
