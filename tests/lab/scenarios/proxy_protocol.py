"""PROXY protocol with Debian's HAProxy: in front of ftpgate, behind it, and ftpgate behind ftpgate.

HAProxy in front is configured by the block of `docs/proxy-protocol.md`, word for word; it stands on the
clients' segment, at the address of `client2`.
"""

import contextlib
import json
import os
import re

from cells import CELL_BYTES, Setting
from clients import Task, lftp
from gateway import POOL
from lab import Failed, Lab, LabFTP, refused
from process import Process, wait_until
from scenarios import scenario
from scenarios.monitoring import TOP
from servers import CACHE
from terminating import TerminatingLab
from topology import GATEWAY, HOST

HAPROXY = f"{CACHE}/haproxy/usr/sbin/haproxy"
BALANCER, BALANCER6 = HOST["client2", 4], HOST["client2", 6]
FIRST, SECOND, THIRD = HOST["client", 4], "192.0.2.20", "192.0.2.30"
# Behind ftpgate, on the servers' segment: one of the addresses without a server.
INNER = "198.51.100.30"
INNER_DATA = "45000-45020"
AUTO = Setting("direct", "gateway", "auto")


def documented(kind):
    """The first block of this kind in the page."""
    with open(os.path.join(TOP, "docs", "proxy-protocol.md"), encoding="utf-8") as text:
        return re.search(rf"```{kind}\n(.*?)```", text.read(), re.DOTALL).group(1)


@contextlib.contextmanager
def haproxy(lab, namespace, text):
    """A running HAProxy; what it logs to standard output is in the file that this yields."""
    config = os.path.join(lab.folder, f"haproxy-{namespace}.cfg")
    with open(config, "w", encoding="utf-8") as out:
        out.write(f"global\n    log stdout format raw local0\n\n{text}")
    log = os.path.join(lab.folder, f"haproxy-{namespace}.log")
    process = Process([HAPROXY, "-db", "-f", config], log, lab.topology.ns[namespace])
    lab.processes.append(process)
    host, port = re.search(r"bind ([\d.]+):(\d+)\b(?!-)", text).groups()

    def listens():
        if not process.alive():
            raise Failed("HAProxy has ended\n" + "\n".join(process.tail()))
        try:
            lab.topology.connect(namespace, (host, int(port)), 1).close()
            return True
        except OSError:
            return False
    wait_until(listens, "HAProxy does not listen")
    yield log


def balanced(name, port, **tls):
    """The listener of the page, or one like it."""
    return {"name": name, "listen": f"{GATEWAY['client', 4]}:{port}", "capture": "direct",
            "server": "198.51.100.10:21", "proxy_protocol": {"accept_from": [BALANCER]},
            "tls": {"mode": "offload"} | tls}


def add_clients(lab):
    for address in (SECOND, THIRD):
        lab.topology.run("client", ["ip", "addr", "add", f"{address}/24", "dev", "eth0"])


def curl(lab, host, port, source, name, *options):
    """Stores a file and fetches it again, dialling the balancer. Compares the two."""
    contents = os.urandom(CELL_BYTES)
    local, fetched = (os.path.join(lab.folder, f"{name}-{way}") for way in ("up", "down"))
    with open(local, "wb") as out:
        out.write(contents)
    scheme = "ftps" if port == 990 else "ftp"
    host = f"[{host}]" if ":" in host else host
    url = f"{scheme}://{host}:{port}/pub/{name}"
    common = ["-sS", "-v", "-m", "15", "--no-ftp-skip-pasv-ip", "--interface", source, *options,
              "--user", f"{lab.server.user}:{lab.server.password}"]
    code, text = lab.topology.run("client", ["curl", *common, "-T", local, url, "--next", *common,
                                             "-o", fetched, url], check=False)
    if code != 0:
        raise Failed(f"curl {name}: exit code {code}\n{text}")
    for path in (lab.server.path(name), fetched):
        with open(path, "rb") as got:
            if got.read() != contents:
                raise Failed(f"{path} holds something else than was stored")
    return text


def named(text, address):
    """curl has connected to this address, and to nothing else."""
    tried = set(re.findall(r"(?:Trying|Connecting to) \[?([\da-f.:]+?)\]?(?::\d+\.\.\.| \()", text))
    if tried != {address}:
        raise Failed(f"curl has dialled {tried}, not {address}")


@scenario("PROXY headers of HAProxy name the clients", "send-proxy", "send-proxy-v2")
def in_front(binary, folder, words):
    text = documented("haproxy").replace("send-proxy-v2", words) + f"""
frontend implicit
    bind {BALANCER}:990
    default_backend implicit

backend implicit
    server ftpgate {GATEWAY["client", 4]}:2190 {words}

# To a gateway that has IPv4 only on this side.
frontend six-control
    bind [{BALANCER6}]:21
    default_backend ftpgate-control

frontend six-data
    bind [{BALANCER6}]:{POOL[0]}-{POOL[1]}
    default_backend ftpgate-data
"""
    listeners = [balanced("balanced", 2121), balanced("implicit", 2190, client_start="implicit")]
    with TerminatingLab(folder, binary, AUTO, mode="offload", extra_listeners=listeners) as lab:
        add_clients(lab)
        with haproxy(lab, "client2", text):
            trusting = ("--cacert", lab.roots, "--capath", "/nonexistent", "--ssl-reqd")
            for name, port, source, options in (
                    ("pasv", 21, FIRST, ("--disable-epsv",)), ("epsv", 21, SECOND, ()),
                    # The certificate is one for the address that the client has dialled: the balancer's.
                    ("tls", 21, FIRST, trusting), ("implicit", 990, SECOND, trusting)):
                named(curl(lab, BALANCER, port, source, name, *options), BALANCER)
            named(curl(lab, BALANCER6, 21, HOST["client", 6], "six"), BALANCER6)
            scratch = os.path.join(folder, "lftp")
            os.makedirs(scratch)
            task = Task(lab.topology, BALANCER, 21, 4, lab.server.user, lab.server.password, "PASV",
                        scratch, os.path.join(folder, "pasv-up"), "lftp", "epsv")
            lftp(task, f"ssl:ca-file {lab.roots}")
            with open(lab.server.path("lftp"), "rb") as one, open(lab.server.path("pasv"), "rb") as other:
                if one.read() != other.read():
                    raise Failed("lftp has stored something else")
            clients_apart(lab)
            audited(lab)


def clients_apart(lab):
    """Two clients await data at the same time; nobody but each gets his own."""
    for name in ("one", "two"):
        lab.put_file(name, CELL_BYTES)
    sessions = {}
    for name, source in (("one", FIRST), ("two", SECOND)):
        session = sessions[name] = LabFTP(lab.topology, "client", "PASV")
        with lab.topology.inside("client"):
            session.connect(BALANCER, 21, source_address=(source, 0))
        session.login(lab.server.user, lab.server.password)
        session.voidcmd("TYPE I")
        session.cwd("pub")
    entries = {name: session.makepasv() for name, session in sessions.items()}
    for name, entry in entries.items():
        if entry[0] != BALANCER:
            raise Failed(f"a client is told {entry}")
        other = SECOND if name == "one" else FIRST
        for stranger in (other, THIRD):
            refused(lab.topology, "client", entry, source=(stranger, 0))
    for (name, entry), source in zip(entries.items(), (FIRST, SECOND)):
        session = sessions[name]
        data = lab.topology.connect("client", entry, source=(source, 0))
        session.ask(f"RETR {name}", "150")
        with data:
            contents = b"".join(iter(lambda data=data: data.recv(1 << 16), b""))
        session.expect("226")
        with open(lab.server.path(name), "rb") as wanted:
            if contents != wanted.read():
                raise Failed(f"{name} has fetched something else")
        session.quit()
        session.close()
    # Once: the next one finds nobody. HAProxy tries for some seconds.
    refused(lab.topology, "client", entries["two"], timeout=8, source=(SECOND, 0))


def audited(lab):
    wait_until(lambda: len(lab.audit("transfer")) >= 15, "transfers are not in the audit")
    seen = {}
    for line in lab.audit("transfer"):
        client = line["client"].rpartition(":")[0]
        seen.setdefault(client, set()).add((line["verb"], line["path"]))
        if line["data_path"] != "relay" or line["outcome"] != "completed":
            raise Failed(f"not a completed transfer over the relay: {line}")
    for client, name in ((FIRST, "one"), (SECOND, "two")):
        if ("RETR", name) not in seen.get(client, ()):
            raise Failed(f"{client} has not fetched {name} by the audit: {seen}")
    if set(seen) != {FIRST, SECOND, f"[{HOST['client', 6]}]"}:
        raise Failed(f"transfers of others: {seen}")
    # The checks of HAProxy come as what they are, and are answered.
    ended = lab.audit("session_end")
    checks = [line for line in ended if line["client"].startswith(f"{BALANCER}:")]
    if not checks or any(line["reason"] == "no_proxy_header" for line in ended):
        raise Failed(f"no checks, or headers that are not believed: {ended}")
    dialled = {line["dialled"] for line in ended if not line["client"].startswith(f"{BALANCER}:")}
    if dialled != {f"{BALANCER}:21", f"{BALANCER}:990", f"[{BALANCER6}]:21"}:
        raise Failed(f"the clients have dialled {dialled}")


def inner_haproxy(accept_data):
    """HAProxy between ftpgate and the server, which tells whom a header has named."""
    return f"""
defaults
    mode tcp
    log global
    log-format "%fi:%fp from %ci:%cp at %f"
    timeout connect 5s
    timeout client 1m
    timeout server 1m

frontend control
    bind {INNER}:21 accept-proxy
    default_backend control

backend control
    server ftp 198.51.100.10:21

frontend data
    bind {INNER}:{INNER_DATA}{" accept-proxy" if accept_data else ""}
    default_backend data

backend data
    server ftp 198.51.100.10
"""


@scenario("HAProxy behind ftpgate believes the PROXY header", ("v1", False), ("v2", True))
def behind(binary, folder, parameters):
    send, send_data = parameters
    listener = {"name": "told", "listen": f"{GATEWAY['client', 4]}:2121", "capture": "direct",
                "server": f"{INNER}:21", "proxy_protocol": {"send": send, "send_data": send_data}}
    with Lab(folder, binary, AUTO, server_options={"passive": INNER_DATA},
             extra_listeners=[listener]) as lab:
        with haproxy(lab, "server", inner_haproxy(send_data)) as log:
            sizes = store_and_fetch(lab, (GATEWAY["client", 4], 2121))
            control = f"{GATEWAY['client', 4]}:2121 from {FIRST}:"
            data = f"{GATEWAY['client', 4]}:450" if send_data else f"{INNER}:450"

            def told(words, where):
                with open(log, encoding="utf-8") as text:
                    return [line for line in text if words in line and line.endswith(f"at {where}\n")]
            wait_until(lambda: told(control, "control"), "HAProxy does not name the client")
            wait_until(lambda: len(told(data, "data")) >= sizes, f"no data of {data}")
            carried = lab.gateway.metrics().sum("data_connections_total",
                                                path="relay" if send_data else "kernel")
            if carried != sizes:
                raise Failed(f"{carried} data connections on the path that they should take")


def store_and_fetch(lab, address, mode="PASV"):
    """A session that stores a file and fetches another. Returns how many data connections it took."""
    wanted = lab.put_file("down", CELL_BYTES)
    with lab.topology.inside("client"):
        ftp = LabFTP(lab.topology, "client", mode)
        ftp.connect(*address)
    ftp.login(lab.server.user, lab.server.password)
    ftp.cwd("pub")
    ftp.voidcmd("TYPE I")
    contents = os.urandom(CELL_BYTES)
    path = os.path.join(lab.folder, f"up-{mode}")
    with open(path, "wb") as out:
        out.write(contents)
    with open(path, "rb") as source:
        ftp.storbinary(f"STOR up-{mode}", source)
    if ftp.fetch_digest("down") != (CELL_BYTES, wanted):
        raise Failed("something else was fetched")
    ftp.quit()
    ftp.close()
    with open(lab.server.path(f"up-{mode}"), "rb") as got:
        if got.read() != contents:
            raise Failed("something else was stored")
    return 2


@scenario("ftpgate behind ftpgate believes the PROXY header")
def in_a_row(binary, folder):
    inner = f"{GATEWAY['server', 4]}:2300"
    listener = {"name": "outer", "listen": f"{GATEWAY['client', 4]}:2121", "capture": "direct",
                "server": inner, "proxy_protocol": {"send": "v2", "send_data": True}}
    # The inner gateway and its server would refuse a PORT that does not name the client.
    with Lab(folder, binary, AUTO, extra_listeners=[listener], data={"mode": "passive"}) as lab:
        audit = os.path.join(folder, "inner.jsonl")
        settings = {
            "listeners": [{"name": "inner", "listen": inner, "server": "198.51.100.10:21",
                           "proxy_protocol": {"accept_from": ["198.51.100.0/24"]}}],
            "data": {"path": "relay", "ports": "51000-51099"}, "firewall": {"backend": "none"},
            "telemetry": {"listen": None, "audit": {"path": audit}}, "admin": {"socket": None}}
        config = os.path.join(folder, "inner.yaml")
        with open(config, "w", encoding="utf-8") as out:
            json.dump(settings, out)
        process = Process([binary, "run", "--config", config], os.path.join(folder, "inner.log"),
                          lab.topology.ns["gateway"])
        lab.processes.append(process)

        def listens():
            try:
                lab.topology.connect("gateway", (GATEWAY["server", 4], 2300), 1).close()
                return True
            except OSError:
                return False
        wait_until(listens, "the inner ftpgate does not listen")
        for mode in ("PASV", "EPSV", "PORT"):
            store_and_fetch(lab, (GATEWAY["client", 4], 2121), mode)

        def transfers():
            with open(audit, encoding="utf-8") as lines:
                return [line for line in map(json.loads, lines) if line["event"] == "transfer"]
        wait_until(lambda: len(transfers()) == 6, "the inner audit has not all transfers")
        if any(not line["client"].startswith(f"{FIRST}:") for line in transfers()):
            raise Failed(f"the inner gateway does not know the client: {transfers()}")
