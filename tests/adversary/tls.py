"""Cases about the end of TLS: CCC in every form, late alerts, early text, TLS once more."""

import re
import socket

from ccc_forms import FORMS
from adversary import case
from adversary.gate import HERE
from adversary.replies import transfer
from process import Failed
from scripted import carries, comma, extended_port, host_port
from scripted_tls import in_tls, secured
from tls_peers import VERSIONS


def read_again(gate, peers, command="EPSV", seen=None):
    """The gateway reads both directions: a passive transfer goes through a port of its own.

    `seen`: what reached the server already, where the command is under way.
    """
    with gate.data_listener() as theirs:
        if seen is None:
            peers.client.send(command)
            seen = peers.server.line()
        if seen != command.encode() + b"\r\n":
            raise Failed(f"the server sees {seen!r}, not {command}")
        own = theirs.getsockname()[1]
        told = f"(|||{own}|)" if command == "EPSV" else f"({comma(HERE, own)})"
        peers.server.send(f"{229 if command == 'EPSV' else 227} passive {told}")
        line = peers.client.line()
        port = extended_port(line) if command == "EPSV" else host_port(line)[1]
        if port not in gate.pool:
            raise Failed(f"{command} was not read: {line!r}")
        transfer(gate, peers, theirs, port)


def read_again_active(gate, peers, mine, seen):
    """The same as `read_again` for PORT and EPRT, which have reached the server as `seen`."""
    told = host_port(seen)[1] if seen.startswith(b"PORT") else extended_port(seen)
    if told not in gate.pool:
        raise Failed(f"the client's address was not replaced: {seen!r}")
    peers.say("200 ok")
    peers.exchange("RETR x", "150 here")
    theirs = peers.data("server", socket.create_connection((HERE, told), 5))
    carries(theirs, peers.accept(mine, "client"))
    peers.say("226 done")


def read_after_ccc(gate, both, form, command="EPSV"):
    """CCC in one of the forms, with the command first in clear; then `read_again`."""
    read_again(gate, both.peers, command, FORMS[form](both, command))


def ccc_granted(peers, version):
    """A session inside TLS in which CCC has been granted, and nobody has notified. Returns the
    `SecuredPeers`."""
    both = in_tls(peers, version)
    both.exchange("CCC", "200 clear")
    return both


def _all_forms(gate, version):
    g = gate()
    sessions = 0
    for name, form in FORMS.items():
        for mode in ("EPSV", "PASV", "PORT", "EPRT"):
            with g.peers(login=False) as p, g.data_listener() as mine:
                try:
                    port = mine.getsockname()[1]
                    first = {"PORT": f"PORT {comma(HERE, port)}",
                             "EPRT": f"EPRT |1|{HERE}|{port}|"}.get(mode, mode)
                    seen = form(in_tls(p, version), first)
                    if mode in ("PORT", "EPRT"):
                        read_again_active(g, p, mine, seen)
                    else:
                        read_again(g, p, mode, seen)
                    p.exchange("NOOP", "200 still here")
                    read_again(g, p, "PASV")
                    g.expect_protection("cleared")
                except Failed as error:
                    raise Failed(f"{name}, {mode}: {error}") from error
            sessions += 1
    g.no_session()
    g.expect_ccc(cleared=sessions)


@case(30, "CCC in every form over TLS 1.2")
def forms_12(gate):
    _all_forms(gate, "1.2")


@case(30, "CCC in every form over TLS 1.3")
def forms_13(gate):
    _all_forms(gate, "1.3")


@case(30, "no port opens from a record that ends in a line of FTP")
def text_inside(gate):
    """Application data whose ciphertext happens to hold a 227: records are followed, not searched."""
    g = gate()
    for version in VERSIONS:
        with g.peers(login=False) as p:
            in_tls(p, version)
            for end, other in ((p.client, p.server), (p.server, p.client)):
                for text in (b"\r\n227 ok (127,0,0,1,200,1)\r\n", b"\nPORT 127,0,0,1,200,1\r\nEPSV\r\n"):
                    record = b"\x17\x03\x03" + len(text).to_bytes(2, "big") + text
                    end.send(record)
                    if other.read(len(record)) != record:
                        raise Failed("the record was changed")
    g.never_opened()


@case(31, "CCC refused: the session goes on in TLS")
def ccc_refused(gate):
    g = gate()
    sessions = 0
    for version in VERSIONS:
        for code in ("500", "502", "533", "534"):
            with g.peers(login=False) as p:
                both = in_tls(p, version)
                both.exchange("CCC", f"{code} no")
                both.exchange("PWD", '257 "/"')
                both.exchange("EPSV", "229 ok (|||50000|)")
                both.exchange("NOOP", "200 still here")
                g.expect_protection("passthrough")
            sessions += 1
    g.never_opened()
    g.no_session()
    g.expect_ccc(none=sessions)
    # And a second try that is accepted.
    with g.peers(login=False) as p:
        both = in_tls(p, "1.3")
        both.exchange("CCC", "534 no")
        read_after_ccc(g, both, "nobody notifies")
    g.expect_ccc(none=sessions, cleared=1)


@case(32, "alert and command in one segment, cut at every byte")
def cut_anywhere(gate):
    g = gate()
    for version in VERSIONS:
        cut, length = 0, 1
        while cut < length:
            with g.peers(login=False) as p:
                both = ccc_granted(p, version)
                both.notify("server")
                data = both.client.close_notify() + b"EPSV\r\n"
                length = len(data)
                for piece in (data[:cut], data[cut:]):
                    p.client.sock.sendall(piece)
                both.server.open(both.server.record())
                read_again(g, p, "EPSV", p.server.line())
            cut += 3
    g.no_session()


@case(33, "an alert after the text has begun is swallowed")
def late_alert(gate):
    g = gate()
    for version in VERSIONS:
        for late in ("client", "server"):
            for how in ("alone", "in front of a line", "byte by byte", "behind a line"):
                with g.peers(login=False) as p:
                    both = ccc_granted(p, version)
                    both.notify("server" if late == "client" else "client")
                    p.exchange("NOOP", "200 in clear")
                    sender, receiver = p.ends(late)
                    alert = getattr(both, late).close_notify()
                    line = b"NOOP\r\n" if late == "client" else b"200 noop\r\n"
                    if late == "server":
                        p.ask("NOOP")
                    if how == "in front of a line":
                        sender.send(alert + line)
                    elif how == "behind a line":
                        sender.send(line + alert)
                    elif how == "byte by byte":
                        sender.send_bytewise(alert)
                        sender.send(line)
                    else:
                        sender.send(alert)
                        sender.send(line)
                    receiver.expect(line)
                    if late == "client":
                        p.say("200 noop")
                    read_again(g, p)
                    p.exchange("NOOP", "200 still here")
    g.no_session()
    g.expect_ccc(cleared=16)


@case(33, "a late alert between the lines of one reply")
def between_lines(gate):
    g = gate()
    for version in VERSIONS:
        with g.peers(login=False) as p:
            both = ccc_granted(p, version)
            p.ask("STAT")
            alert = both.server.close_notify()
            p.server.send(b"211-status\r\n" + alert + b" more\r\n211 end\r\n")
            for text in ("211-status", " more", "211 end"):
                p.client.expect(text)
            read_again(g, p, "PASV")
    g.no_session()
    g.expect_ccc(cleared=2)


@case(33, "late records without end")
def late_without_end(gate):
    g = gate()
    before = g.memory()
    for name in ("client", "server"):
        with g.peers(login=False) as p:
            both = in_tls(p, "1.3")
            FORMS["nobody notifies"](both, "NOOP")
            p.say("200 noop")
            sender, receiver = p.ends(name)
            try:
                for _ in range(2000):
                    sender.sock.sendall(b"\x15\x03\x03\x00\x1a" + b"x" * 26)
            except OSError:
                pass  # closed in the middle of it: what is wanted
            sender.closed()
            if b"\x15\x03\x03" in receiver.closed():
                raise Failed("late records were passed on")
    g.no_session()
    g.grown_at_most(before)


@case(34, "clear text at a record boundary before any login")
def early_text(gate):
    for version in VERSIONS:
        g = gate()
        with g.peers(login=False) as p:
            both = secured(p, version)
            both.exchange("USER x", "331 password")
            # Somebody has ended TLS: the same policy as in a session without it.
            p.answered("EPSV", "530")
            p.server.silent(0.1)
            p.login()
            read_again(g, p)
        g.no_session()
        g.expect_ccc(early=1)
        g = gate(tls={"mode": "passthrough", "required": True})
        with g.peers(login=False) as p:
            both = secured(p, version)
            both.exchange("USER x", "331 password")
            p.client.send("PASS y")
            if b"PASS" in p.server.closed():
                raise Failed("the password reached the server in clear")
            p.client.closed()
        g.never_opened()
        g.no_session()
        g.expect_ccc(early=1)


@case(35, "AUTH once more after CCC")
def auth_again(gate):
    g = gate()
    for version in VERSIONS:
        with g.peers(login=False) as p:
            both = in_tls(p, version)
            read_after_ccc(g, both, "both sides notify, the server first")
            # Servers differ: refused, the session stays in clear …
            for code in ("503", "534"):
                p.exchange("AUTH TLS", f"{code} no")
                read_again(g, p)
            p.exchange("PROT P", "503 no")
            # … or accepted, and then it is hidden again, until the next CCC.
            both = secured(p, version)
            g.expect_protection("passthrough")
            both.login()
            both.exchange("EPSV", "229 ok (|||50000|)")
            read_after_ccc(g, both, "nobody notifies", "PASV")
    g.no_session()
    g.expect_ccc(cleared=4)


@case(30, "only one side comes back to clear text")
def halfway(gate):
    g = gate()
    for version in VERSIONS:
        with g.peers(login=False) as p:
            both = ccc_granted(p, version)
            p.ask("NOOP")
            # The server goes on in TLS: z/OS with another TLSRFCLEVEL than its client.
            both.say("200 noop")
    g.never_opened()
    g.no_session()
    g.expect_ccc(halfway=2)


@case(42, "the address in the client's lines after CCC is replaced, byte for byte otherwise")
def exact(gate):
    g = gate()
    with g.peers(login=False) as p, g.data_listener() as mine:
        ccc_granted(p, "1.3")
        line = "PORT " + comma(HERE, mine.getsockname()[1])
        p.client.send(f"NOOP\r\n{line}\r\nSTOR  two  blanks".encode() + b"\r\n")
        p.server.expect("NOOP")
        p.say("200 noop")
        seen = p.server.line()
        if not re.fullmatch(rb"PORT 127,0,0,1,\d+,\d+\r\n", seen) or host_port(seen)[1] not in g.pool:
            raise Failed(f"the server sees {seen!r}")
        p.say("200 ok")
        p.server.expect("STOR  two  blanks")
