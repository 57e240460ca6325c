"""Case 41: TLS without AUTH, as on port 990; both orders, and a setting that does not fit the peers."""

from ccc_forms import FORMS
from adversary import case
from adversary.tls import read_again
from process import Failed
from scripted_tls import SecuredPeers
from tls_peers import VERSIONS


def starting(word):
    return {"mode": "passthrough", "client_start": word, "server_start": word}


def wrong(gate, peers):
    """Both ends are closed soon, and the log names the setting."""
    peers.client.closed()
    peers.server.closed()
    gate.never_opened()
    gate.no_session()
    log = gate.read_log()
    for word in ("client_start", "server_start"):
        if word not in log:
            raise Failed(f"the log does not name {word}")


@case(41, "implicit TLS from the first byte")
def from_first_byte(gate):
    g = gate(tls=starting("implicit"))
    for version in VERSIONS:
        for bytewise in (False, True):
            with g.peers(greet=False, login=False) as p:
                both = SecuredPeers(p, version)
                both.handshake(bytewise)
                both.say("220 greeting")
                both.login()
                read_again(g, p, "EPSV", FORMS["both sides notify, the server first"](both, "EPSV"))
                read_again(g, p, "PASV")
        with g.peers(greet=False, login=False) as p:
            both = SecuredPeers(p, version)
            both.handshake()
            both.say("220 greeting")
            both.login()
            # z/OS on its TLSPORT.
            both.exchange("CCC", "534 no")
            both.exchange("QUIT", "221 bye")
    g.no_session()
    g.expect_ccc(cleared=4, none=2)


@case(41, "implicit TLS after the greeting")
def after_greeting(gate):
    """SECUREIMPLICITZOS TRUE, the default of z/OS."""
    g = gate(tls=starting("implicit-after-greeting"))
    for version in VERSIONS:
        for bytewise in (False, True):
            with g.peers(greet=False, login=False) as p:
                p.server.send("220-two lines\r\n220 of greeting")
                p.client.expect("220-two lines")
                p.client.expect("220 of greeting")
                both = SecuredPeers(p, version)
                both.handshake(bytewise)
                both.login()
                read_again(g, p, "PASV", FORMS["nobody notifies"](both, "PASV"))
    g.no_session()
    g.expect_ccc(cleared=4)


@case(41, "explicit is set, the peers begin with TLS")
def set_explicit(gate):
    g = gate()
    with g.peers(greet=False, login=False) as p:
        both = SecuredPeers(p, "1.3")
        p.client.send(both.client.shake()[1])
        wrong(g, p)
    # The server greets, the client answers with TLS.
    with g.peers(login=False) as p:
        p.client.send(SecuredPeers(p, "1.3").client.shake()[1])
        wrong(g, p)


@case(41, "implicit is set, the server greets")
def set_implicit(gate):
    g = gate(tls=starting("implicit"))
    with g.peers(greet=False, login=False) as p:
        p.server.send("220 hello")
        wrong(g, p)
    # The client's Hello is under way when the greeting comes.
    with g.peers(greet=False, login=False) as p:
        both = SecuredPeers(p, "1.3")
        both.carry(p.client, p.server, both.client.shake()[1])
        p.server.send("220 hello")
        p.client.closed()
        p.server.closed()
        g.no_session()
    # A client that speaks FTP.
    with g.peers(greet=False, login=False) as p:
        p.client.send("USER x")
        p.client.closed()
        if b"USER" in p.server.closed():
            raise Failed("the command was passed on")
    g.never_opened()
    g.no_session()


@case(41, "implicit is set, both peers wait: no deadlock")
def both_wait(gate):
    g = gate(tls=starting("implicit"), limits={"login_timeout": "1s"})
    with g.peers(greet=False, login=False) as p:
        wrong(g, p)


@case(41, "implicit-after-greeting is set, TLS comes first or not at all")
def set_after_greeting(gate):
    g = gate(tls=starting("implicit-after-greeting"), limits={"login_timeout": "1s"})
    with g.peers(greet=False, login=False) as p:
        p.client.send(SecuredPeers(p, "1.3").client.shake()[1])
        wrong(g, p)
    with g.peers(login=False) as p:
        p.client.send("USER x")
        p.client.closed()
        if b"USER" in p.server.closed():
            raise Failed("the command was passed on")
    # The greeting has passed and nobody goes on.
    with g.peers(login=False) as p:
        wrong(g, p)
