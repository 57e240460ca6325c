"""Cases about limits and state around TLS: floods, timeouts, REIN, handshakes that never end."""

import time

from ccc_forms import FORMS
from adversary import case
from adversary.commands import refused_by_gateway
from adversary.tls import read_after_ccc
from process import Failed
from scripted_tls import SecuredPeers, in_tls


@case(22, "records without end to a client that does not read")
def flood(gate):
    g = gate()
    before = g.memory()
    for name in ("client", "server"):
        with g.peers(login=False) as p:
            in_tls(p, "1.3")
            sender, _ = p.ends(name)
            sender.sock.settimeout(0.5)
            record = b"\x17\x03\x03\x40\x00" + b"x" * (1 << 14)
            sent = 0
            try:
                while sent < 256 << 20:
                    sent += sender.sock.send(record * 16)
            except TimeoutError:
                pass  # nobody takes any more: what is wanted
            else:
                raise Failed(f"{sent} bytes were taken that nobody has read")
            g.grown_at_most(before)
    g.never_opened()
    g.no_session()


@case(36, "REIN after CCC")
def rein(gate):
    for required in (False, True):
        g = gate(tls={"mode": "passthrough", "required": required})
        with g.peers(login=False) as p:
            both = in_tls(p, "1.3")
            read_after_ccc(g, both, "nobody notifies")
            p.exchange("REIN", "220 anew")
            # Nobody is logged in any more, and a login in clear is under the same rule as the first.
            refused_by_gateway(p, "EPSV", "530")
            if required:
                refused_by_gateway(p, "USER x", "530")
            both = in_tls(p, "1.2")
            read_after_ccc(g, both, "both sides notify, the client first", "PASV")
        g.no_session()
        g.expect_ccc(cleared=2)


@case(45, "the handshake stalls")
def stalls(gate):
    g = gate(limits={"login_timeout": "1s"})
    for silent in ("client", "server"):
        with g.peers(login=False) as p:
            p.exchange("AUTH TLS", "234 go")
            if silent == "server":
                SecuredPeers(p, "1.3").hello()
            p.closed()
    g.never_opened()
    g.no_session()


@case(44, "timeouts where nothing can be read, and again after CCC")
def timeouts(gate):
    """A long transfer inside TLS looks like silence; neither limit can judge it."""
    g = gate(limits={"login_timeout": "1s", "idle_timeout": "1s"})
    with g.peers(login=False) as p:
        both = in_tls(p, "1.3")
        time.sleep(2.5)
        both.exchange("NOOP", "200 still here")
        FORMS["nobody notifies"](both, "NOOP")
        p.say("200 in clear")
        # What can be read is under the limit again.
        p.client.expect_code("421")
        p.client.closed()
        p.server.closed()
    g.no_session()
    g.expect_ccc(cleared=1)
