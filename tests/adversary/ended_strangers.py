"""Cases about peers of another kind where TLS ends: other protocols, old versions, handshakes without end."""

import contextlib
import os
import ssl
import tempfile
import time

from authority import Authority, certificate
from adversary import case
from adversary.gate import MOST_GROWTH
from process import Failed, wait_until
from scripted_caller import (Caller, asked_for_tls, fetches, in_vain, no_login_heard, read_until_over,
                             scripted_gate, secrets_heard, terminating, works)
from scripted_tls import TlsEnd, server_context
from tls_peers import VERSIONS, context


def offering(version, protocols):
    """A client's context that offers these protocols (ALPN)."""
    made = context(version)
    made.set_alpn_protocols(protocols)
    return made


@case(29, "ALPN: http/1.1 is refused, ftp is agreed on, none is as good")
def alpn(gate):
    for mode in ("intercept", "offload"):
        with scripted_gate(gate, mode) as (g, server):
            for version in VERSIONS:
                for offered, agreed in ((["ftp"], "ftp"), (["http/1.1", "ftp"], "ftp"), (None, None)):
                    made = offering(version, offered) if offered else None
                    with Caller(g, version, made) as caller:
                        caller.auth()
                        if (found := caller.tls.tls.selected_alpn_protocol()) != agreed:
                            raise Failed(f"{mode}: of {offered} the gateway chose {found}")
                        works(caller, server)
                        caller.ask("QUIT", "221")
                for offered in (["http/1.1"], ["h2", "http/1.1"], ["smtp"]):
                    before = len(secrets_heard(server))
                    with (Caller(g, version, offering(version, offered)) as caller,
                          in_vain(f"{mode}: a client that offers {offered} was let in")):
                        caller.auth()
                        caller.ask("USER x", "331")
                    if len(secrets_heard(server)) != before:
                        raise Failed(f"{mode}: the server has heard of a client that offers {offered}")


@case(29, "offload with a fixed certificate: another name is not answered")
def wrong_name(gate):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        chain, key = Authority(folder).issue(folder, ["lab", "files.example"])
        fixed = {"certificate": {"chain": chain, "key": key}}
        with scripted_gate(gate, "offload", certificates=fixed) as (g, server):
            for version in VERSIONS:
                with Caller(g, version) as caller:
                    caller.auth()
                    works(caller, server)
                with Caller(g, version) as caller:
                    caller.ask_for_tls()
                    caller.end.send(caller.begin("www.bank.example"))
                    caller.tls.incoming.write(caller.tls.record())
                    try:
                        caller.tls.shake()
                    except ssl.SSLError as error:
                        if "unrecognized name" not in str(error).replace("_", " ").lower():
                            raise Failed(f"answered with {error}") from error
                    else:
                        raise Failed("a name that the certificate does not bear was answered")


@case(29, "an HTTP request, mail and unknown verbs inside TLS")
def other_protocols(gate):
    talks = (["GET / HTTP/1.1", "Host: files.example", "Cookie: secret"],
             ["POST /form HTTP/1.1", "Content-Length: 40", "", "USER x"],
             ["EHLO mail.example", "MAIL FROM:<a@example>", "RCPT TO:<b@example>"],
             ["a001 LOGIN x y", "a002 SELECT INBOX", "a003 LOGOUT"],
             [f"X{n}Y unknown" for n in range(40)])
    for mode in ("intercept", "offload"):
        with scripted_gate(gate, mode) as (g, server):
            for version in VERSIONS:
                for talk in talks:
                    with Caller(g, version) as caller:
                        caller.auth()
                        with contextlib.suppress(OSError):
                            for line in talk:
                                caller.send(line)
                        said = caller.closed()
                        if b"230" in said or b"331" in said:
                            raise Failed(f"{mode}: the client sees {said!r}")
            if bad := [line for line in server.all_heard() if "secret" in line or line.startswith("USER")]:
                raise Failed(f"{mode}: the server has heard {bad}")
        g.never_opened()


def old(version):
    """A context that speaks TLS 1.0 or 1.1 alone."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.set_ciphers("ALL:@SECLEVEL=0")
    made.minimum_version = made.maximum_version = version
    return made


def without_forward_secrecy():
    """TLS 1.2 with an exchange of keys by RSA alone."""
    made = context("1.2")
    made.set_ciphers("AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA")
    return made


def warnings(gate):
    return [line for line in gate.read_log().splitlines() if " WARN " in line]


@case(29, "clients that offer TLS 1.0 alone, or an exchange by RSA alone: the log names the offer")
def old_clients(gate):
    for mode in ("intercept", "offload"):
        for made, word in ((old(ssl.TLSVersion.TLSv1), "1.0"), (old(ssl.TLSVersion.TLSv1_1), "1.1"),
                           (without_forward_secrecy(), "RSA")):
            with scripted_gate(gate, mode) as (g, server), Caller(g, "1.2", made) as caller:
                with in_vain(f"{mode}: a client that offers {word} alone was let in"):
                    caller.auth()
                no_login_heard(server)
            if not any(word in line for line in warnings(g)):
                raise Failed(f"{mode}: no line of the log names {word}: {warnings(g)}")


def old_server(version=None):
    """A server's context for what is past: one version alone, or an exchange by RSA alone."""
    with tempfile.TemporaryDirectory() as folder:
        pair = certificate(folder, key_type=["-newkey", "rsa:2048", "-nodes"])
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(*pair)
    if version:
        made.set_ciphers("ALL:@SECLEVEL=0")
        made.minimum_version = made.maximum_version = version
    else:
        made.maximum_version = ssl.TLSVersion.TLSv1_2
        made.set_ciphers("AES128-GCM-SHA256:AES256-GCM-SHA384")
    return made


@case(29, "servers that speak TLS 1.0 alone, or exchange by RSA alone: refused, and the log tells")
def old_servers(gate):
    for mode in ("intercept", "originate"):
        for made in (old_server(ssl.TLSVersion.TLSv1), old_server()):
            with (scripted_gate(gate, mode, server={"context": made}) as (g, server),
                  Caller(g, greeted=mode == "intercept") as caller):
                with in_vain(f"{mode}: the login went through"):
                    if mode == "intercept":
                        caller.auth()
                    else:
                        caller.reply("220")
                    caller.ask("USER x", "331")
                no_login_heard(server)
            if not any("TLS" in line for line in warnings(g)):
                raise Failed(f"{mode}: the log does not tell: {warnings(g)}")


@case(45, "the handshake stalls on either side, TLS ends here")
def stalls(gate):
    g = terminating(gate, limits={"login_timeout": "1s"})
    for step in ("no hello", "half a hello", "no server hello", "client's finish"):
        with Caller(g, greeted=False) as caller:
            server = asked_for_tls(caller)
            server.send("234 go")
            caller.end.expect_code("234")
            start = time.monotonic()
            hello = caller.begin()
            if step != "no hello":
                caller.end.send(hello[:20] if step == "half a hello" else hello)
            if step == "client's finish":
                TlsEnd(server, server_context("1.3"), True).finish()
            caller.end.closed()
            server.closed()
            if (took := time.monotonic() - start) > 4:
                raise Failed(f"{step}: took {took:.1f} s with a limit of 1 s")
    g.never_opened()
    g.no_session()
    g = terminating(gate, "originate", limits={"login_timeout": "1s"})
    for answer in (None, "234 go"):
        with Caller(g, greeted=False) as caller:
            server = asked_for_tls(caller, "originate")
            if answer:
                server.send(answer)
            caller.end.closed()
            server.closed()
    g.no_session()


@case(22, "a hello without end, records that are none, TLS ends here")
def endless(gate):
    # A record of the greatest length that begins a hello of 16 MiB; alerts without end; nonsense.
    flight = b"\x16\x03\x01\x40\x00" + b"\x01\xff\xff\xff" + b"\x03\x03" + bytes(16384 - 6)
    more = b"\x16\x03\x01\x40\x00" + bytes(16384)
    with scripted_gate(gate, limits={"login_timeout": "5s"}) as (g, server):
        before = g.memory()
        for first, rest in ((flight, more), (b"\x15\x03\x03\x00\x02\x01\x00",) * 2,
                            (b"\x16\x03\x03\x00\x00",) * 2,
                            (b"\x17\x03\x03\xff\xff" + bytes(65535),) * 2):
            with Caller(g) as caller:
                caller.ask_for_tls()
                with contextlib.suppress(OSError):
                    caller.end.sock.sendall(first)
                    for _ in range(2000):
                        caller.end.sock.sendall(rest)
                caller.end.closed()
        no_login_heard(server)
    wait_until(lambda: g.memory() - before < MOST_GROWTH, "memory grows", timeout=2)


@case(29, "a data connection that offers another protocol, or speaks one inside TLS")
def data_of_another_protocol(gate):
    for mode in ("intercept", "offload"):
        with scripted_gate(gate, mode) as (g, server):
            for offered in (["http/1.1"], ["h2", "http/1.1"]):
                with Caller(g) as caller:
                    caller.auth()
                    caller.login()
                    caller.send("EPSV")
                    raw = caller.dial_data()
                    with contextlib.suppress(ssl.SSLError, OSError):
                        data = offering("1.3", offered).wrap_socket(raw, server_hostname="lab")
                        if got := read_until_over(data):
                            raise Failed(f"{mode}: {len(got)} bytes for who offers {offered}")
                    if caller.reply("150", "125", "522", "425", "426")[-1][:1] == b"1":
                        caller.reply("522", "425", "426", "451")
                    fetches(caller, server)
