"""What the scenarios of faults do to a running ftpgate from outside, and how they see that nothing leaks."""

import contextlib
import ctypes
import glob
import os
import random
import resource
import shlex
import socket
import struct
import time

from process import Failed, wait_until
from servers import CACHE

SYS_PIDFD_GETFD = 438
NETLINK_NETFILTER = 12
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000

# How long the last of what a storm leaves may take to be gone. The timeouts that the scenarios set are
# far below, and those of the kernel are not waited for.
AT_REST_WITHIN = 60.0

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _checked(result, what):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


class Rest:
    """What ftpgate holds when nothing runs, to compare with later."""

    def __init__(self, lab):
        self.lab = lab
        self.before = wait_until(lambda: self._idle() and self.held(), "it is busy before anything runs")

    def _idle(self):
        return self.lab.gateway.metrics().sum("sessions_active") == 0

    def held(self):
        """Everything that can leak. Pipes are pooled, up to a bound of ftpgate's own."""
        metrics = self.lab.gateway.metrics()
        held = {name: metrics.sum(name) for name in (
            "sessions_active", "pinholes_open", "data_connections_active", "control_protection",
            "ports_free", "tasks")}
        held["elements"] = len(self.lab.open_elements())
        kinds = descriptors(self.lab.gateway.process.pid)
        held["sockets"] = sum(kind.startswith("socket:") for kind in kinds)
        held["other files"] = sum(not kind.startswith(("socket:", "pipe:")) for kind in kinds)
        return held

    def again(self, within=AT_REST_WITHIN):
        """Waits until all is as it was before; tells what is not."""
        try:
            wait_until(lambda: self.held() == self.before, "", within, 0.2)
        except Failed:
            now = self.held()
            left = {name: f"{self.before[name]:g} -> {now[name]:g}"
                    for name in now if now[name] != self.before[name]}
            if left:
                raise Failed(f"not as before after {within:g} s: {left}") from None


def descriptors(pid):
    """What each open descriptor of a process leads to."""
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        # One may be closed meanwhile.
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
    return found


def many_descriptors():
    """Raises the limit of this process, and of what it starts, to what it may have."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Clock:
    """The time of day of one program, which can be stepped while it runs: libfaketime asks a file what to
    add whenever the program asks for the time. Monotonic clocks and the times of files are left alone.

    `binary` is what to start. The file lies where the program's Landlock lets it read.
    """

    def __init__(self, folder, binary):
        os.makedirs(folder, exist_ok=True)
        self.path = os.path.join(folder, "clock")
        self.ahead = 0
        self.step(0)
        library, = glob.glob(f"{CACHE}/libfaketime/usr/lib/*/faketime/libfaketimeMT.so.1")
        told = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": self.path, "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DISABLE_SHM": "1", "NO_FAKE_STAT": "1"}
        words = " ".join(shlex.quote(f"{name}={value}") for name, value in told.items())
        self.binary = os.path.join(folder, "ftpgate-by-another-clock")
        with open(self.binary, "w", encoding="utf-8") as out:
            out.write(f'#!/bin/sh\nexec env {words} {shlex.quote(os.path.abspath(binary))} "$@"\n')
        os.chmod(self.binary, 0o755)

    def step(self, seconds):
        """From now on it is so far ahead of the true time; less than 0: behind."""
        with open(self.path + ".new", "w", encoding="ascii") as out:
            out.write(f"{seconds:+d}\n")
        os.replace(self.path + ".new", self.path)
        self.ahead = seconds

    def now(self):
        return time.time() + self.ahead


@contextlib.contextmanager
def stopped_thread(pid, name):
    """One thread of a process stands still: it answers nobody, while the others go on."""
    tid = next(int(tid) for tid in os.listdir(f"/proc/{pid}/task")
               if open(f"/proc/{pid}/task/{tid}/comm", encoding="ascii").read().strip() == name)
    _checked(_libc.ptrace(PTRACE_SEIZE, tid, None, None), "PTRACE_SEIZE")
    try:
        _checked(_libc.ptrace(PTRACE_INTERRUPT, tid, None, None), "PTRACE_INTERRUPT")
        os.waitpid(tid, WALL)
        yield
    finally:
        _checked(_libc.ptrace(PTRACE_DETACH, tid, None, None), "PTRACE_DETACH")


def as_owner(lab, batch):
    """Sends a batch over ftpgate's own netlink sockets. The kernel takes it from the one that owns the
    table and from no other, so this is what a kernel without owned tables lets anybody do."""
    pid = lab.gateway.process.pid
    with open(f"/proc/{pid}/net/netlink", encoding="ascii") as text:
        rows = [line.split() for line in text.readlines()[1:]]
    inodes = {row[9] for row in rows if row[1] == str(NETLINK_NETFILTER) and int(row[3], 16) == 0}
    pidfd = os.pidfd_open(pid)
    try:
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{number}")[8:-1] in inodes:
                    fd = _checked(_libc.syscall(SYS_PIDFD_GETFD, pidfd, int(number), 0), "pidfd_getfd")
                    with socket.socket(fileno=fd) as sock:
                        sock.send(batch)
    finally:
        os.close(pidfd)


def _attribute(kind, data):
    return struct.pack("=HH", len(data) + 4, kind) + data + b"\0" * (-len(data) % 4)


def _message(kind, body, flags=0x1, family=1, resource=0):
    payload = struct.pack("=BB", family, 0) + struct.pack(">H", resource) + body
    return struct.pack("=IHHII", 16 + len(payload), kind, flags, 0, 0) + payload


def _batch(*messages):
    return (_message(16, b"", family=0, resource=10) + b"".join(messages)
            + _message(17, b"", family=0, resource=10))


def delete_table(name="ftpgate"):
    """A batch for `as_owner`."""
    return _batch(_message(10 << 8 | 2, _attribute(1, name.encode() + b"\0")))


def fill_pinholes(number, first=0):
    """A batch for `as_owner`: so many elements of other peers in the set of IPv4 pinholes."""
    # By themselves the first may be gone again before the last is there, on a busy machine.
    stay = _attribute(4, struct.pack(">Q", 600_000))

    def one(n):
        key = struct.pack(">IIHH", 0x0A000000 + n, 0xCB007107, 50000, 0)
        return _attribute(0x8001, _attribute(0x8001, _attribute(1, key)) + stay)
    messages = []
    # The length of an attribute is a number of 16 bits.
    for start in range(first, first + number, 1000):
        elements = b"".join(one(n) for n in range(start, min(start + 1000, first + number)))
        messages.append(_message(10 << 8 | 12, _attribute(1, b"ftpgate\0") + _attribute(2, b"pin4\0")
                                 + _attribute(0x8003, elements), flags=0x401))
    return _batch(*messages)


def flush_behind_an_element(chain):
    """A batch for `as_owner`: an element is added, and a chain loses its rules."""
    element = _attribute(0x8001, _attribute(0x8001, _attribute(1, struct.pack(
        ">IIHH", 0x0A000001, 0xCB007107, 50000, 0))) + _attribute(4, struct.pack(">Q", 1000)))
    return _batch(_message(10 << 8 | 12, _attribute(1, b"ftpgate\0") + _attribute(2, b"pin4\0")
                           + _attribute(0x8003, element), flags=0x401),
                  _message(10 << 8 | 8, _attribute(1, b"ftpgate\0") + _attribute(2, chain.encode() + b"\0")))


def empty_pinholes():
    """A batch for `as_owner`: no element is left in that set."""
    return _batch(_message(10 << 8 | 14, _attribute(1, b"ftpgate\0") + _attribute(2, b"pin4\0")))


def vanish(topology, name):
    """From now on nothing that a peer sends arrives, and nothing reaches it."""
    topology.nft(name, """
        table inet vanished {
            chain in { type filter hook input priority -300; policy drop; }
            chain out { type filter hook output priority -300; policy drop; }
        }""")


def come_back(topology, name):
    topology.nft(name, "delete table inet vanished\n")


def seed():
    """Of a run of chance; printed, and FTPGATE_SEED repeats it."""
    number = int(os.environ.get("FTPGATE_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"FTPGATE_SEED={number}", flush=True)
    return number
