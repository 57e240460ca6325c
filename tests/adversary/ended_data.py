"""Cases about data connections where TLS ends: truncation in both directions, reuse, protection."""

import contextlib
import socket
import ssl
import struct

from adversary import case
from process import Failed
from scripted_caller import Caller, fetches, read_all, read_until_over, scripted_gate, works
from tls_peers import VERSIONS

UPLOAD = bytes(range(256)) * 300


def cut(sock, how):
    """Ends a data connection in the middle, as TLS sees it or as TCP does."""
    if how == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _uploads(gate, mode):
    for how in ("no close_notify", "reset"):
        for version in VERSIONS:
            with scripted_gate(gate, mode, version) as (g, server), Caller(g, version) as caller:
                caller.auth()
                works(caller, server)
                # One that is whole, to tell the two apart.
                with caller.data("STOR whole") as sock:
                    caller.reply("150", "125")
                    sock.sendall(UPLOAD)
                    with contextlib.suppress(OSError):
                        sock.unwrap()
                caller.reply("226")
                if server.stored.get("whole") != UPLOAD:
                    raise Failed("a whole upload did not arrive whole")
                sock = caller.data("STOR part")
                caller.reply("150", "125")
                sock.sendall(UPLOAD)
                cut(sock, how)
                caller.reply("426", "451", "425", "550")
                if "part" in server.stored:
                    raise Failed(f"{mode} {version} {how}: the server has seen a clean end after "
                                 f"{len(server.stored['part'])} bytes")
                if not server.sessions[-1].faults:
                    raise Failed("the server has seen no fault")
                # The session lives on.
                fetches(caller, server)
            counts = [g.metrics().sum("data_connections_total", outcome=word)
                      for word in ("aborted", "truncated")]
            if sum(counts) != 1:
                raise Failed(f"data connections counted as aborted and as truncated: {counts}")


@case(39, "an upload cut off without close_notify, intercept: no clean end for the server")
def uploads_intercept(gate):
    _uploads(gate, "intercept")


@case(39, "an upload cut off without close_notify, offload: no clean end for the server")
def uploads_offload(gate):
    _uploads(gate, "offload")


@case(39, "a download cut off by the server: no clean end for the client")
def downloads(gate):
    for mode in ("intercept", "originate", "offload"):
        for version in VERSIONS:
            with (scripted_gate(gate, mode, version, server={"truncate": True}) as (g, server),
                  Caller(g, version) as caller):
                secured = mode != "originate"
                if secured:
                    caller.auth()
                caller.login()
                try:
                    # It may be over before the client's handshake is.
                    got = read_all(caller.data(secured=secured))
                except (ssl.SSLError, ConnectionError):
                    pass
                else:
                    raise Failed(f"{mode} {version}: {len(got)} of {len(server.contents)} bytes, and then "
                                 "an end in order")
                caller.reply("150", "125")
                caller.reply("426")
                caller.ask("NOOP", "200")


@case(37, "client_reuse require: no session, or another session's: 522 or 425")
def reuse_required(gate):
    for mode in ("intercept", "offload"):
        with scripted_gate(gate, mode, client_reuse="require") as (g, server):
            for version in VERSIONS:
                with Caller(g, version) as owner, Caller(g, version, owner.made) as thief:
                    for caller in (owner, thief):
                        caller.auth()
                        caller.login()
                    stolen = owner.tls.tls.session
                    for session in (None, stolen):
                        thief.send("EPSV")
                        raw = thief.dial_data()
                        with contextlib.suppress(ssl.SSLError, OSError):
                            data = thief.made.wrap_socket(raw, server_hostname="lab", session=session)
                            if got := read_until_over(data):
                                raise Failed(f"{len(got)} bytes for who does not resume")
                        if thief.reply("150", "125", "522", "425")[-1][:1] == b"1":
                            thief.reply("522", "425", "426")
                    # The owner has had no harm of it; several data connections, one ticket.
                    for _ in range(3):
                        fetches(owner, server)


@case(37, "a data connection that speaks no TLS, or not at once, where PROT P is set")
def no_tls(gate):
    for mode in ("intercept", "offload"):
        with scripted_gate(gate, mode) as (g, server), Caller(g) as caller:
            caller.auth()
            caller.login()
            # Silence in one mode only: it takes its time.
            silence = [b""] if mode == "intercept" else []
            for sent in (*silence, b"GET / HTTP/1.1\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x28"):
                caller.send("EPSV")
                with caller.dial_data() as sock:
                    # Of handshakes on data connections 15 s are the limit.
                    sock.settimeout(20)
                    sock.sendall(sent)
                    if server.contents[:50] in read_until_over(sock):
                        raise Failed(f"{mode}: contents in clear where PROT P is set")
                if caller.reply("150", "125", "425", "426", "522")[-1][:1] == b"1":
                    caller.reply("425", "426", "522", "451", "226")
            fetches(caller, server)


@case(35, "PROT C and PROT P in turn, each side as it is set")
def protection(gate):
    for mode in ("intercept", "offload"):
        with scripted_gate(gate, mode) as (g, server):
            for version in VERSIONS:
                with Caller(g, version) as caller:
                    caller.auth()
                    caller.login("C")
                    for prot in ("C", "P", "P", "C", "C", "P"):
                        caller.ask(f"PROT {prot}", "200")
                        if caller.fetch(secured=prot == "P") != server.contents:
                            raise Failed(f"PROT {prot}: the contents differ")
                        seen = server.sessions[-1].data_tls[-1]
                        # Never less on the server's side than the client has asked for.
                        if mode == "intercept" and prot == "P" and not seen:
                            raise Failed("PROT P, and the server's data connection is in clear")
                    for level in ("S", "E"):
                        caller.ask(f"PROT {level}", "504", "536", "534", "521", "502")
    # Without PROT it is C (RFC 4217 section 9).
    with scripted_gate(gate) as (g, server), Caller(g) as caller:
        caller.auth()
        caller.ask("USER x", "331")
        caller.ask("PASS y", "230")
        fetches(caller, server, secured=False)
