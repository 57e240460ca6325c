"""ftpgate as its owner installs it: the Debian package in a booted machine, run by its unit.

`packages` builds the package out of the binary under test, `installed` yields a `Lab` whose gateway is an
`Appliance`. Not here: what must hold (`scenarios/package.py`), the machine itself (`machine.py`).
"""

import contextlib
import json
import os
import threading

from gateway import CAPTURE_PORT, TELEMETRY_PORT, Gateway, direct_port
from lab import Lab
from machine import Machine
from process import Failed, call, wait_until
from servers import CACHE
from topology import GATEWAY

BUILD = os.path.join(os.path.dirname(__file__), "..", "..", "deploy", "debian", "build.sh")
SERVICE, SOCKET = "ftpgate.service", "ftpgate.socket"
CONFIG = "/etc/ftpgate/ftpgate.yaml"

# The version that an upgrade goes to.
NEWER = "99.0-1"

_lock = threading.Lock()
_built = {}


def packages(binary, folder):
    """Two packages of this binary, the second with a higher version. Built once in a run."""
    with _lock:
        if binary not in _built:
            made = os.path.join(os.path.dirname(os.path.abspath(folder)), "packages")
            env = dict(os.environ, FTPGATE_TOOLS=os.path.join(CACHE, "tools"))
            call([BUILD, "--binary", os.path.abspath(binary), "--output", made, "--fast"],
                 timeout=300, env=env)
            first = os.path.join(made, os.listdir(made)[0])
            _built[binary] = first, _with_version(first, NEWER, made)
        return _built[binary]


def _with_version(package, version, folder):
    """The same package under another version, packed quickly."""
    tree = os.path.join(folder, "newer")
    call(["dpkg-deb", "--raw-extract", package, tree])
    control = os.path.join(tree, "DEBIAN", "control")
    with open(control, encoding="utf-8") as text:
        lines = text.read().splitlines()
    lines = [f"Version: {version}" if line.startswith("Version: ") else line for line in lines]
    with open(control, "w", encoding="utf-8") as out:
        out.write("\n".join(lines) + "\n")
    newer = os.path.join(folder, f"ftpgate_{version}_all.deb")
    call(["dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "--build", tree, newer])
    return newer


@contextlib.contextmanager
def installed(binary, folder, setting, **options):
    """A lab whose gateway is a machine with the package; the service has a configuration and does not
    run yet. Yields (lab, machine)."""
    package, _ = packages(binary, folder)
    with bare(binary, folder, setting, **options) as (lab, machine):
        machine.install(package)
        lab.gateway.configure()
        yield lab, machine


@contextlib.contextmanager
def bare(binary, folder, setting, **options):
    """The same before the package is installed."""
    # /run/ftpgate is the machine's own there; the first start outside of it has no control socket.
    with Lab(folder, binary, setting, **options) as lab:
        lab.gateway.stop()
        outside, lab.gateway = lab.gateway, None
        with Machine(lab.topology, folder) as machine:
            lab.gateway = Appliance(outside, machine, lab)
            try:
                yield lab, machine
            finally:
                lab.gateway = None


class Appliance(Gateway):
    """The service in the machine, in the place of a `Gateway` that has ended."""

    def __init__(self, gateway, machine, lab):
        self.machine = machine
        self.addresses = _addresses(lab)
        super().__init__(gateway.topology, gateway.binary, gateway.folder,
                         gateway.settings | {"admin": {"socket": "/run/ftpgate/admin.sock"}})

    def write(self, text):
        """Makes this the configuration, as soon as the package is there."""
        if self.machine.exists("/etc/ftpgate"):
            self.machine.write(CONFIG, text)

    def configure(self):
        """What an owner writes: the configuration, and its addresses for the socket unit."""
        self.write(json.dumps(self.settings, indent=1))
        lines = "".join(f"ListenStream={address}\n" for address in ["", *self.addresses])
        self.machine.write(f"/etc/systemd/system/{SOCKET}.d/listen.conf", f"[Socket]\n{lines}")
        self.machine.run(["systemctl", "daemon-reload"])

    def lay_over(self, **sections):
        """Lays sections over the configuration, without telling anybody."""
        self.settings = self.settings | sections
        self.write(json.dumps(self.settings, indent=1))

    def start(self):
        """Starts the service; ready when systemctl says so."""
        code, text = self.machine.run(["systemctl", "start", SERVICE], check=False)
        if code != 0:
            raise Failed(f"the service does not start: {text}\n{self.read_log()}")
        return self

    def reload(self, **sections):
        """`systemctl reload` with these sections. Returns whether it was applied."""
        self.lay_over(**sections)
        return self.machine.run(["systemctl", "reload", SERVICE], check=False)[0] == 0

    @property
    def pid(self):
        """The main process, as the machine counts."""
        return self.machine.main_pid(SERVICE)

    def status(self):
        """/proc/PID/status of the main process, as {key: value}."""
        lines = self.machine.read(f"/proc/{self.pid}/status").splitlines()
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}

    def read_log(self):
        return self.machine.journal(SERVICE)

    def stop(self):
        """Ends the service and its sockets, for good."""
        self.machine.run(["systemctl", "stop", SOCKET, SERVICE])
        wait_until(lambda: self.machine.show(SERVICE, "ActiveState") != "deactivating", "no end")


def _addresses(lab):
    """What `ListenStream=` has: the listeners of the lab's configuration, and the metrics."""
    if lab.setting.capture == "direct":
        found = [(GATEWAY["client", family], direct_port(server, family))
                 for server in lab.servers.values() for family in (4, 6)]
    else:
        found = [("0.0.0.0", CAPTURE_PORT[4]), ("::", CAPTURE_PORT[6])]
    found.append(("127.0.0.1", TELEMETRY_PORT))
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in found]
