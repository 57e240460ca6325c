"""Who may use a pinhole: one peer, once, in time; and when it is withdrawn."""

import itertools
import re
import time

from cells import Setting
from lab import Failed, Lab, refused
from process import wait_until
from scenarios import scenario
from scripted import Peers, comma, extended_port, host_port
from topology import GATEWAY, HOST, server_address

SERVER = server_address(0, 4)
SERVER6 = server_address(0, 6)

EVERY = [Setting(*words) for words in itertools.product(
    ("tproxy", "redirect", "direct"), ("gateway", "client"), ("kernel", "relay"))]
SOME = [Setting("tproxy", "gateway", "kernel"), Setting("tproxy", "client", "relay"),
        Setting("direct", "gateway", "kernel"), Setting("direct", "gateway", "relay"),
        Setting("redirect", "client", "kernel")]


class ScriptedServer:
    """Stands in for a daemon in `Lab.servers`: its address and port, and a listener for `Peers`."""

    name, index, port, home = "scripted", 0, 21, "/nonexistent"

    @staticmethod
    def address(family):
        return server_address(0, family)


def lab_of(folder, binary, setting, **options):
    """A lab with a scripted server in place of a daemon."""
    return ScriptedLab(folder, binary, setting, **options)


class ScriptedLab(Lab):
    """A lab whose only server is scripted."""

    def __init__(self, folder, binary, setting, **options):
        super().__init__(folder, binary, setting, servers=(),
                         stand_ins={"scripted": ScriptedServer()}, **options)
        self.listeners = {4: self.topology.listen("server", SERVER, 21),
                          6: self.topology.listen("server", SERVER6, 21)}

    def peers(self, family=4, login=True):
        address = self.target(self.server, family)
        return Peers(lambda: self.topology.connect("client", address), self.listeners[family],
                     login=login)

    def close(self):
        for listener in getattr(self, "listeners", {}).values():
            listener.close()
        super().close()


class Opening:
    """One negotiated data connection of which nothing is used yet."""

    def __init__(self, lab, peers, mode, family):
        self.lab, self.peers, self.mode = lab, peers, mode
        self.host_of = {"client": HOST["client", family],
                        "server": SERVER if family == 4 else SERVER6}
        self.listening = "server" if mode in ("PASV", "EPSV") else "client"
        self.dialling = "client" if self.listening == "server" else "server"
        # The server has many addresses; the rightful one is that of its control connection.
        self.source = (self.host_of[self.dialling], 0)
        self.listener = lab.topology.listen(self.listening, self.host_of[self.listening])
        own = self.listener.getsockname()[1]
        if self.listening == "server":
            peers.ask(mode)
            peers.server.send(f"227 ok ({comma(SERVER, own)})" if mode == "PASV"
                              else f"229 ok (|||{own}|)")
            line = peers.client.line()
            dialled = peers.client.sock.getpeername()[0]
            self.address = (host_port(line) if mode == "PASV" else (dialled, extended_port(line)))
        else:
            host = self.host_of["client"]
            peers.client.send(f"PORT {comma(host, own)}" if mode == "PORT"
                              else f"EPRT |{1 if family == 4 else 2}|{host}|{own}|")
            line = peers.server.line()
            self.address = (host_port(line) if mode == "PORT"
                            else (re.split(rb"\|", line)[2].decode(), extended_port(line)))
            peers.say("200 ok")

    def try_again(self, timeout=0.5):
        """The rightful peer tries, and must get nothing."""
        refused(self.lab.topology, self.dialling, self.address, timeout, self.source)

    def use(self):
        """The rightful peer connects. Returns (its end, the listening end)."""
        sock = self.lab.topology.connect(self.dialling, self.address, source=self.source)
        near = self.peers.data(self.dialling, sock)
        return near, self.peers.accept(self.listener, self.listening)

    def bears(self, fault="the rightful connection bears something else"):
        """The rightful peer connects, and what it says arrives; `fault` is what to say otherwise."""
        near, far = self.use()
        near.send(b"mine")
        if far.read(4) != b"mine":
            raise Failed(f"{self.mode}: {fault}")

    def nothing_arrived(self):
        """No connection has come to the listening peer."""
        self.listener.settimeout(0.2)
        try:
            self.listener.accept()
        except TimeoutError:
            return
        raise Failed(f"{self.mode}: a connection reached the {self.listening}")

    def shut(self):
        """The rightful peer is turned away, and nothing comes of its try."""
        self.try_again(0.2)
        self.nothing_arrived()

    def close(self):
        self.listener.close()


def entries(lab, opening):
    """Every address and port at which somebody might try this pinhole: the one in the reply or
    command, the same port on all of the gateway's addresses, and what the table itself holds."""
    port = opening.address[1]
    family = 6 if ":" in opening.address[0] else 4
    hosts = {opening.address[0], GATEWAY["client", family], GATEWAY["server", family]}
    found = {(host, port) for host in hosts}
    for _, value in lab.open_elements():
        parts = value.get("concat", []) if isinstance(value, dict) else []
        ports = [part for part in parts if isinstance(part, int)]
        addresses = [part for part in parts if isinstance(part, str) and re.match(r"[0-9a-f.:]+$", part)]
        found |= {(address, p) for address in addresses for p in ports}
    # Not the listener itself from its own segment: no gateway stands between them.
    return {(host, p) for host, p in found if ":" in host or "." in host}


@scenario("a stranger at each open pinhole", *EVERY)
def stranger(binary, folder, setting):
    with lab_of(folder, binary, setting) as lab:
        for family, modes in ((4, ("PASV", "EPSV", "PORT", "EPRT")), (6, ("EPSV", "EPRT"))):
            for mode in modes:
                with lab.peers(family) as peers:
                    opening = Opening(lab, peers, mode, family)
                    if setting.path == "kernel" and not lab.open_elements():
                        raise Failed(f"{mode}: no pinhole is to be seen in the table")
                    for host, port in sorted(entries(lab, opening)):
                        for name in ("stranger", "client2"):
                            if _same_segment(name, host):
                                continue
                            refused(lab.topology, name, (host, port), timeout=0.25)
                    opening.nothing_arrived()
                    # The stranger has not used it up either.
                    opening.bears()
                    opening.close()


def _same_segment(name, host):
    side = ("198.51.100.1", "2001:db8:2::1") if name == "stranger" else ("192.0.2.1", "2001:db8:1::1")
    prefix = ("198.51.100.", "2001:db8:2::") if name == "stranger" else ("192.0.2.", "2001:db8:1::")
    return host.startswith(prefix) and host not in side


@scenario("a second connection from the rightful peer", *EVERY)
def second(binary, folder, setting):
    with lab_of(folder, binary, setting) as lab:
        for family, modes in ((4, ("PASV", "PORT")), (6, ("EPSV", "EPRT"))):
            for mode in modes:
                with lab.peers(family) as peers:
                    opening = Opening(lab, peers, mode, family)
                    near, far = opening.use()
                    opening.try_again()
                    opening.nothing_arrived()
                    near.send(b"mine")
                    if far.read(4) != b"mine":
                        raise Failed("the first connection suffers")
                    # Nor after the first one is over.
                    near.close()
                    far.close()
                    opening.try_again()
                    opening.nothing_arrived()
                    opening.close()


@scenario("an unused pinhole is gone after its timeout", *SOME)
def timeout(binary, folder, setting):
    with lab_of(folder, binary, setting, open_timeout="1s") as lab:
        for mode in ("PASV", "EPSV", "PORT", "EPRT"):
            with lab.peers() as peers:
                opening = Opening(lab, peers, mode, 4)
                if lab.gateway.metrics().sum("pinholes_open") != 1:
                    raise Failed(f"{mode}: pinholes_open is not 1")
                time.sleep(1.5)
                if left := lab.open_elements():
                    raise Failed(f"{mode}: still in the table: {left}")
                opening.try_again(0.3)
                opening.nothing_arrived()
                wait_until(lambda: lab.gateway.metrics().sum("pinholes_open") == 0,
                           f"{mode}: pinholes_open is not 0")
                peers.exchange("NOOP", "200 still here")
                opening.close()
        if (count := lab.gateway.metrics().sum("pinholes_total", outcome="expired")) != 4:
            raise Failed(f"{count:g} counted as expired, not 4")


@scenario("nothing is open after the server refuses", *SOME)
def server_refuses(binary, folder, setting):
    with lab_of(folder, binary, setting) as lab, lab.peers() as peers:
        host, port = HOST["client", 4], 40007
        with lab.topology.listen("client", host, port) as listener:
            for command in (f"PORT {comma(host, port)}", f"EPRT |1|{host}|{port}|"):
                peers.client.send(command)
                line = peers.server.line()
                told = (host_port(line) if command.startswith("PORT")
                        else (line.split(b"|")[2].decode(), extended_port(line)))
                peers.say("500 not today")
                if left := lab.open_elements():
                    raise Failed(f"still in the table: {left}")
                refused(lab.topology, "server", told, timeout=0.3)
                listener.settimeout(0.2)
                try:
                    listener.accept()
                except TimeoutError:
                    continue
                raise Failed("the server's connection reached the client")
        peers.exchange("PASV", "502 not today")
        if left := lab.open_elements():
            raise Failed(f"still in the table: {left}")
        wait_until(lambda: lab.gateway.metrics().sum("pinholes_open") == 0, "pinholes_open is not 0")


@scenario("the end of the session withdraws its pinhole", *SOME)
def session_end(binary, folder, setting):
    with lab_of(folder, binary, setting) as lab:
        for mode, end in itertools.product(("PASV", "EPRT"), ("client", "server", "quit")):
            with lab.peers() as peers:
                opening = Opening(lab, peers, mode, 4)
                if end == "quit":
                    peers.exchange("QUIT", "221 bye")
                    peers.server.close()
                else:
                    getattr(peers, end).close()
                wait_until(lambda: lab.gateway.metrics().sum("sessions_active") == 0,
                           "the session stays")
                if left := lab.open_elements():
                    raise Failed(f"{mode}, {end}: still in the table: {left}")
                opening.try_again(0.3)
                opening.nothing_arrived()
                opening.close()
        metrics = lab.gateway.metrics()
        if metrics.sum("pinholes_total", outcome="withdrawn") != 6:
            raise Failed("not counted as withdrawn")
