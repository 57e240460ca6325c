"""Cases about who connects and how things end, in namespaces with nftables: strangers, silence, kill -9."""

import contextlib
import time

from adversary import in_lab
from adversary.kernel import CLIENT, FRONT, NAT, OWN, no_session, nothing_open
from cells import Setting
from lab import refused
from process import Failed, wait_until
from scenarios.pinholes import Opening
from scripted import End, comma
from topology import GATEWAY, server_address

RELAY = Setting("tproxy", "gateway", "relay")

SILENCE = """table inet silence {
    chain in { type filter hook input priority 0; policy drop; }
    chain out { type filter hook output priority 0; policy drop; }
}
"""


@contextlib.contextmanager
def gone(lab, name):
    """The host is gone without a FIN: not a packet in or out."""
    lab.topology.nft(name, SILENCE)
    try:
        yield
    finally:
        lab.topology.nft(name, "delete table inet silence\n")


@in_lab(10, "another address of the same server's, a storm of strangers, and then the rightful one", NAT, OWN, FRONT)
def many_strangers(lab):
    for mode in ("PORT", "EPRT", "PASV", "EPSV"):
        with lab.peers() as p:
            opening = Opening(lab, p, mode, 4)
            others = ([("server", (server_address(1, 4), 0)), ("stranger", None)]
                      if opening.dialling == "server" else [("client2", None)])
            for _ in range(8):
                for name, source in others:
                    refused(lab.topology, name, opening.address, 0.1, source)
            opening.nothing_arrived()
            opening.bears()
            opening.close()
    no_session(lab)


@in_lab(11, "a refused PORT, EPRT, PASV, EPSV after an accepted one: both are gone", NAT, OWN, FRONT)
def refused_after_accepted(lab):
    with lab.peers() as p:
        opening = Opening(lab, p, "PASV", 4)
        p.exchange("EPSV", "500 no")
        nothing_open(lab)
        opening.shut()
        opening = Opening(lab, p, "PORT", 4)
        p.client.send(f"EPRT |1|{CLIENT}|40009|")
        p.server.line()
        p.say("425 no")
        nothing_open(lab)
        opening.shut()


@in_lab(43, "two ports for three sessions: 425, and the first two are unharmed", NAT, FRONT,
        data={"ports": "50000-50001"})
def exhausted(lab):
    with lab.peers() as one, lab.peers() as two, lab.peers() as three:
        first, second = Opening(lab, one, "PORT", 4), Opening(lab, two, "PORT", 4)
        for _ in range(3):
            three.answered(f"PORT {comma(CLIENT, 40000)}", "425", "421")
        three.server.silent(0.2)
        for opening in (first, second):
            opening.bears("an earlier session suffers")
            opening.close()
    no_session(lab)


@in_lab(45, "a peer is gone without a FIN, at every step of a transfer", NAT, RELAY,
        open_timeout="1s", limits={"idle_timeout": "1s", "login_timeout": "1s"}, data={"idle_timeout": "1s"})
def vanished(lab):
    before = lab.gateway.metrics().sum("ports_free")
    for name in ("client", "server"):
        for step in ("greeted", "login", "opened", "command"):
            with lab.peers(login=step != "greeted") as p:
                opening = Opening(lab, p, "PORT", 4) if step in ("opened", "command") else None
                if step == "command":
                    p.exchange("RETR x", "150 here")
                with gone(lab, name):
                    wait_until(lambda: lab.gateway.metrics().sum("sessions_active") == 0,
                               f"{name}, {step}: the session stays", timeout=20)
                    nothing_open(lab)
                if opening:
                    opening.close()
    wait_until(lambda: lab.gateway.metrics().sum("ports_free") == before, "ports are lost", timeout=15)


@in_lab(47, "kill -9 at every step, and the next start", NAT, FRONT)
def killed(lab):
    def restart():
        lab.gateway.process.stop()
        lab.gateway.start()

    for step in ("greeted", "login", "asked", "PASV", "EPSV", "PORT", "EPRT", "command", "data"):
        with lab.peers(login=step != "greeted") as p:
            opening = None
            if step == "asked":
                p.ask("PASV")
            elif step in ("command", "data"):
                opening = Opening(lab, p, "PASV", 4)
                p.exchange("RETR x", "150 here")
            elif step.isupper():
                opening = Opening(lab, p, step, 4)
            ends = opening.use() if step == "data" else None
            lab.gateway.process.kill()
            wait_until(lambda: not lab.gateway.process.alive(), "it lives")
            if lab.table() is not None:
                raise Failed(f"{step}: the table outlives the process")
            if ends:
                near, far = ends
                far.send(b"goes on")
                if near.read(7) != b"goes on":
                    raise Failed("the running transfer was harmed")
            elif opening:
                opening.shut()
            restart()
            nothing_open(lab)
            if ends:
                # Beside the new table as well.
                near.send(b"and on")
                if far.read(6) != b"and on":
                    raise Failed("the running transfer was harmed by the restart")
            elif opening:
                opening.shut()
            if opening:
                opening.close()
    with lab.peers() as p:
        Opening(lab, p, "PASV", 4).bears("the next session does not work")


@in_lab(48, "a client dials the gateway's own listener, and each of its addresses", NAT, OWN)
def to_itself(lab):
    for name, sides in (("client", ("client", "server")), ("server", ("server",))):
        for host in (GATEWAY[side, 4] for side in sides):
            begin = time.monotonic()
            with lab.topology.connect(name, (host, 2121)) as sock:
                End(name, sock, []).closed()
            if time.monotonic() - begin > 8:
                raise Failed(f"{name} to {host}: closed late")
    wait_until(lambda: lab.gateway.metrics().sum("sessions_active") == 0, "sessions stay")
    if (count := lab.gateway.metrics().sum("sessions_total")) > 3:
        raise Failed(f"{count:g} sessions out of three connections")
