"""The time of day steps while sessions run: nothing that waits is about it, and what tells it follows."""

import contextlib
import datetime
import hashlib
import json
import os
import ssl
import time

from authority import Authority, server_dns
from faults import Clock, Rest
from lab import Failed
from process import call, wait_until
from scenarios import scenario
from servers import Server
from terminating import DIRECT, TPROXY, TerminatingLab

YEAR = 365 * 86400
# Of ten years on, and then of twenty years back.
STEPS = (10 * YEAR, -10 * YEAR)
BIG = 24 << 20
# Of sessions: whether inside TLS that ends at ftpgate.
KINDS = (False, True)
# How long a pinhole is open; what is measured may be longer on a busy machine, never shorter.
OPEN = 4.0
# More than any part of this scenario takes, and far less than a step.
SANE = 3600.0


class Download:
    """A download that stands still most of the time."""

    def __init__(self, ftp, name):
        self.ftp = ftp
        self.digest = hashlib.sha256()
        self.conn, _ = ftp.ntransfercmd(f"RETR {name}")
        self.read(1 << 20)

    def read(self, count):
        while count > 0 and (piece := self.conn.recv(min(count, 1 << 16))):
            self.digest.update(piece)
            count -= len(piece)
        return count

    def ends(self, digest):
        if self.read(1 << 40) == 0 or self.digest.hexdigest() != digest:
            raise Failed("a transfer over the steps has other contents")
        self.conn.close()
        self.ftp.expect("226")


class Offer:
    """A pinhole that is open and unused."""

    def __init__(self, ftp):
        self.ftp = ftp
        self.since = time.monotonic()
        self.address = ftp.makepasv()

    def age(self):
        return time.monotonic() - self.since

    def use(self, digest):
        with self.ftp.topology.connect("client", self.address) as conn:
            self.ftp.ask("RETR small", "150", "125")
            got = hashlib.sha256()
            while piece := conn.recv(1 << 16):
                got.update(piece)
        self.ftp.expect("226")
        if got.hexdigest() != digest:
            raise Failed("what came through a pinhole over a step differs")


def validity(ftp):
    """From when to when the certificate is valid that the client sees, in seconds since 1970."""
    pem = ssl.DER_cert_to_PEM_cert(ftp.sock.getpeercert(binary_form=True))
    text = call(["openssl", "x509", "-noout", "-dates"], stdin=pem.encode())[1]
    dates = dict(line.split("=", 1) for line in text.strip().splitlines())
    return tuple(ssl.cert_time_to_seconds(dates[key]) for key in ("notBefore", "notAfter"))


def is_sane(lab, clock):
    """No duration and no gauge has a step in it; what is a time of day is one of those that were."""
    for name, _, value in lab.gateway.metrics().samples:
        if value < 0:
            raise Failed(f"{name} is {value:g}")
        if name.endswith("_seconds_sum") and value > SANE:
            raise Failed(f"{name} is {value:g} s")
        if name.endswith("loaded_timestamp_seconds") and abs(value - clock.now()) > SANE:
            raise Failed(f"{name} is not of this clock's time: {value:g}")


def stamped(lab, behind):
    """The audit's lines of sessions that came after so many, with their time in seconds since 1970."""
    with open(lab.audit_path, encoding="utf-8") as text:
        lines = [json.loads(line) for line in text.read().splitlines()]
    return [(datetime.datetime.fromisoformat(line["time"]).timestamp(), line) for line in lines
            if line["session"] > behind]


def long_lived(folder, clock):
    """What outlasts the steps, so that the time is tried and not what has expired: the roots that ftpgate
    trusts, a server's (chain, key), and the value of `tls.ca`."""
    authority = Authority(os.path.join(folder, "servers"))
    server = Server("vsftpd", 0, "")
    pair = authority.issue(authority.folder, [server_dns(server), server.address(4)],
                           dates=("20000101000000Z", "20491231000000Z"))
    directory = os.path.join(folder, "own")
    clock.step(-20 * YEAR)
    call([clock.binary, "ca", "init", "--dir", directory, "--days", str(50 * 365)])
    clock.step(0)
    own = {"certificate": os.path.join(directory, "ca.crt"), "key": os.path.join(directory, "ca.key")}
    return authority.roots, pair, own


@scenario("faults: the clock steps by years", TPROXY, DIRECT)
def steps(binary, folder, setting):
    # Beside ftpgate's configuration, where it may read.
    clock = Clock(os.path.join(folder, "lab"), binary)
    roots, pair, own = long_lived(folder, clock)
    with TerminatingLab(os.path.join(folder, "lab"), clock.binary, setting, open_timeout=f"{OPEN:g}s",
                        server_side={"roots": roots}, certificates={"ca": own},
                        # On both sides data connections have to resume the control connection's session.
                        server_options={"pair": pair, "strict": None},
                        listener={"client_reuse": "require"}) as lab:
        rest = Rest(lab)
        with contextlib.ExitStack() as stack:
            trial = Trial(lab, clock, stack)
            old = [trial.session(secured) for secured in KINDS]
            running = [Download(trial.session(secured), "big") for secured in KINDS]
            for number, ahead in enumerate(STEPS, 1):
                offers = [Offer(trial.session(False)) for _ in range(2)]
                came = trial.sessions
                clock.step(ahead)
                for download in running:
                    download.read(1 << 20)
                # A timer that went by this clock would have fired by now.
                for ftp in old:
                    trial.transfers(ftp)
                trial.pinholes(offers, number)
                trial.leaves()
                trial.told(came)
            for download in running:
                download.ends(trial.big)
            for ftp in old:
                ftp.quit()
        if "panicked" in lab.gateway.read_log():
            raise Failed("ftpgate has panicked")
        rest.again()
        is_sane(lab, clock)
        if any(line["seconds"] > SANE for _, line in stamped(lab, 0) if "seconds" in line):
            raise Failed("the audit tells of a duration with a step in it")


class Trial:
    """What is tried after each step."""

    def __init__(self, lab, clock, stack):
        self.lab, self.clock, self.stack = lab, clock, stack
        self.sessions = 0
        self.big, self.small = lab.put_file("big", BIG), lab.put_file("small", 70_001)

    def session(self, secured):
        # The client's own clock does not step, so that it cannot judge a leaf.
        ftp = self.lab.secured("PASV", roots="", reuse=True) if secured else self.lab.ftp("PASV")
        self.stack.callback(ftp.close)
        self.sessions += 1
        return ftp

    def transfers(self, ftp):
        digest = hashlib.sha256()
        ftp.retrbinary("RETR small", digest.update)
        if digest.hexdigest() != self.small:
            raise Failed("the contents differ")

    def pinholes(self, offers, expired):
        """One is used after the step, one waits in vain for as long as it should."""
        metrics = self.lab.gateway.metrics()
        if metrics.sum("pinholes_open") != len(offers) and offers[0].age() < OPEN:
            raise Failed("a pinhole has gone too early")
        offers[0].use(self.small)
        wait_until(lambda: not self.lab.open_elements()
                   and self.lab.gateway.metrics().sum("pinholes_open") == 0,
                   "a pinhole stays too long", 3 * OPEN)
        if offers[1].age() < OPEN:
            raise Failed("a pinhole has gone too early")
        count = self.lab.gateway.metrics().sum("pinholes_total", outcome="expired")
        if count != expired:
            raise Failed(f"{count:g} pinholes have expired, not {expired}")

    def leaves(self):
        """New sessions work; the first has a leaf issued that is valid by this clock, the second is given it."""
        def count():
            metrics = self.lab.gateway.metrics()
            return [metrics.sum("leaf_certificates_total", source=source) for source in ("issued", "cache")]
        self.transfers(self.session(False))
        before = count()
        for _ in range(2):
            ftp = self.session(True)
            begin, end = validity(ftp)
            if not begin <= self.clock.now() <= end or end - begin > YEAR:
                raise Failed(f"the leaf is not of this clock's time: {begin} to {end}")
            self.transfers(ftp)
        if count() != [before[0] + 1, before[1] + 1]:
            raise Failed(f"one leaf should have been issued anew: {before}, {count()}")

    def told(self, came):
        """Audit, log, reloads and metrics go by this clock where they tell the time of day, and else not."""
        told = wait_until(lambda: stamped(self.lab, came), "the audit has no new lines")
        if any(abs(at - self.clock.now()) > SANE for at, _ in told):
            raise Failed("the audit does not follow the clock")
        if f"{time.gmtime(self.clock.now()).tm_year}-" not in self.lab.gateway.read_log():
            raise Failed("the log does not follow the clock")
        if self.lab.gateway.reload() != "applied":
            raise Failed("it cannot be reloaded")
        is_sane(self.lab, self.clock)
