"""Cases about the descriptors of the process: those that are kept for the sessions that run, and none at all."""

import contextlib
import os
import resource
import socket
import time

from adversary import case
from adversary.limits import OTHER, dial, ended, fetch, fetch_over, from_address, others_go_on, turned_away
from process import Failed, wait_until
from scripted import PATIENCE


def descriptors(g):
    return len(os.listdir(f"/proc/{g.process.pid}/fd"))


def may_have(g, count):
    """Changes the limit in force; the highest stays, so that it can be raised again."""
    _, highest = resource.prlimit(g.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(g.process.pid, resource.RLIMIT_NOFILE, (count, highest))


def processor_time(g):
    """Seconds of processor time so far."""
    with open(f"/proc/{g.process.pid}/stat", encoding="ascii") as text:
        fields = text.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fill(g, sockets):
    """Idle sessions until one is refused: both ends of each go into `sockets`."""
    g.listener.settimeout(1)
    for _ in range(60):
        sockets.append(dial(g))
        try:
            sockets.append(g.listener.accept()[0])
        except TimeoutError:
            return
    raise Failed("no session is refused although descriptors are used up")


@case(43, "more clients at a time than there are descriptors")
def burst(gate):
    """All of them are accepted before the first of them has its server."""
    g = gate(limits={"sessions_per_client": 1000, "sessions": 1000, "first_line_timeout": "1s"})
    crowd = []
    try:
        with from_address(g, OTHER) as p, g.data_listener() as listener:
            may_have(g, 256)
            for _ in range(500):
                sock = socket.socket()
                crowd.append(sock)
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    sock.connect((g.host, g.port))
            wait_until(lambda: ended(g, "no_descriptors") > 100, "nobody is turned away")
            for _ in range(10):
                fetch_over(g, p, listener, OTHER)
            if count := ended(g, "connect_failed"):
                raise Failed(f"{count:g} sessions are said not to reach the server")
    finally:
        for sock in crowd:
            sock.close()
        may_have(g, 4096)
    g.no_session()


@case(43, "no descriptor is left")
def no_descriptors(gate):
    g = gate()
    idle = []
    try:
        with from_address(g, OTHER) as p:
            most = descriptors(g) + 40
            may_have(g, most)
            fill(g, idle)
            turned_away(g, "no room", "127.0.0.78")
            # What is kept back is for those that run.
            fetch(g, p, OTHER)
            # Now there is none at all: who comes has to wait, and those that run go on.
            may_have(g, 8)
            spent, since = processor_time(g), time.monotonic()
            waiting = dial(g, "127.0.0.79")
            idle.append(waiting)
            for _ in range(10):
                p.exchange("NOOP", "200 on")
                time.sleep(0.2)
            spent, elapsed = processor_time(g) - spent, time.monotonic() - since
            if spent > elapsed / 4:
                raise Failed(f"{spent:.2f} s of processor time in {elapsed:.2f} s of waiting")
            if (lines := g.read_log().count("cannot accept a client")) not in range(1, 10):
                raise Failed(f"{lines} warnings in {elapsed:.2f} s")
            may_have(g, most + 10)
            g.listener.settimeout(PATIENCE)
            server, _ = g.listener.accept()
            idle.append(server)
            server.sendall(b"220 at last\r\n")
            waiting.settimeout(PATIENCE)
            if not (said := waiting.recv(100)).startswith(b"220"):
                raise Failed(f"{said!r} and not the greeting")
            p.exchange("NOOP", "200 on")
    finally:
        for sock in idle:
            sock.close()
    g.no_session()
    others_go_on(g)
