"""The container image: the same whenever it is built, and ftpgate at work in it with what it is given."""

import contextlib
import http.client
import os
import re
import socket
import stat
import struct
import threading

from authority import Authority
from bundle import Container, build, image
from cells import Setting, Talk, converse
from gateway import TELEMETRY_PORT
from lab import Failed, Lab, LabFTP
from process import call, wait_until
from scenarios import scenario
from scenarios.lifecycle import finish
from scenarios.transfers import LARGE
from servers import CACHE
from tls_peers import FTPS_CLIENTS, SecuredTask
from topology import server_address

CONTAINERFILE = os.path.join("deploy", "container", "Containerfile")
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

# Everything that is in the image but the folders on the way.
FILES = {"usr/bin/ftpgate", "usr/share/doc/ftpgate/LICENSE", "etc/ssl/certs/ca-certificates.crt",
         "etc/passwd", "etc/group"}

# Where clients find the pod: an address of the server's namespace that no daemon of the lab has.
POD = server_address(20, 4)
CLEAR, SECURED = 2121, 2990
SERVER_NAME, POD_NAME = "server.pod.example", "ftp.example"
CONFIG = "/etc/ftpgate/ftpgate.yaml"

USER = 65532
# Seconds: what a signal to the end may take beside the transfers.
END = 10


@scenario("the image is the same when it is built again, and holds ftpgate and nothing that runs besides")
def contents(binary, folder):
    del binary
    os.makedirs(folder)
    first = image(folder)
    if (again := build(os.path.join(folder, "again.tar"))) != first.digest:
        raise Failed(f"{first.digest}, built again {again}")
    files = {name for name, member in first.files.items() if not member.isdir()}
    if files != FILES:
        raise Failed(f"more or less than it should hold: {sorted(files ^ FILES)}")
    for name, member in first.files.items():
        room = name == "run/ftpgate"
        if (member.uid, member.gid) != (0, 0) or bool(member.mode & stat.S_IWOTH) != room \
                or member.mode & (stat.S_ISUID | stat.S_ISGID):
            raise Failed(f"{name}: {member.uid}:{member.gid} {member.mode:o}")
    program = call(["readelf", "--program-headers", os.path.join(first.root, "usr/bin/ftpgate")])[1]
    if "INTERP" in program or "There are" not in program:
        raise Failed(f"not a static binary:\n{program}")
    with open(os.path.join(first.root, "usr/bin/ftpgate"), "rb") as text:
        if TOP.encode() in text.read():
            raise Failed("the path of the checkout is in the binary")
    config = first.config
    labels = config["Labels"]
    if (config["User"], config["StopSignal"], first.created[:10]) != (f"{USER}:{USER}", "SIGTERM", "2023-11-14") \
            or labels["org.opencontainers.image.version"] != "0.0.0-lab" \
            or labels["org.opencontainers.image.revision"] != first.manifest["annotations"][
                "org.opencontainers.image.revision"]:
        raise Failed(f"{config}, created {first.created}")


@scenario("hadolint has nothing to say about the Containerfile")
def linted(binary, folder):
    del binary, folder
    call([f"{CACHE}/venv/bin/hadolint", os.path.join(TOP, CONTAINERFILE)])


class Names:
    """A DNS server that knows one name, for the resolver of musl; `resolv_conf` leads there."""

    def __init__(self, topology, folder, name, address):
        self.name = name.encode()
        self.address = address
        self.resolv_conf = os.path.join(folder, "resolv.conf")
        with open(self.resolv_conf, "w", encoding="ascii") as out:
            out.write("nameserver 127.0.0.53\noptions timeout:1 attempts:2\n")
        with topology.inside("server"):
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.53", 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        wanted = b"".join(bytes([len(label)]) + label for label in self.name.split(b".")) + b"\0"
        while True:
            try:
                query, peer = self.sock.recvfrom(512)
            except OSError:
                return
            known = query[12:].startswith(wanted)
            question = query[12:query.index(b"\0", 12) + 5]
            # RFC 1035: an answer for type A; no data for AAAA; no such name for all else.
            found = known and question[-4:-2] == struct.pack("!H", 1)
            head = query[:2] + struct.pack("!HHHHH", 0x8180 if known else 0x8183, 1, int(found), 0, 0)
            answer = struct.pack("!HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(self.address)
            self.sock.sendto(head + question + answer * found, peer)

    def close(self):
        self.sock.close()


@contextlib.contextmanager
def sidecar(folder):
    """A pod: vsftpd, and beside it in the same namespace ftpgate in its container, with no right at all.

    Yields (lab, container).
    """
    with Lab(folder) as lab:
        authority = Authority(os.path.join(folder, "authority"))
        chain, key = authority.issue(folder, [POD_NAME, POD])
        os.chown(key, USER, USER)
        lab.roots = authority.roots
        config = os.path.join(folder, "ftpgate.yaml")
        with open(config, "w", encoding="ascii") as out:
            out.write(f"""
listeners:
  - &clear
    name: ftp
    listen: "0.0.0.0:{CLEAR}"
    capture: direct
    server: "{SERVER_NAME}:21"
    advertise: {{ client: {POD} }}
  - <<: *clear
    name: ftps
    listen: "0.0.0.0:{SECURED}"
    tls: {{ mode: offload, required: true }}
tls:
  certificate: {{ chain: tls/chain.pem, key: tls/key.pem }}
data: {{ path: relay, ports: 50000-50099 }}
firewall: {{ backend: none }}
telemetry: {{ listen: "0.0.0.0:{TELEMETRY_PORT}" }}
""")
        names = Names(lab.topology, folder, SERVER_NAME, lab.server.address(4))
        mounts = {CONFIG: config, "/etc/resolv.conf": names.resolv_conf,
                  "/etc/ftpgate/tls/chain.pem": chain, "/etc/ftpgate/tls/key.pem": key}
        try:
            with Container(image(folder), folder, lab.topology.ns["server"], mounts=mounts,
                           tmpfs=["/run/ftpgate"]) as container:
                wait_until(lambda: answer(lab, "/readyz")[0] == 200, "the container is not ready")
                yield lab, container
        finally:
            names.close()


def answer(lab, path):
    """An HTTP request to the pod, from outside. Returns (status, body); (0, "") if nobody answers."""
    try:
        with lab.topology.connect("client", (POD, TELEMETRY_PORT)) as sock:
            asked = http.client.HTTPConnection(POD, TELEMETRY_PORT)
            asked.sock = sock
            asked.request("GET", path)
            response = asked.getresponse()
            return response.status, response.read().decode()
    except OSError:
        return 0, ""


def confined(container, given, used, uid):
    """The kernel's word for how the process is held: user, rights, filter, root. Of the rights that the
    container is given ftpgate keeps those that it uses; the bounding set is the container's."""
    with open(f"/proc/{container.pid}/status", encoding="ascii") as text:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in text)
    seen = (set(status["Uid"].split()), int(status["CapBnd"], 16), int(status["CapEff"], 16),
            status["NoNewPrivs"], status["Seccomp"])
    if seen != ({str(uid)}, given, used, "1", "2"):
        raise Failed(f"the process is held by {seen}")
    with open(f"/proc/{container.pid}/mounts", encoding="ascii") as text:
        root = next(line.split() for line in text if line.split()[1] == "/")
    if "ro" not in root[3].split(","):
        raise Failed(f"the root file system can be written: {root}")


@scenario("a sidecar in its container: no right, read-only, transfers over the relay, FTPS for a plain server")
def beside_a_server(binary, folder):
    del binary
    with sidecar(folder) as (lab, container):
        confined(container, 0, 0, USER)
        for number, (client, mode) in enumerate((("curl", "EPSV"), ("curl", "PASV"), ("lftp", "EPSV"),
                                                 ("lftp", "PASV"), ("ftplib", "PORT"))):
            talk = Talk("vsftpd", client, mode, 4)
            converse(lab.topology, lab.server, talk, os.path.join(folder, f"clear-{number}"), POD, CLEAR)
        for number, client in enumerate(("curl", "lftp", "ftplib")):
            talk = Talk("vsftpd", client, "EPSV", 4)
            converse(lab.topology, lab.server, talk, os.path.join(folder, f"secured-{number}"), POD, SECURED,
                     clients=FTPS_CLIENTS, make=SecuredTask, ccc=False, roots=lab.roots, name=POD_NAME)
        metrics = answer(lab, "/metrics")[1]
        carried = sum(float(value) for value in re.findall(
            r'^ftpgate_data_connections_total\{[^}]*outcome="completed"[^}]*\} (\S+)$', metrics, re.MULTILINE))
        # Eight clients, each of which stores, fetches and lists.
        if carried != 24:
            raise Failed(f"{carried} data connections are counted")
        code, text = container.exec("/usr/bin/ftpgate", "sessions")
        if code != 0 or "no sessions" not in text:
            raise Failed(f"the health check says {code}: {text}")


@scenario("a container that is stopped finishes its transfers and ends with 0")
def stopped(binary, folder):
    del binary
    with sidecar(folder) as (lab, container):
        digest = lab.put_file("large", LARGE)
        ftp = LabFTP(lab.topology, "client", "EPSV")
        with lab.topology.inside("client"):
            ftp.connect(POD, CLEAR)
        ftp.login(lab.server.user, lab.server.password)
        ftp.cwd("pub")
        ftp.voidcmd("TYPE I")
        data = ftp.transfercmd("RETR large")
        begun = data.recv(1000)
        container.signal("TERM")
        wait_until(lambda: answer(lab, "/readyz")[0] == 503, "a gateway that drains says that it is ready")
        finish(data, begun, digest)
        ftp.expect("226")
        if (code := container.wait(END)) != 0:
            raise Failed(f"exit code {code}")


@scenario("a gateway in its container: CAP_NET_ADMIN, and the kernel carries the data",
          Setting("tproxy", "gateway", "kernel"), Setting("direct", "gateway", "kernel"))
def gateway(binary, folder, setting):
    with Lab(folder, binary, setting) as lab:
        lab.gateway.stop()
        rights = ["CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE"]
        with Container(image(folder), folder, lab.topology.ns["gateway"], user="0:0", capabilities=rights,
                       mounts={CONFIG: lab.gateway.config}) as container:
            wait_until(lambda: ready(lab), "the container is not ready")
            confined(container, 1 << 12 | 1 << 10, 1 << 12, 0)
            for number, mode in enumerate(("PASV", "EPSV", "PORT", "EPRT")):
                converse(lab.topology, lab.server, Talk("vsftpd", "ftplib", mode, 4),
                         os.path.join(folder, f"talk-{number}"), *lab.target(lab.server))
            used = lab.gateway.metrics().sum("pinholes_total", path="kernel", outcome="used")
            if used != 12:
                raise Failed(f"{used} pinholes of the kernel path were used")
            container.signal("TERM")
            if (code := container.wait(END)) != 0:
                raise Failed(f"exit code {code}")
        if lab.host_state() != lab.before:
            raise Failed("rules or routes are left")


def ready(lab):
    try:
        return lab.gateway.get("/readyz")[0] == 200
    except OSError:
        return False
