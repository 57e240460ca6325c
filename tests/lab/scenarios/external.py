"""The external address: another NAT in front, an interface that is renumbered, a DNS name, several addresses.

The NAT in front is a rule where the client's packets leave: whoever dials 203.0.113.7, .8 or .9 comes to
192.0.2.1, and who dials .17 comes to 192.0.2.9, which are the gateway's own.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import struct
import threading
import time

from cells import Setting
from lab import Failed, Lab, LabFTP
from process import wait_until
from scenarios import scenario

OWN, SECOND_OWN = "192.0.2.1", "192.0.2.9"
A, B, C, OTHER = "203.0.113.7", "203.0.113.8", "203.0.113.9", "203.0.113.17"

FRONT = f"""
    table ip front {{
        chain out {{
            type nat hook output priority -100; policy accept;
            ip daddr {{ {A}, {B}, {C} }} dnat to {OWN}
            ip daddr {OTHER} dnat to {SECOND_OWN}
        }}
    }}"""

# How often a name is asked for (`REFRESH` in src/net/following.rs), and some time for the machine.
REFRESHED = 30 + 10

PORTS = {"interface": 2300, "name": 2301, "later": 2302, "several": 2303, "dual": 2304}


class Names:
    """A DNS server on the gateway's loopback: the A records of `addresses`, and no other names."""

    def __init__(self, topology, addresses):
        self.addresses = addresses
        with topology.inside("gateway"):
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                question, peer = self.socket.recvfrom(512)
            except OSError:
                return
            if not question:
                return
            self.socket.sendto(self._answer(question), peer)

    def _answer(self, question):
        labels, at = [], 12
        while size := question[at]:
            labels.append(question[at + 1:at + 1 + size].decode().lower())
            at += 1 + size
        kind = struct.unpack_from("!H", question, at + 1)[0]
        known = self.addresses.get(".".join(labels))
        records = [known] if known and kind == 1 else []
        flags = 0x8180 if known else 0x8183
        head = question[:2] + struct.pack("!5H", flags, 1, len(records), 0, 0)
        answer = b"".join(struct.pack("!3HIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(address)
                          for address in records)
        return head + question[12:at + 5] + answer

    def close(self):
        # Wakes whoever waits for a question, although there is no connection to shut down.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(5)


@contextlib.contextmanager
def resolver(namespace):
    """Whatever is started in the namespace asks the server on its loopback."""
    folder = f"/etc/netns/{namespace}"
    made = not os.path.exists("/etc/netns")
    os.makedirs(folder)
    try:
        with open(os.path.join(folder, "resolv.conf"), "w", encoding="ascii") as out:
            out.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        yield
    finally:
        shutil.rmtree(folder)
        if made:
            with contextlib.suppress(OSError):
                os.rmdir("/etc/netns")


def listeners(lab):
    advertised = {"interface": "ext0", "name": "gw.lab.example", "later": "later.lab.example",
                  "several": {OWN: A, SECOND_OWN: OTHER}, "dual": "ext0"}
    return [{"name": name, "listen": f"{'[::]' if name == 'dual' else '0.0.0.0'}:{PORTS[name]}",
             "server": f"{lab.server.address(4)}:21", "advertise": {"client": choice}}
            for name, choice in advertised.items()]


def session(lab, listener, host=OWN, mode="PASV"):
    ftp = LabFTP(lab.topology, "client", mode)
    with lab.topology.inside("client"):
        ftp.connect(host, PORTS[listener])
    ftp.login(lab.server.user, lab.server.password)
    ftp.cwd("pub")
    ftp.voidcmd("TYPE I")
    return ftp


def told(ftp):
    """The address in the answer to PASV; None if it is refused."""
    reply = ftp.ask("PASV", "227", "425")
    if reply.startswith("425"):
        return None
    return ".".join(re.search(r"\((\d+),(\d+),(\d+),(\d+),", reply).groups())


def new_is_told(lab, listener, host=OWN):
    with contextlib.closing(session(lab, listener, host)) as ftp:
        return told(ftp)


def expect_told(got, wanted, what):
    if got != wanted:
        raise Failed(f"{what}: told {got}, not {wanted}")


def fetch(ftp, what):
    if ftp.fetch_digest("x")[0] != 1000:
        raise Failed(f"{what}: the transfer fails")


@scenario("external address: followed, resolved, several, unknown", "auto", "relay")
def external(binary, folder, path):
    with Lab(folder, binary, Setting("direct", "gateway", path)) as lab:
        lab.put_file("x", 1000)
        lab.gateway.stop()
        topology = lab.topology
        topology.nft("client", FRONT)

        def ip(*words):
            topology.run("gateway", ["ip", *words])

        ip("link", "add", "ext0", "type", "bridge")
        ip("addr", "add", f"{SECOND_OWN}/24", "dev", "c0")
        names = Names(topology, {"gw.lab.example": A})
        with contextlib.closing(names), resolver(topology.ns["gateway"]):
            ip("addr", "add", f"{A}/32", "dev", "ext0")
            lab.gateway.settings |= {"listeners": listeners(lab)}
            lab.gateway.write(json.dumps(lab.gateway.settings))
            lab.gateway.start()
            started = time.monotonic()
            name = new_is_told(lab, "name")
            expect_told(name, A, "a name")
            names.addresses["gw.lab.example"] = B
            several(lab)
            dual(lab)
            later(lab, names)
            interface(lab, ip)
            if path == "auto":
                # Once is enough: it takes the whole interval.
                left = started + REFRESHED - time.monotonic()
                wait_until(lambda: new_is_told(lab, "name") == B, "the name's new address is not told",
                           timeout=left, step=0.5)
            with contextlib.closing(session(lab, "name")) as ftp:
                fetch(ftp, "the name's address")
            # Its resolver is gone: nothing changes, and it ends in time.
        if (code := lab.gateway.stop()) != 0:
            raise Failed(f"exit code {code}")


def several(lab):
    for dialled, wanted in ((A, A), (OTHER, OTHER), (OWN, A), ("198.51.100.1", "198.51.100.1")):
        with contextlib.closing(session(lab, "several", dialled)) as ftp:
            expect_told(told(ftp), wanted, f"several addresses, {dialled} dialled")
            fetch(ftp, f"several addresses, {dialled} dialled")


def dual(lab):
    with contextlib.closing(session(lab, "dual", A)) as ftp:
        expect_told(told(ftp), A, "a listener of both families, over IPv4")
        fetch(ftp, "a listener of both families, over IPv4")
    with contextlib.closing(session(lab, "dual", "2001:db8:1::1", "EPSV")) as ftp:
        fetch(ftp, "a listener of both families, over IPv6")


def later(lab, names):
    log = lab.gateway.read_log()
    if "listeners[later].advertise.client: the name later.lab.example has no address" not in log:
        raise Failed("the log does not name the key whose address is not known")
    with contextlib.closing(session(lab, "later")) as ftp:
        expect_told(told(ftp), None, "a name without an address")
        ftp.mode = "EPSV"
        fetch(ftp, "EPSV, with an address that is not known")
    if lab.gateway.metrics().sum("refusals_total", reason="external_unknown") != 1:
        raise Failed("the refusal is not counted")
    if lab.gateway.metrics().sum("refusals_total", reason="external_unknown", listener="later") != 1:
        raise Failed("the refusal is not counted with its listener")
    names.addresses["later.lab.example"] = C
    wait_until(lambda: new_is_told(lab, "later") == C, "the name that has an address now is not told",
               timeout=10, step=0.25)
    if lab.gateway.read_log().count(f"the name later.lab.example is {C}") != 1:
        raise Failed("the log does not tell once that the address is known")


def interface(lab, ip):
    def becomes(wanted, timeout=2):
        wait_until(lambda: new_is_told(lab, "interface") == wanted,
                   f"a new session is not told {wanted}", timeout=timeout, step=0.05)

    with contextlib.closing(session(lab, "interface", A)) as old:
        expect_told(told(old), A, "an interface")
        fetch(old, "an interface")
        ip("addr", "add", f"{B}/32", "dev", "ext0")
        expect_told(new_is_told(lab, "interface"), A, "an interface with a second address")
        ip("addr", "del", f"{A}/32", "dev", "ext0")
        becomes(B)
        with contextlib.closing(session(lab, "interface", B)) as new:
            fetch(new, "an interface with another address")
        # In front it is there still, and the session keeps what it began with.
        expect_told(told(old), A, "a session from before")
        fetch(old, "a session from before")
        ip("addr", "del", f"{B}/32", "dev", "ext0")
        becomes(None)
        ip("addr", "add", f"{C}/32", "dev", "ext0")
        becomes(C)
        # The whole interface goes and comes.
        ip("link", "del", "ext0")
        becomes(None)
        ip("link", "add", "ext0", "type", "bridge")
        ip("addr", "add", f"{B}/32", "dev", "ext0")
        becomes(B)
