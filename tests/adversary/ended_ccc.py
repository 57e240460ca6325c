"""Cases about CCC where TLS ends at the gateway: every form on either side, and what comes after."""

from adversary import case
from process import Failed
from scripted_caller import Caller, read_all, scripted_gate, works
from tls_peers import VERSIONS

ACCEPTED, DECLINED = "200 clear", "533 no"


def clear(caller, form, first="NOOP"):
    """CCC in one of the forms; the first line in clear is sent, and the caller is in clear."""
    tls = caller.tls
    caller.ask("CCC", "200")
    if form in ("the client notifies first", "byte by byte", "one segment"):
        alert = tls.close_notify()
        if form == "one segment":
            alert += first.encode() + b"\r\n"
        (caller.end.send_bytewise if form == "byte by byte" else caller.end.send)(alert)
    # RFC 4217: the gateway notifies right behind its 200.
    caller.leave_tls()
    if form == "the server notifies first":
        caller.end.send(tls.close_notify())
    if form != "one segment":
        (caller.end.send_bytewise if form == "byte by byte" else caller.end.send)(
            first.encode() + b"\r\n" if form == "byte by byte" else first)


FORMS = ("the client notifies first", "the server notifies first", "the client never notifies",
         "one segment", "byte by byte")


def fetch_in_clear(caller, server, session):
    """A download after EPSV whose data connection is still TLS, and resumes `session`."""
    with caller.secure_data(caller.dial_data(), session) as sock:
        caller.reply("150", "125")
        if read_all(sock) != server.contents:
            raise Failed("the contents differ")
    caller.reply("226")


def _forms(gate, version):
    for mode, ccc in (("intercept", ACCEPTED), ("intercept", DECLINED), ("offload", DECLINED)):
        with scripted_gate(gate, mode, version, server={"ccc": ccc}) as (g, server):
            for form in FORMS:
                for first in ("EPSV", "NOOP"):
                    with Caller(g, version) as caller:
                        try:
                            caller.auth()
                            works(caller, server)
                            session = caller.tls.tls.session
                            clear(caller, form, first)
                            if first == "NOOP":
                                caller.reply("200")
                                caller.send("EPSV")
                            fetch_in_clear(caller, server, session)
                            caller.ask("QUIT", "221")
                        except Failed as error:
                            raise Failed(f"{mode}, server says {ccc}, {form}, {first}: {error}") from error
                    heard = server.last()
                    in_clear = mode == "offload" or ccc == ACCEPTED
                    if ("QUIT" in heard.verbs(in_tls=False)) != in_clear:
                        raise Failed(f"{mode}, server says {ccc}: it has heard {heard.heard}")
                    if heard.faults:
                        raise Failed(f"{form}: {heard.faults}")


@case(30, "CCC in every form over TLS 1.2, TLS ends here")
def forms_12(gate):
    _forms(gate, "1.2")


@case(30, "CCC in every form over TLS 1.3, TLS ends here")
def forms_13(gate):
    _forms(gate, "1.3")


@case(30, "the server ends TLS without a close_notify, TLS ends here")
def server_silent(gate):
    for word in ("follow", "always"):
        for version in VERSIONS:
            told = {"ccc": ACCEPTED, "notify": False}
            with (scripted_gate(gate, version=version, server=told, server_ccc=word) as (g, server),
                  Caller(g, version) as caller):
                caller.auth()
                works(caller, server)
                if word == "follow":
                    clear(caller, "the client notifies first")
                    caller.reply("200")
                else:
                    caller.ask("NOOP", "200")
                caller.ask("QUIT", "221")
                if "QUIT" not in server.last().verbs(in_tls=False):
                    raise Failed(f"the server has heard {server.last().heard}")


@case(30, "a client that does not wait for the reply to CCC, TLS ends here")
def ahead(gate):
    for ccc in (ACCEPTED, DECLINED):
        with scripted_gate(gate, server={"ccc": ccc}) as (g, _):
            for version in VERSIONS:
                with Caller(g, version) as caller:
                    caller.auth()
                    caller.login()
                    caller.end.send(caller.tls.seal("CCC") + b"PWD\r\n")
                    caller.reply("200")
                    caller.leave_tls()
                    caller.reply("257")


@case(32, "alert and command in one segment, cut at every byte, TLS ends here")
def cut_anywhere(gate):
    with scripted_gate(gate, server={"ccc": ACCEPTED}) as (g, _):
        for version in VERSIONS:
            cut, length = 0, 1
            while cut < length:
                with Caller(g, version) as caller:
                    caller.auth()
                    caller.login()
                    caller.ask("CCC", "200")
                    data = caller.tls.close_notify() + b"NOOP\r\nPWD\r\n"
                    length = len(data)
                    for piece in (data[:cut], data[cut:]):
                        caller.end.sock.sendall(piece)
                    caller.leave_tls()
                    caller.reply("200")
                    caller.reply("257")
                cut += 3


@case(33, "an alert after the client's text has begun, TLS ends here")
def late_alert(gate):
    with scripted_gate(gate, server={"ccc": ACCEPTED}) as (g, _):
        for version in VERSIONS:
            for how in ("alone", "in front of a line", "behind a line"):
                with Caller(g, version) as caller:
                    caller.auth()
                    caller.login()
                    tls = caller.tls
                    clear(caller, "the client never notifies")
                    caller.reply("200")
                    alert, line = tls.close_notify(), b"PWD\r\n"
                    for piece in {"alone": (alert, line), "in front of a line": (alert + line,),
                                  "behind a line": (line + alert,)}[how]:
                        caller.end.send(piece)
                    caller.reply("257")
                    caller.ask("NOOP", "200")


@case(33, "an alert after the server's text has begun, TLS ends here")
def late_alert_of_server(gate):
    for word in ("follow", "always"):
        for version in VERSIONS:
            told = {"ccc": ACCEPTED, "notify": "late"}
            with (scripted_gate(gate, version=version, server=told, server_ccc=word) as (g, server),
                  Caller(g, version) as caller):
                caller.auth()
                works(caller, server)
                if word == "follow":
                    clear(caller, "the client notifies first")
                    caller.reply("200")
                for _ in range(3):
                    caller.ask("PWD", "257")
                caller.ask("QUIT", "221")


@case(35, "PROT, PBSZ, CCC and AUTH after CCC, TLS ends here")
def after(gate):
    """The data connections keep the protection that they had (RFC 4217 section 8: fixed by CCC)."""
    for mode in ("intercept", "offload"):
        with scripted_gate(gate, mode, server={"ccc": ACCEPTED}) as (g, server):
            for version in VERSIONS:
                with Caller(g, version) as caller:
                    caller.auth()
                    works(caller, server)
                    session = caller.tls.tls.session
                    clear(caller, "the client notifies first")
                    caller.reply("200")
                    for command in ("PROT C", "PROT P", "PBSZ 0", "CCC"):
                        caller.ask(command, "503", "533", "534", "536")
                    caller.send("EPSV")
                    fetch_in_clear(caller, server, session)
                    caller.ask("AUTH TLS", "503", "534")
                    caller.ask("NOOP", "200")


@case(31, "CCC in clear, and before the login, TLS ends here")
def untimely(gate):
    for mode in ("intercept", "offload"):
        with scripted_gate(gate, mode, server={"ccc": ACCEPTED}) as (g, server), Caller(g) as caller:
            caller.ask("CCC", "533", "503", "530", "534")
            caller.auth()
            caller.ask("CCC", "533", "503", "530", "534")
            works(caller, server)
            if server.sessions[-1].verbs().count("CCC"):
                raise Failed(f"the server has heard {server.sessions[-1].heard}")
