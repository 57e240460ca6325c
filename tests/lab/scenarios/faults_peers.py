"""SIGKILL at every step of a transfer (case 47), and peers that vanish at every step (case 45)."""

import itertools

from cells import Setting
from faults import Rest, come_back, vanish
from lab import Failed
from process import wait_until
from scenarios import scenario
from scenarios.faults import BOTH, tables
from scenarios.pinholes import Opening, lab_of

STEPS = ("logged in", "offered", "data", "ended")
MODES = ("PASV", "EPRT")

# Far above the timeouts that are set here, which end a session one after the other.
GONE_WITHIN = 30.0


class Step:
    """A session of which so much has happened."""

    def __init__(self, lab, peers, mode, step):
        self.opening = self.near = self.far = None
        if step == "logged in":
            return
        self.opening = Opening(lab, peers, mode, 4)
        if step == "offered":
            return
        peers.exchange("RETR x", "150 here")
        self.near, self.far = self.opening.use()
        self.near.send(b"so far")
        if self.far.read(6) != b"so far":
            raise Failed("the contents differ")
        if step == "ended":
            self.near.close()
            self.far.read_to_end()
            self.far.close()

    def moves(self):
        for one, two in ((self.near, self.far), (self.far, self.near)):
            one.send(b"still here")
            if two.read(10) != b"still here":
                raise Failed("the contents differ")

    def is_reset(self):
        """Neither side may take it for whole."""
        for end in (self.near, self.far):
            try:
                end.read_to_end()
            except ConnectionResetError:
                continue
            raise Failed("a transfer that was cut is seen as one that ended in order")

    def close(self):
        if self.opening:
            self.opening.close()


@scenario("faults: case 47: SIGKILL at every step of a transfer", *BOTH)
def killed(binary, folder, setting):
    with lab_of(folder, binary, setting) as lab:
        for mode, step in itertools.product(MODES, STEPS):
            with lab.peers() as peers:
                at = Step(lab, peers, mode, step)
                lab.gateway.process.kill()
                if "ftpgate" in tables(lab):
                    raise Failed(f"{mode}, {step}: the table outlives the process")
                if step == "offered":
                    at.opening.try_again(0.3)
                    at.opening.nothing_arrived()
                elif step == "data" and setting.path == "kernel":
                    at.moves()
                elif step == "data":
                    at.is_reset()
                peers.client.closed()
                lab.gateway.process.stop()
                lab.gateway.start()
                if tables(lab).count("ftpgate") != 1 or lab.open_elements():
                    raise Failed(f"{mode}, {step}: the successor's table is not its own")
                if step == "offered":
                    at.opening.try_again(0.3)
                    at.opening.nothing_arrived()
                elif step == "data" and setting.path == "kernel":
                    at.moves()
                at.close()
            with lab.peers() as peers:
                at = Step(lab, peers, mode, "data")
                at.moves()
                at.close()


@scenario("faults: case 45: a peer vanishes at every step of a transfer",
          *itertools.product(("client", "server"), (Setting("tproxy", "gateway", "kernel"),
                                                    Setting("direct", "client", "relay"))))
def vanished(binary, folder, parameter):
    who, setting = parameter
    limits = {"idle_timeout": "2s", "login_timeout": "3s"}
    with lab_of(folder, binary, setting, limits=limits, open_timeout="1s",
                data={"idle_timeout": "2s"}) as lab:
        rest = Rest(lab)
        for mode, step in itertools.product(MODES, STEPS):
            with lab.peers() as peers:
                at = Step(lab, peers, mode, step)
                vanish(lab.topology, who)
                try:
                    wait_until(lambda: lab.gateway.metrics().sum("sessions_active") == 0,
                               f"{mode}, {step}: the session stays", GONE_WITHIN)
                    wait_until(lambda: rest.held() == rest.before,
                               f"{mode}, {step}: something stays", GONE_WITHIN)
                finally:
                    come_back(lab.topology, who)
                at.close()


@scenario("faults: case 45: a peer vanishes, with the timeouts as they are", "client", "server", full=True)
def vanished_long(binary, folder, who):
    """Keepalive and the user timeout end a silent control connection: two minutes, and some for the rest."""
    with lab_of(folder, binary, Setting("tproxy", "gateway", "relay")) as lab:
        rest = Rest(lab)
        with lab.peers() as peers:
            peers.exchange("NOOP", "200 here")
            vanish(lab.topology, who)
            wait_until(lambda: rest.held() == rest.before, "the session stays", 150)
