"""Transfers out of the ordinary: empty, large, many, aborted, resumed; other ports; shared ports."""

import hashlib
import io
import itertools
import os
import socket
import time

from cells import SERVERS, Setting
from clients import MODES
from lab import Failed, Lab
from process import wait_until
from scenarios import scenario
from scripted import comma
from topology import HOST

KERNEL = Setting("tproxy", "gateway", "kernel")
RELAY = Setting("tproxy", "gateway", "relay")
LARGE = 64 << 20
PATHS = (KERNEL, RELAY, Setting("direct", "gateway", "kernel"), Setting("direct", "client", "relay"))


def store_and_compare(lab, ftp, name, contents, command="STOR", server=None):
    ftp.storbinary(f"{command} {name}", io.BytesIO(contents))
    with open((server or lab.server).path(name), "rb") as stored:
        return stored.read() == contents


@scenario("empty file", *PATHS)
def empty_file(binary, folder, setting):
    with Lab(folder, binary, setting) as lab:
        for mode in MODES:
            lab.put_file("empty", 0)
            ftp = lab.ftp(mode)
            if ftp.fetch_digest("empty")[0] != 0:
                raise Failed(f"{mode}: something came out of an empty file")
            if not store_and_compare(lab, ftp, "stored", b""):
                raise Failed(f"{mode}: the stored file is not empty")
            os.unlink(lab.server.path("stored"))
            ftp.quit()


@scenario("64 MiB by hash", *PATHS)
def large_file(binary, folder, setting):
    with Lab(folder, binary, setting) as lab:
        digest = lab.put_file("large", LARGE)
        for mode in ("EPSV", "PORT"):
            ftp = lab.ftp(mode)
            if ftp.fetch_digest("large") != (LARGE, digest):
                raise Failed(f"{mode}: the download differs")
            with open(lab.server.path("large"), "rb") as source:
                ftp.storbinary("STOR stored", source, blocksize=1 << 18)
            ftp.cwd("/pub")
            if ftp.fetch_digest("stored") != (LARGE, digest):
                raise Failed(f"{mode}: the upload differs")
            os.unlink(lab.server.path("stored"))
            ftp.quit()
        wait_until(lambda: lab.gateway.metrics().sum("data_connections_active") == 0,
                   "data connections are still counted", timeout=10)
        for direction, count in (("download", 4), ("upload", 2)):
            carried = lab.gateway.metrics().sum("data_bytes_total", path=setting.path,
                                                direction=direction)
            # The relay counts payload; conntrack counts whole packets, acknowledgements too.
            most = count * LARGE * (1.0 if setting.path == "relay" else 1.1)
            if not count * LARGE <= carried <= most:
                raise Failed(f"{carried:g} bytes of {direction} counted, {count * LARGE} carried")


@scenario("300 small files in one session", *itertools.product(PATHS[:2], ("EPSV", "PORT")))
def many_files(binary, folder, parameter):
    setting, mode = parameter
    with Lab(folder, binary, setting) as lab:
        before = lab.gateway.metrics().sum("ports_free")
        contents = [f"file {n} ".encode() * (n + 1) for n in range(300)]
        for n, content in enumerate(contents):
            with open(lab.server.path(f"f{n}"), "wb") as out:
                out.write(content)
        ftp = lab.ftp(mode)
        for n, content in enumerate(contents):
            got = bytearray()
            ftp.retrbinary(f"RETR f{n}", got.extend)
            if got != content:
                raise Failed(f"file {n} differs")
        ftp.quit()
        wait_until(lambda: lab.gateway.metrics().sum("sessions_active") == 0, "the session stays")
        wait_until(lambda: lab.gateway.metrics().sum("pinholes_open") == 0, "pinholes stay")
        metrics = lab.gateway.metrics()
        if (used := metrics.sum("pinholes_total", outcome="used")) != 300:
            raise Failed(f"{used:g} pinholes used for 300 files")
        # The kernel keeps a port from being handed out again while its connection lingers; that is
        # for the pool to know, so the figure is compared after a bounded wait.
        wait_until(lambda: lab.gateway.metrics().sum("ports_free") == before,
                   f"ports_free was {before:g} and does not come back", timeout=15)


def abort(lab, server, urgent):
    """ABOR in mid-download. What the server answers is the server's own affair."""
    lab.put_file("large", LARGE, server)
    ftp = lab.ftp("EPSV", server)
    data = ftp.transfercmd("RETR large")
    got = len(data.recv(100_000))
    if urgent:
        # RFC 959 §4.1.3: Telnet Interrupt Process, then Synch: Data Mark as urgent data.
        ftp.send_now(b"\xff\xf4")
        ftp.sock.send(b"\xff", socket.MSG_OOB)
        ftp.send_now(b"\xf2ABOR\r\n")
    else:
        ftp.putline("ABOR")
    # The client stops reading only a while later: the abort itself has to end the transfer.
    time.sleep(0.2)
    data.close()
    replies = [ftp.expect("426", "226", "225", "451")]
    if replies[0][:3] in ("426", "451"):
        replies.append(ftp.expect("225", "226"))
    ftp.putline("NOOP")
    # Some servers answer the aborted transfer and the ABOR each.
    while not (reply := ftp.getmultiline()).startswith("200"):
        replies.append(reply)
        if len(replies) > 4:
            raise Failed(f"too many replies: {replies}")
    if got == 0:
        raise Failed("the transfer had not begun")
    if not any(reply[:3] in ("225", "226") for reply in replies):
        raise Failed(f"ABOR was not confirmed: {replies}")
    if not store_and_compare(lab, ftp, "after", b"the session goes on", server=server):
        raise Failed("the session does not work after ABOR")
    ftp.quit()
    os.unlink(server.path("after"))


@scenario("ABOR in mid-transfer", *itertools.product(PATHS[:2], ("plain", "urgent")))
def abort_transfer(binary, folder, parameter):
    setting, how = parameter
    with Lab(folder, binary, setting, SERVERS) as lab:
        for server in lab.servers.values():
            try:
                abort(lab, server, how == "urgent")
            except Exception as error:
                raise Failed(f"{server.name}: {error}") from error


@scenario("resume with REST and APPE", *PATHS[:2])
def resume(binary, folder, setting):
    whole = os.urandom(3 << 20)
    half = 1_500_001
    with Lab(folder, binary, setting, SERVERS) as lab:
        for server in lab.servers.values():
            with open(server.path("whole"), "wb") as out:
                out.write(whole)
            ftp = lab.ftp("EPSV", server)
            got = bytearray(whole[:half])
            ftp.retrbinary("RETR whole", got.extend, rest=half)
            if got != whole:
                raise Failed(f"{server.name}: the resumed download differs")
            ftp.storbinary("STOR resumed", io.BytesIO(whole[:half]))
            ftp.storbinary("STOR resumed", io.BytesIO(whole[half:]), rest=half)
            ftp.storbinary("STOR appended", io.BytesIO(whole[:half]))
            ftp.storbinary("APPE appended", io.BytesIO(whole[half:]))
            ftp.quit()
            for name in ("resumed", "appended"):
                with open(server.path(name), "rb") as stored:
                    if stored.read() != whole:
                        raise Failed(f"{server.name}: the {name} upload differs")
                os.unlink(server.path(name))


@scenario("control port 2100", *(Setting(capture, "gateway", path) for capture in
                                 ("tproxy", "redirect", "direct") for path in ("kernel", "relay")))
def other_port(binary, folder, setting):
    with Lab(folder, binary, setting, servers=(), second=("vsftpd", "proftpd")) as lab:
        for server in lab.second.values():
            lab.put_file("x", 5000, server)
            for mode, family in (("PASV", 4), ("EPSV", 4), ("PORT", 4), ("EPRT", 4), ("EPSV", 6),
                                 ("EPRT", 6)):
                ftp = lab.ftp(mode, server, family)
                if ftp.fetch_digest("x")[0] != 5000:
                    raise Failed(f"{server.name} {mode} over IPv{family}")
                ftp.quit()
        wait_until(lambda: lab.gateway.metrics().sum("sessions_total") == 12,
                   "the sessions did not go through ftpgate")


@scenario("two clients with the same local ports", *(
    Setting("tproxy", source, path) for source in ("gateway", "client") for path in ("kernel", "relay")))
def same_ports(binary, folder, setting):
    with Lab(folder, binary, setting) as lab:
        one_digest = lab.put_file("one", 4 << 20)
        two_digest = lab.put_file("two", 4 << 20)
        one = lab.ftp("PORT", namespace="client", source=("192.0.2.2", 40000))
        two = lab.ftp("PORT", namespace="client2", source=("192.0.2.3", 40000))
        pairs = ((one, "one", one_digest, "192.0.2.2"), (two, "two", two_digest, "192.0.2.3"))
        # Active: both await their data on the same port number, at the same time.
        listeners = []
        for ftp, name, _, address in pairs:
            listener = lab.topology.listen(ftp.namespace, address, 40001)
            listener.settimeout(5)
            listeners.append(listener)
            ftp.sendport(address, 40001)
        for ftp, name, _, _ in pairs:
            ftp.ask(f"RETR {name}", "150", "125")
        for (ftp, name, digest, _), listener in zip(pairs, listeners, strict=True):
            data, _ = listener.accept()
            if drain(data) != digest:
                raise Failed(f"the client {ftp.namespace} got another file than {name}")
            ftp.expect("226")
            listener.close()
        # Passive: both connect from the same port number.
        datas = []
        for ftp, name, _, address in pairs:
            ftp.mode, ftp.passiveserver = "PASV", True
            target = ftp.makepasv()
            datas.append(lab.topology.connect(ftp.namespace, target, source=(address, 40002)))
        for (ftp, name, digest, _), data in zip(pairs, datas, strict=True):
            ftp.ask(f"RETR {name}", "150", "125")
            if drain(data) != digest:
                raise Failed(f"the client {ftp.namespace} got another file than {name}")
            ftp.expect("226")
            ftp.quit()


def drain(sock):
    """The SHA-256 of everything up to the end."""
    digest = hashlib.sha256()
    sock.settimeout(10)
    while piece := sock.recv(1 << 18):
        digest.update(piece)
    sock.close()
    return digest.hexdigest()


@scenario("active transfers at once from a server's one data port", *PATHS[:3])
def one_data_port(binary, folder, setting):
    """Case 43. vsftpd dials from port 20 always: the gateway's port alone tells two of them apart."""
    with Lab(folder, binary, setting, data={"ports": "50000-50001"}) as lab:
        digest = lab.put_file("large", LARGE)
        sessions = [lab.ftp("PORT") for _ in range(3)]
        for _ in range(4):
            running = [ftp.transfercmd("RETR large") for ftp in sessions[:2]]
            sessions[2].ask(f"PORT {comma(HOST['client', 4], 40000)}", "425")
            for ftp, data in zip(sessions, running):
                got = hashlib.sha256()
                with data:
                    while piece := data.recv(1 << 18):
                        got.update(piece)
                ftp.expect("226")
                if got.hexdigest() != digest:
                    raise Failed("one transfer harmed the other")
            wait_until(lambda: lab.gateway.metrics().sum("ports_free") == 2,
                       "the ports do not come back", timeout=15)
        if (refused := lab.gateway.metrics().sum("refusals_total", reason="pinhole_failed")) != 4:
            raise Failed(f"{refused:g} refusals counted, 4 made")
        for ftp in sessions:
            ftp.quit()


@scenario("a server that refuses data from another address", "vsftpd", "proftpd")
def picky_server(binary, folder, name):
    """That it is picky is asserted here; that all cells pass with it is then worth something."""
    with Lab(folder, binary, KERNEL, (name,)) as lab:
        lab.put_file("x", 5000)
        # Straight at the server, beside the gateway: a session from the server's own namespace.
        ftp = lab.ftp("EPSV", namespace="server")
        ftp.ask("PORT " + comma(HOST["stranger", 4], 50000), "500", "501")
        # ProFTPD 1.3.8 checks the address in PORT but takes a passive connection from anybody.
        if name == "vsftpd":
            _, port = ftp.makepasv()
            ftp.putline("RETR x")
            with lab.topology.connect("stranger", (lab.server.address(4), port)) as sock:
                sock.settimeout(3)
                try:
                    got = sock.recv(10)
                except ConnectionResetError:
                    got = b""
            if got:
                raise Failed("the server gave its file to another address")
            ftp.expect("425")
        ftp.close()
        for mode in MODES:
            ftp = lab.ftp(mode)
            if ftp.fetch_digest("x")[0] != 5000:
                raise Failed(mode)
            ftp.quit()
