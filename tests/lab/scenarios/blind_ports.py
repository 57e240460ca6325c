"""`data.blind_ports`: FTPS without CCC through a range that is open to two hosts for one session."""

import ftplib
import itertools
import json
from concurrent.futures import ThreadPoolExecutor

from ccc_cells import CccTalk
from ccc_scripted import STAND_INS
from cells import Setting, converse, reason
from clients import CLIENT_LIMIT
from lab import Failed, Lab, refused
from process import wait_until
from scenarios import scenario
from scenarios.pinholes import SERVER, lab_of
from scripted import Peers
from scripted_tls import in_tls
from tls_peers import TLS_CLIENTS, VERSIONS, SecuredFTP, SecuredTask, check_security
from topology import GATEWAY, HOST, server_address

LOW, HIGH = 60000, 60020
BLIND = {"blind_ports": f"{LOW}-{HIGH}"}
SERVERS = ("vsftpd", "proftpd", "pure-ftpd")
CLIENTS = ("curl-passive", "lftp", "ftplib", "kermit")
SETTINGS = (Setting("tproxy", "gateway", "kernel"), Setting("tproxy", "client", "relay"),
            Setting("direct", "gateway", "relay"), Setting("direct", "client", "kernel"))
# vsftpd insists on session reuse, and Kermit resumes none with TLS 1.3.
PEERS_CANNOT = {("vsftpd", "kermit", "1.3")}

KNOCK = 0.25


def secured_talks(server):
    """PASV and EPSV of every client, each version of TLS in one of them, and EPSV over IPv6."""
    for n, client in enumerate(CLIENTS):
        modes = [mode for mode in TLS_CLIENTS[client].modes[4] if mode in ("PASV", "EPSV")]
        for m, mode in enumerate(modes):
            tls = VERSIONS[(n + m) % 2]
            if (server, client, tls) not in PEERS_CANNOT:
                yield CccTalk(server, client, tls, "P", mode, 4)
        if 6 in TLS_CLIENTS[client].modes:
            yield CccTalk(server, client, VERSIONS[n % 2], "P", "EPSV", 6)
        if len(modes) == 1 and (server, client, VERSIONS[(n + 1) % 2]) not in PEERS_CANNOT:
            yield CccTalk(server, client, VERSIONS[(n + 1) % 2], "P", modes[0], 4)


def converse_blind(lab, number, talk):
    host, port = lab.target(lab.servers[talk.server], talk.family)
    try:
        task = converse(lab.topology, lab.servers[talk.server], talk, f"{lab.folder}/{number}", host,
                        port, TLS_CLIENTS, SecuredTask, tls=talk.tls, ccc=False, reuse=True)
        check_security(task)
    except Exception as error:
        if hasattr(error, "dialogue"):
            error.notes = error.dialogue.splitlines()
        raise


@scenario("FTPS without CCC through blind ports", *SETTINGS)
def transfers(binary, folder, setting):
    """Session reuse as vsftpd demands it, and the range port for port in front of a server."""
    named = GATEWAY["client", 4] if setting.capture == "direct" else ""
    with Lab(folder, binary, setting, SERVERS, data=BLIND, server_options={
            "tls": True, "passive": f"{LOW}-{HIGH}", "named": named}) as lab:
        before = table_text(lab)
        count = 0
        for server in SERVERS:
            talks = list(secured_talks(server))
            # At one address of the gateway the range is one server's at a time.
            with ThreadPoolExecutor(3) as pool:
                runs = [(talk, pool.submit(converse_blind, lab, f"{server}{n}", talk))
                        for n, talk in enumerate(talks)]
                for talk, run in runs:
                    try:
                        run.result(4 * CLIENT_LIMIT)
                    except Exception as error:
                        raise _told(error, talk) from error
            count += len(talks)
            wait_until(lambda: lab.gateway.metrics().sum("sessions_active") == 0, "a session stays",
                       timeout=10)
        metrics = lab.gateway.metrics()
        if metrics.sum("ccc_total", outcome="none") < count:
            raise Failed("the sessions are not counted as without CCC")
        # Each stores a file, fetches one and lists the folder.
        wait_until(lambda: lab.gateway.metrics().sum("data_connections_total", path="kernel",
                                                     protection="unknown") >= 3 * count,
                   "data connections within the blind ports are not counted")
        if "data connections passed within data.blind_ports" not in lab.gateway.read_log():
            raise Failed("the log does not say that data connections passed")
        if total := metrics.sum("pinholes_total"):
            raise Failed(f"{total:g} pinholes for what cannot be read")
        if table_text(lab) != before:
            raise Failed(f"the table is not what it was before: {table_text(lab)}")


def _told(error, talk):
    failed = Failed(f"{talk}: {reason(error)}")
    failed.notes = getattr(error, "notes", [])
    return failed


def table_text(lab):
    """ftpgate's table without what counts or is counted."""
    kept = []
    for item in lab.table() or []:
        for body in item.values():
            body.pop("handle", None)
        kept.append(item)
    return json.dumps(kept)


@scenario("vsftpd insists on session reuse")
def insists(binary, folder):
    """That it does is asserted here; that its cells pass is then worth something."""
    with Lab(folder, binary, SETTINGS[0], data=BLIND,
             server_options={"tls": True, "passive": f"{LOW}-{HIGH}"}) as lab:
        lab.put_file("x", 5000)
        for version in VERSIONS:
            for reuse in (True, False):
                got = bytearray()
                with lab.topology.inside("client"), SecuredFTP([], "EPSV", version, reuse) as ftp:
                    ftp.connect(*lab.target(lab.server))
                    ftp.login(lab.server.user, lab.server.password)
                    ftp.remember_session()
                    ftp.prot_p()
                    try:
                        ftp.retrbinary("RETR pub/x", got.extend)
                    except ftplib.all_errors as error:
                        if reuse:
                            raise Failed(f"TLS {version} with reuse: {error}") from error
                if (len(got) == 5000) != reuse:
                    raise Failed(f"TLS {version}, reuse {reuse}: {len(got)} bytes came")


class Range:
    """The blind range of one lab with a scripted server: who gets through it."""

    def __init__(self, lab):
        self.lab = lab
        self.inside = (LOW, LOW + 7, HIGH)
        self.listeners = {}
        self.entry = lab.target(lab.server)[0]

    def __enter__(self):
        for port in (*self.inside, LOW - 1, HIGH + 1):
            self.listeners["server", port] = self.lab.topology.listen("server", SERVER, port)
            self.listeners["other", port] = self.lab.topology.listen(
                "server", server_address(3, 4), port)
            self.listeners["client", port] = self.lab.topology.listen(
                "client", HOST["client", 4], port)
        return self

    def __exit__(self, *_):
        for listener in self.listeners.values():
            listener.close()

    def open_to_the_client(self, seen_as, name="client"):
        """Each port, more than once; the server sees who it knows from the control connection."""
        for port in self.inside * 2:
            listener = self.listeners["server", port]
            listener.settimeout(5)
            with self.lab.topology.connect(name, (self.entry, port)) as near:
                far, peer = listener.accept()
                with far:
                    if peer[0] != seen_as:
                        raise Failed(f"the server sees {peer[0]} and knows {seen_as}")
                    far.sendall(b"mine")
                    near.settimeout(5)
                    if near.recv(4) != b"mine":
                        raise Failed("the contents differ")

    def closed_to_others(self):
        """Other hosts and other ports get nothing while it is open."""
        for name in ("client2", "stranger"):
            for host in self._hosts(name):
                self._closed(name, host, self.inside[1])
        for port in (LOW - 1, HIGH + 1):
            self._closed("client", self.entry, port)
        # Another server, and the other way round: there is no active mode.
        self._closed("client", server_address(3, 4), self.inside[1])
        self._closed("server", HOST["client", 4], self.inside[1], (SERVER, 0))
        self._closed("server", GATEWAY["server", 4], self.inside[1], (SERVER, 0))

    def closed(self, name="client"):
        """The client itself gets nothing either."""
        for port in self.inside:
            self._closed(name, self.entry, port)

    def _hosts(self, name):
        hosts = {self.entry, GATEWAY["client", 4], GATEWAY["server", 4], SERVER, HOST["client", 4]}
        own = "198.51.100." if name == "stranger" else "192.0.2."
        gate = GATEWAY["server" if name == "stranger" else "client", 4]
        # Not what lies on its own segment: no gateway stands between.
        return sorted(host for host in hosts if not host.startswith(own) or host == gate)

    def _closed(self, name, host, port, source=None):
        refused(self.lab.topology, name, (host, port), KNOCK, source)
        for (side, own), listener in self.listeners.items():
            if own == port:
                listener.settimeout(0)
                try:
                    listener.accept()[0].close()
                except BlockingIOError:
                    continue
                raise Failed(f"{name} reached the {side} at {port} by way of {host}")


@scenario("who gets through the blind ports", *SETTINGS)
def strangers(binary, folder, setting):
    with lab_of(folder, binary, setting, data=BLIND) as lab, Range(lab) as blind:
        before = table_text(lab)
        with lab.peers(login=False) as peers:
            peers.exchange("NOOP", "200 not yet")
            blind.closed()
            both = in_tls(peers, "1.3")
            blind.open_to_the_client(peers.seen_as[0])
            blind.closed_to_others()
            blind.open_to_the_client(peers.seen_as[0])
            if table_text(lab) == before:
                raise Failed("the table does not show the range")
            both.exchange("PWD", '257 "/"')
            # A second session of the same two hosts comes and goes.
            with lab.peers(login=False) as others:
                in_tls(others, "1.2")
                blind.open_to_the_client(peers.seen_as[0])
            wait_until(lambda: lab.gateway.metrics().sum("sessions_active") == 1, "two sessions stay")
            blind.open_to_the_client(peers.seen_as[0])
        wait_until(lambda: lab.gateway.metrics().sum("sessions_active") == 0, "the session stays")
        blind.closed()
        blind.closed_to_others()
        if table_text(lab) != before:
            raise Failed(f"the table is not what it was before: {table_text(lab)}")


@scenario("two clients have the blind ports at a time", *SETTINGS)
def two_clients(binary, folder, setting):
    """Each by its own session; the end of one is not the end of the other."""
    with lab_of(folder, binary, setting, data=BLIND) as lab, Range(lab) as blind:
        def session(name):
            return Peers(lambda: lab.topology.connect(name, lab.target(lab.server)),
                         lab.listeners[4])
        with session("client") as one:
            in_tls(one, "1.3")
            blind.closed("client2")
            with session("client2") as two:
                in_tls(two, "1.2")
                blind.open_to_the_client(two.seen_as[0], "client2")
                blind.open_to_the_client(one.seen_as[0])
            wait_until(lambda: lab.gateway.metrics().sum("sessions_active") == 1, "two sessions stay")
            blind.closed("client2")
            blind.open_to_the_client(one.seen_as[0])


@scenario("CCC closes the blind ports", SETTINGS[0], SETTINGS[3])
def ccc_closes(binary, folder, setting):
    with lab_of(folder, binary, setting, data=BLIND) as lab, Range(lab) as blind:
        with lab.peers(login=False) as peers:
            both = in_tls(peers, "1.3")
            blind.open_to_the_client(peers.seen_as[0])
            both.exchange("CCC", "200 clear")
            peers.exchange("NOOP", "200 in clear")
            blind.closed()
            blind.closed_to_others()
        with lab.peers(login=True):
            # A clear session has none.
            blind.closed()


@scenario("the blind ports die with the gateway", SETTINGS[0], SETTINGS[2])
def killed(binary, folder, setting):
    with lab_of(folder, binary, setting, data=BLIND) as lab, Range(lab) as blind:
        with lab.peers(login=False) as peers:
            in_tls(peers, "1.3")
            blind.open_to_the_client(peers.seen_as[0])
            lab.gateway.process.kill()
            blind.closed()
            blind.closed_to_others()


@scenario("two servers behind one address share no blind ports", "gateway", "client")
def two_servers(binary, folder, source):
    """The session that comes second goes without; the first one's ports stay its own."""
    with Lab(folder, binary, Setting("direct", source, "kernel"), servers=(),
             stand_ins={name: STAND_INS[name] for name in ("PASV", "EPSV")}, data=BLIND) as lab:
        listeners = [[lab.topology.listen("server", server.address(4), port) for port in (21, LOW)]
                     for server in lab.servers.values()]
        (first_21, first_data), (second_21, second_data) = listeners
        one, two = (lab.target(server) for server in lab.servers.values())
        entry = (GATEWAY["client", 4], LOW)
        try:
            with Peers(lambda: lab.topology.connect("client", two), second_21) as second:
                with Peers(lambda: lab.topology.connect("client", one), first_21) as first:
                    in_tls(first, "1.3")
                    both = in_tls(second, "1.3")
                    lab.topology.connect("client", entry).close()
                    first_data.settimeout(2)
                    first_data.accept()[0].close()
                    both.exchange("NOOP", "200 still here")
                wait_until(lambda: lab.gateway.metrics().sum("sessions_active") == 1, "two stay")
                refused(lab.topology, "client", entry, KNOCK)
                both.exchange("NOOP", "200 still here")
            for listener in (first_data, second_data):
                listener.settimeout(0)
                try:
                    listener.accept()[0].close()
                except BlockingIOError:
                    continue
                raise Failed("a connection reached a server whose session had no range")
        finally:
            for listener in itertools.chain(*listeners):
                listener.close()
