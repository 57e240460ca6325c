"""The gate that the scripts on loopback talk through: ftpgate without any privilege, relay path."""

import json
import os
import signal
import socket
import urllib.request

from authority import local_ca
from gateway import Metrics
from ports import free_block, return_block
from process import Failed, Process, wait_until
from scripted import Peers

# Where scripts on loopback stand, unless they say otherwise.
HERE = "127.0.0.1"

# How far memory may grow whatever the peers send, in KiB: far above what a session and the allocator
# take, far below what is sent.
MOST_GROWTH = 16 * 1024


def _bracketed(host):
    return f"[{host}]" if ":" in host else host


class Gate:
    """An ftpgate on loopback in front of a scripted server. `host`: 127.0.0.1 or ::1.

    Where TLS ends at it there is a local CA, of which `roots` is the certificate; servers are believed.
    `certificates` is laid over the section `tls`. `server` stands in for the scripted server, `port` is
    where it listens if that has to be known beforehand.
    """

    def __init__(self, binary, folder, host=HERE, policy=None, limits=None, data=None,
                 tls=None, certificates=None, server=None, port=None, level="debug"):
        os.makedirs(folder)
        self.host = host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, 0), family=family)
        *pool, self.port, self.telemetry = free_block()
        self.port = port or self.port
        server_host, server_port = server or self.listener.getsockname()[:2]
        self.pool = range(pool[0], pool[-1] + 1)
        mode = (tls or {}).get("mode")
        sections = {}
        if mode in ("intercept", "offload"):
            self.roots, sections["ca"] = local_ca(binary, folder)
        if mode in ("intercept", "originate"):
            sections["server"] = {"verify": "off"}
        sections |= certificates or {}
        settings = {
            "listeners": [{"name": "lo", "listen": f"{_bracketed(host)}:{self.port}", "capture": "direct",
                           "server": f"{_bracketed(server_host)}:{server_port}",
                           **({"tls": tls} if tls else {})}],
            "data": {"path": "relay", "ports": f"{pool[0]}-{pool[-1]}",
                     "open_timeout": "5s"} | (data or {}),
            "firewall": {"backend": "none"},
            **({"policies": {"default": policy}} if policy else {}),
            "limits": {"drain_timeout": "1s"} | (limits or {}),
            **({"tls": sections} if sections else {}),
            "telemetry": {"listen": f"127.0.0.1:{self.telemetry}",
                          "log": {"format": "text", "level": level}},
            "admin": {"socket": None},
        }
        self.settings = settings
        config = self.config = os.path.join(folder, "ftpgate.yaml")
        self._write()
        self.log = os.path.join(folder, "ftpgate.log")
        self.process = Process(["setpriv", "--bounding-set=-all", "--inh-caps=-all", binary, "run",
                                "--config", config], self.log)
        try:
            wait_until(self._ready, "ftpgate is not ready", timeout=10)
        except Failed as error:
            tail = "\n".join(self.process.tail())
            self.close()
            raise Failed(f"ftpgate does not start\n{tail}") from error

    def _write(self):
        with open(self.config, "w", encoding="utf-8") as out:
            json.dump(self.settings, out, indent=1)

    def reload(self, **limits):
        """Other limits, while it runs."""
        before = self.metrics().sum("config_reloads_total")
        self.settings["limits"] |= limits
        self._write()
        os.kill(self.process.pid, signal.SIGHUP)
        wait_until(lambda: self.metrics().sum("config_reloads_total", outcome="applied") == before + 1,
                   "the new limits are not in force")

    def _ready(self):
        if not self.process.alive():
            raise Failed("ftpgate ended at once")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.telemetry}/readyz", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def connect(self):
        return socket.create_connection((self.host, self.port), 5)

    def peers(self, **options):
        """A session: by default greeted and logged in."""
        return Peers(self.connect, self.listener, **({"login": True} | options))

    def data_listener(self):
        """A listening socket of a peer for one data connection."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        return socket.create_server((self.host, 0), family=family)

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.telemetry}/metrics", timeout=3) as answer:
            return Metrics(answer.read().decode())

    def open_ports(self):
        """The ports of its pool on which the process listens."""
        inodes = set()
        for fd in os.listdir(f"/proc/{self.process.pid}/fd"):
            try:
                target = os.readlink(f"/proc/{self.process.pid}/fd/{fd}")
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
        ports = set()
        for name in ("tcp", "tcp6"):
            with open(f"/proc/net/{name}", encoding="ascii") as table:
                for fields in (line.split() for line in list(table)[1:]):
                    if fields[3] == "0A" and fields[9] in inodes:
                        ports.add(int(fields[1].rpartition(":")[2], 16))
        return sorted(ports & set(self.pool))

    def nothing_open(self):
        """No pinhole is open, in the process's sockets and in its own words; bounded wait."""
        wait_until(lambda: not self.open_ports(), f"port {self.open_ports()} still listens")
        wait_until(lambda: self.metrics().sum("pinholes_open") == 0, "pinholes_open is not 0")

    def never_opened(self):
        """Not one pinhole was opened since the start."""
        self.nothing_open()
        if total := self.metrics().sum("pinholes_total"):
            raise Failed(f"{total:g} pinholes were opened")

    def no_session(self):
        """The session is over and all that it had is released."""
        wait_until(lambda: self.metrics().sum("sessions_active") == 0, "sessions_active is not 0")
        wait_until(lambda: self.metrics().sum("control_protection") == 0,
                   "control_protection still counts a session")
        self.nothing_open()

    def ccc(self):
        """How the secured sessions came back, {outcome: count}, without those that are 0."""
        found = {}
        for name, labels, value in self.metrics().samples:
            if name == "ftpgate_ccc_total" and value:
                found[labels["outcome"]] = found.get(labels["outcome"], 0) + value
        return found

    def expect_ccc(self, **counts):
        """Exactly these outcomes, after a bounded wait; several may be told at a session's end."""
        wait_until(lambda: self.ccc() == counts, f"ccc_total never becomes {counts}", timeout=3)

    def expect_protection(self, state, count=1):
        """So many sessions are in this state of protection, by its own account."""
        if (found := self.metrics().sum("control_protection", state=state)) != count:
            raise Failed(f"{found:g} sessions are counted in the state {state}, not {count}")

    def read_log(self):
        with open(self.log, encoding="utf-8", errors="replace") as text:
            return text.read()

    def memory(self):
        """Resident memory in KiB."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as text:
            return next(int(line.split()[1]) for line in text if line.startswith("VmRSS:"))

    def grown_at_most(self, before, most=MOST_GROWTH):
        """Since memory was `before`, it has grown by no more, in KiB."""
        if (grown := self.memory() - before) > most:
            raise Failed(f"memory grew by {grown} KiB")

    def close(self):
        self.process.stop()
        self.listener.close()
        return_block(self.pool[0])
