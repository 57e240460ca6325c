"""Case 41 where TLS ends at the gateway: how it begins on each side, and settings that do not fit."""

from adversary import case
from process import Failed
from scripted_caller import Caller, in_vain, no_login_heard, scripted_gate, works
from tls_peers import VERSIONS

STARTS = ("explicit", "implicit", "implicit-after-greeting")

# Where both peers wait for each other the session is to end soon.
SOON = {"login_timeout": "1s"}


def words_for(start):
    """What the `TlsServer` is told to begin like this."""
    return {"implicit": start == "implicit", "after_greeting": start == "implicit-after-greeting"}


def begin(caller, start):
    """The client's beginning, up to TLS with a greeting seen."""
    if start == "implicit":
        caller.handshake()
        caller.reply("220")
        return
    caller.reply("220")
    if start == "explicit":
        caller.auth()
    else:
        caller.handshake()


def session(gate, version, start, server_start):
    """One session with a transfer; the servers are told what to expect."""
    with scripted_gate(gate, version=version, server=words_for(server_start), client_start=start,
                       server_start=server_start) as (g, server):
        with Caller(g, version, greeted=False) as caller:
            begin(caller, start)
            works(caller, server)
            caller.ask("QUIT", "221")
        heard = server.last()
        if heard.verbs(in_tls=False) != (["AUTH"] if server_start == "explicit" else []):
            raise Failed(f"the server has heard {heard.heard}")


@case(41, "each start on each side, intercept")
def nine(gate):
    failures = []
    for client in STARTS:
        for server in STARTS:
            for version in VERSIONS:
                try:
                    session(gate, version, client, server)
                except (Failed, OSError) as error:
                    failures.append(f"client {client}, server {server}, TLS {version}: {error}")
    if failures:
        raise Failed("; ".join(failures))


@case(41, "each start of the client in offload, of the server in originate")
def one_side(gate):
    for start in STARTS:
        for version in VERSIONS:
            with (scripted_gate(gate, "offload", version, client_start=start) as (g, server),
                  Caller(g, version, greeted=False) as caller):
                begin(caller, start)
                works(caller, server)
                caller.ask("QUIT", "221")
                if any(secured for _, secured in server.last().heard):
                    raise Failed("the server of offload has heard TLS")
            with (scripted_gate(gate, "originate", version, server=words_for(start),
                                server_start=start) as (g, server),
                  Caller(g, version) as caller):
                works(caller, server, secured=False)
                caller.ask("QUIT", "221")
                clear = server.last().verbs(in_tls=False)
                if clear != (["AUTH"] if start == "explicit" else []):
                    raise Failed(f"the server of originate has heard in clear {clear}")


def ends(gate, caller, server, word):
    """Both ends are closed soon, nothing of a login has passed, and the log names the setting."""
    caller.end.closed()
    no_login_heard(server)
    gate.never_opened()
    gate.no_session()
    if word not in gate.read_log():
        raise Failed(f"the log does not name {word}")


def try_wrong_client(gate, mode, start, behaviour):
    with (scripted_gate(gate, mode, client_start=start, limits=SOON) as (g, server),
          Caller(g, greeted=False) as caller):
        if behaviour == "in clear":
            caller.send("USER x")
        else:
            with in_vain("all is well"):
                begin(caller, behaviour)
        ends(g, caller, server, "client_start")


def try_wrong_server(gate, mode, start, behaviour):
    with (scripted_gate(gate, mode, server=words_for(behaviour), server_start=start, limits=SOON)
          as (g, server), Caller(g, greeted=False) as caller):
        with in_vain("all is well"):
            if mode == "intercept":
                begin(caller, "explicit")
            else:
                caller.reply("220")
            caller.ask("USER x", "331")
        ends(g, caller, server, "server_start")


def try_all(attempt, gate, modes, behaviours):
    """Every setting with every other behaviour; tells all that went wrong."""
    failures = []
    for mode in modes:
        for start in STARTS:
            for behaviour in behaviours:
                # Clear text is nothing wrong where TLS may begin at any time and is not required.
                if behaviour == start or (start, behaviour) == ("explicit", "in clear"):
                    continue
                try:
                    attempt(gate, mode, start, behaviour)
                except (Failed, OSError) as error:
                    failures.append(f"{mode}, set {start}, the peer does {behaviour}: {error}")
    if failures:
        raise Failed("; ".join(failures))


@case(41, "a client that begins otherwise than set: a clear error, no deadlock, TLS ends here")
def wrong_client(gate):
    try_all(try_wrong_client, gate, ("intercept", "offload"), (*STARTS, "in clear"))


@case(41, "a server that begins otherwise than set: a clear error, no deadlock, TLS ends here")
def wrong_server(gate):
    try_all(try_wrong_server, gate, ("intercept", "originate"), STARTS)
