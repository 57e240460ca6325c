"""Restarts with sockets handed over, under clients that never stop coming. The part of systemd is
acted by `supervisor.py`."""

import contextlib
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from cells import Setting
from gateway import CAPTURE_PORT, TELEMETRY_PORT, direct_port
from lab import Failed, Lab, refused
from process import wait_until
from scenarios import scenario
from scenarios.lifecycle import begin_download, finish
from scenarios.transfers import LARGE
from scripted import PATIENCE
from supervisor import SupervisedGateway
from topology import GATEWAY, server_address

# Between two clients.
PACE = 0.02
# Clients that wait at the same time: all that come while ftpgate starts, which takes far below 1 s.
CLIENTS = 200
# How long a client waits for its greeting.
GREETED = 15.0
# Around the news of its end: ftpgate may have accepted a client that it cannot greet any more.
LAST_ACCEPT = 0.1
# How long clients come before and after a restart.
BEFORE, AFTER = 0.5, 1.0
# `data.open_timeout` is 30 s in the lab, and what goes with a pinhole lives 5 s longer.
LONGEST = 36
# Between two pieces of a transfer, each of the size below: 64 MiB take longer than the restart.
PIECE, PIECE_PAUSE = 1 << 16, 0.01

WAYS = {"SIGTERM": signal.SIGTERM, "SIGKILL": signal.SIGKILL}


class Greeter:
    """A server that says 220 and 221, and remembers who came."""

    name, index, port, home = "greeter", 1, 21, "/nonexistent"

    def __init__(self):
        self.seen = set()
        self.listeners = []
        self.pool = ThreadPoolExecutor(CLIENTS)

    def open(self, topology):
        """Listens, with a way back to the clients, so that one who slips past is served."""
        topology.run("server", ["ip", "route", "replace", "192.0.2.0/24", "via", "198.51.100.1"])
        topology.run("server", ["ip", "-6", "route", "replace", "2001:db8:1::/64",
                                "via", "2001:db8:2::1"])
        topology.nft("gateway", "add rule inet owner forwarding tcp dport 21 accept\n")
        for family in (4, 6):
            listener = topology.listen("server", self.address(family), self.port)
            self.listeners.append(listener)
            threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    @staticmethod
    def address(family):
        return server_address(Greeter.index, family)

    def _serve(self, listener):
        while True:
            try:
                sock, peer = listener.accept()
            except OSError:
                return
            self.seen.add(peer[0])
            self.pool.submit(self._greet, sock)

    @staticmethod
    def _greet(sock):
        with contextlib.suppress(OSError), sock:
            sock.settimeout(PATIENCE)
            sock.sendall(b"220 here\r\n")
            sock.recv(100)
            sock.sendall(b"221 bye\r\n")

    def close(self):
        for listener in self.listeners:
            # Wakes the thread that accepts.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.pool.shutdown()


class Stream:
    """Clients of the greeter, one every `PACE`, IPv4 and IPv6 in turn. A context manager."""

    def __init__(self, lab):
        self.lab = lab
        self.results = []              # (when it was connected or refused, what came of it)
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.end()

    def _run(self):
        greeter = self.lab.servers["greeter"]
        families = 0
        while not self._over.wait(PACE):
            address = self.lab.target(greeter, (4, 6)[families % 2])
            families += 1
            self._pool.submit(self._client, address)

    def _client(self, address):
        moment, outcome = time.monotonic(), ""
        try:
            with self.lab.topology.connect("client", address, GREETED) as sock:
                moment, outcome = time.monotonic(), "connected"
                sock.settimeout(GREETED)
                outcome = sock.recv(100).decode() or "closed"
                sock.sendall(b"QUIT\r\n")
                sock.recv(100)
        except OSError as error:
            outcome = outcome if outcome.startswith("220") else f"{outcome} {error!r}"
        self.results.append((moment, outcome))

    def end(self):
        """Waits for the last client. Returns all results."""
        self._over.set()
        self._thread.join()
        self._pool.shutdown()
        return self.results


def check(lab, results, ending):
    """Nobody is refused, nobody slips past, and everybody is greeted whose connection the ending
    process cannot have accepted. `ending`: from when to when it was."""
    start, end = ending
    never = [outcome for _, outcome in results if outcome.startswith(" ")]
    if never:
        raise Failed(f"{len(never)} of {len(results)} clients had no connection: {never[0]}")
    for moment, outcome in results:
        mid_greeting = start - LAST_ACCEPT < moment < min(end, start + LAST_ACCEPT)
        if not outcome.startswith("220 ") and not mid_greeting:
            raise Failed(f"a client that connected {moment - start:+.3f} s after the end began: "
                         f"{outcome!r}")
    if len(results) < (BEFORE + AFTER) / PACE / 2:
        raise Failed(f"only {len(results)} clients came")
    if not lab.servers["greeter"].seen <= {GATEWAY["server", 4], GATEWAY["server", 6]}:
        raise Failed(f"clients reached the server directly: {lab.servers['greeter'].seen}")


@contextlib.contextmanager
def supervised(folder, binary, capture, keeps=True):
    """A lab whose gateway has sockets of a supervisor, with vsftpd and a greeter behind it."""
    greeter = Greeter()
    # Those who wait come all at once, and from one address.
    limits = {"drain_timeout": "2s", "sessions_per_client": 10 * CLIENTS}
    with Lab(folder, binary, Setting(capture, "gateway", "kernel"), limits=limits,
             stand_ins={"greeter": greeter}) as lab:
        lab.gateway.stop()
        addresses = [("127.0.0.1", TELEMETRY_PORT)]
        if capture == "direct":
            addresses += [(GATEWAY["client", family], direct_port(server, family))
                          for server in lab.servers.values() for family in (4, 6)]
        else:
            addresses += [("0.0.0.0", CAPTURE_PORT[4]), ("::", CAPTURE_PORT[6])]
        # ftpgate makes those of `tproxy` transparent itself; a unit with Transparent=yes is tried too.
        lab.gateway = SupervisedGateway(lab.gateway, addresses, capture == "tproxy" and keeps, keeps)
        try:
            greeter.open(lab.topology)
            lab.gateway.start()
            yield lab
        finally:
            greeter.close()


@scenario("a restart with sockets handed over refuses nobody",
          *((capture, way) for capture in ("tproxy", "redirect", "direct") for way in WAYS))
def restart(binary, folder, parameter):
    capture, way = parameter
    with supervised(folder, binary, capture) as lab:
        digest = lab.put_file("large", LARGE)
        slow, waiting = [begin_download(lab, mode) for mode in ("EPSV", "PORT")]
        unused = lab.ftp("PASV")
        pinhole = unused.makepasv()
        if not lab.open_elements():
            raise Failed("the pinhole is not there")
        with Stream(lab) as stream, ThreadPoolExecutor(1) as pool:
            rest = pool.submit(slowly, slow[1])
            time.sleep(BEFORE)
            ending = lab.gateway.end(WAYS[way]), time.monotonic()
            between(lab, capture, way, pinhole)
            lab.gateway.start()
            if lab.open_elements():
                raise Failed("pinholes of the earlier process are open")
            refused(lab.topology, "client", pinhole, timeout=0.5)
            if rest.done():
                raise Failed("the transfer did not last over the restart")
            time.sleep(AFTER)
            check(lab, stream.end(), ending)
            ftp = lab.ftp("EPSV")
            if ftp.fetch_digest("large") != (LARGE, digest):
                raise Failed("the download after the restart differs")
            ftp.quit()
            finish(slow[1], slow[2] + rest.result(), digest)
        finish(*waiting[1:], digest)
        text = lab.gateway.read_log()
        for wrong in ("is not served", "cannot be taken over", "cannot keep the firewall"):
            if wrong in text:
                raise Failed(f"the log says {wrong!r}")


def between(lab, capture, way, pinhole):
    """No process runs: what stands, and what does not."""
    if capture != "direct" and not captures(lab):
        raise Failed("the captures are gone with the process")
    if way == "SIGKILL":
        # Nobody was there to close them; their timeouts run.
        if any(isinstance(item, str) or item.get("expires", LONGEST) >= LONGEST
               for item in elements(lab)):
            raise Failed(f"a pinhole without a timeout: {elements(lab)}")
        return
    if found := lab.open_elements():
        raise Failed(f"pinholes of a process that has ended in order are open: {found}")
    refused(lab.topology, "client", pinhole, timeout=0.5)


def elements(lab):
    """Every element of ftpgate's sets and maps, each as nft shows its own part."""
    bodies = [item.get("set") or item.get("map") or {} for item in lab.table() or []]
    found = [element for body in bodies for element in body.get("elem", [])]
    keys = [element[0] if isinstance(element, list) else element for element in found]
    return [key.get("elem", {}) if isinstance(key, dict) else key for key in keys]


def slowly(sock):
    """Reads to the end, slowly. Returns what came."""
    received = bytearray()
    sock.settimeout(PATIENCE)
    while piece := sock.recv(PIECE):
        received += piece
        time.sleep(PIECE_PAUSE)
    return received


def captures(lab):
    """The rules that steer control connections to the gateway."""
    words = ("tproxy", "redirect")
    return [item for item in lab.table() or [] if any(
        word in expression for expression in item.get("rule", {}).get("expr", []) for word in words)]


@scenario("a restart where no descriptors are kept")
def nothing_kept(binary, folder):
    with supervised(folder, binary, "tproxy", keeps=False) as lab:
        digest = lab.put_file("large", LARGE)
        _, data, begun = begin_download(lab, "EPSV")
        for way in WAYS.values():
            lab.gateway.end(way)
            wait_until(lambda: lab.table() is None, "the table outlives the process")
            lab.gateway.start()
            if not captures(lab):
                raise Failed("nothing is captured after the restart")
            ftp = lab.ftp("EPSV")
            if ftp.fetch_digest("large") != (LARGE, digest):
                raise Failed("the download after the restart differs")
            ftp.quit()
        finish(data, begun, digest)


@scenario("a service stopped for good leaves nothing but routing")
def stopped(binary, folder):
    with supervised(folder, binary, "tproxy") as lab:
        supervised_gateway = lab.gateway
        supervised_gateway.stop()
        wait_until(lambda: lab.table() is None, "the table outlives the service")
        left = set(lab.host_state().splitlines()) - set(lab.before.splitlines())
        # The rules of both families read the same.
        if len(left) != 3 or not all("fwmark 0x2100" in line or "table 8448" in line for line in left):
            raise Failed(f"left behind: {sorted(left)}")
        lab.gateway = supervised_gateway.plain.start()
        lab.gateway.stop()
        if lab.host_state() != lab.before:
            raise Failed("something is left after a clean exit without a supervisor")
