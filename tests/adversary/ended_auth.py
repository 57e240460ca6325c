"""Cases about the start of TLS where it ends at the gateway: injection, AUTH refused, TLS required, FEAT."""

from adversary import case
from adversary.gate import HERE
from process import Failed
from scripted import comma
from scripted_caller import (Caller, asked_for_tls, fetches, no_login_heard, scripted_gate, terminating,
                             works)
from scripted_tls import TlsEnd, server_context
from tls_peers import VERSIONS

PORT = "PORT " + comma(HERE, 50000)


def unheard(gate, server, *words):
    """The server's connection ends, and it has seen nothing of this."""
    seen = server.closed()
    if any(word in seen for word in words):
        raise Failed(f"the server sees {seen!r}")
    gate.never_opened()
    gate.no_session()


def heard_no_more_than_auth(server, mode):
    if heard := [line for line in server.all_heard() if line != "AUTH TLS"]:
        raise Failed(f"{mode}: the server has heard {heard}")


@case(25, "commands behind AUTH TLS in the same segment, TLS ends here")
def behind_auth(gate):
    for mode in ("intercept", "offload"):
        with scripted_gate(gate, mode) as (g, server):
            for text in (PORT, "USER x\r\nPASS y", "EPSV"):
                with Caller(g) as caller:
                    caller.end.send(b"AUTH TLS\r\n" + text.encode() + b"\r\n")
                    said = caller.closed()
                if b"227" in said or b"331" in said or b"229" in said or b"421 " not in said:
                    raise Failed(f"{mode}: the client sees {said!r}")
                heard_no_more_than_auth(server, mode)
        g.never_opened()


@case(25, "commands behind AUTH TLS in a following segment, before the 234")
def before_234(gate):
    g = terminating(gate)
    for text in (PORT, "USER x", "EPSV"):
        with Caller(g, greeted=False) as caller:
            server = asked_for_tls(caller)
            caller.end.send(text)
            server.silent(0.2)
            server.send("234 go")
            said = caller.closed()
            if b"331" in said or b"229" in said:
                raise Failed(f"the client sees {said!r}")
            unheard(g, server, text.encode())


@case(25, "replies behind the server's 234 in the same segment")
def behind_234(gate):
    for mode in ("intercept", "originate"):
        g = terminating(gate, mode)
        for text in ("227 ok (127,0,0,1,200,1)", "220 hello again", "230 you are in"):
            with Caller(g, greeted=False) as caller:
                server = asked_for_tls(caller, mode)
                server.send("234 go\r\n" + text)
                said = caller.closed()
                if text[4:].encode() in said:
                    raise Failed(f"{mode}: the client sees {said!r}")
                unheard(g, server, b"USER")


@case(26, "clear text where a ServerHello or a ClientHello is due, TLS ends here")
def text_for_hello(gate):
    for mode in ("intercept", "originate"):
        g = terminating(gate, mode)
        for text in ("227 Entering Passive Mode (127,0,0,1,200,1)", "220 hello again", "200 ok"):
            with Caller(g, greeted=False) as caller:
                server = asked_for_tls(caller, mode)
                server.send("234 go")
                if mode == "intercept":
                    caller.end.expect_code("234")
                    caller.end.send(caller.begin())
                TlsEnd(server, server_context("1.3"), True).record()
                server.send(text)
                # The client is told why, inside TLS, or sees the end alone.
                if mode == "intercept":
                    caller.tls.finish()
                if text[4:].encode() in (said := caller.closed()):
                    raise Failed(f"{mode}: the server's text reached the client")
                if mode == "intercept" and said[:1] not in (b"4", b"5"):
                    raise Failed(f"the client is not told why: {said!r}")
                server.closed()
            g.never_opened()
            g.no_session()
    for mode in ("intercept", "offload"):
        with scripted_gate(gate, mode) as (g, server):
            for text in (PORT, "USER x", "EPSV"):
                with Caller(g) as caller:
                    caller.ask_for_tls()
                    caller.end.send(text)
                    caller.closed()
                heard_no_more_than_auth(server, mode)
        g.never_opened()


@case(27, "AUTH refused by the server: clear in intercept, the end in originate")
def auth_refused(gate):
    for code in ("500", "502", "504", "530", "534", "431"):
        refusal = {"auth": f"{code} no"}
        with scripted_gate(gate, server=refusal) as (g, server), Caller(g) as caller:
            caller.ask("AUTH TLS", code)
            works(caller, server, secured=False)
            caller.ask("QUIT", "221")
        with (scripted_gate(gate, "originate", server=refusal) as (g, server),
              Caller(g, greeted=False) as caller):
            # The gateway never goes on in clear by itself.
            try:
                caller.ask("USER x", "220")
                caller.reply("421", "530", "534")
            except Failed:
                caller.closed()
            no_login_heard(server)


@case(27, "AUTH twice, AUTH after the login, unknown words behind AUTH, TLS ends here")
def auth_late(gate):
    for mode in ("intercept", "offload"):
        with scripted_gate(gate, mode) as (g, server):
            for version in VERSIONS:
                with Caller(g, version) as caller:
                    caller.ask("AUTH GSSAPI", "504", "534", "502", "500")
                    caller.auth()
                    caller.ask("AUTH TLS", "503", "534")
                    works(caller, server, secured=True)
                with Caller(g, version) as caller:
                    works(caller, server, secured=False)
                    caller.auth()
                    works(caller, server)


@case(28, "tls.required where TLS ends: no login before it, also when AUTH is stripped")
def required(gate):
    for mode in ("intercept", "offload"):
        with scripted_gate(gate, mode, required=True) as (g, server):
            with Caller(g) as caller:
                for command in ("USER x", "PASS y", "ACCT z"):
                    caller.ask(command, "530")
                caller.auth()
                works(caller, server)
            if {"ACCT"} & {line.split(" ")[0] for line in server.all_heard()}:
                raise Failed(f"the server has heard {server.all_heard()}")
    stripped = {"auth": "500 no", "feat": ("EPSV",)}
    with scripted_gate(gate, server=stripped, required=True) as (g, server), Caller(g) as caller:
        caller.ask("FEAT", "211")
        caller.ask("AUTH TLS", "500")
        caller.ask("USER x", "530")
        no_login_heard(server)


def features(lines):
    return {line.strip().decode() for line in lines[1:-1]}


@case(40, "FEAT tells what the gateway does: no SSCN and CPSV, AUTH in offload, none in originate")
def feat(gate):
    for mode, words, wanted in (("intercept", None, {"AUTH TLS", "PBSZ", "PROT"}),
                                ("offload", ("EPSV", "UTF8"), {"AUTH TLS", "PBSZ", "PROT", "UTF8"}),
                                ("originate", None, set())):
        told = {"feat": words} if words else {}
        with scripted_gate(gate, mode, server=told) as (g, server), Caller(g) as caller:
            before = features(caller.ask("FEAT", "211"))
            if mode != "originate":
                caller.auth()
            caller.login()
            for found in (before, features(caller.ask("FEAT", "211"))):
                if not wanted <= found:
                    raise Failed(f"{mode}: FEAT lacks {wanted - found}: {found}")
                unwanted = {"SSCN", "CPSV"} | (set() if wanted else {"AUTH TLS", "PBSZ", "PROT", "CCC"})
                if unwanted & found:
                    raise Failed(f"{mode}: FEAT offers {unwanted & found}")
            for command in ("SSCN ON", "SSCN", "CPSV", "SSCN OFF"):
                caller.ask(command, "502")
            if heard := {"SSCN", "CPSV"} & {line.split(" ")[0] for line in server.all_heard()}:
                raise Failed(f"{mode}: the server has heard {heard}")
            fetches(caller, server, secured=mode != "originate")


@case(27, "AUTH, PBSZ and PROT from a clear client in originate are not the server's")
def originate_answers(gate):
    with scripted_gate(gate, "originate") as (g, server), Caller(g) as caller:
        caller.ask("AUTH TLS", "500", "502", "504", "534")
        caller.login()
        for command in ("PBSZ 0", "PROT C", "PROT P", "CCC"):
            caller.ask(command, "500", "502", "503", "533", "534", "536")
        fetches(caller, server, secured=False)
        session = server.sessions[-1]
        if session.verbs(in_tls=False) != ["AUTH"] or session.data_tls != [True]:
            raise Failed(f"the server has heard {session.heard}, data in TLS: {session.data_tls}")


@case(36, "REIN where TLS ends: refused, and the session goes on")
def rein(gate):
    """RFC 4217 section 11 would have TLS begin anew; no server of the lab does that."""
    for mode in ("intercept", "offload"):
        with scripted_gate(gate, mode) as (g, server):
            for version in VERSIONS:
                with Caller(g, version) as caller:
                    caller.auth()
                    works(caller, server)
                    caller.ask("REIN", "502")
                    fetches(caller, server)
                    caller.ask("QUIT", "221")
                if "REIN" in server.last().verbs():
                    raise Failed(f"the server has heard {server.last().heard}")
