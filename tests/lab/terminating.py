"""A `Lab` whose gateway ends TLS: the servers' CA, the local CA, the sections of the configuration."""

import contextlib
import json
import os
import tempfile

from authority import Authority, local_ca, server_dns
from cells import Setting
from lab import Asking, Lab
from process import wait_until
from tls_peers import SecuredFTP, SecuredTask
from tls_server import TlsServer, server_context

DIRECT = Setting("direct", "gateway", "relay")
TPROXY = Setting("tproxy", "gateway", "auto")


class TerminatingLab(Lab):
    """`authority` signs the servers' certificates, `roots` is what clients trust.

    `mode` and `listener` make the listeners' section `tls`; `server_side` and `certificates` are laid
    over `tls.server` and `tls`. Servers are told `server_options` over TLS at their defaults, which
    is data connections with session reuse and nothing in clear; in offload they know no TLS at all.
    Without a `binary` the network is routed plainly.
    """

    def __init__(self, folder, binary, setting=DIRECT, servers=("vsftpd",), mode="intercept",
                 listener=None, server_side=None, certificates=None, server_options=None, **options):
        os.makedirs(folder, exist_ok=True)
        self.mode = mode
        self.authority = Authority(os.path.join(folder, "authority"))
        self.roots = self.authority.roots
        sections = {}
        if binary and mode != "originate":
            self.roots, sections["ca"] = local_ca(binary, folder)
        told = {"tls": None}
        if mode != "offload":
            sections["server"] = {"roots": self.authority.roots} | (server_side or {})
            told = {"tls": True, "strict": True, "authority": self.authority}
        self.audit_path = os.path.join(folder, "audit.jsonl")
        super().__init__(folder, binary, setting, servers, tls={"mode": mode} | (listener or {}),
                         audit={"path": self.audit_path},
                         certificates=sections | (certificates or {}),
                         server_options=told | (server_options or {}), **options)

    def secured(self, mode="EPSV", version="1.3", server=None, family=4, login=True, prot="P", **options):
        """A session of ftplib over TLS that trusts `roots` and checks the server's name; logged in,
        in `pub`, binary. Close it with `close()`."""
        server = server or self.server
        ftp = LabSecuredFTP(self.topology, mode, version,
                            **({"name": server_dns(server), "roots": self.roots} | options))
        host, port = self.target(server, family)
        with self.topology.inside("client"):
            ftp.connect(host, port)
        if login:
            ftp.enter(server, prot)
        return ftp

    def curl(self, *options, server=None, name="x", trust=True, version="1.3"):
        """curl fetches a file. Returns (exit code, what it tells, contents or None)."""
        server = server or self.server
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            host, port = self.target(server)
            task = SecuredTask(self.topology, host, port, 4, server.user, server.password, "EPSV", folder,
                               "", "", name, name=server_dns(server), implicit=server.implicit)
            code, text = self.topology.run(
                "client", [*task.prefix, "curl", "-sSv", "-m", "8", "--ssl-reqd", "--tls-max", version,
                           *(["--cacert", self.roots, "--capath", "/nonexistent"] if trust else ["-k"]),
                           *options, "-o", task.fetched, "--user", f"{server.user}:{server.password}",
                           f"{task.url}/pub/{name}"], check=False)
            if not os.path.exists(task.fetched):
                return code, text, None
            with open(task.fetched, "rb") as got:
                return code, text, got.read()

    def handshakes(self, resumed=None, **labels):
        """How many TLS handshakes were completed that bear these labels (side, connection, version)."""
        if resumed is not None:
            labels["resumed"] = "yes" if resumed else "no"
        return self.gateway.metrics().sum("tls_handshakes_total", outcome="completed", **labels)

    def failed_handshakes(self, **labels):
        """How many TLS handshakes failed, for whatever reason."""
        return (self.gateway.metrics().sum("tls_handshakes_total", **labels)
                - self.handshakes(**labels))

    def audit(self, event):
        """The lines of the audit about an event, as dictionaries."""
        with open(self.audit_path, encoding="utf-8") as lines:
            return [entry for entry in map(json.loads, lines) if entry["event"] == event]

    def settled(self):
        """Nothing of any session is left, in ftpgate's words and in the kernel's table."""
        metrics = self.gateway.metrics
        for name in ("sessions_active", "data_connections_active", "pinholes_open", "control_protection"):
            wait_until(lambda name=name: metrics().sum(name) == 0, f"{name} is not 0", timeout=20)
        wait_until(lambda: not self.open_elements(), "elements are left in the table")


@contextlib.contextmanager
def scripted_lab(folder, binary, setting=DIRECT, context=None, server=None, **options):
    """A `TerminatingLab` in front of a `TlsServer`. Yields both.

    `context` makes the server's TLS from (authority, folder, names); without it the certificate is one
    of the authority's. `server` are more words for the `TlsServer`.
    """
    scripted = TlsServer(None, **(server or {}))
    stand_in = scripted.stand_in(port=990 if scripted.implicit else 21)
    options.setdefault("capture_ports", (stand_in.port,))
    with TerminatingLab(folder, binary, setting, (), stand_ins={"scripted": stand_in}, **options) as lab:
        names = [server_dns(stand_in), stand_in.address(4)]
        scripted.context = (context(lab.authority, folder, names) if context else
                            server_context(*lab.authority.issue(folder, names)))
        with scripted.serve(lab, stand_in):
            yield lab, scripted


class LabSecuredFTP(Asking, SecuredFTP):
    """`SecuredFTP` whose sockets all lie in the client's namespace, whichever thread uses it."""

    def __init__(self, topology, mode, version, **options):
        super().__init__([], mode, version, **options)
        self.topology = topology

    def ntransfercmd(self, cmd, rest=None):
        with self.topology.inside("client"):
            return super().ntransfercmd(cmd, rest)

    def enter(self, server, prot="P"):
        """Login, protection of data, `pub`, binary."""
        self.login(server.user, server.password)
        self.remember_session()
        self.voidcmd("PBSZ 0")
        if prot == "P":
            self.prot_p()
        self.cwd("pub")
        self.voidcmd("TYPE I")

    def fetch(self, name):
        """The contents of a file."""
        got = bytearray()
        self.retrbinary(f"RETR {name}", got.extend)
        return bytes(got)
