"""The audit: one session with a real server does everything, and each deed is a line with what belongs there."""

import ftplib
import io
import json
import os
import shlex
import ssl

from authority import Authority, server_dns
from ccc_cells import CCC_SERVERS, CccTalk, attempt
from cells import CELL_BYTES, Setting
from lab import Failed, Lab
from process import Process, call, wait_until
from scenarios import scenario
from servers import PASSWORD
from terminating import DIRECT, TerminatingLab

UPLOAD = b"x" * 54_321
DOWNLOAD = 123_457
WRONG = "hunter2-of-nobody"
NEW = "correct-horse"
JOURNALD = "/usr/lib/systemd/systemd-journald"
SECRETS = (PASSWORD, WRONG, NEW)
HOSTILE = 'a\x1b[2J","user":"root\u202e'


def told(path, sessions):
    """All lines, once so many sessions have ended in them, and no password among them."""
    def lines():
        with open(path, encoding="utf-8") as text:
            # The last one may be on its way still.
            return [json.loads(line) for line in text.read().split("\n")[:-1]]

    wait_until(lambda: sum(line["event"] == "session_end" for line in lines()) >= sessions,
               f"{sessions} sessions are not over in the audit", timeout=20)
    with open(path, encoding="utf-8") as text:
        whole = text.read()
    for secret in SECRETS:
        if secret in whole:
            raise Failed("the audit holds a password")
    return lines()


def expect(lines, event, *wanted):
    """The lines about an event are just these, in any order; of each the keys that are named."""
    left = [line for line in lines if line["event"] == event]
    for keys in wanted:
        found = next((line for line in left if all(line.get(key) == value for key, value in keys.items())), None)
        if found is None:
            raise Failed(f"no line {event} with {keys} in {left}")
        left.remove(found)
    if left:
        raise Failed(f"nobody expects {left}")


def everything(ftp, server, ccc):
    """All that leaves a line, in a session that has not logged in yet."""
    if ccc:
        ftp.auth()
    ftp.ask(f"USER {server.user}", "331")
    ftp.ask(f"PASS {WRONG}", "530")
    ftp.login(server.user, server.password)
    if ccc:
        ftp.remember_session()
        ftp.voidcmd("PBSZ 0")
        ftp.prot_p()
    ftp.cwd("pub")
    ftp.voidcmd("TYPE I")
    ftp.ask("MKD made", "257")
    ftp.ask("MKD made", "550")
    ftp.ask(f"MKD {HOSTILE}", "257")
    ftp.storbinary("STOR made/up", io.BytesIO(UPLOAD))
    got = bytearray()
    ftp.retrbinary("RETR x", got.extend)
    if len(got) != DOWNLOAD:
        raise Failed(f"{len(got)} bytes came")
    ftp.ask("PORT 192,0,2,99,200,1", "500", "501", "504")
    ftp.ask("SITE CHMOD 600 made/up", "200")
    ftp.ask(f"SITE PSWD {PASSWORD} {NEW}", "500", "501", "504")
    if ccc:
        ftp.ccc()
    ftp.ask("RNFR made/up", "350")
    ftp.ask("RNTO made/down", "250")
    ftp.ask("RNFR missing", "550")
    ftp.ask("MFMT 20200101000000 made/down", "213")
    ftp.ask("DELE made/down", "250")
    ftp.ask("DELE made/down", "550")
    ftp.ask("RMD made", "250")
    ftp.quit()
    ftp.close()


def check_everything(lines, user, protection):
    """What `everything` has done."""
    done, failed = {"outcome": "accepted"}, {"outcome": "refused", "code": 550}
    expect(lines, "login", {"outcome": "refused", "code": 530, "user": user}, {**done, "user": user})
    expect(lines, "change",
           {"verb": "MKD", "path": "made", "code": 257, **done}, {"verb": "MKD", "path": "made", **failed},
           {"verb": "MKD", "path": r'a\x1b[2J","user":"root\xe2\x80\xae', "code": 257, **done},
           {"verb": "SITE", "path": "CHMOD 600 made/up", "code": 200, **done},
           {"verb": "SITE", "path": "PSWD", "outcome": "refused"},
           {"verb": "RNTO", "path": "made/down", "from": "made/up", "code": 250, **done},
           {"verb": "RNFR", "path": "missing", **failed},
           {"verb": "MFMT", "path": "20200101000000 made/down", "code": 213, **done},
           {"verb": "DELE", "path": "made/down", "code": 250, **done},
           {"verb": "DELE", "path": "made/down", **failed},
           {"verb": "RMD", "path": "made", "code": 250, **done})
    common = {"outcome": "completed", "protection": protection, "mode": "passive", "data_path": "relay",
              "user": user}
    expect(lines, "transfer", {"verb": "STOR", "path": "made/up", "upload": len(UPLOAD), "download": 0, **common},
           {"verb": "RETR", "path": "x", "upload": 0, "download": DOWNLOAD, **common})
    expect(lines, "refusal", {"verb": "PORT", "reason": "third_party_address"})
    expect(lines, "session_end", {"reason": "quit"})


@scenario("the audit of a session in clear")
def in_clear(binary, folder):
    os.makedirs(folder)
    path = os.path.join(folder, "audit.jsonl")
    setting = Setting("direct", "gateway", "relay")
    with Lab(f"{folder}/lab", binary, setting, ("proftpd",), audit={"path": path}) as lab:
        lab.put_file("x", DOWNLOAD)
        everything(lab.ftp("EPSV", login=False), lab.server, ccc=False)
        lines = told(path, 1)
        check_everything(lines, lab.server.user, "clear")
        for line in lines:
            if line["control"] != "clear" or not line["client"].startswith("192.0.2.2:"):
                raise Failed(f"not what was: {line}")


@scenario("the audit of a session whose TLS ends at the gateway, up to CCC and behind it", "1.2", "1.3")
def terminated(binary, folder, version):
    with TerminatingLab(folder, binary, DIRECT, ("proftpd",)) as lab:
        lab.put_file("x", DOWNLOAD)
        everything(lab.secured("EPSV", version, reuse=True, login=False), lab.server, ccc=True)
        lines = told(lab.audit_path, 1)
        check_everything(lines, lab.server.user, "private")
        expect(lines, "ccc", {"outcome": "cleared"})
        expect(lines, "protection", {"control": "terminated"}, {"control": "cleared"})
        handshakes = [line for line in lines if line["event"] == "tls"]
        client = {"side": "client", "outcome": "completed", "version": version}
        server = {"side": "server", "outcome": "completed", "verification": "verified"}
        expect(handshakes, "tls",
               {**client, "connection": "control", "server_name": server_dns(lab.server), "resumed": False},
               *[{**client, "connection": "data", "resumed": True}] * 2,
               {**server, "connection": "control", "resumed": False},
               *[{**server, "connection": "data", "resumed": True}] * 2)
        if {line.get("server_certificate") for line in handshakes if line["side"] == "server"} in (
                set(), {""}, {None}):
            raise Failed(f"nobody's certificate: {handshakes}")
        controls = {line["verb"]: line["control"] for line in lines if line["event"] == "change"}
        if (controls["SITE"], controls["RMD"]) != ("terminated", "cleared"):
            raise Failed(f"the protection of the commands: {controls}")


@scenario("a server that is not trusted stands in the audit with its certificate", "refuse", "mirror")
def untrusted(binary, folder, word):
    os.makedirs(folder)
    others = Authority(f"{folder}/others", "another CA")
    with TerminatingLab(f"{folder}/lab", binary, DIRECT, ("proftpd",),
                        server_side={"roots": others.roots, "untrusted": word}) as lab:
        try:
            lab.secured("EPSV").close()
        except (ssl.SSLError, ConnectionError, EOFError, *ftplib.all_errors):
            pass
        else:
            raise Failed("the client was shown a certificate that it trusts")
        lines = [line for line in told(lab.audit_path, 1) if line.get("side") == "server"]
        outcome = "completed" if word == "mirror" else "untrusted_issuer"
        expect(lines, "tls", {"connection": "control", "outcome": outcome, "verification": "untrusted_issuer"})
        if not lines[0]["server_certificate"]:
            raise Failed(f"no subject: {lines}")


@scenario("the audit of sessions that are read behind CCC only", "kernel", "relay")
def behind_ccc(binary, folder, path):
    os.makedirs(folder)
    audit = os.path.join(folder, "audit.jsonl")
    with Lab(f"{folder}/lab", binary, Setting("direct", "gateway", path), CCC_SERVERS,
             server_options={"tls": True}, audit={"path": audit}) as lab:
        talk = CccTalk("proftpd", "curl-passive", "1.3", "P", "EPSV", 4)
        if (error := attempt(lab, "curl", talk)) is not None:
            raise error
        # curl uploads, fetches and lists in a session each.
        lines = told(audit, 3)
    expect(lines, "login")
    expect(lines, "ccc", *[{"outcome": "cleared", "control": "passthrough"}] * 3)
    expect(lines, "protection", *[{"control": "passthrough"}] * 3, *[{"control": "cleared"}] * 3)
    transfers = {line["verb"]: line for line in lines if line["event"] == "transfer"}
    if sorted(transfers) != ["LIST", "RETR", "STOR"]:
        raise Failed(f"transfers: {transfers}")
    for verb, direction in (("STOR", "upload"), ("RETR", "download")):
        line = transfers[verb]
        if not (line["path"] and line["data_path"] == path and CELL_BYTES <= line[direction] <= 2 * CELL_BYTES):
            raise Failed(f"not what was: {line}")
    if {line["protection"] for line in transfers.values()} - {"private", "unknown"}:
        raise Failed(f"transfers: {transfers}")


def at_journal(folder, argv):
    """`argv` where `folder` is the folder of the journal's socket, whatever the host has there."""
    return ["unshare", "--mount", "sh", "-ec", f"""
        mount -t tmpfs tmpfs /run
        mkdir -p /run/systemd/journal /run/systemd/journald.conf.d /run/log/journal
        mount --bind {shlex.quote(folder)} /run/systemd/journal
        printf '[Journal]\\nReadKMsg=no\\nAudit=no\\nStorage=volatile\\n' >/run/systemd/journald.conf.d/lab.conf
        if [ -d {shlex.quote(folder)}-log ]; then mount --bind {shlex.quote(folder)}-log /run/log/journal; fi
        exec "$@"
        """, "sh", *argv]


@scenario("the audit in the journal of a systemd-journald")
def journal(binary, folder):
    sockets = os.path.join(folder, "journal")
    os.makedirs(sockets)
    os.makedirs(f"{sockets}-log")
    wrapped = os.path.join(folder, "ftpgate")
    with open(wrapped, "w", encoding="utf-8") as script:
        script.write(f'#!/bin/sh\nexec {shlex.join(at_journal(sockets, [os.path.abspath(binary)]))} "$@"\n')
    os.chmod(wrapped, 0o755)
    setting = Setting("direct", "gateway", "relay")
    try:
        Lab(f"{folder}/without", wrapped, setting, ("pyftpdlib",), audit={"journald": True}).close()
    except Failed as error:
        if "telemetry.audit.journald: no journal listens at /run/systemd/journal/socket" not in str(error):
            raise
    else:
        raise Failed("ftpgate starts without a journal")
    journald = Process(at_journal(sockets, [JOURNALD]), f"{folder}/journald.log")
    try:
        wait_until(lambda: os.path.exists(f"{sockets}/socket"), "journald does not listen")
        with Lab(f"{folder}/lab", wrapped, setting, ("pyftpdlib",), audit={"journald": True}) as lab:
            ftp = lab.ftp()
            ftp.ask(f"MKD {HOSTILE}", "257")
            ftp.quit()
            ftp.close()

            def entries(event):
                found = call(["journalctl", "-q", "-D", f"{sockets}-log", "-t", "ftpgate", "-o", "json",
                              f"FTPGATE_EVENT={event}"])[1]
                return [json.loads(entry["MESSAGE"]) for entry in map(json.loads, found.splitlines())]

            wait_until(lambda: entries("session_end"), "the session's end is not in the journal")
            lines = [line for event in ("login", "change", "session_end") for line in entries(event)]
            expect(lines, "login", {"outcome": "accepted", "user": lab.server.user})
            expect(lines, "change", {"verb": "MKD", "path": r'a\x1b[2J","user":"root\xe2\x80\xae', "code": 257})
            expect(lines, "session_end", {"reason": "quit"})
            if lab.gateway.metrics().sum("audit_lines_total", place="journal", outcome="lost") != 0:
                raise Failed("lines are lost")
    finally:
        journald.stop()
