//! Three hosts in one process: the gateway in the namespace of the main thread, the client and
//! the server each in the namespace of an OS thread of its own, joined by veth pairs.
//!
//! ```text
//!  client 192.0.2.2 ──── 192.0.2.1 gateway 198.51.100.1 ──── 198.51.100.2 server
//! ```
//!
//! The server has no route beyond its own network, as behind any NAT: what it answers must have
//! come from the gateway's address. The addresses are those kept for documentation (RFC 5737,
//! RFC 3849).

use crate::demo::dialogue::PATIENCE;
use rtnetlink::{Handle, LinkUnspec, LinkVeth, RouteMessageBuilder};
use rustix::thread::UnshareFlags;
use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use thiserror::Error;
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;

/// The client's address.
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The gateway's address on the client's network.
pub(super) const GATEWAY_TO_CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The gateway's address on the server's network: the one that the server sees.
pub(super) const GATEWAY_TO_SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The server's address.
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
const GATEWAY_TO_CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const GATEWAY_TO_SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);
/// The server's address in IPv6.
pub(super) const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);

const PREFIX_V4: u8 = 24;
const PREFIX_V6: u8 = 64;

/// The name of the one interface of the client and of the server.
const UPLINK: &str = "uplink";

/// Why the network could not be built.
#[derive(Debug, Error)]
pub(super) enum NetworkError {
    /// `unshare(2)` refused.
    #[error("no {what} namespace: {}", why_none(source))]
    Namespace {
        /// Which kind of namespace.
        what: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
    /// A file under `/proc` could not be written or opened.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// A change by rtnetlink was refused.
    #[error("cannot {what}: {source}")]
    Netlink {
        /// What was to be changed.
        what: String,
        /// What the kernel says.
        source: rtnetlink::Error,
    },
    /// A thread, a runtime or a socket could not be had.
    #[error("cannot start the {host}: {source}")]
    Start {
        /// Whose.
        host: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// What the errors of `unshare(2)` mean, which the system's own words do not say.
fn why_none(refusal: &io::Error) -> String {
    match refusal.raw_os_error() {
        Some(libc::EPERM) => "not permitted here (container, AppArmor, seccomp, chroot)".to_owned(),
        Some(libc::ENOSPC) => "the limits in /proc/sys/user allow no more".to_owned(),
        Some(libc::EINVAL) => "this process already has threads, or the kernel has none".to_owned(),
        _ => refusal.to_string(),
    }
}

/// How the gateway's namespace was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    /// By privilege: a network namespace alone.
    Privileged,
    /// Inside a user namespace, in which the caller is root.
    UserNamespace,
}

/// Moves the calling thread, and every thread that it starts from now on, into a fresh network
/// namespace. A failed attempt changes nothing.
///
/// # Errors
///
/// [`NetworkError::Namespace`], notably where the process already has a second thread, which
/// rules out a user namespace.
pub(super) fn enter_namespace() -> Result<Isolation, NetworkError> {
    if unshare(UnshareFlags::NEWNET).is_ok() {
        return Ok(Isolation::Privileged);
    }
    // Read ahead of the change: inside, until the maps are written, everyone is the overflow user.
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET)
        .map_err(|source| NetworkError::Namespace { what: "user and network", source })?;
    // user_namespaces(7): an unprivileged process must give up setgroups(2) before it maps a group.
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", &format!("0 {gid} 1"))?;
    Ok(Isolation::UserNamespace)
}

#[allow(unsafe_code, reason = "a namespace is entered in no other way")]
fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the hazard of this call is a thread with a file table of its own; neither NEWNET
    // nor NEWUSER touches the file table.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Brings the loopback interface of the calling thread's namespace up.
///
/// # Errors
///
/// What rtnetlink says.
pub(super) fn bring_loopback_up() -> Result<(), NetworkError> {
    configure("gateway", |netlink| async move { set_up(&netlink, "lo").await })
}

/// Lets the kernel count the bytes of each connection. The setting appears once connection
/// tracking is in use, so a gateway that has just started may bring it into being.
///
/// # Errors
///
/// [`NetworkError::File`] where this kernel does not offer the setting.
pub(super) fn count_bytes() -> Result<(), NetworkError> {
    write("/proc/sys/net/netfilter/nf_conntrack_acct", "1")
}

/// The three hosts. The links and namespaces vanish with the process.
#[derive(Debug)]
pub(super) struct Network {
    /// The client's host.
    pub(super) client: Host,
    /// The server's host.
    pub(super) server: Host,
    /// True if the links have IPv6 addresses too.
    pub(super) has_ipv6: bool,
}

impl Network {
    /// Makes the calling thread's namespace the gateway, and client and server beside it.
    ///
    /// # Errors
    ///
    /// The first step that failed; what was made before is dropped.
    pub(super) fn build() -> Result<Self, NetworkError> {
        prepare_addresses();
        write("/proc/sys/net/ipv4/ip_forward", "1")?;
        // Absent where IPv6 is off: the demo's transfers use IPv4.
        let has_ipv6 = write("/proc/sys/net/ipv6/conf/all/forwarding", "1").is_ok();
        // Absent until connection tracking is in use: asked for again once the gateway runs.
        let _ = count_bytes();

        let client = Host::start("client")?;
        let server = Host::start("server")?;
        let (client_ns, server_ns) = (client.namespace.as_raw_fd(), server.namespace.as_raw_fd());
        configure("gateway", move |netlink| async move {
            for (name, namespace, v4, v6) in [
                ("to-client", client_ns, GATEWAY_TO_CLIENT, GATEWAY_TO_CLIENT_V6),
                ("to-server", server_ns, GATEWAY_TO_SERVER, GATEWAY_TO_SERVER_V6),
            ] {
                let pair = LinkVeth::new(name, UPLINK).build();
                step("create a veth pair", netlink.link().add(pair).execute().await)?;
                let far_end = LinkUnspec::new_with_name(UPLINK).setns_by_fd(namespace).build();
                step("move a veth end", netlink.link().set(far_end).execute().await)?;
                address(&netlink, name, v4, has_ipv6.then_some(v6)).await?;
            }
            Ok(())
        })?;
        client.configure(move |netlink| async move {
            address(&netlink, UPLINK, CLIENT, has_ipv6.then_some(CLIENT_V6)).await?;
            let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(GATEWAY_TO_CLIENT).build();
            step("add the client's route", netlink.route().add(route).execute().await)?;
            if has_ipv6 {
                let route =
                    RouteMessageBuilder::<Ipv6Addr>::new().gateway(GATEWAY_TO_CLIENT_V6).build();
                step("add the client's route", netlink.route().add(route).execute().await)?;
            }
            Ok(())
        })?;
        server.configure(move |netlink| async move {
            address(&netlink, UPLINK, SERVER, has_ipv6.then_some(SERVER_V6)).await
        })?;
        Ok(Self { client, server, has_ipv6 })
    }
}

/// One host: an OS thread in a namespace of its own, which runs a tokio runtime. Every socket
/// made by a task on that runtime belongs to that host.
#[derive(Debug)]
pub(super) struct Host {
    name: &'static str,
    /// The thread's id: names the namespace as `/proc/PID/task/TID/ns/net`.
    pub(super) thread_id: i32,
    namespace: OwnedFd,
    runtime: runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a host's thread tells once it is ready.
type Ready = Result<(i32, OwnedFd, runtime::Handle), NetworkError>;

impl Host {
    fn start(name: &'static str) -> Result<Self, NetworkError> {
        let failed = |source| NetworkError::Start { host: name, source };
        let (tell, told) = mpsc::channel::<Ready>();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name(format!("demo-{name}"))
            .spawn(move || match Self::enter(name) {
                Ok((runtime, namespace)) => {
                    let thread_id = rustix::thread::gettid().as_raw_nonzero().get();
                    let _ = tell.send(Ok((thread_id, namespace, runtime.handle().clone())));
                    // Either an order to stop or the loss of the handle ends the host.
                    let _ = runtime.block_on(stopped);
                    runtime.shutdown_background();
                }
                Err(error) => {
                    let _ = tell.send(Err(error));
                }
            })
            .map_err(failed)?;
        let (thread_id, namespace, runtime) =
            told.recv_timeout(PATIENCE).map_err(|lost| failed(io::Error::other(lost)))??;
        Ok(Self { name, thread_id, namespace, runtime, stop: Some(stop), thread: Some(thread) })
    }

    /// Runs on the host's own thread.
    fn enter(name: &'static str) -> Result<(Runtime, OwnedFd), NetworkError> {
        unshare(UnshareFlags::NEWNET)
            .map_err(|source| NetworkError::Namespace { what: "network", source })?;
        prepare_addresses();
        let path = "/proc/thread-self/ns/net";
        let namespace = File::open(path)
            .map_err(|source| NetworkError::File { path: path.to_owned(), source })?;
        Ok((new_runtime(name)?, namespace.into()))
    }

    /// Changes links, addresses and routes of this host, loopback up first.
    fn configure<F, Fut>(&self, change: F) -> Result<(), NetworkError>
    where
        F: FnOnce(Handle) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), NetworkError>> + Send + 'static,
    {
        let name = self.name;
        let (tell, told) = mpsc::channel();
        self.runtime.spawn(async move {
            let outcome = with_netlink(name, |netlink| async move {
                set_up(&netlink, "lo").await?;
                change(netlink).await
            });
            let _ = tell.send(outcome.await);
        });
        told.recv_timeout(PATIENCE)
            .map_err(|lost| NetworkError::Start { host: name, source: io::Error::other(lost) })?
    }

    /// The host's runtime: what is spawned there runs on this host.
    pub(super) fn runtime(&self) -> runtime::Handle {
        self.runtime.clone()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn new_runtime(host: &'static str) -> Result<Runtime, NetworkError> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| NetworkError::Start { host, source })
}

/// Runs `change` with a netlink connection of the calling thread's namespace.
fn configure<F, Fut>(host: &'static str, change: F) -> Result<(), NetworkError>
where
    F: FnOnce(Handle) -> Fut,
    Fut: Future<Output = Result<(), NetworkError>>,
{
    new_runtime(host)?.block_on(with_netlink(host, change))
}

async fn with_netlink<F, Fut>(host: &'static str, change: F) -> Result<(), NetworkError>
where
    F: FnOnce(Handle) -> Fut,
    Fut: Future<Output = Result<(), NetworkError>>,
{
    let failed = |source| NetworkError::Start { host, source };
    let (connection, netlink, _) = rtnetlink::new_connection().map_err(failed)?;
    let connection = tokio::spawn(connection);
    let outcome = tokio::time::timeout(PATIENCE, change(netlink))
        .await
        .unwrap_or_else(|_| Err(failed(io::ErrorKind::TimedOut.into())));
    connection.abort();
    outcome
}

/// Lets an IPv6 address be used at once, without duplicate address detection (RFC 4862 §5.4).
/// Where IPv6 is off the settings do not exist, and nothing is lost.
fn prepare_addresses() {
    for scope in ["all", "default"] {
        let _ = write(&format!("/proc/sys/net/ipv6/conf/{scope}/accept_dad"), "0");
    }
}

async fn set_up(netlink: &Handle, interface: &str) -> Result<(), NetworkError> {
    let up = LinkUnspec::new_with_name(interface).up().build();
    step(&format!("bring {interface} up"), netlink.link().set(up).execute().await)
}

async fn address(
    netlink: &Handle,
    interface: &str,
    v4: Ipv4Addr,
    v6: Option<Ipv6Addr>,
) -> Result<(), NetworkError> {
    let probe =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None);
    let index =
        probe.and_then(|socket| rustix::net::netdevice::name_to_index(socket, interface)).map_err(
            |source| NetworkError::File { path: interface.to_owned(), source: source.into() },
        )?;
    let addresses = [(IpAddr::V4(v4), PREFIX_V4)]
        .into_iter()
        .chain(v6.map(|address| (IpAddr::V6(address), PREFIX_V6)));
    for (address, prefix) in addresses {
        let added = netlink.address().add(index, address, prefix).execute().await;
        step(&format!("give {interface} the address {address}"), added)?;
    }
    set_up(netlink, interface).await
}

fn step(what: &str, outcome: Result<(), rtnetlink::Error>) -> Result<(), NetworkError> {
    outcome.map_err(|source| NetworkError::Netlink { what: what.to_owned(), source })
}

fn write(path: &str, value: &str) -> Result<(), NetworkError> {
    fs::write(path, value).map_err(|source| NetworkError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
