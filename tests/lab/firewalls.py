"""Firewalls of an owner, each beside ftpgate in a machine: set up by the very files of `deploy/`.

A `Site` is a machine where the gateway stands, with one firewall and a server behind it. ftpgate runs in
it as a service with a user of its own.
"""

import itertools
import os
import re
import urllib.request

from cells import Talk, converse
from gateway import TELEMETRY_PORT, Metrics
from lab import LabFTP
from machine import Machine
from servers import start_servers
from topology import GATEWAY, Topology

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONFIG = "/etc/ftpgate/ftpgate.yaml"
RULES = "/etc/nftables.conf"

# ftpgate as a service: a user, its rights, and what a test leaves open at its end is not waited for.
PROPERTIES = ("Type=notify", "User=ftpgate", "RuntimeDirectory=ftpgate", "TimeoutStopSec=2s",
              "AmbientCapabilities=CAP_NET_ADMIN CAP_NET_BIND_SERVICE")

# On which interface clients and servers are, by the names that the files have for them.
SIDES = {"lan": "c0", "outside": "c0", "wan": "s0", "inside": "s0"}


def shipped(path):
    """The text of a file of the project, with the lab's interfaces where the user sets them."""
    with open(os.path.join(TOP, path), encoding="utf-8") as text:
        text = text.read()
    for name, link in SIDES.items():
        text = re.sub(rf'^(define {name} = )"\w+"', rf'\1"{link}"', text, flags=re.MULTILINE)
        text = re.sub(rf"^({name}=)\w+", rf"\g<1>{link}", text, flags=re.MULTILINE)
    return text


class Site:
    """A context manager. `place` is `gateway` (clients dial the server, tproxy or redirect) or `server`
    (clients dial the gateway)."""

    def __init__(self, folder, binary, firewall, place):
        self.folder = folder
        self.binary = binary
        self.place = place
        self.firewall = firewall(self)
        self.processes = []
        self.machine = None
        self._talks = itertools.count(1)
        os.makedirs(folder, exist_ok=True)
        self.topology = Topology(server_route=False)

    def __enter__(self):
        try:
            self.topology.run("gateway", ["nft", "delete", "table", "inet", "owner"])
            # config/gateway.yaml routes IPv6, and translates IPv4.
            self.topology.run("server", ["ip", "-6", "route", "add", "2001:db8:1::/64",
                                         "via", GATEWAY["server", 6]])
            servers, self.processes = start_servers(self.topology, self.folder, ("vsftpd",))
            self.server = servers["vsftpd"]
            self.machine = Machine(self.topology, self.folder)
            self.machine.__enter__()
            self.machine.copy(self.binary, "/usr/local/bin/ftpgate", mode="755")
            self.machine.run(["useradd", "--system", "ftpgate"])
            self.firewall.set_up()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind, error, trace):
        try:
            if self.machine:
                self.machine.__exit__(kind, error, trace)
        finally:
            for process in self.processes:
                process.stop(grace=0.5)
            self.topology.close()

    def serve(self, path):
        """Starts ftpgate anew, with the data path `kernel` or `relay`."""
        text = shipped(self.firewall.config(self.place))
        text = re.sub(r"^(  path: )\w+", rf"\g<1>{path}", text, flags=re.MULTILINE)
        text = text.replace("10.0.0.5:21", f"{self.server.address(4)}:21")
        text = text.replace("203.0.113.7 ", GATEWAY["client", 4] + " ")
        self.machine.write(CONFIG, text)
        self.machine.run(["systemctl", "stop", "ftpgate.service"], check=False)
        properties = [*PROPERTIES, *(f"ExecStartPre=+{line}" for line in self.firewall.before)]
        self.machine.run(["systemd-run", "--quiet", "--unit=ftpgate",
                          *(f"--property={line}" for line in properties),
                          "/usr/local/bin/ftpgate", "run", "--config", CONFIG])

    def target(self, family=4):
        return (GATEWAY["client", family] if self.place == "server" else self.server.address(family)), 21

    def talk(self, client, mode, family=4):
        """One client's upload, download and listing."""
        converse(self.topology, self.server, Talk(self.server.name, client, mode, family),
                 os.path.join(self.folder, f"talk{next(self._talks)}"), *self.target(family))

    def ftp(self, mode):
        """A session, logged in, in `pub`, binary."""
        ftp = LabFTP(self.topology, "client", mode)
        with self.topology.inside("client"):
            ftp.connect(*self.target())
        ftp.login(self.server.user, self.server.password)
        ftp.cwd("pub")
        ftp.voidcmd("TYPE I")
        return ftp

    def metrics(self):
        with self.topology.inside("gateway"):
            url = f"http://127.0.0.1:{TELEMETRY_PORT}/metrics"
            with urllib.request.urlopen(url, timeout=3) as answer:
                return Metrics(answer.read().decode())

    def tables(self):
        """The names of all tables, as `inet ftpgate`."""
        text = self.machine.run(["nft", "list", "tables"])[1]
        return [line.removeprefix("table ") for line in text.splitlines()]


class Nftables:
    """Rules written by hand, loaded by Debian's nftables.service."""

    # What the service does before ftpgate starts.
    before = ()
    # Each is done while transfers run. The second one flushes the ruleset first.
    RELOADS = (["nft", "-f", RULES], ["systemctl", "restart", "nftables.service"])

    def __init__(self, site):
        self.site = site

    @staticmethod
    def config(place):
        return "config/gateway.yaml" if place == "gateway" else "config/in-front-of-a-server.yaml"

    def set_up(self):
        self._route()
        self.site.machine.write(RULES, self._text())
        self.site.machine.run(["nft", "-c", "-f", RULES])
        self.site.machine.run(["systemctl", "start", "nftables.service"])

    def _route(self):
        self.site.machine.write("/etc/sysctl.d/70-router.conf",
                                "net.ipv4.ip_forward=1\nnet.ipv6.conf.all.forwarding=1\n")
        self.site.machine.run(["sysctl", "-q", "-p", "/etc/sysctl.d/70-router.conf"])

    def _text(self):
        return shipped(f"deploy/nftables/{self.site.place}.nft")

    @staticmethod
    def in_force():
        """Whether its rules stand."""
        return True

    def without_line(self):
        text = re.sub(r"^\t\tct mark .*\n", "", self._text(), flags=re.MULTILINE)
        self.site.machine.write(RULES, text)
        self.site.machine.run(["nft", "-f", RULES])

    def with_line(self):
        self.site.machine.write(RULES, self._text())
        self.site.machine.run(["nft", "-f", RULES])


class Firewalld(Nftables):
    """firewalld with its default backend, nftables."""

    RELOADS = (["firewall-cmd", "--reload"], ["firewall-cmd", "--complete-reload"],
               ["systemctl", "restart", "firewalld.service"])

    @property
    def before(self):
        return ("/usr/sbin/nft -f /etc/ftpgate/mark.nft",) if self.site.place == "gateway" else ()

    @staticmethod
    def config(place):
        return "deploy/firewalld/gateway.yaml" if place == "gateway" else Nftables.config(place)

    def set_up(self):
        machine = self.site.machine
        self._route()
        machine.run(["systemctl", "start", "firewalld.service"])
        machine.write("/etc/ftpgate/mark.nft", shipped("deploy/firewalld/mark.nft"))
        machine.write("/root/set-up.sh", shipped(f"deploy/firewalld/{self.site.place}.sh"), mode="755")
        machine.run(["/root/set-up.sh"])

    def in_force(self):
        # systemctl returns before the rules are loaded.
        code, _ = self.site.machine.run(["firewall-cmd", "--state"], check=False)
        return code == 0 and "inet firewalld" in self.site.tables()

    def without_line(self):
        self.site.machine.run(["nft", "delete", "table", "inet", "ftpgate_mark"])

    def with_line(self):
        self.site.machine.run(["nft", "-f", "/etc/ftpgate/mark.nft"])


class Ufw(Nftables):
    """ufw at its defaults, which are to deny what comes in and what is routed."""

    before = ()
    RELOADS = (["ufw", "reload"], ["systemctl", "restart", "ufw.service"])

    def set_up(self):
        machine = self.site.machine
        self.with_line()
        machine.run(["ufw", "--force", "enable"])
        if self.site.place == "server":
            machine.run(["ufw", "allow", "in", "on", SIDES["outside"], "proto", "tcp", "to", "any",
                         "port", "21"])
            machine.run(["ufw", "allow", "proto", "tcp", "to", "any", "port", "50000:50999"])
        else:
            machine.run(["ufw", "allow", "in", "on", SIDES["wan"], "proto", "tcp", "to", "any",
                         "port", "50000:50999"])
        machine.run(["systemctl", "start", "ufw.service"])

    def without_line(self):
        self._take_out("connmark .*--comment ftpgate ")
        self.site.machine.run(["ufw", "reload"])

    def _take_out(self, what):
        self.site.machine.run(["sed", "-i", f"/{what}/d", "/etc/ufw/before.rules",
                               "/etc/ufw/before6.rules"])

    def with_line(self):
        machine = self.site.machine
        self._take_out("--comment ftpgate ")
        machine.write("/root/mark.sh", shipped("deploy/ufw/mark.sh"), mode="755")
        machine.run(["/root/mark.sh"])


FIREWALLS = {"nftables": Nftables, "firewalld": Firewalld, "ufw": Ufw}

__all__ = ["FIREWALLS", "Site"]
