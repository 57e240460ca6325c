"""ftpgate itself in the lab: its configuration for one setting, its life, its metrics and its log."""

import json
import os
import re
import signal
import urllib.error
import urllib.request

from process import Failed, Process, wait_until
from topology import GATEWAY, MARK

TELEMETRY_PORT = 9121
CONTROL_PORTS = (21, 2100)

# The listening ports of tproxy and redirect; those of direct start here, two for each server.
CAPTURE_PORT = {4: 2121, 6: 2126}
DIRECT_PORT = 2200

POOL = (50000, 50999)

_SAMPLE = re.compile(r"^(ftpgate_\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def config(setting, servers, data=None, limits=None, policy=None, extra_listeners=(),
           open_timeout="30s", tls=None, capture_ports=CONTROL_PORTS, certificates=None,
           audit=None, telemetry=None, admin=None):
    """The configuration as a dictionary; as JSON text it is YAML too.

    `data`, `limits` and `policy` are laid over the defaults of the lab; `tls` goes to its listeners,
    `certificates` is the section `tls` beside them, `audit` the section `telemetry.audit`, `telemetry`
    more of that section, `admin` the path of the control socket.
    """
    listeners = []
    common = {"capture": setting.capture, "source": setting.source, "policy": "default",
              **({"tls": tls} if tls else {})}
    if setting.capture == "direct":
        for server in servers.values():
            for family in (4, 6):
                listeners.append(common | {
                    "name": f"{server.name}-{server.port}-v{family}",
                    "listen": _join(GATEWAY["client", family], direct_port(server, family)),
                    "server": _join(server.address(family), server.port)})
    else:
        for family, host in ((4, "0.0.0.0"), (6, "::")):
            listeners.append(common | {
                "name": f"out-v{family}", "listen": _join(host, CAPTURE_PORT[family]),
                "capture_ports": list(capture_ports), "server": "original"})
    return {
        "listeners": listeners + list(extra_listeners),
        "data": {"path": setting.path, "ports": f"{POOL[0]}-{POOL[1]}",
                 "open_timeout": open_timeout} | (data or {}),
        "firewall": {"backend": "nftables", "table": "ftpgate", "mark": MARK},
        **({"policies": {"default": policy}} if policy else {}),
        # What a test leaves open at its end is not waited for.
        "limits": {"drain_timeout": "1s"} | (limits or {}),
        **({"tls": certificates} if certificates else {}),
        "telemetry": {"listen": f"127.0.0.1:{TELEMETRY_PORT}",
                      # One form of log in half of the runs, the other in the other half.
                      "log": {"format": "json" if setting.source == "client" else "text",
                              "level": "debug"},
                      **({"audit": audit} if audit else {})} | (telemetry or {}),
        # Never the host's own.
        "admin": {"socket": admin},
    }


def direct_port(server, family):
    """The port of the gateway behind which a `direct` listener has this server."""
    return DIRECT_PORT + 2 * server.index + (family == 6)


def _join(host, port):
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Gateway:
    """A running ftpgate in a namespace of a topology."""

    def __init__(self, topology, binary, folder, settings, namespace="gateway"):
        self.topology = topology
        self.namespace = namespace
        self.binary = binary
        self.folder = folder
        self.settings = settings
        self.config = os.path.join(folder, "ftpgate.yaml")
        self.log = os.path.join(folder, "ftpgate.log")
        self.process = None
        self.settings = settings
        self.write(json.dumps(settings, indent=1))

    def write(self, text):
        """Makes this the configuration file; whoever reads it sees the old one or the new one."""
        with open(self.config + ".new", "w", encoding="utf-8") as out:
            out.write(text)
        os.replace(self.config + ".new", self.config)

    def signal(self, number):
        os.kill(self.process.pid, number)

    def reload(self, **sections):
        """Lays these sections over the configuration and asks for a reload. Returns its outcome."""
        self.settings = self.settings | sections
        return self.reload_text(json.dumps(self.settings, indent=1))

    def reload_text(self, text):
        """As `reload`, with a whole file."""
        def counts():
            metrics = self.metrics()
            return {outcome: metrics.sum("config_reloads_total", outcome=outcome)
                    for outcome in ("applied", "refused")}
        before = counts()
        self.write(text)
        self.signal(signal.SIGHUP)
        wait_until(lambda: counts() != before, "SIGHUP has no effect")
        return next(outcome for outcome, count in counts().items() if count != before[outcome])

    def start(self):
        """Starts it and waits until it says that it is ready."""
        self.process = Process([self.binary, "run", "--config", self.config], self.log,
                               self.topology.ns[self.namespace], env=dict(os.environ, RUST_BACKTRACE="1"))
        try:
            wait_until(self._ready, "ftpgate is not ready", timeout=10)
        except Failed as error:
            code = self.process.stop()
            tail = "\n".join(self.process.tail())
            raise Failed(f"ftpgate does not start (exit code {code})\n{tail}") from error
        return self

    def _ready(self):
        if not self.process.alive():
            raise Failed("ftpgate ended at once")
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def get(self, path):
        """An HTTP request to the telemetry endpoint. Returns (status, body)."""
        with self.topology.inside(self.namespace):
            try:
                url = f"http://127.0.0.1:{TELEMETRY_PORT}{path}"
                with urllib.request.urlopen(url, timeout=3) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

    def metrics(self):
        return Metrics(self.get("/metrics")[1])

    def children(self):
        """The ids of the process's own child processes."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as text:
                    # pid (command) state ppid …; the command may hold anything but is in brackets.
                    parent = text.read().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if parent == str(self.process.pid):
                found.append(int(pid))
        return found

    def read_log(self):
        with open(self.log, encoding="utf-8", errors="replace") as text:
            return text.read()

    def stop(self):
        """Ends it in order. Returns the exit code."""
        process, self.process = self.process, None
        return process.stop() if process else None


class Metrics:
    """One reading of `/metrics`."""

    def __init__(self, text):
        self.samples = [(name, dict(_LABEL.findall(labels or "")), float(value))
                        for name, labels, value in _SAMPLE.findall(text)]
        self.declared = set(re.findall(r"^# TYPE (ftpgate_\w+) ", text, re.MULTILINE))

    def sum(self, name, **labels):
        """The sum of all samples of a metric that bear these labels."""
        return sum(value for sample, found, value in self.samples
                   if sample == f"ftpgate_{name}" and labels.items() <= found.items())
