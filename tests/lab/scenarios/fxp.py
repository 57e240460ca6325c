"""Transfers from server to server (FXP): a client, a server on its own side of the gateway, and one behind it.

The server behind the gateway dials, and the gateway has to be on the way; the other one listens.
"""

import contextlib
import hashlib
import os
from urllib.parse import quote

from cells import Setting
from faults import Rest
from lab import Failed, Lab, refused
from process import wait_until
from scenarios import scenario
from scripted import comma
from topology import HOST

PLACES = (Setting("tproxy", "gateway", "kernel"), Setting("tproxy", "client", "kernel"),
          Setting("direct", "gateway", "relay"))
# On the client's own segment, an address beside its own.
NEAR = "client2"
SIZE = 3_000_001

# What `policies.default` says, and whether a transfer passes. None of the last is the near server's.
POLICIES = (({"fxp": "never"}, False), ({"fxp": "same_net"}, True),
            ({"fxp": "listed", "fxp_peers": [HOST[NEAR, 4] + "/32"]}, True),
            ({"fxp": "listed", "fxp_peers": ["192.0.2.128/25", "198.51.100.0/24"]}, False))


def url(lab, server, name):
    host, port = (server.address(4), server.port) if server.host == NEAR else lab.target(server)
    return f"ftp://{quote(server.user)}:{quote(server.password)}@{host}:{port}/pub/{name}"


def lftp(lab, source, target, name, stored):
    """lftp has one server send a file to the other. Returns its exit code and what it says."""
    # It never carries the file itself; the near server is the one that listens.
    passive = "yes" if source.host == NEAR else "no"
    script = f"""
set cmd:fail-exit yes
set cmd:move-background no
set net:timeout 8
set net:max-retries 1
set net:reconnect-interval-base 0
set ftp:ssl-allow no
set ftp:use-fxp yes
set ftp:fxp-force yes
set ftp:fxp-passive-source {passive}
get {url(lab, source, name)} -o {url(lab, target, stored)}
"""
    env = dict(os.environ, HOME=lab.folder, LC_ALL="C", TERM="dumb")
    return lab.topology.run("client", ["lftp", "--norc", "-d", "-f", "/dev/stdin"], stdin=script.encode(),
                            check=False, env=env, timeout=60)


def digest_of(server, name):
    """Of a file on a server, once it is whole; None where there is none, or an empty one."""
    with contextlib.suppress(FileNotFoundError), open(server.path(name), "rb") as text:
        content = text.read()
        return hashlib.sha256(content).hexdigest() if content else None
    return None


def used(lab):
    return lab.gateway.metrics().sum("pinholes_total", outcome="used", path=lab.setting.path)


@scenario("fxp: from server to server", *PLACES)
def servers(binary, folder, setting):
    with Lab(folder, binary, setting, ("vsftpd", "proftpd"),
             # A server that sees the client's own address is told the other server's.
             server_options={"foreign": setting.source == "client"}) as lab:
        # It takes data from whoever dials, and dials nobody but its client.
        near = lab.start_more("near", ("vsftpd",), 0, host=NEAR, vsftpd_extra="pasv_promiscuous=YES")["vsftpd"]
        rest = Rest(lab)
        for number, (policy, passes) in enumerate(POLICIES):
            if lab.gateway.reload(policies={"default": policy}) != "applied":
                raise Failed(f"{policy} is not taken")
            for name, far in ((name, lab.servers[name]) for name in ("vsftpd", "proftpd")):
                by_hand(lab, near, far, passes)
                if passes:
                    arrives(lab, near, far, f"to-{name}-{number}")
                    arrives(lab, far, near, f"from-{name}-{number}")
            if number == 0:
                is_refused(lab, near, lab.servers["vsftpd"], "never")
        rest.again()


def arrives(lab, source, target, name):
    before, digest = used(lab), lab.put_file(name, SIZE, source)
    code, text = lftp(lab, source, target, name, f"{name}-there")
    if code != 0 or digest_of(target, f"{name}-there") != digest:
        raise Failed(f"{name}: exit code {code}, and another content arrives\n{text[-3000:]}")
    wait_until(lambda: used(lab) == before + 1, f"{name}: not carried over one pinhole of the gateway's")


def is_refused(lab, near, far, name):
    """lftp tries every way that it knows, and gives up."""
    lab.put_file(name, SIZE, near)
    code, text = lftp(lab, near, far, name, f"{name}-there")
    if code == 0 or digest_of(far, f"{name}-there"):
        raise Failed(f"exit code {code}, and something arrives\n{text[-3000:]}")
    for words in ("501 The address is not your own", "FXP is not available"):
        if words not in text:
            raise Failed(f"exit code {code}, and not for {words!r}\n{text[-3000:]}")


def more_elements(lab, before):
    return [element for element in lab.open_elements() if element not in before]


def by_hand(lab, near, far, passes):
    """The reply to PORT and EPRT, what is open behind it, and for whom."""
    # What is left of an earlier transfer goes by itself.
    elements = lab.open_elements()
    ftp = lab.ftp(server=far)
    try:
        # The gateway itself, loopback, a low port: never.
        for host, port in (("192.0.2.1", 40007), ("127.0.0.1", 40007), (near.address(4), 25)):
            ftp.ask(f"PORT {comma(host, port)}", "501", "504", "425")
            if more_elements(lab, elements) or lab.gateway.metrics().sum("pinholes_open"):
                raise Failed(f"{host}:{port}: refused, and something is open")
        refusals = lab.gateway.metrics().sum("refusals_total", reason="third_party_address")
        for line in (f"PORT {comma(near.address(4), 40007)}", f"EPRT |1|{near.address(4)}|40007|"):
            reply = ftp.ask(line, "200" if passes else "501")
            if bool(lab.gateway.metrics().sum("pinholes_open")) != passes:
                raise Failed(f"{line}: {reply!r}, and the pinholes are others")
            if not passes and more_elements(lab, elements):
                raise Failed(f"{line}: refused, and something is open")
        if not passes and lab.gateway.metrics().sum("refusals_total", reason="third_party_address") != refusals + 2:
            raise Failed("the refusals are not counted")
        # The other way round no policy lets the near server in: a pinhole of PASV is the client's.
        address = ftp.makepasv()
        refused(lab.topology, NEAR, address, 0.3)
    finally:
        ftp.close()
    wait_until(lambda: lab.gateway.metrics().sum("sessions_active") == 0, "the session stays")
