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

mod encode;
mod error;
mod netlink;
mod nftables;
mod render;
mod rule;
mod ruleset;
mod settings;
mod worker;

pub use error::FirewallError;
pub use render::{owner_rules, render};
pub use settings::{Capture, CaptureKind, Intake, Settings};

use crate::pinhole::Pinhole;
use nftables::Nftables;
use rule::Family;
use ruleset::elements;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use worker::Worker;

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

/// The handle to the kernel's side of the pinholes; cheap to clone.
///
/// Call [`Firewall::open`] before a line that names the pinhole leaves, and [`Firewall::close`]
/// once the pinhole is used, refused or given up: always once for every `open` that succeeded.
/// With the last handle the table goes, and with it every unused pinhole; connections that stand
/// are the owner's to accept (`ct state established`).
#[derive(Debug, Clone)]
pub struct Firewall {
    kernel: Arc<Kernel>,
}

#[derive(Debug)]
struct Kernel {
    settings: Settings,
    worker: Worker,
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
        check_table_name(&settings.table)?;
        let nftables = Nftables::install(ruleset::gateway(settings))?;
        let worker = Worker::start(nftables)?;
        Ok(Self { kernel: Arc::new(Kernel { settings: settings.clone(), worker }) })
    }

    /// Opens a pinhole for `timeout` (milliseconds count); returns when the kernel has committed it.
    /// `watcher` is told what becomes of a [`Opening::Forward`].
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
        let _ = watcher;
        let elements = elements(&opening)?;
        if let Opening::Capture { .. } = opening {
            let settings = &self.kernel.settings;
            ruleset::intake(settings, Family::of(opening.pinhole().peer))
                .ok_or(FirewallError::NoIntake)?;
        }
        self.kernel.worker.add(elements, timeout).await
    }

    /// Closes a pinhole; one that is used, expired or closed already is no failure. A connection
    /// that came through it goes on.
    ///
    /// # Errors
    ///
    /// The pinhole then stays open until it expires.
    pub async fn close(&self, opening: Opening) -> Result<(), FirewallError> {
        self.kernel.worker.delete(elements(&opening)?).await
    }

    /// True if connections through the kernel are watched, so that [`FlowEvent`]s come.
    pub fn counts_flows(&self) -> bool {
        false
    }

    /// Removes the table, and with it every unused pinhole. Blocks for some 20 ms.
    pub fn shutdown(self) {
        self.kernel.worker.stop();
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

/// TEMP
pub struct DemoPolicy;
/// TEMP
pub fn install_demo_policy(_mark: u32) -> Result<DemoPolicy, FirewallError> { Err(FirewallError::Stopped) }
