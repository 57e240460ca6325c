"""The network of the lab: client – gateway – server, with a stranger beside each peer.

    client   192.0.2.2 ─┐                            ┌─ 198.51.100.10… server (an address a daemon)
    client2  192.0.2.3 ─┴─ .1 gateway 198.51.100.1 ──┴─ 198.51.100.66  stranger

IPv6 likewise, 2001:db8:1::/64 and 2001:db8:2::/64. The two Ethernet segments are bridges in a
namespace of their own (`wire`), so that nothing but the gateway's rules stands between the sides.

Every namespace has a name that is unique to this run, and `Topology.close` removes them all.
"""

import atexit
import contextlib
import ctypes
import itertools
import os
import socket
import threading

from process import call

NAMES = ("client", "client2", "gateway", "server", "stranger", "wire")

# How many server addresses there are on the server's segment, from .10 and ::10 on.
SERVER_ADDRESSES = 24

GATEWAY = {("client", 4): "192.0.2.1", ("client", 6): "2001:db8:1::1",
           ("server", 4): "198.51.100.1", ("server", 6): "2001:db8:2::1"}
HOST = {("client", 4): "192.0.2.2", ("client", 6): "2001:db8:1::2",
        ("client2", 4): "192.0.2.3", ("client2", 6): "2001:db8:1::3",
        ("stranger", 4): "198.51.100.66", ("stranger", 6): "2001:db8:2::66"}

# The mark of ftpgate, as in its configuration.
MARK = 0x2100

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_serial = itertools.count(1)


def server_address(index, family):
    """The address of the server's daemon number `index`."""
    return f"198.51.100.{10 + index}" if family == 4 else f"2001:db8:2::{10 + index}"


class Topology:
    """One set of namespaces. `server_route`: whether the server has a way back to the client."""

    def __init__(self, server_route, plain=False):
        prefix = f"fglab{os.getpid()}x{next(_serial)}"
        self.ns = {name: f"{prefix}-{name}" for name in NAMES}
        self._fds = {}
        atexit.register(self.close)
        try:
            self._build(server_route, plain)
        except BaseException:
            self.close()
            raise

    def _build(self, server_route, plain):
        for name in NAMES:
            call(["ip", "netns", "add", self.ns[name]])
            self._fds[name] = os.open(f"/run/netns/{self.ns[name]}", os.O_RDONLY)
        self._batch("wire", ["link set lo up"] + [
            line for bridge in ("side-c", "side-s")
            for line in (f"link add {bridge} type bridge", f"link set {bridge} up")])
        self.plug("client", "eth0", "side-c", [2])
        self.plug("client2", "eth0", "side-c", [3])
        self.plug("gateway", "c0", "side-c", [1])
        self.plug("gateway", "s0", "side-s", [1])
        self.plug("server", "eth0", "side-s", [10 + n for n in range(SERVER_ADDRESSES)])
        self.plug("stranger", "eth0", "side-s", [66])
        for name in ("client", "client2"):
            self._batch(name, ["route add default via 192.0.2.1",
                               "-6 route add default via 2001:db8:1::1"])
        for name in ["stranger"] + ["server"] * server_route:
            self._batch(name, ["route add 192.0.2.0/24 via 198.51.100.1",
                               "-6 route add 2001:db8:1::/64 via 2001:db8:2::1"])
        for setting in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"):
            self.run("gateway", ["sysctl", "-qw", setting])
        self.nft("gateway", owners_table(plain))
        # The counters exist as soon as a rule has brought connection tracking into the namespace.
        self.run("gateway", ["sysctl", "-qw", "net.netfilter.nf_conntrack_acct=1"])

    def plug(self, name, link, bridge, hosts):
        """A cable from `name` to a bridge, with addresses that need no duplicate detection."""
        peer = f"p-{name[:7]}-{link}"[:15]
        batch = [f"link add {link} type veth peer name {peer} netns {self.ns['wire']}",
                 "link set lo up", f"link set {link} up"]
        four, six = (("192.0.2", "2001:db8:1::") if bridge == "side-c"
                     else ("198.51.100", "2001:db8:2::"))
        for host in hosts:
            batch.append(f"addr add {four}.{host}/24 dev {link}")
            batch.append(f"addr add {six}{host}/64 dev {link} nodad")
        self.run(name, ["sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0",
                        "net.ipv6.conf.default.accept_dad=0"])
        self._batch(name, batch)
        self._batch("wire", [f"link set {peer} master {bridge}", f"link set {peer} up"])

    def _batch(self, name, lines):
        # `ip -batch` knows no `-6` of its own; such lines go one by one.
        for line in [line for line in lines if line.startswith("-6 ")]:
            call(["ip", "-n", self.ns[name], *line.split()])
        rest = "\n".join(line for line in lines if not line.startswith("-6 "))
        call(["ip", "-n", self.ns[name], "-batch", "-"], stdin=rest.encode())

    def run(self, name, argv, **options):
        """Runs a command in a namespace. Returns (exit code, output)."""
        return call(["ip", "netns", "exec", self.ns[name], *argv], **options)

    def nft(self, name, text):
        self.run(name, ["nft", "-f", "-"], stdin=text.encode())

    @contextlib.contextmanager
    def inside(self, name):
        """The calling thread is in the namespace: sockets made here stay there for life."""
        home = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
        try:
            _setns(self._fds[name])
            yield
        finally:
            _setns(home)
            os.close(home)

    def connect(self, name, address, timeout=5.0, source=None):
        """A TCP connection out of the namespace; errors are the socket's own."""
        with self.inside(name):
            return socket.create_connection(address, timeout, source_address=source)

    def listen(self, name, host, port=0):
        """A listening TCP socket in the namespace."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with self.inside(name):
            return socket.create_server((host, port), family=family, backlog=64)

    def close(self):
        """Removes every namespace. Safe to call again, and halfway through building."""
        atexit.unregister(self.close)
        for fd in self._fds.values():
            os.close(fd)
        self._fds = {}
        for space in self.ns.values():
            if os.path.exists(f"/run/netns/{space}"):
                call(["ip", "netns", "del", space], check=False)


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")


def owners_table(plain=False):
    """What the owner of the gateway has loaded: nothing is forwarded but what ftpgate marks.

    `plain`: routing without a filter, to measure what two peers can do by themselves.
    """
    if plain:
        return """
        table inet owner {
            chain forwarding {
                type filter hook forward priority 0; policy accept;
                ct state new accept
            }
        }"""
    return f"""
        table inet owner {{
            chain forwarding {{
                type filter hook forward priority 0; policy drop;
                ct state established,related accept
                ct mark {MARK:#x} accept
            }}
        }}"""
