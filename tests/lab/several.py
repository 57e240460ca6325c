"""Two gateways that share their addresses: ftpgate, keepalived and conntrackd on each, with the files of
`deploy/several-gateways`.

    client   192.0.2.2 ─┐     .4 gate-a .2      ┌─ 198.51.100.6   router
    client2  192.0.2.3 ─┴─ .1    │ sync     .1 ─┴─ 198.51.100.10… servers
                              .5 gate-b .3

IPv6 likewise. The addresses .1 belong to whichever gateway is the master.

Not here: what must hold while one of them dies (`scenarios/several.py`).
"""

import contextlib
import os
import re
import signal
import time

from gateway import DIRECT_PORT, Gateway, config
from lab import Lab
from process import Failed, Process, call, wait_until
from servers import CACHE, start_servers
from topology import MARK, SERVER_ADDRESSES, Topology

HERE = os.path.dirname(os.path.abspath(__file__))
DEPLOY = os.path.join(os.path.dirname(os.path.dirname(HERE)), "deploy", "several-gateways")

KEEPALIVED = f"{CACHE}/keepalived/usr/sbin/keepalived"
CONNTRACKD = f"{CACHE}/conntrackd/usr/sbin/conntrackd"

# Each gateway's own numbers: towards the clients, towards the servers, on the cable between the two.
NODES = {"gate-a": (4, 2, 1), "gate-b": (5, 3, 2)}
# Ports that differ: neither hands out one on which a transfer of the other's runs.
SLICES = {"gate-a": 0, "gate-b": 1}
# The router that leads to the servers; in the lab it is the servers' own namespace.
ROUTER = 6
# A network so small that the servers are not in it, so that they are reached by the default route.
SMALL = (29, 125)


class PairTopology(Topology):
    """The network with two gateways, whose owner has these rules."""

    names = ("client", "client2", *NODES, "server", "stranger", "wire")

    def __init__(self, server_route, rules):
        self.rules = rules
        super().__init__(server_route)

    def _build_gateways(self, _):
        first, second = NODES
        call(["ip", "-n", self.ns[first], "link", "add", "sync", "type", "veth",
              "peer", "name", "sync", "netns", self.ns[second]])
        for name, (client, server, cable) in NODES.items():
            self.plug(name, "c0", "side-c", [client])
            self.plug(name, "s0", "side-s", [server], SMALL)
            self._batch(name, [
                "link set sync up", f"addr add 192.168.100.{cable}/24 dev sync",
                # The gateway's own; that of the virtual address goes ahead of it.
                f"route add default via 198.51.100.{ROUTER} metric 100",
                f"-6 route add default via 2001:db8:2::{ROUTER} metric 2048"])
            self._make_router(name, self.rules)
        self._batch("server", [f"addr add 198.51.100.{ROUTER}/24 dev eth0",
                               f"addr add 2001:db8:2::{ROUTER}/64 dev eth0 nodad"])

    def pull(self, name):
        """Pulls all cables of a gateway."""
        self._cables(name, "down")

    def plug_again(self, name):
        self._cables(name, "up")

    def _cables(self, name, state):
        self._batch("wire", [f"link set p-{name}-{link} {state}" for link in ("c0", "s0")])
        self._batch(name, [f"link set sync {state}"])

    def forget(self, name):
        """What a restart of the machine forgets: the addresses that move, and all connections."""
        for address, link in (("192.0.2.1/32", "c0"), ("198.51.100.1/32", "s0"),
                              ("2001:db8:1::1/128", "c0"), ("2001:db8:2::1/128", "s0")):
            self.run(name, ["ip", "addr", "del", address, "dev", link], check=False)
        self.run(name, ["conntrack", "-F"])


def owners_rules(setting):
    """The rules of both owners, which for `source: client` translate nothing."""
    changes = {'"lan"': '"c0"', '"wan"': '"s0"',
               "dport 21 ": f"dport {DIRECT_PORT}-{DIRECT_PORT + 2 * SERVER_ADDRESSES} "}
    rules = deployed("rules.nft", changes)
    return rules if setting.source == "gateway" else rules.partition("table ip nat")[0]


def deployed(name, changes):
    """A file of `deploy/several-gateways` with these changes, each of which must have its place."""
    with open(os.path.join(DEPLOY, name), encoding="utf-8") as text:
        text = text.read()
    for old, new in changes.items():
        if old not in text:
            raise Failed(f"{name} has no {old!r}")
        text = text.replace(old, new)
    return text


class Node:
    """One gateway: what runs on it, and how it dies."""

    def __init__(self, pair, name, binary, settings):
        self.pair, self.name = pair, name
        self.topology = pair.topology
        self.folder = os.path.join(pair.folder, name)
        os.makedirs(self.folder)
        own = os.path.join(self.folder, "run")
        os.mkdir(own)
        # Whom root becomes where there is no user ftpgate (docs/confinement.md).
        os.chown(own, 65532, 65532)
        self.admin = os.path.join(own, "admin.sock")
        settings = settings | {"admin": {"socket": self.admin}, "limits": {"sessions": 1000},
                               "data": settings["data"] | {"slices": len(SLICES), "slice": SLICES[name]}}
        self.gateway = Gateway(self.topology, binary, self.folder, settings, name)
        self.conntrackd_conf = self._install("conntrackd.conf", {
            "IPv4_interface 192.168.100.1": f"IPv4_interface 192.168.100.{NODES[name][2]}",
            "/var/lock/conntrackd.lock": os.path.join(self.folder, "conntrackd.lock"),
            "/var/run/conntrackd.sock": os.path.join(self.folder, "conntrackd.sock"),
            "Syslog on": f"LogFile {self.folder}/conntrackd.log",
            # The addresses that its two machines have.
            "IPv4_address 192.0.2.2\n": "IPv4_address 192.0.2.4\n",
            "IPv4_address 192.0.2.3\n": "IPv4_address 192.0.2.5\n"})
        self._install("ftpgate-serves", {}, executable=True)
        self._install("ftpgate-connections",
                      {"conntrackd $step": f"{CONNTRACKD} -C {self.conntrackd_conf} $step"},
                      executable=True)
        self.keepalived_conf = self._install("keepalived.conf", {
            "$LAN=lan": "$LAN=c0", "$WAN=wan": "$WAN=s0",
            "/etc/keepalived/": f"{self.folder}/"})
        self.processes = []

    def _install(self, name, changes, executable=False):
        """Puts a file of `deploy/several-gateways` where only this node uses it. Returns its path."""
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(deployed(name, changes))
        os.chmod(path, 0o755 if executable else 0o644)
        return path

    def _keepalived(self):
        return [KEEPALIVED, f"--use-file={self.keepalived_conf}", f"--pid={self.folder}/keepalived.pid",
                f"--vrrp_pid={self.folder}/vrrp.pid"]

    def start(self):
        code, text = self.topology.run(self.name, [*self._keepalived(), "--config-test"], check=False)
        if code != 0:
            raise Failed(f"keepalived --config-test: {text}")
        self.gateway.start()
        self.start_conntrackd()
        self.keepalived = Process(
            [*self._keepalived(), "--vrrp", "--dont-fork", "--log-console", "--log-detail"],
            os.path.join(self.folder, "keepalived.log"), self.topology.ns[self.name])
        self.processes.append(self.keepalived)

    def start_conntrackd(self):
        conntrackd = Process([CONNTRACKD, "-C", self.conntrackd_conf],
                             os.path.join(self.folder, "conntrackd.out"), self.topology.ns[self.name])
        self.processes.append(conntrackd)
        socket = os.path.join(self.folder, "conntrackd.sock")
        wait_until(lambda: os.path.exists(socket), "conntrackd does not start")

    def master(self):
        """Whether it has the virtual address."""
        return "192.0.2.1/32" in self.run(["ip", "-4", "-o", "addr", "show", "dev", "c0"])

    def priority(self):
        """What keepalived has made of its priority, as it said last."""
        with open(self.keepalived.log, encoding="utf-8", errors="replace") as text:
            said = re.findall(r"effective priority from \d+ to (\d+)", text.read())
        return int(said[-1]) if said else 100

    def drain(self):
        """`ftpgate drain`, which does not wait."""
        self.run([self.gateway.binary, "drain", "--socket", self.admin])

    def run(self, argv):
        return self.topology.run(self.name, argv)[1]

    def transfers(self):
        """The connections through pinholes, as conntrack lists them."""
        found = [self.run(["conntrack", "-L", "-f", family, "-m", hex(MARK)])
                 for family in ("ipv4", "ipv6")]
        return [line for text in found for line in text.splitlines() if line.startswith("tcp")]

    def die(self):
        """As when power fails: nothing leaves it any more, not even the end of its connections.

        Returns when that was, as `time.monotonic`.
        """
        self.topology.pull(self.name)
        moment = time.monotonic()
        for process in [self.gateway.process, *self.processes]:
            os.killpg(process.pid, signal.SIGKILL)
        # keepalived's child, which has a process group of its own.
        with open(os.path.join(self.folder, "vrrp.pid"), encoding="ascii") as number:
            child = int(number.read())
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        return moment

    def revive(self):
        """Power is back: nothing is left of what ran before, and all is started."""
        self.gateway.stop()
        for process in self.processes:
            process.stop()
        self.processes = []
        for name in ("keepalived.pid", "vrrp.pid", "conntrackd.lock", "conntrackd.sock"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.folder, name))
        self.topology.forget(self.name)
        self.topology.plug_again(self.name)
        self.start()

    def end(self):
        """Tells everything to end, without waiting for it; `stop` has to follow."""
        for process in [self.gateway.process, *self.processes]:
            if process:
                process.popen.terminate()

    def stop(self):
        self.gateway.stop()
        for process in self.processes:
            process.stop()


class Pair(Lab):
    """A `Lab` with two gateways, `nodes`. `options` go to `gateway.config`."""

    def __init__(self, folder, binary, setting, servers=("vsftpd",), **options):
        os.makedirs(folder, exist_ok=True)
        self.folder, self.setting = folder, setting
        self.nodes, self.processes = [], []
        self.servers = self.second = {}
        self.gateway = None
        self.topology = PairTopology(setting.source == "client", owners_rules(setting))
        try:
            self.servers, self.processes = start_servers(self.topology, folder, servers)
            settings = config(setting, self.servers, **options)
            for listener in settings["listeners"]:
                # Wherever the address is.
                host, _, port = listener["listen"].rpartition(":")
                listener["listen"] = f"{'[::]' if ':' in host else '0.0.0.0'}:{port}"
            self.nodes = [Node(self, name, binary, settings) for name in NODES]
            # For where clients dial, which is the same for both.
            self.gateway = self.nodes[0].gateway
            for node in self.nodes:
                node.start()
            wait_until(self.settled, "no gateway becomes master", timeout=15)
        except BaseException:
            self.close()
            raise

    def settled(self):
        return [node.master() for node in self.nodes].count(True) == 1

    @property
    def master(self):
        return next(node for node in self.nodes if node.master())

    @property
    def backup(self):
        return next(node for node in self.nodes if not node.master())

    def __exit__(self, _, error, __):
        if error is not None:
            error.logs = [os.path.join(node.folder, name) for node in self.nodes
                          for name in ("ftpgate.log", "keepalived.log", "conntrackd.log")]
        self.close()

    def close(self):
        for node in self.nodes:
            node.end()
        for node in self.nodes:
            node.stop()
        self.nodes, self.gateway = [], None
        super().close()
