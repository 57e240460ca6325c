//! Network namespaces for tests against the real kernel: made by the test, gone with it.
//!
//! A namespace is held by a file descriptor; [`Namespace::run`] enters it with a thread of its own,
//! since sockets, `/proc/sys/net` and netlink follow the thread. Nothing here needs `ip` or `nft`.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has to stop")]

use futures_util::TryStreamExt;
use rtnetlink::{LinkUnspec, LinkVeth, RouteMessageBuilder};
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// Set in the child process that has its own user namespace.
const IN_USER_NAMESPACE: &str = "FTPGATE_TEST_IN_USER_NAMESPACE";

/// Runs `body` where network namespaces can be made: here as root, else in a child process with a
/// user namespace of its own that runs the test `name` once more. Skips loudly where neither works.
/// `name` is the test's whole name, with its modules: a child process that finds no such test runs
/// nothing, and ends well.
pub(crate) fn privileged(name: &str, body: impl FnOnce() + Send) {
    // The harness names the thread of a test after it, unless it runs all of them on its own.
    let thread = thread::current();
    if let Some(test) = thread.name().filter(|test| *test != "main") {
        assert_eq!(name, test, "the test's whole name");
    }
    if can_make_namespaces() {
        return body();
    }
    if std::env::var_os(IN_USER_NAMESPACE).is_some() {
        panic!("a user namespace of its own, and yet no network namespace");
    }
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", name, "--nocapture"]).env(IN_USER_NAMESPACE, "1");
    // SAFETY: only system calls and writes of files between fork and exec.
    unsafe {
        child.pre_exec(move || {
            if libc::unshare(libc::CLONE_NEWUSER) != 0 {
                return Err(io::Error::last_os_error());
            }
            std::fs::write("/proc/self/setgroups", "deny")?;
            std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
            std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
        });
    }
    match child.status() {
        Ok(status) => assert!(status.success(), "{name} failed in its user namespace"),
        Err(error) => eprintln!("SKIPPED {name}: neither root nor user namespaces ({error})"),
    }
}

fn can_make_namespaces() -> bool {
    // SAFETY: a plain system call, on a thread that ends right after it.
    thread::spawn(|| unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0).join().unwrap()
}

/// A network namespace.
pub(crate) struct Namespace {
    file: File,
}

impl Namespace {
    /// A new one, with loopback up.
    pub(crate) fn new() -> Self {
        let file = thread::spawn(|| {
            // SAFETY: a plain system call, on a thread of its own.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let namespace = Self { file: file.join().unwrap() };
        namespace.run(|| {
            set("net/ipv6/conf/all/accept_dad", "0");
            set("net/ipv6/conf/default/accept_dad", "0");
        });
        namespace.up("lo");
        namespace
    }

    /// Runs `body` in this namespace, on a thread of its own.
    pub(crate) fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let fd = self.file.as_raw_fd();
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                enter(fd);
                body()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts `body` in this namespace, on a thread of its own.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let file = self.file.try_clone().unwrap();
        thread::spawn(move || {
            enter(file.as_raw_fd());
            body()
        })
    }

    /// Like [`Namespace::run`], with a tokio runtime.
    pub(crate) fn block_on<T: Send>(&self, body: impl AsyncFnOnce() -> T + Send) -> T {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(body())
        })
    }

    /// Makes a pair of interfaces: `name` here, `peer_name` there.
    pub(crate) fn link(&self, name: &str, peer: &Self, peer_name: &str) {
        let there = peer.file.as_raw_fd();
        self.block_on(async || {
            let handle = connect();
            let pair = LinkVeth::new(name, peer_name).build();
            handle.link().add(pair).execute().await.unwrap();
            let index = index_of(&handle, peer_name).await;
            let moved = LinkUnspec::new_with_index(index).setns_by_fd(there).build();
            handle.link().set(moved).execute().await.unwrap();
        });
    }

    /// Gives an interface its addresses and takes it up.
    pub(crate) fn address(&self, name: &str, addresses: &[(IpAddr, u8)]) {
        self.block_on(async || {
            let handle = connect();
            let index = index_of(&handle, name).await;
            for (address, prefix) in addresses {
                handle.address().add(index, *address, *prefix).execute().await.unwrap();
            }
        });
        self.up(name);
    }

    /// Sends everything unknown through a gateway.
    pub(crate) fn default_route(&self, gateway: IpAddr) {
        self.block_on(async || {
            let handle = connect();
            let route = match gateway {
                IpAddr::V4(gateway) => {
                    RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build()
                }
                IpAddr::V6(gateway) => {
                    RouteMessageBuilder::<Ipv6Addr>::new().gateway(gateway).build()
                }
            };
            handle.route().add(route).execute().await.unwrap();
        });
    }

    fn up(&self, name: &str) {
        self.block_on(async || {
            let handle = connect();
            let index = index_of(&handle, name).await;
            let up = LinkUnspec::new_with_index(index).up().build();
            handle.link().set(up).execute().await.unwrap();
        });
    }
}

/// Writes a setting below `/proc/sys`, of the namespace of the calling thread.
pub(crate) fn set(path: &str, value: &str) {
    std::fs::write(format!("/proc/sys/{path}"), value)
        .unwrap_or_else(|error| panic!("{path}: {error}"));
}

fn enter(fd: RawFd) {
    // SAFETY: a plain system call, on a thread of its own.
    assert_eq!(unsafe { libc::setns(fd, libc::CLONE_NEWNET) }, 0);
}

fn connect() -> rtnetlink::Handle {
    let (connection, handle, _) = rtnetlink::new_connection().unwrap();
    tokio::spawn(connection);
    handle
}

async fn index_of(handle: &rtnetlink::Handle, name: &str) -> u32 {
    let mut links = handle.link().get().match_name(name.to_owned()).execute();
    links.try_next().await.unwrap().expect("the interface exists").header.index
}

/// client – gateway – server, and a stranger on a link of its own, all with both families.
pub(crate) struct Lab {
    pub(crate) client: Namespace,
    pub(crate) gateway: Namespace,
    pub(crate) server: Namespace,
    pub(crate) stranger: Namespace,
}

/// Addresses of the lab (RFC 5737, RFC 3849): `.1` is the gateway's on each link, `.2` the host's.
pub(crate) mod at {
    use std::net::IpAddr;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The addresses of one family.
    pub(crate) struct Plan {
        pub(crate) client: IpAddr,
        pub(crate) server: IpAddr,
        pub(crate) stranger: IpAddr,
        /// The gateway's, towards each of them.
        pub(crate) gateway_client: IpAddr,
        pub(crate) gateway_server: IpAddr,
        pub(crate) gateway_stranger: IpAddr,
    }

    pub(crate) fn v4() -> Plan {
        Plan {
            client: ip("192.0.2.2"),
            server: ip("198.51.100.2"),
            stranger: ip("203.0.113.2"),
            gateway_client: ip("192.0.2.1"),
            gateway_server: ip("198.51.100.1"),
            gateway_stranger: ip("203.0.113.1"),
        }
    }

    pub(crate) fn v6() -> Plan {
        Plan {
            client: ip("2001:db8:1::2"),
            server: ip("2001:db8:2::2"),
            stranger: ip("2001:db8:3::2"),
            gateway_client: ip("2001:db8:1::1"),
            gateway_server: ip("2001:db8:2::1"),
            gateway_stranger: ip("2001:db8:3::1"),
        }
    }
}

impl Lab {
    /// Builds it: everybody can reach everybody through the gateway, which filters nothing.
    pub(crate) fn build() -> Self {
        let [client, gateway, server, stranger] = std::array::from_fn(|_| Namespace::new());
        let (v4, v6) = (at::v4(), at::v6());
        let links = [
            (&client, "gw-client", v4.client, v4.gateway_client, v6.client, v6.gateway_client),
            (&server, "gw-server", v4.server, v4.gateway_server, v6.server, v6.gateway_server),
            (
                &stranger,
                "gw-stranger",
                v4.stranger,
                v4.gateway_stranger,
                v6.stranger,
                v6.gateway_stranger,
            ),
        ];
        for &(host, name, host4, gateway4, host6, gateway6) in &links {
            gateway.link(name, host, "net");
            gateway.address(name, &[(gateway4, 24), (gateway6, 64)]);
            host.address("net", &[(host4, 24), (host6, 64)]);
            host.default_route(gateway4);
            host.default_route(gateway6);
        }
        gateway.run(|| {
            set("net/ipv4/ip_forward", "1");
            set("net/ipv6/conf/all/forwarding", "1");
            set("net/netfilter/nf_conntrack_acct", "1");
        });
        for (host, _, _, gateway4, _, gateway6) in links {
            for address in [gateway4, gateway6] {
                settle(host, &gateway, address);
            }
        }
        Self { client, gateway, server, stranger }
    }
}

/// Waits until a host reaches its gateway: a new interface drops what is sent before the kernel has
/// noticed its carrier, which takes up to a second where many are made at once.
fn settle(host: &Namespace, gateway: &Namespace, address: IpAddr) {
    // An IPv6 address can be bound when the kernel's own work on it is done, some time after it was
    // set (also without duplicate address detection).
    let bind = |_| {
        TcpListener::bind((address, 0))
            .inspect_err(|_| thread::sleep(Duration::from_millis(50)))
            .ok()
    };
    let listener = gateway.run(|| (0..100).find_map(bind));
    let listener = listener.unwrap_or_else(|| panic!("{address} cannot be bound"));
    let to = listener.local_addr().unwrap();
    let attempt = || TcpStream::connect_timeout(&to, Duration::from_millis(100));
    let reached = host.run(|| (0..100).any(|_| attempt().is_ok()));
    assert!(reached, "{address} is out of reach");
}
