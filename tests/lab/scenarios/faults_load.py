"""Many half-open sessions, and an audit whose disk is full."""

import contextlib
import json
import os
import shlex
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from cells import Setting
from faults import Rest, many_descriptors
from lab import Failed, Lab
from process import wait_until
from scenarios import scenario
from scenarios.faults_peers import Step
from scenarios.pinholes import lab_of
from scripted import End
from topology import HOST, server_address

# Connections to this address are never answered, those to the next one are accepted and stay silent.
DUMB, SILENT = 5, 6

# Dialled at a time: below the queue of a listener.
AT_ONCE = 200
DISK = 256 << 10


class Crowd:
    """Clients that dial and say nothing."""

    def __init__(self, lab):
        self.lab = lab
        self.clients = []
        self.accepted = []
        self.listener = lab.topology.listen("server", server_address(SILENT, 4), 21)
        self.listener.listen(4096)
        threading.Thread(target=self._accept, daemon=True).start()
        lab.topology.nft("server", f"""
            table inet dumb {{
                chain in {{
                    type filter hook input priority 0;
                    ip daddr {server_address(DUMB, 4)} drop
                }}
            }}""")

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                self.accepted.append(self.listener.accept()[0])

    def come(self, count, servers=(DUMB, SILENT)):
        """They wait for a server that does not answer and for one that says nothing, in turn."""
        def one(number):
            server = server_address(servers[number % len(servers)], 4)
            client = ("client", "client2")[number // 2 % 2]
            return self.lab.topology.connect(client, (server, 21), timeout=60)
        with ThreadPoolExecutor(16) as pool:
            for start in range(0, count, AT_ONCE):
                self.clients += pool.map(one, range(start, min(start + AT_ONCE, count)))

    def leave(self):
        for sock in self.clients + self.accepted:
            sock.close()
        self.clients, self.accepted = [], []

    def close(self):
        self.leave()
        # Wakes the thread that accepts.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def half_open(binary, folder, count, timeouts, leave):
    """`count` half-open sessions; a session in order beside them; and nothing is left of them.

    Where the descriptors of one process are too few for as many sessions, the rest of `count` are
    connections that the kernel has answered and nobody has completed (SYN_RECV).
    """
    # As docs/limits.md has it: two for each session, and some are kept.
    most = (many_descriptors() - 512) // 2
    sessions = min(count, most)
    limits = {"sessions": 2 * count, "sessions_per_client": 2 * count, "login_timeout": timeouts,
              "first_line_timeout": timeouts}
    with lab_of(folder, binary, Setting("tproxy", "gateway", "kernel"), limits=limits) as lab:
        rest = Rest(lab)
        crowd = Crowd(lab)
        try:
            start = time.monotonic()
            # Dialling is given up first: those that wait for that come last.
            dumb = min(sessions // 2, 1000)
            crowd.come(sessions - dumb, (SILENT,))
            crowd.come(dumb, (DUMB,))
            wait_until(lambda: len(crowd.accepted) == sessions - dumb, "not all reach the silent server", 120)
            wait_until(lambda: lab.gateway.metrics().sum("sessions_active") >= sessions,
                       f"not all {sessions} are sessions", 20)
            waiting = syn_flood(lab, count - sessions) if sessions < count else 0
            held = lab.gateway.metrics().sum("sessions_active")
            print(f"{held:g} sessions and {waiting} in SYN_RECV after {time.monotonic() - start:.1f} s;",
                  f"{len(os.listdir(f'/proc/{lab.gateway.process.pid}/fd'))} descriptors,", memory(lab),
                  flush=True)
            if held + waiting < count:
                raise Failed(f"only {held:g} sessions and {waiting} connections are half-open")
            with lab.peers() as peers:
                at = Step(lab, peers, "PASV", "data")
                at.moves()
                at.close()
            if leave:
                crowd.leave()
            start = time.monotonic()
            rest.again(300)
            print(f"all was as before {time.monotonic() - start:.1f} s later;", memory(lab), flush=True)
        finally:
            crowd.close()


def syn_flood(lab, count):
    """Sends so many SYNs and nothing else. Returns how many connections the gateway then holds half-open."""
    server = server_address(SILENT, 4)
    lab.topology.nft("client2", """
        table inet mute {
            chain out {
                type filter hook output priority 0;
                tcp flags & rst == rst drop
            }
        }""")
    ends = socket.inet_aton(HOST["client2", 4]) + socket.inet_aton(server)
    with (lab.topology.inside("client2"),
          socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as sock):
        # Ports below those that the kernel gives to the crowd.
        for port in range(10_000, 10_000 + count):
            def segment(checksum):
                return struct.pack(">HHIIBBHHH", port, 21, port, 0, 5 << 4, 0x02, 65535, checksum, 0)
            whole = ends + struct.pack(">BBH", 0, socket.IPPROTO_TCP, 20) + segment(0)
            total = sum(struct.unpack(f">{len(whole) // 2}H", whole))
            total = (total & 0xFFFF) + (total >> 16)
            sock.sendto(segment(~(total + (total >> 16)) & 0xFFFF), (server, 0))

    def held():
        _, text = lab.topology.run("gateway", ["ss", "-Htn", "state", "syn-recv"])
        return len(text.splitlines())
    with contextlib.suppress(Failed):
        wait_until(lambda: held() >= count, "", 5)
    return held()


def memory(lab):
    with open(f"/proc/{lab.gateway.process.pid}/status", encoding="ascii") as text:
        return next(line for line in text if line.startswith("VmRSS")).strip()


@scenario("faults: a thousand half-open sessions")
def thousand(binary, folder):
    """They go by themselves."""
    half_open(binary, folder, 1000, "5m", leave=True)


@scenario("faults: ten thousand half-open sessions", full=True)
def ten_thousand(binary, folder):
    """Nobody ends them but ftpgate's own timeouts."""
    half_open(binary, folder, 10_000, "3m", leave=False)


@scenario("faults: a thousand SYNs without an end")
def syns(binary, folder):
    """They are the kernel's: ftpgate sees none of them, and whoever completes a connection is served."""
    with lab_of(folder, binary, Setting("tproxy", "gateway", "relay")) as lab:
        rest = Rest(lab)
        # As many as the queue of the listener holds; cookies for the rest.
        if syn_flood(lab, 3000) < 500:
            raise Failed("no connection is half-open")
        with lab.peers() as peers:
            at = Step(lab, peers, "PASV", "data")
            at.moves()
            at.close()
        if lab.gateway.metrics().sum("sessions_total") > 1:
            raise Failed("sessions were made of SYNs")
        rest.again()


@contextlib.contextmanager
def small_disk(folder, binary, on_error):
    """A lab whose audit is on a disk of its own, of few bytes. Yields it and the disk's folder, as seen
    from here: the mount is ftpgate's alone, and gone with it."""
    disk = os.path.join(folder, "disk")
    os.makedirs(disk)
    wrapped = os.path.join(folder, "ftpgate")
    script = f'mount -t tmpfs -o size={DISK} tmpfs {shlex.quote(disk)}; exec {shlex.quote(os.path.abspath(binary))} "$@"'
    with open(wrapped, "w", encoding="utf-8") as out:
        out.write(f'#!/bin/sh\nexec unshare --mount sh -ec {shlex.quote(script)} sh "$@"\n')
    os.chmod(wrapped, 0o755)
    audit = {"path": f"{disk}/audit.jsonl", "on_error": on_error}
    with Lab(f"{folder}/lab", wrapped, Setting("tproxy", "gateway", "relay"), audit=audit) as lab:
        yield lab, f"/proc/{lab.gateway.process.pid}/root{disk}"


def fill(disk):
    """Not a byte is left."""
    with open(f"{disk}/filler", "wb", buffering=0) as out, contextlib.suppress(OSError):
        while True:
            out.write(b"x" * 4096)
    # What is left of the last page of the audit's own file.
    with open(f"{disk}/audit.jsonl", "ab", buffering=0) as out, contextlib.suppress(OSError):
        while True:
            out.write(b"\n")


def audited(disk):
    """The lines in the file; each must be whole, but for the one that was torn where lines are lost."""
    with open(f"{disk}/audit.jsonl", encoding="utf-8") as text:
        return [line for line in text.read().split("\n") if line]


def lines(lab, outcome):
    return lab.gateway.metrics().sum("audit_lines_total", place="file", outcome=outcome)


@scenario("faults: the disk of the audit is full, and sessions go on")
def disk_continue(binary, folder):
    with small_disk(folder, binary, "continue") as (lab, disk):
        rest = Rest(lab)
        lab.put_file("x", 1000)
        ftp = lab.ftp("EPSV")
        fill(disk)
        for _ in range(3):
            if ftp.fetch_digest("x")[0] != 1000:
                raise Failed("the transfer suffers")
        wait_until(lambda: lines(lab, "lost") > 0, "nothing is counted as lost")
        if lab.gateway.get("/readyz")[0] != 200 or lab.gateway.metrics().sum("audit_failing", place="file") != 1:
            raise Failed("not ready, or not told")
        lab.ftp("EPSV").quit()
        os.unlink(f"{disk}/filler")
        ftp.fetch_digest("x")
        ftp.quit()
        wait_until(lambda: "session_end" in audited(disk)[-1], "the last session's end is missing")
        if lab.gateway.metrics().sum("audit_failing") != 0:
            raise Failed("it is told as failing for ever")
        json.loads(audited(disk)[-1])
        rest.again()


@scenario("faults: the disk of the audit is full, and sessions stop")
def disk_stop(binary, folder):
    with small_disk(folder, binary, "stop") as (lab, disk):
        rest = Rest(lab)
        lab.put_file("x", 1000)
        ftp, other = lab.ftp("EPSV"), lab.ftp("EPSV")
        wait_until(lambda: lines(lab, "written") == 2, "the logins are not written")
        fill(disk)
        # Its line is the first that cannot be written. It ends all sessions, this one among them.
        if ftp.ask("MKD made", "257", "421").startswith("421"):
            ftp.close()
        wait_until(lambda: lab.gateway.get("/readyz") == (503, "not ready: the audit cannot be written\n"),
                   "it is ready")
        for session in (ftp, other):
            if session.sock:
                session.expect("421")
                session.close()
        wait_until(lambda: lab.gateway.metrics().sum("sessions_active") == 0, "sessions go on")
        with lab.topology.connect("client", lab.target(lab.server)) as sock:
            End("client", sock, []).expect_code("421")
        wait_until(lambda: lab.gateway.metrics().sum("sessions_total", outcome="audit_failed") == 3,
                   "not counted")
        if lab.gateway.metrics().sum("ready") != 0:
            raise Failed("the metric says that it is ready")
        os.unlink(f"{disk}/filler")
        wait_until(lambda: lab.gateway.get("/readyz")[0] == 200, "it is not ready again")
        wait_until(lambda: len(ends(disk)) == 3, "the ends of the sessions are missing")
        if lines(lab, "lost") != 0:
            raise Failed("lines are lost")
        ftp = lab.ftp("EPSV")
        ftp.fetch_digest("x")
        ftp.quit()
        wait_until(lambda: len(ends(disk)) == 4, "the next session's end is missing")
        rest.again()


def ends(disk):
    told = [json.loads(line) for line in audited(disk)]
    return [line for line in told if line["event"] == "session_end"]
