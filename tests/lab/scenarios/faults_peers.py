"""SIGKILL at every step of a transfer (case 47), and peers that vanish at every step (case 45)."""

import contextlib
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
GONE_WITHIN = 60.0


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

    def is_reset(self, name):
        """Neither side may take it for whole."""
        for end in (self.near, self.far):
            try:
                end.read_to_end()
            except ConnectionResetError:
                continue
            raise Failed(f"{name}: a transfer that was cut is seen as one that ended in order")

    def close(self):
        if self.opening:
            self.opening.close()


@contextlib.contextmanager
def at_every_step(lab):
    """Sessions side by side, one for each mode and step. Yields [(name, mode, step, peers, what is open)]."""
    with contextlib.ExitStack() as stack:
        sessions = []
        for mode, step in itertools.product(MODES, STEPS):
            peers = stack.enter_context(lab.peers())
            at = Step(lab, peers, mode, step)
            stack.callback(at.close)
            sessions.append((f"{mode}, {step}", step, peers, at))
        yield sessions


@scenario("faults: case 47: SIGKILL at every step of a transfer", *BOTH)
def killed(binary, folder, setting):
    kernel = setting.path == "kernel"
    with lab_of(folder, binary, setting) as lab:
        with at_every_step(lab) as sessions:
            lab.gateway.process.kill()
            if "ftpgate" in tables(lab):
                raise Failed("the table outlives the process")
            for name, step, peers, at in sessions:
                peers.client.closed()
                if step == "offered":
                    at.opening.try_again(0.3)
                elif step == "data" and kernel:
                    at.moves()
                elif step == "data":
                    at.is_reset(name)
            lab.gateway.process.stop()
            lab.gateway.start()
            if tables(lab).count("ftpgate") != 1 or lab.open_elements():
                raise Failed("the successor's table is not its own")
            for _, step, _, at in sessions:
                if step == "offered":
                    at.opening.try_again(0.3)
                    at.opening.nothing_arrived()
                elif step == "data" and kernel:
                    at.moves()
        for mode in MODES:
            with lab.peers() as peers:
                at = Step(lab, peers, mode, "data")
                at.moves()
                at.close()


@scenario("faults: case 45: a peer vanishes at every step of a transfer",
          *itertools.product(("client", "server"), (Setting("tproxy", "gateway", "kernel"),
                                                    Setting("direct", "client", "relay"))))
def vanished(binary, folder, parameter):
    who, setting = parameter
    limits = {"idle_timeout": "6s", "login_timeout": "7s"}
    with lab_of(folder, binary, setting, limits=limits, open_timeout="5s",
                data={"idle_timeout": "6s"}) as lab:
        rest = Rest(lab)
        with at_every_step(lab) as sessions:
            vanish(lab.topology, who)
            held = rest.held()
            if held["sessions_active"] != len(sessions) or held["data_connections_active"] < len(MODES):
                raise Failed(f"they have not come so far: {held}")
            try:
                rest.again(GONE_WITHIN)
            finally:
                come_back(lab.topology, who)


@scenario("faults: case 45: a peer vanishes, with the timeouts as they are", "client", "server", full=True)
def vanished_long(binary, folder, who):
    """Keepalive and the user timeout end a silent control connection: two minutes, and some for the rest."""
    with lab_of(folder, binary, Setting("tproxy", "gateway", "relay")) as lab:
        rest = Rest(lab)
        with lab.peers() as peers:
            peers.exchange("NOOP", "200 here")
            vanish(lab.topology, who)
            wait_until(lambda: rest.held() == rest.before, "the session stays", 150)
