"""What the checks in namespaces share: settings, peers that send small segments, and what must not be."""

import socket

from cells import Setting
from process import Failed, wait_until
from scripted import Peers
from topology import GATEWAY, HOST

NAT = Setting("tproxy", "gateway", "kernel")
OWN = Setting("tproxy", "client", "kernel")
FRONT = Setting("direct", "gateway", "kernel")
REDIRECT = Setting("redirect", "gateway", "kernel")

CLIENT = HOST["client", 4]

# The kernel's least, TCP_MIN_MSS: what a peer can make the other side's stack cut lines into.
SEGMENT = 88


def small_segments(lab):
    """A session of peers whose every segment is as small as TCP lets it be, in both directions."""
    listener = lab.listeners[4]
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)

    def connect():
        with lab.topology.inside("client"):
            sock = socket.socket()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
            sock.settimeout(5)
            sock.connect(lab.target(lab.server))
            return sock
    return Peers(connect, listener, login=True)


def never_opened(lab):
    """Not one pinhole was opened since the start, in the table and in the gateway's own words."""
    if found := lab.open_elements():
        raise Failed(f"in the table: {found}")
    if total := lab.gateway.metrics().sum("pinholes_total"):
        raise Failed(f"{total:g} pinholes were opened")


def nothing_open(lab):
    wait_until(lambda: not lab.open_elements(), f"in the table: {lab.open_elements()}")
    wait_until(lambda: lab.gateway.metrics().sum("pinholes_open") == 0, "pinholes_open is not 0")


def no_session(lab):
    wait_until(lambda: lab.gateway.metrics().sum("sessions_active") == 0, "the session stays", timeout=10)
    nothing_open(lab)


def dialled(setting, server):
    """The address that the client dialled, and so has to be told."""
    return GATEWAY["client", 4] if setting.capture == "direct" else server
