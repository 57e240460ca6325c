"""Two gateways that share their addresses, and one of them goes: what survives, and who takes over."""

import contextlib
import hashlib
import os
import re
import threading
import time

from cells import Setting
from lab import Failed
from process import wait_until
from scenarios import scenario
from scenarios.transfers import LARGE
from several import Pair

FORMS = (Setting("tproxy", "gateway", "kernel"), Setting("tproxy", "client", "kernel"),
         Setting("direct", "gateway", "kernel"))
NAT = FORMS[0]

# 64 MiB at this pace last 20 s; nothing here takes as long.
PIECE, PIECE_PAUSE = 1 << 16, 0.02

# advert_int is 0.3 s: (3 + 156/256) of it are 1.1 s until the other gateway takes over. The rest is
# for a machine that has much else to do.
SILENCE_TAKES = 1.1 + 3
# Two checks that fail, a second apart, come first.
CHECK_TAKES = SILENCE_TAKES + 4


class Transfer:
    """A transfer in a thread, slow until it is told to `finish`."""

    def __init__(self, pair, verb, mode, family):
        self.pair = pair
        self.ftp = pair.ftp(mode, family=family)
        self.name = f"{verb} {mode} v{family}"
        self.stored = f"stored-{mode}-{family}"
        self.moved = 0
        self.error = None
        self.digest = hashlib.sha256()
        self._hurry = threading.Event()
        self._download = verb == "RETR"
        with pair.topology.inside("client"):
            self.data = self.ftp.transfercmd("RETR large" if self._download else f"STOR {self.stored}")
        self.data.settimeout(15)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            with self.data:
                (self._fetch if self._download else self._store)()
        except OSError as error:
            self.error = error

    def _fetch(self):
        while piece := self.data.recv(PIECE):
            self.digest.update(piece)
            self.moved += len(piece)
            self._hurry.wait(PIECE_PAUSE)

    def _store(self):
        with open(self.pair.server.path("large"), "rb") as source:
            while piece := source.read(PIECE):
                self.data.sendall(piece)
                self.moved += len(piece)
                self._hurry.wait(PIECE_PAUSE)

    def runs_on(self):
        """Waits until more has moved than any buffer on the way holds back."""
        before = self.moved
        wait_until(lambda: self.moved > before + (1 << 20) or self.error, f"{self.name}: nothing moves",
                   timeout=10)

    def finish(self, digest):
        """All the rest at full speed; the file has to be whole on the other side."""
        if not self._thread.is_alive():
            raise Failed(f"{self.name}: was over too early: {self.moved} bytes, {self.error}")
        self._hurry.set()
        self._thread.join(30)
        if self.error or self._thread.is_alive() or self.moved != LARGE:
            raise Failed(f"{self.name}: {self.moved} bytes, {self.error or 'and no more'}")
        if not self._download:
            path = self.pair.server.path(self.stored)
            wait_until(lambda: os.path.getsize(path) == LARGE, f"{self.name}: is not whole")
            with open(path, "rb") as stored:
                self.digest = hashlib.file_digest(stored, "sha256")
        if self.digest.hexdigest() != digest:
            raise Failed(f"{self.name}: the file was harmed")


def greeted(pair, since):
    """Waits until a new client is greeted. Returns how long after the moment `since` that is."""
    address = pair.target(pair.server)

    def greeting():
        with contextlib.suppress(OSError), pair.topology.connect("client", address, 0.25) as sock:
            return sock.recv(3) == b"220"
    wait_until(greeting, "no gateway greets", timeout=15)
    return time.monotonic() - since


def in_time(took, limit):
    print(f"     a new session after {took:.2f} s", flush=True)
    if took > limit:
        raise Failed(f"a new session took {took:.1f} s, not {limit}")


def is_reset(ftp):
    """The session of a gateway that has gone: the other one says so at the next line."""
    try:
        reply = ftp.ask("NOOP", "200")
    except ConnectionResetError:
        return
    raise Failed(f"a session without a gateway answers {reply!r}")


def carried(node):
    """Bytes of the connections through pinholes, as this node's kernel has counted them."""
    return sum(int(count) for line in node.transfers() for count in re.findall(r"bytes=(\d+)", line))


def is_calm(node):
    """ftpgate has nothing to complain about."""
    complaints = re.findall(r'^.*(?: WARN | ERROR |"WARN"|"ERROR").*$', node.gateway.read_log(), re.M)
    if complaints:
        raise Failed(f"{node.name}: {complaints}")


@scenario("two gateways: power cut", *FORMS)
def power_fails(binary, folder, setting):
    with Pair(folder, binary, setting) as pair:
        digest = pair.put_file("large", LARGE)
        transfers = [Transfer(pair, *words) for words in (
            ("RETR", "EPSV", 4), ("STOR", "PORT", 4), ("RETR", "EPRT", 6), ("STOR", "EPSV", 6))]
        for transfer in transfers:
            transfer.runs_on()
        other = pair.backup
        in_time(greeted(pair, pair.master.die()), SILENCE_TAKES)
        if not other.master():
            raise Failed("somebody greets, but not the other gateway")
        for transfer in transfers:
            transfer.finish(digest)
        if (bytes_there := carried(other)) < 2 * LARGE:
            raise Failed(f"{bytes_there} bytes counted on the gateway that took over")
        for transfer in transfers:
            is_reset(transfer.ftp)
        with contextlib.closing(pair.ftp("PASV", family=4)) as ftp:
            if ftp.fetch_digest("large") != (LARGE, digest):
                raise Failed("a new download differs")
        is_calm(other)


@scenario("two gateways: power cut on one, then on the other")
def twice(binary, folder):
    with Pair(folder, binary, NAT) as pair:
        digest = pair.put_file("large", LARGE)
        transfers = [Transfer(pair, *words) for words in (("RETR", "PORT", 4), ("STOR", "EPSV", 6))]
        for transfer in transfers:
            transfer.runs_on()
        first, second = pair.master, pair.backup
        first.die()
        wait_until(second.master, "the other gateway does not take over", timeout=SILENCE_TAKES)
        first.revive()
        wait_until(lambda: len(first.transfers()) == 2, "the one that is back is not told what runs")
        second.die()
        wait_until(first.master, "the first gateway does not take over", timeout=SILENCE_TAKES)
        for transfer in transfers:
            transfer.finish(digest)


@scenario("two gateways: ftpgate dies")
def process_dies(binary, folder):
    with Pair(folder, binary, NAT) as pair:
        digest = pair.put_file("large", LARGE)
        transfers = [Transfer(pair, *words) for words in (("RETR", "EPSV", 4), ("STOR", "EPRT", 6))]
        for transfer in transfers:
            transfer.runs_on()
        first, second = pair.master, pair.backup
        first.gateway.process.kill()
        in_time(greeted(pair, time.monotonic()), CHECK_TAKES)
        if not (second.master() and not first.master()):
            raise Failed("the addresses are not where the greeting came from")
        first.gateway.stop()
        first.gateway.start()
        wait_until(lambda: first.priority() == 100, "the first gateway is not taken for well", timeout=10)
        # For longer than it would take to lose the addresses again.
        with contextlib.closing(pair.ftp()) as ftp:
            for _ in range(20):
                ftp.ask("NOOP", "200")
                time.sleep(0.1)
        for transfer in transfers:
            transfer.finish(digest)
        first.gateway.process.kill()
        second.gateway.process.kill()
        for node in pair.nodes:
            wait_until(lambda node=node: node.priority() == 50, f"{node.name} is not missed", timeout=10)
        wait_until(pair.settled, "with ftpgate dead on both nobody has the addresses", timeout=5)


@scenario("two gateways: planned switch, there and back")
def planned(binary, folder):
    with Pair(folder, binary, NAT, limits={"drain_timeout": "30s"}) as pair:
        digest = pair.put_file("large", LARGE)
        for _ in range(2):
            transfer = Transfer(pair, "RETR", "EPSV", 4)
            transfer.runs_on()
            first, second = pair.master, pair.backup
            process = first.gateway.process
            first.drain()
            transfer.runs_on()
            if not first.master():
                raise Failed("the addresses have moved while transfers finish")
            transfer.finish(digest)
            transfer.ftp.expect("226")
            transfer.ftp.expect("421")
            if process.popen.wait(10) != 0:
                raise Failed("ftpgate has not ended in order")
            in_time(greeted(pair, time.monotonic()), CHECK_TAKES)
            wait_until(second.master, "somebody greets, but not the other gateway")
            first.gateway.stop()
            first.gateway.start()
            wait_until(lambda node=first: node.priority() == 100, "the new ftpgate is not taken for well",
                       timeout=10)
        for node in pair.nodes:
            is_calm(node)
