"""Cases about the start of TLS: what hides behind AUTH, AUTH refused, TLS required, orders of z/OS."""

from adversary import case
from adversary.commands import refused_by_gateway
from adversary.gate import HERE
from adversary.tls import read_after_ccc, read_again
from process import Failed
from scripted import comma
from scripted_tls import SecuredPeers, in_tls, secured
from tls_peers import VERSIONS


@case(25, "commands behind AUTH TLS in the same segment")
def behind_auth(gate):
    g = gate()
    port = "PORT " + comma(HERE, 50000)
    for text in (f"{port}\r\n", "USER x\r\nPASS y\r\n", "EPSV\r\n"):
        for answer in ("234 go", "234 go\r\n227 ok (127,0,0,1,200,1)"):
            with g.peers() as p:
                p.client.send(b"AUTH TLS\r\n" + text.encode())
                p.server.expect("AUTH TLS")
                # Held: whether it is a command shows when the server has answered.
                p.server.silent(0.1)
                p.server.send(answer)
                said, seen = p.closed()
                if b"227" in said:
                    raise Failed(f"the client sees {said!r}")
                if seen:
                    raise Failed(f"the server sees {seen!r}")
    g.never_opened()
    g.no_session()


@case(25, "a ClientHello behind AUTH TLS in the same segment")
def hello_behind_auth(gate):
    """No command, so nothing has been injected: it is carried as TLS."""
    g = gate()
    for version in VERSIONS:
        with g.peers(login=False) as p:
            both = SecuredPeers(p, version)
            _, hello = both.client.shake()
            p.client.send(b"AUTH TLS\r\n" + hello)
            p.server.expect("AUTH TLS")
            p.say("234 go")
            if p.server.read(len(hello)) != hello:
                raise Failed("the ClientHello was changed")
            both.server.incoming.write(hello)
            both.handshake()
            both.login()
            read_after_ccc(g, both, "nobody notifies")
    g.no_session()
    g.expect_ccc(cleared=2)


@case(25, "commands behind AUTH TLS, and the server refuses it")
def behind_refused_auth(gate):
    """Then they are commands of a clear session; they may as well be thrown away with it."""
    g = gate()
    with g.peers(login=False) as p:
        p.client.send(b"AUTH TLS\r\nUSER x\r\n")
        p.server.expect("AUTH TLS")
        p.server.silent(0.1)
        p.say("502 no")
        p.server.expect("USER x")
        p.say("331 password")
        p.exchange("PASS y", "230 in")
        read_again(g, p)


@case(26, "clear text where a ServerHello is due")
def text_for_hello(gate):
    g = gate()
    for text in ("227 Entering Passive Mode (127,0,0,1,200,1)", "220 hello again", "200 ok"):
        for hello_first in (True, False):
            with g.peers(login=False) as p:
                p.exchange("AUTH TLS", "234 go")
                if hello_first:
                    SecuredPeers(p, "1.3").hello()
                p.server.send(text)
                if said := p.client.closed():
                    raise Failed(f"the client sees {said!r}")
                p.server.closed()
    # Likewise where the client's Hello is due.
    for text in ("PORT " + comma(HERE, 50000), "USER x", "EPSV"):
        with g.peers(login=False) as p:
            p.exchange("AUTH TLS", "234 go")
            p.client.send(text)
            _, seen = p.closed()
            if seen:
                raise Failed(f"the server sees {seen!r}")
    g.never_opened()
    g.no_session()


@case(27, "AUTH refused: a clear session")
def auth_refused(gate):
    g = gate()
    for code in ("500", "502", "504", "530", "534", "431"):
        with g.peers(login=False) as p:
            p.exchange("AUTH TLS", f"{code} no")
            p.login()
            read_again(g, p, "PASV")
            p.exchange("AUTH SSL", f"{code} no")
            read_again(g, p, "EPSV")
    g.no_session()
    g.expect_ccc()


@case(27, "AUTH after the login, and AUTH twice")
def auth_late(gate):
    g = gate()
    with g.peers() as p:
        read_again(g, p)
        both = secured(p, "1.3")
        both.exchange("PWD", '257 "/"')
        both.exchange("AUTH TLS", "503 already")
        both.exchange("PBSZ 0", "200 ok")
        read_after_ccc(g, both, "nobody notifies")
    g.no_session()
    g.expect_ccc(cleared=1)


@case(22, "RFC 2228: tokens longer than a command may be, and enclosed lines, pass untouched")
def enclosed(gate):
    g = gate()
    token = "QUJD" * 10_000
    talk = [("AUTH GSSAPI", "334 go on"), (f"ADAT {token}", f"335 ADAT={token}"),
            (f"ADAT {token}", "235 done"), ("ENC VVNFUiB4", "632 MjMwIGlu"),
            ("MIC UEFTVg==", "631 MjI3ICgxLDIsMyw0LDUsNik="), ("CONF " + token, "633 " + token)]
    with g.peers(login=False) as p:
        for command, reply in talk:
            p.exchange(command, reply)
        # Two enclosed replies to one enclosed RETR, and nothing of them is a pinhole.
        p.exchange("ENC UkVUUg==", "632 MTUwIGhlcmU=")
        p.say("632 MjI2IGRvbmU=")
        metrics = g.metrics()
        for verb, count in {"AUTH": 1, "ADAT": 2, "ENC": 2, "MIC": 1, "CONF": 1}.items():
            if (seen := metrics.sum("commands_total", verb=verb)) != count:
                raise Failed(f"{seen:g} x {verb} counted, {count} sent")
        g.expect_protection("passthrough")
        if opened := metrics.sum("pinholes_total") + metrics.sum("pinholes_open"):
            raise Failed(f"{opened:g} pinholes for what cannot be read")
        # After CCC commands are in the clear.
        p.exchange("ENC Q0ND", "632 MjAwIGNsZWFy")
        read_again(g, p, "EPSV")
    g.no_session()
    g.expect_ccc(cleared=1)


@case(28, "tls.required: no login before TLS")
def required(gate):
    g = gate(tls={"mode": "passthrough", "required": True})
    with g.peers(login=False) as p:
        for command in ("USER x", "PASS y", "ACCT z"):
            refused_by_gateway(p, command, "530")
        # Stripped by somebody in between: still no login in clear.
        p.exchange("AUTH TLS", "500 no")
        refused_by_gateway(p, "USER x", "530")
        refused_by_gateway(p, "AUTH GSSAPI", "504", "534", "530")
        both = in_tls(p, "1.3")
        both.exchange("PWD", '257 "/"')
        read_after_ccc(g, both, "both sides notify, the client first")
    g.no_session()
    g.expect_ccc(cleared=1)


# The orders of a z/OS client, TLSRFCLEVEL by TLSRFCLEVEL, up to the login.
ZOS = {
    "RFC4217": ("AUTH TLS", ("USER x", "PASS y", "PBSZ 0", "PROT P")),
    "DRAFT": ("AUTH TLS-P", ("PBSZ 0", "PROT P", "USER x", "PASS y")),
}
REPLIES = {"USER": "331 password", "PASS": "230-\r\n230 in", "PBSZ": "200 ok", "PROT": "200 ok"}


def zos_login(peers, level, version):
    auth, commands = ZOS[level]
    both = secured(peers, version, auth=auth)
    for command in commands:
        both.exchange(command, REPLIES[command[:4]])
    return both


@case(30, "the orders of z/OS: TLSRFCLEVEL RFC4217, CCCNONOTIFY and DRAFT")
def zos(gate):
    g = gate()
    for version in VERSIONS:
        for form in ("both sides notify, the client first", "both sides notify, the server first",
                     # CCCNONOTIFY.
                     "nobody notifies"):
            with g.peers(login=False) as p:
                both = zos_login(p, "RFC4217", version)
                # With EPSV4, and then as a client without it.
                read_after_ccc(g, both, form)
                read_again(g, p, "PASV")
        # DRAFT knows no CCC: nothing is to be seen, and nothing opens.
        with g.peers(login=False) as p:
            both = zos_login(p, "DRAFT", version)
            both.exchange("EPSV", "229 ok (|||50000|)")
            if g.open_ports():
                raise Failed("a port is open for what cannot be read")
            both.exchange("QUIT", "221 bye")
        # A peer that can do without it all the same.
        with g.peers(login=False) as p:
            both = zos_login(p, "DRAFT", version)
            read_after_ccc(g, both, "only the server notifies", "PASV")
    g.no_session()
    g.expect_ccc(cleared=8, none=2)
