"""A `Lab` is one set of namespaces with servers and an ftpgate in it: what every test starts from."""

import ftplib
import hashlib
import json
import os
import shutil
import socket
import time

from cells import Setting
from clients import STEP_LIMIT, ModalFTP
from gateway import CAPTURE_PORT, Gateway, config, direct_port
from process import Failed
from servers import start_servers
from topology import GATEWAY, Topology

# Servers on another control port than 21 have addresses of their own, from this index on.
SECOND_PORT_INDEX = 6


class Lab:
    """Use as a context manager; everything is gone at its end.

    `servers` are started on port 21, `second` on port 2100; `stand_ins` are servers that somebody
    else plays. `vsftpd_extra` are more lines of its configuration, `server_options` (tls, passive,
    named, …) what all are told (see `servers.Server`); `options` go to `gateway.config`.
    Without a `binary` no gateway is started and the network is routed plainly.
    """

    def __init__(self, folder, binary=None, setting=Setting("tproxy", "gateway", "kernel"),
                 servers=("vsftpd",), second=(), stand_ins=None, vsftpd_extra="",
                 server_options=None, **options):
        self.folder = folder
        self.setting = setting
        self.processes = []
        self.servers = self.second = {}
        self.gateway = None
        os.makedirs(folder, exist_ok=True)
        self.topology = Topology(server_route=binary is None or setting.source == "client",
                                 plain=binary is None)
        try:
            self.servers, self.processes = start_servers(self.topology, folder, servers,
                                                         vsftpd_extra=vsftpd_extra,
                                                         **(server_options or {}))
            self.servers |= stand_ins or {}
            self.second, more = start_servers(self.topology, folder, second, 2100, SECOND_PORT_INDEX)
            self.processes += more
            self.before = self.host_state()
            if binary:
                everyone = self.servers | {f"{name}-2100": s for name, s in self.second.items()}
                self.gateway = Gateway(self.topology, binary, folder,
                                       config(setting, everyone, **options)).start()
        except BaseException:
            self.close()
            raise

    def start_more(self, kind, names, first_index, **options):
        """More servers, as a rule where the network is routed plainly. Returns {name: Server}."""
        folder = os.path.join(self.folder, kind)
        os.makedirs(folder)
        servers, processes = start_servers(self.topology, folder, names, first_index=first_index,
                                           **options)
        self.processes += processes
        self.servers |= {f"{name}-{kind}": server for name, server in servers.items()}
        return servers

    def __enter__(self):
        return self

    def __exit__(self, _, error, __):
        if error is not None and self.gateway:
            error.logs = [self.gateway.log]
        self.close()

    def close(self):
        if self.gateway:
            self.gateway.stop()
        for process in self.processes:
            process.stop(grace=0.5)
        self.topology.close()
        # The served files; the logs stay until the whole run is over.
        for server in (self.servers | self.second).values():
            shutil.rmtree(server.home, ignore_errors=True)

    @property
    def server(self):
        """The only server, where there is one."""
        return next(iter(self.servers.values()))

    def target(self, server, family=4):
        """Where a client dials to reach the server."""
        if self.gateway and self.setting.capture == "direct":
            return GATEWAY["client", family], direct_port(server, family)
        return server.address(family), server.port

    def ftp(self, mode="EPSV", server=None, family=4, namespace="client", source=None, login=True):
        """A session with the server, logged in, in `pub`, binary. Close it with `close()`."""
        server = server or self.server
        ftp = LabFTP(self.topology, namespace, mode)
        host, port = self.target(server, family)
        with self.topology.inside(namespace):
            ftp.connect(host, port, source_address=source)
        if login:
            ftp.login(server.user, server.password)
            ftp.cwd("pub")
            ftp.voidcmd("TYPE I")
        return ftp

    def put_file(self, name, size, server=None):
        """Creates a file in the server's folder. Returns its SHA-256."""
        path = (server or self.server).path(name)
        block = os.urandom(65536)
        digest, left = hashlib.sha256(), size
        with open(path, "wb") as out:
            while left > 0:
                piece = block[:left]
                out.write(piece)
                digest.update(piece)
                left -= len(piece)
        os.chmod(path, 0o666)
        return digest.hexdigest()

    def table(self, family="inet", name="ftpgate"):
        """ftpgate's own table as nft shows it in JSON, or None when there is none.

        nft 1.0.6 breaks off some lists in the middle, with exit code 0: the word for a table's flags is
        of freed memory there. Of the whole ruleset, or a moment later, the list may be whole.
        """
        for attempt in range(6):
            code, text = self.topology.run("gateway", ["nft", "-j", "list", "table", family, name],
                                           check=False)
            if code != 0:
                return None
            if attempt % 2:
                _, text = self.topology.run("gateway", ["nft", "-j", "list", "ruleset"])
            try:
                return [item for item in json.loads(text)["nftables"] if _is_of(item, family, name)]
            except json.JSONDecodeError:
                time.sleep(0.05)
        raise Failed(f"nft lists the table in broken JSON: {text[-400:]!r}")

    def host_state(self):
        """Everything on the gateway's host that ftpgate might change: rules, routes, tables."""
        commands = [["ip", family, *what] for family in ("-4", "-6")
                    for what in (("rule",), ("route", "show", "table", "all"))]
        commands.append(["nft", "list", "tables"])
        # Routes of the kernel's own come and go with neighbours; what is configured stays.
        return "".join(self.topology.run("gateway", command)[1] for command in commands)

    def open_elements(self):
        """The elements of ftpgate's sets and maps that stand for a pinhole: those with a timeout."""
        found = []
        for item in self.table() or []:
            for kind in ("set", "map"):
                body = item.get(kind, {})
                for element in body.get("elem", []):
                    value = element[0] if isinstance(element, list) else element
                    if isinstance(value, dict) and "expires" in value.get("elem", {}):
                        found.append((body["name"], value["elem"]["val"]))
        return found


def _is_of(item, family, name):
    """True for what nft's JSON says of one table: the table itself, its sets, chains and rules."""
    return any((body.get("family"), body.get("name" if kind == "table" else "table")) == (family, name)
               for kind, body in item.items())


class Asking:
    """What a session of ftplib is asked, reply by reply."""

    def expect(self, *codes):
        """The next reply, which must bear one of these codes (its first three digits)."""
        try:
            reply = self.getmultiline()
        except EOFError:
            raise Failed(f"the connection was closed instead of a reply {codes}") from None
        if reply[:3] not in codes:
            raise Failed(f"expected {' or '.join(codes)}, got {reply!r}")
        return reply

    def ask(self, line, *codes):
        """Sends a line and returns the reply, which must bear one of the codes."""
        self.putcmd(line)
        return self.expect(*codes)


class LabFTP(Asking, ModalFTP):
    """A client session whose sockets all lie in one namespace, whichever thread uses it."""

    def __init__(self, topology, namespace, mode):
        super().__init__([], mode)
        self.topology = topology
        self.namespace = namespace

    def ntransfercmd(self, cmd, rest=None):
        with self.topology.inside(self.namespace):
            return super().ntransfercmd(cmd, rest)

    def send_now(self, data):
        """Raw bytes on the control connection."""
        self.sock.sendall(data)

    def fetch_digest(self, name, rest=None):
        """Fetches a file and returns (bytes, SHA-256)."""
        digest, size = hashlib.sha256(), 0

        def take(piece):
            nonlocal size
            size += len(piece)
            digest.update(piece)

        self.retrbinary(f"RETR {name}", take, blocksize=1 << 18, rest=rest)
        return size, digest.hexdigest()


def refused(topology, namespace, address, timeout=1.0, source=None):
    """Tries to connect and must get nothing: no connection, or one that ends without a byte.

    Returns what happened, in a word; raises `Failed` if data came.
    """
    try:
        with topology.connect(namespace, address, timeout, source) as sock:
            sock.settimeout(timeout)
            try:
                data = sock.recv(1)
            except TimeoutError:
                raise Failed(f"{namespace} holds a connection to {address}") from None
            if data:
                raise Failed(f"{namespace} got data from {address}")
            return "closed"
    except TimeoutError:
        return "dropped"
    except ConnectionResetError:
        return "reset"
    except OSError as error:
        return type(error).__name__


def half_close(sock):
    sock.shutdown(socket.SHUT_WR)


__all__ = ["CAPTURE_PORT", "Failed", "GATEWAY", "Lab", "LabFTP", "STEP_LIMIT", "Setting",
           "ftplib", "half_close", "refused"]
