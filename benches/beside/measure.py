"""The works that are measured, one sample at a time, and what a gateway's process spent on it.

A sample is the client's own figure. The processor time of the gateway's process stands beside it: on a busy
machine it says more about the code than the clock does. What the kernel does for forwarded packets is in no process's time.
"""

import contextlib
import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import world

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Work:
    """One kind of work. `value` and `amount` read the client's JSON; `cost_unit` names processor time per amount."""

    name: str
    title: str
    unit: str
    more_is_better: bool
    seconds: float
    quick_seconds: float
    value: object
    amount: object
    cost_unit: str
    cost_scale: float


WORKS = [
    Work("file", "one large file", "Gbit/s", True, 2.0, 0.7,
         lambda said: said["bytes"] * 8e-9 / said["seconds"],
         lambda said: said["bytes"] / 1e9, "CPU s/GB", 1.0),
    Work("small", "1 KiB files in one session", "files/s", True, 1.0, 0.5,
         lambda said: said["files"] / said["seconds"],
         lambda said: said["files"], "CPU µs/file", 1e6),
    Work("noop", "NOOP round trip", "µs", False, 0.4, 0.2,
         lambda said: said["median_us"],
         lambda said: said["count"], "CPU µs/NOOP", 1e6),
    Work("sessions", "sessions, 4 at a time", "sessions/s", True, 1.5, 0.7,
         lambda said: said["sessions"] / said["seconds"],
         lambda said: said["sessions"], "CPU µs/session", 1e6),
]


@dataclass
class Sample:
    """`value` in the work's unit; `cost` in its cost unit, None where no process carries the bytes."""

    value: float
    cost: float | None
    raw: dict


def take(contender, work, seconds, client):
    """Runs the client once. Raises BenchError with the client's words when it fails."""
    before = _processor_seconds(contender.process)
    words = [client, work.name, *contender.client_words, f"seconds={seconds}"]
    try:
        said = json.loads(contender.line.client.run(words, timeout=seconds + 20))
    except subprocess.TimeoutExpired as error:
        raise world.BenchError(f"no end within {error.timeout:.0f} s") from error
    # Long enough for the gateway to see the end of the sessions, which is part of the work.
    time.sleep(0.05)
    cost = None
    if before is not None and (amount := work.amount(said)):
        cost = (_processor_seconds(contender.process) - before) / amount * work.cost_scale
    return Sample(work.value(said), cost, said)


def _processor_seconds(process):
    """User and system time of a process, its threads and the children that it has waited for."""
    if process is None or process.poll() is not None:
        return None
    return sum(map(int, _stat(process.pid)[11:15])) / _TICKS_PER_SECOND


def _stat(pid):
    """The fields of /proc/PID/stat from the third on (proc(5)); the second may hold blanks."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def child_processes(process):
    """How many children a process has, and whether it has ever waited for one (by the page faults they left)."""
    alive = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                alive += int(_stat(entry.name)[1]) == process.pid
            except OSError:
                continue  # ended while the list was read
    fields = _stat(process.pid)
    return alive, int(fields[8]) + int(fields[10]) > 0


def memory_of_idle(contender, client, few, many):
    """Bytes of a gateway for each idle session: what it grows by between `few` and `many` of them."""
    sizes = []
    with contextlib.ExitStack() as stack:
        for sessions in (few, many - few):
            stack.enter_context(_held(contender, client, sessions))
            time.sleep(0.5)
            sizes.append(_proportional_size(contender.process.pid))
    return (sizes[1] - sizes[0]) / (many - few)


@contextlib.contextmanager
def _held(contender, client, sessions):
    words = [client, "hold", *contender.client_words, f"sessions={sessions}"]
    holder = subprocess.Popen(contender.line.client.command(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True)
    try:
        if json.loads(holder.stdout.readline() or "{}").get("held") != sessions:
            raise world.BenchError(f"{sessions} sessions could not be held")
        yield
    finally:
        holder.stdin.close()
        holder.wait(timeout=20)
        holder.stdout.close()


def _proportional_size(pid):
    """Bytes of a process and its descendants; what several share is counted once (proc(5), smaps_rollup)."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # ended while the list was read
                parents.setdefault(int(_stat(entry.name)[1]), []).append(int(entry.name))
    family, size = [pid], 0
    for member in family:
        family += parents.get(member, [])
        for line in Path(f"/proc/{member}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                size += int(line.split()[1]) * 1024
    return size


def resumed_share(text, side):
    """The share of data handshakes on a side of ftpgate that resumed; None without any."""
    counts = {"yes": 0.0, "no": 0.0}
    for line in text.splitlines():
        if line.startswith("ftpgate_tls_handshakes_total{") and f'side="{side}"' in line and 'connection="data"' in line:
            labels, _, count = line.rpartition(" ")
            counts["yes" if 'resumed="yes"' in labels else "no"] += float(count)
    total = sum(counts.values())
    return counts["yes"] / total if total else None


def histogram(text, name):
    """Sums a Prometheus histogram over its labels: a sorted list of (upper bound in seconds, count so far)."""
    buckets = {}
    for line in text.splitlines():
        if line.startswith(f"{name}_bucket{{"):
            labels, _, count = line.rpartition(" ")
            bound = float(labels.partition('le="')[2].partition('"')[0].replace("+Inf", "inf"))
            buckets[bound] = buckets.get(bound, 0) + float(count)
    return sorted(buckets.items())


def median_of_histogram(buckets):
    """The median in seconds, interpolated inside its bucket as Prometheus does; None without observations."""
    if not buckets or buckets[-1][1] == 0:
        return None
    half = buckets[-1][1] / 2
    low, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= half:
            if bound == float("inf"):
                return low
            return low + (bound - low) * (half - below) / (count - below)
        low, below = bound, count
    return None
