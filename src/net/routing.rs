//! The policy routing that transparent sockets need: packets with the mark are delivered to this
//! host, whatever their destination.
//!
//! It is what `ip rule add fwmark MARK lookup TABLE` and `ip route add local default dev lo table
//! TABLE` do, for both families, without iproute2.

use futures_util::TryStreamExt;
use rtnetlink::packet_route::route::{RouteMessage, RouteScope, RouteType};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::{Error, Handle, IpVersion, RouteMessageBuilder};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use thiserror::Error;
use tokio::task::JoinHandle;

/// Behind the rule for local addresses (0), ahead of those of the system (32766) and of what owners
/// commonly add without a number (just below it). One fixed number, so that the rule of a killed
/// process is found again.
const PRIORITY: u32 = 2100;

/// Why packets with the mark cannot be delivered locally.
#[derive(Debug, Error)]
pub enum RoutingError {
    /// The process may not change routes.
    #[error(
        "not permitted to {0}: CAP_NET_ADMIN is missing; run as root, or grant that capability, or \
         use listeners with `capture: direct` and `source: gateway`"
    )]
    Permission(&'static str),
    /// No rtnetlink socket.
    #[error("cannot open an rtnetlink socket: {0}")]
    Socket(io::Error),
    /// Anything else that the kernel answers.
    #[error("the kernel refused to {doing}: {reason}")]
    Kernel {
        /// What was tried.
        doing: &'static str,
        /// The kernel's answer.
        reason: String,
    },
}

/// The rules and routes, in the network namespace of the thread that installed them.
///
/// They outlive the process unless [`PolicyRouting::remove`] is called; the next start takes them
/// over. Without sockets that take the packets they have no effect.
#[derive(Debug)]
pub struct PolicyRouting {
    handle: Handle,
    connection: JoinHandle<()>,
    mark: u32,
    table: u32,
    loopback: u32,
}

impl PolicyRouting {
    /// Delivers packets with `mark` to this host, by way of the routing table `table`. What an
    /// earlier process left behind for that mark is taken over, or replaced where it leads to another
    /// table. A host without IPv6 gets IPv4 only.
    ///
    /// # Errors
    ///
    /// Without CAP_NET_ADMIN, and where the kernel refuses a rule or a route. Nothing is left behind.
    pub async fn install(mark: u32, table: u32) -> Result<Self, RoutingError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(RoutingError::Socket)?;
        let connection = tokio::spawn(connection);
        let loopback = loopback(&handle).await?;
        let this = Self { handle, connection, mark, table, loopback };
        match this.install_families().await {
            Ok(()) => Ok(this),
            Err(failed) => {
                // What has stopped it is told; this may well fail for the same reason.
                let _ = this.remove().await;
                Err(failed.into())
            }
        }
    }

    /// Takes rules and routes away again; what is gone already is no failure.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses.
    pub async fn remove(self) -> Result<(), RoutingError> {
        for version in [IpVersion::V4, IpVersion::V6] {
            match self.remove_family(version).await {
                Err(Failed { errno, .. }) if is_gone(errno) || is_without_ipv6(errno) => {}
                result => result?,
            }
        }
        Ok(())
    }

    async fn install_families(&self) -> Result<(), Failed> {
        self.install_family(IpVersion::V4).await?;
        match self.install_family(IpVersion::V6).await {
            Err(Failed { errno, .. }) if is_without_ipv6(errno) => {
                tracing::info!("this host has no IPv6: policy routing for IPv4 only");
                Ok(())
            }
            result => result,
        }
    }

    async fn install_family(&self, version: IpVersion) -> Result<(), Failed> {
        const DOING: &str = "add the rule and the local route for marked packets";
        let route = self.route(&version);
        self.handle.route().add(route).replace().execute().await.map_err(failed(DOING))?;
        let rule = self.handle.rule().add();
        let rule = rule.fw_mark(self.mark).priority(PRIORITY).table_id(self.table);
        let rule = rule.action(RuleAction::ToTable);
        let added = match version {
            IpVersion::V4 => rule.v4().execute().await,
            IpVersion::V6 => rule.v6().execute().await,
        };
        match added.map_err(failed(DOING)) {
            // Left behind by an earlier process: clients that dial meanwhile depend on it.
            Err(Failed { errno: libc::EEXIST, .. }) => {}
            result => result?,
        }
        self.remove_rules(version, |table| table != self.table).await
    }

    async fn remove_family(&self, version: IpVersion) -> Result<(), Failed> {
        let route = self.route(&version);
        self.remove_rules(version, |_| true).await?;
        let removed = self.handle.route().del(route).execute().await;
        removed.map_err(failed("remove the local route for marked packets"))
    }

    /// Removes the rules for the mark that lead to such a table.
    async fn remove_rules(
        &self,
        version: IpVersion,
        which: impl Fn(u32) -> bool,
    ) -> Result<(), Failed> {
        const DOING: &str = "remove the rule for marked packets";
        let rules: Vec<RuleMessage> =
            self.handle.rule().get(version).execute().try_collect().await.map_err(failed(DOING))?;
        for rule in rules {
            let has = |attribute| rule.attributes.contains(&attribute);
            let table = rule.attributes.iter().find_map(|attribute| match attribute {
                RuleAttribute::Table(table) => Some(*table),
                _ => None,
            });
            if has(RuleAttribute::Priority(PRIORITY))
                && has(RuleAttribute::FwMark(self.mark))
                && which(table.unwrap_or_else(|| rule.header.table.into()))
            {
                self.handle.rule().del(rule).execute().await.map_err(failed(DOING))?;
            }
        }
        Ok(())
    }

    /// `local default dev lo table TABLE`.
    fn route(&self, version: &IpVersion) -> RouteMessage {
        match version {
            IpVersion::V4 => RouteMessageBuilder::<Ipv4Addr>::new()
                .kind(RouteType::Local)
                .scope(RouteScope::Host)
                .output_interface(self.loopback)
                .table_id(self.table)
                .build(),
            IpVersion::V6 => RouteMessageBuilder::<Ipv6Addr>::new()
                .kind(RouteType::Local)
                .output_interface(self.loopback)
                .table_id(self.table)
                .build(),
        }
    }
}

impl Drop for PolicyRouting {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

async fn loopback(handle: &Handle) -> Result<u32, Failed> {
    const DOING: &str = "find the interface lo";
    let mut links = handle.link().get().match_name("lo".to_owned()).execute();
    let link = links.try_next().await.map_err(failed(DOING))?;
    link.map(|link| link.header.index).ok_or(Failed {
        doing: DOING,
        errno: 0,
        reason: "there is none".to_owned(),
    })
}

/// An answer of the kernel, before it is known whether it matters.
struct Failed {
    doing: &'static str,
    /// Positive; 0 where the failure is not the kernel's.
    errno: i32,
    reason: String,
}

fn failed(doing: &'static str) -> impl Fn(Error) -> Failed {
    move |error| match error {
        Error::NetlinkError(message) => Failed {
            doing,
            errno: message.raw_code().wrapping_neg(),
            reason: message.to_io().to_string(),
        },
        other => Failed { doing, errno: 0, reason: other.to_string() },
    }
}

impl From<Failed> for RoutingError {
    fn from(failed: Failed) -> Self {
        match failed.errno {
            libc::EPERM => Self::Permission(failed.doing),
            _ => Self::Kernel { doing: failed.doing, reason: failed.reason },
        }
    }
}

/// IPv6 is not built in (`EAFNOSUPPORT`, `EOPNOTSUPP`) or disabled on lo (`EACCES`, or `EINVAL`,
/// depending on the kernel).
fn is_without_ipv6(errno: i32) -> bool {
    [libc::EAFNOSUPPORT, libc::EOPNOTSUPP, libc::EACCES].contains(&errno)
        || (errno == libc::EINVAL && ipv6_is_off())
}

fn ipv6_is_off() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv6/conf/lo/disable_ipv6")
        .map_or(true, |text| text.trim() != "0")
}

fn is_gone(errno: i32) -> bool {
    [libc::ENOENT, libc::ESRCH].contains(&errno)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtnetlink::packet_route::AddressFamily;

    #[test]
    fn the_routes_are_local_defaults_of_both_families() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().unwrap();
            let connection = tokio::spawn(connection);
            let routing = PolicyRouting { handle, connection, mark: 1, table: 100, loopback: 1 };
            for (version, family) in
                [(IpVersion::V4, AddressFamily::Inet), (IpVersion::V6, AddressFamily::Inet6)]
            {
                let header = routing.route(&version).header;
                assert_eq!(header.address_family, family);
                assert_eq!(header.kind, RouteType::Local);
                assert_eq!((header.table, header.destination_prefix_length), (100, 0));
            }
        });
    }
}
