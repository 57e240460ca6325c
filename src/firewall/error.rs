//! Why the kernel did not do what it was asked, in words that say what to do next.

use std::net::IpAddr;
use std::time::Duration;
use thiserror::Error;

/// A failure of [`super::Firewall`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FirewallError {
    /// The process may not change the firewall.
    #[error(
        "not permitted to {doing}: CAP_NET_ADMIN is missing; run as root, or grant that capability \
         (systemd: AmbientCapabilities=CAP_NET_ADMIN; container: cap_add NET_ADMIN), or do without \
         the firewall (`firewall.backend: none`, relay path only)"
    )]
    Permission {
        /// What was tried.
        doing: &'static str,
    },
    /// Another live process owns a table of the same name.
    #[error(
        "the nftables table `inet {table}` belongs to another running process, or is kept by a \
         service manager for one that restarts: stop that process or service, or give this one \
         another `firewall.table`"
    )]
    TableOwned {
        /// Its name.
        table: String,
    },
    /// The name is none that nftables takes.
    #[error(
        "`firewall.table` is `{table}`: use 1 to {limit} letters, digits, `_`, the first a letter"
    )]
    TableName {
        /// As configured.
        table: String,
        /// Most characters.
        limit: usize,
    },
    /// The kernel was built without something that the ruleset needs.
    #[error(
        "this kernel lacks {feature}: load that module (modprobe) or use a kernel that has it, or \
         do without the firewall (`firewall.backend: none`, relay path only)"
    )]
    MissingFeature {
        /// The module, or the part of nftables, by its name.
        feature: String,
    },
    /// The addresses of one opening are of both families; the kernel translates within one only.
    #[error("a pinhole through the kernel needs addresses of one family: use the relay path")]
    MixedFamilies,
    /// A [`super::Opening::Capture`] for a family without a local data listener.
    #[error("no local data listener takes captured connections of this address family")]
    NoIntake,
    /// A [`super::BlindRange`] where [`super::Settings::blind_ports`] names no ports.
    #[error("no ports are set aside for sessions that cannot be read: write `data.blind_ports`")]
    NoBlindPorts,
    /// Another [`super::BlindRange`] of the same client and entry leads elsewhere: nothing in a
    /// packet tells the two apart.
    #[error(
        "what {client} dials at {entry} in `data.blind_ports` goes to another server already, or \
         from another address: reach the two servers through two addresses"
    )]
    RangeTaken {
        /// Who dials.
        client: IpAddr,
        /// Where.
        entry: IpAddr,
    },
    /// A set holds as many elements as it may.
    #[error("all {limit} pinholes of the firewall are taken: retry when transfers have ended")]
    Full {
        /// Elements of one set.
        limit: u32,
    },
    /// Anything else that the kernel answers.
    #[error("the kernel refused to {doing}: {reason}")]
    Kernel {
        /// What was tried.
        doing: &'static str,
        /// The errno in words, with the kernel's own remark.
        reason: String,
    },
    /// The kernel, or another program that holds its lock, takes too long.
    #[error(
        "the kernel has not answered within {limit:?}: another program holds the lock of its rules \
         (`nft monitor` shows which changes them), or this host is overloaded"
    )]
    Stalled {
        /// How long it was waited for.
        limit: Duration,
    },
    /// The firewall has been shut down.
    #[error("the firewall has been shut down")]
    Stopped,
}
