"""A whole Debian with systemd as its PID 1, booted where the lab's gateway stands.

`setup.sh` makes the tree once; every machine sees it under a layer of its own in memory, so that each
boots clean and leaves nothing. Its network is a namespace of a `Topology`: clients and servers of the
lab reach what runs in it, and its sysctls and rulesets are that namespace's. No daemon of the host has
a part in it: systemd-nspawn runs as a child of this process, in a cgroup of its own.

The machine may do what a real one may (all capabilities, every system call, /proc/sys/net writable), so
that a unit is held by nothing but what it says itself. Not here: what runs in it.

    with Lab(…) as lab, Machine(lab.topology, folder) as machine:
        machine.write("/etc/example.conf", "…")
        machine.run(["systemctl", "start", "example.service"])
        machine.wait_for_unit("example.service")
"""

import itertools
import os
import re
import time

from process import Failed, Process, call, wait_until
from servers import CACHE

TREE = os.path.join(CACHE, "machine")

# Seconds. A boot takes one or two on a machine that has nothing else to do.
BOOT_LIMIT = 60
END_LIMIT = 30

_serial = itertools.count(1)

# Holds the mounts of the machine, which go with the process: nothing of them is seen outside.
_HOLD = """
set -eu
mount -t tmpfs -o mode=755 lab "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
touch "$1/mounted"
exec sleep infinity
"""

# Into the cgroups given, then becomes systemd-nspawn: whoever starts it knows its id.
_JOIN = """
set -eu
while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done
shift
exec "$@"
"""


class Machine:
    """Boots on entry and is gone at the end. `folder` gets what it says on its console.

    `namespace` is the name that the topology has for the machine's network.
    """

    def __init__(self, topology, folder, namespace="gateway"):
        self.folder = os.path.join(folder, f"machine-{namespace}")
        self.console = os.path.join(self.folder, "console.log")
        self.network = f"/run/netns/{topology.ns[namespace]}"
        self._name = f"fglab{os.getpid()}-{next(_serial)}"
        self._holder = self._nspawn = self._leader = None
        self._cgroups = []

    def __enter__(self):
        os.makedirs(os.path.join(self.folder, "disk"))
        try:
            self._holder = Process(["unshare", "--mount", "--propagation", "private", "sh", "-c", _HOLD,
                                    "sh", self._disk(), TREE], self.console)
            mounted = f"/proc/{self._holder.pid}/root{self._disk('mounted')}"
            wait_until(lambda: os.path.exists(mounted) or not self._holder.alive(), "no disk")
            self._cgroups = [os.path.join(parent, self._name) for parent in _cgroup_parents()]
            for cgroup in self._cgroups:
                os.mkdir(cgroup)
            self.boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, _, error, __):
        if error is not None and self._leader:
            _, text = self.run(["journalctl", "--no-pager", "-b", "-n", "200"], check=False)
            with open(self.console, "a", encoding="utf-8") as out:
                out.write(text)
            error.logs = [*getattr(error, "logs", []), self.console]
        self.close()

    def boot(self):
        """Switches it on, and waits until everything that starts by itself has started well."""
        # As on a real machine: no filter of system calls, its network's sysctls, one tree of cgroups.
        env = dict(os.environ, SYSTEMD_SECCOMP="0", SYSTEMD_NSPAWN_API_VFS_WRITABLE="network",
                   SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1")
        self._nspawn = Process(
            ["nsenter", "--mount", f"--target={self._holder.pid}", "sh", "-c", _JOIN, "sh",
             *self._cgroups, "--",
             "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--settings=no",
             "--directory", self._disk("root"), "--machine=gateway",
             f"--network-namespace-path={self.network}", "--capability=all", "--link-journal=no",
             "--resolv-conf=off", "--timezone=off", "--console=pipe", "--boot"],
            self.console, env=env)
        self._leader = wait_until(self._find_leader, "the machine has no PID 1", BOOT_LIMIT)
        state = wait_until(self._booted, "the machine does not come up", BOOT_LIMIT, step=0.05)
        if state != "running":
            _, failed = self.run(["systemctl", "--failed", "--no-pager", "--plain"], check=False)
            raise Failed(f"the machine is {state}\n{failed}")

    def power_off(self):
        """Switches it off in order; `boot` switches it on again, with the same disk."""
        if not self._nspawn:
            return
        nspawn, self._nspawn, self._leader = self._nspawn, None, None
        # systemd-nspawn turns SIGTERM into the signal that asks PID 1 for an orderly end.
        code = nspawn.stop(grace=END_LIMIT)
        if code != 0:
            raise Failed(f"the machine did not end in order: exit code {code}, see {self.console}")

    def reboot(self):
        """Off and on again. What is in memory is lost, namespaces and files stay."""
        self.power_off()
        self.boot()

    def close(self):
        """Ends it, in order if that is possible. Safe to call again, and halfway through booting."""
        try:
            self.power_off()
        finally:
            if self._holder:
                self._holder.stop()
                self._holder = None
            for cgroup in self._cgroups:
                wait_until(lambda cgroup=cgroup: _remove_cgroup(cgroup), f"{cgroup} is in use")
            self._cgroups = []

    def run(self, argv, check=True, timeout=60, stdin=None):
        """Runs a command as root in the machine. Returns (exit code, output with errors mixed in)."""
        # Not the environment of whoever runs the lab.
        env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
               "HOME": "/root", "LC_ALL": "C.UTF-8", "TERM": "dumb", "SYSTEMD_PAGER": "",
               "DEBIAN_FRONTEND": "noninteractive"}
        enter = ["nsenter", f"--target={self._leader}", "--mount", "--uts", "--ipc", "--pid", "--net",
                 "--cgroup", "--root", "--wd", "--"]
        return call([*enter, *argv], check=check, timeout=timeout, stdin=stdin, env=env)

    def write(self, path, text, mode="644", owner="root:root"):
        """Writes a file (text or bytes), and its folder if there is none."""
        data = text if isinstance(text, bytes) else text.encode()
        user, group = owner.split(":")
        self.run(["install", "-D", "-m", mode, "-o", user, "-g", group, "/dev/stdin", path], stdin=data)

    def copy(self, source, path, mode="644", owner="root:root"):
        """Copies a file of the host into the machine."""
        with open(source, "rb") as data:
            self.write(path, data.read(), mode, owner)

    def read(self, path):
        """The text of a file in the machine."""
        return self.run(["cat", path])[1]

    def exists(self, path):
        """True if something bears the name."""
        return self.run(["test", "-e", path], check=False)[0] == 0

    def install(self, package, *options):
        """Installs a package file (.deb) of the host as its user would. Returns what apt says."""
        path = f"/root/{os.path.basename(package)}"
        self.copy(package, path)
        return self.run(["apt-get", "install", "-y", "-o", "APT::Sandbox::User=root", *options, path],
                        timeout=120)[1]

    def show(self, unit, name):
        """One property of a unit, as `systemctl show` has it."""
        return self.run(["systemctl", "show", unit, "-p", name, "--value"])[1].strip()

    def wait_for_unit(self, unit, state="active", timeout=20):
        """Waits until a unit is in this state; one that fails meanwhile is told with its journal."""
        def reached():
            now = self.show(unit, "ActiveState")
            if now == "failed" and state != "failed":
                raise Failed(f"{unit} has failed\n{self.journal(unit)}")
            return now == state
        wait_until(reached, f"{unit} does not become {state}", timeout)

    def main_pid(self, unit):
        """The id of a unit's main process, as the machine counts."""
        return int(self.show(unit, "MainPID"))

    def journal(self, unit=None, lines=1000):
        """The last lines of the journal, of one unit or of all."""
        of = ["-u", unit] if unit else []
        return self.run(["journalctl", "--no-pager", "-b", "-o", "short", "-n", str(lines), *of])[1]

    def _disk(self, name=""):
        return os.path.join(self.folder, "disk", name).rstrip("/")

    def _find_leader(self):
        if not self._nspawn.alive():
            text = "\n".join(self._nspawn.tail())
            raise Failed(f"systemd-nspawn ended at once\n{text}")
        pid = self._nspawn.pid
        try:
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
                found = [int(child) for child in children.read().split()]
            return next((child for child in found if _is_first(child)), None)
        except FileNotFoundError:
            return None

    def _booted(self):
        if not self._nspawn.alive():
            text = "\n".join(self._nspawn.tail())
            raise Failed(f"the machine ended while it booted\n{text}")
        _, text = self.run(["systemctl", "is-system-running"], check=False)
        return text.strip() if text.strip() in ("running", "degraded", "maintenance") else None


def _is_first(pid):
    """Whether a process is PID 1 of a namespace of its own, and systemd already."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        text = status.read()
    return bool(re.search(r"^NSpid:\t.*\t1$", text, re.MULTILINE)) and "Name:\tsystemd\n" in text


def _cgroup_parents():
    """The folders of this process's own cgroups, of systemd's hierarchies: cgroup 2, and its own of
    version 1 where the host has both."""
    with open("/proc/self/cgroup", encoding="ascii") as text:
        own = {line.split(":", 2)[1]: line.strip().split(":", 2)[2] for line in text}
    parents = []
    with open("/proc/self/mounts", encoding="ascii") as mounts:
        for _, point, kind, options, *_ in map(str.split, mounts):
            name = {"cgroup2": "", "cgroup": "name=systemd"}.get(kind)
            if kind == "cgroup2" or kind == "cgroup" and name in options.split(","):
                parents.append(point + own[name].rstrip("/"))
    return parents


def _remove_cgroup(top):
    """Removes a cgroup with those below it. False while a process is in one of them."""
    for folder, _, _ in os.walk(top, topdown=False):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            pass
        except OSError:
            return False
    return True


if __name__ == "__main__":
    # How long a boot takes here, and that nothing stays behind.
    import tempfile
    from topology import Topology
    with tempfile.TemporaryDirectory() as scratch:
        topology = Topology(server_route=True)
        start = time.monotonic()
        with Machine(topology, scratch) as machine:
            print(f"booted in {time.monotonic() - start:.1f} s")
            print(machine.run(["systemctl", "status", "--no-pager"])[1])
        print(f"gone after {time.monotonic() - start:.1f} s")
        topology.close()
