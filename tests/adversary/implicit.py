"""Case 41: TLS without AUTH, as on port 990; both orders, and a setting that does not fit the peers."""

from adversary import case
from adversary.tls import read_after_ccc, read_again
from process import Failed
from scripted_tls import SecuredPeers
from tls_peers import VERSIONS


def starting(word):
    return {"mode": "passthrough", "client_start": word, "server_start": word}


def wrong(gate, peers):
    """Both ends are closed soon, and the log names the setting."""
    peers.closed()
    gate.never_opened()
    gate.no_session()
    log = gate.read_log()
    for word in ("client_start", "server_start"):
        if word not in log:
            raise Failed(f"the log does not name {word}")


def in_clear(peers):
    """A client that speaks FTP where a hello is due: it is closed, and not heard."""
    peers.client.send("USER x")
    _, seen = peers.closed()
    if b"USER" in seen:
        raise Failed("the command was passed on")


def greeted_in_tls(peers, version, bytewise=False):
    """TLS from the first byte, with the greeting in it, and a login."""
    both = SecuredPeers(peers, version)
    both.handshake(bytewise)
    both.say("220 greeting")
    both.login()
    return both


@case(41, "implicit TLS from the first byte")
def from_first_byte(gate):
    g = gate(tls=starting("implicit"))
    for version in VERSIONS:
        for bytewise in (False, True):
            with g.peers(greet=False, login=False) as p:
                both = greeted_in_tls(p, version, bytewise)
                read_after_ccc(g, both, "both sides notify, the server first")
                read_again(g, p, "PASV")
        with g.peers(greet=False, login=False) as p:
            both = greeted_in_tls(p, version)
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
                read_after_ccc(g, both, "nobody notifies", "PASV")
    g.no_session()
    g.expect_ccc(cleared=4)


@case(41, "explicit is set, the peers begin with TLS")
def set_explicit(gate):
    g = gate()
    with g.peers(greet=False, login=False) as p:
        p.client.send(SecuredPeers(p, "1.3").client.shake()[1])
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
        SecuredPeers(p, "1.3").hello()
        p.server.send("220 hello")
        p.closed()
        g.no_session()
    with g.peers(greet=False, login=False) as p:
        in_clear(p)
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
        in_clear(p)
    # The greeting has passed and nobody goes on.
    with g.peers(login=False) as p:
        wrong(g, p)
