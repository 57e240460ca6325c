"""FTPS with CCC between a scripted client and a scripted server, in every form of `ccc_forms`.

The first line in clear is the data command itself: the hardest place for a gateway, and the one in
which the kernel's helper, which goes by where a line has ended before, differs from one that
follows TLS records. As with real peers, each form is tried through plain routing, the kernel's
helper and ftpgate; here with namespaces, NAT and the kernel's data path, while `adversary/tls.py`
tries more of them on loopback.
"""

import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ccc_cells import CCC_SETTINGS, LOG_LINES
from ccc_forms import FORMS
from cells import Setting, reason
from clients import MODES
from kernel_alg import PLACES, AlgLab, measured
from lab import Lab
from process import Failed, wait_until
from report import FAIL, OK
from scripted import Peers, comma, extended_port, host_port
from scripted_tls import in_tls
from tls_peers import VERSIONS
from topology import HOST, server_address

CLIENT = HOST["client", 4]
PAYLOAD = bytes(range(256)) * 300

# Seconds for a data connection, which a gateway that has not read the line drops.
IN_VAIN = 0.5


@dataclass(frozen=True)
class ScriptedCell:
    """A form in one version of TLS through ftpgate in one setting, in all four modes."""

    form: str
    tls: str
    setting: Setting

    def __str__(self):
        return f"ccc/scripted/{self.form}/tls{self.tls}/{self.setting}"


def covering_set():
    return [ScriptedCell(form, tls, setting) for setting in CCC_SETTINGS for form in FORMS
            for tls in VERSIONS]


@dataclass(frozen=True)
class StandIn:
    """Stands in for a daemon in `Lab.servers`: an address of its own for each mode."""

    name: str
    index: int
    port: int = 21
    home: str = "/nonexistent"

    def address(self, family):
        return server_address(self.index, family)


STAND_INS = {mode: StandIn(f"scripted-{mode}", n) for n, mode in enumerate(MODES)}


def converse(lab, listener, form, tls, mode):
    """One session: login in TLS, CCC, a transfer, and on. Raises what was seen instead."""
    server = STAND_INS[mode].address(4)
    target = lab.target(STAND_INS[mode])
    passive = mode in ("PASV", "EPSV")
    side, host = ("server", server) if passive else ("client", CLIENT)
    with (lab.topology.listen(side, host) as awaiting,
          Peers(lambda: lab.topology.connect("client", target), listener) as p):
        own = awaiting.getsockname()[1]
        first = {"PORT": f"PORT {comma(CLIENT, own)}",
                 "EPRT": f"EPRT |1|{CLIENT}|{own}|"}.get(mode, mode)
        seen = FORMS[form](in_tls(p, tls), first)
        if passive:
            if seen != first.encode() + b"\r\n":
                raise Failed(f"the server sees {seen!r}")
            p.server.send(f"227 ok ({comma(server, own)})" if mode == "PASV" else f"229 ok (|||{own}|)")
            line = p.client.line()
            address = host_port(line) if mode == "PASV" else (target[0], extended_port(line))
            source = None
        else:
            address = (host_port(seen) if mode == "PORT"
                       else (seen.split(b"|")[2].decode(), extended_port(seen)))
            source = (server, 0)
            p.say("200 ok")
        p.exchange("RETR x", "150 here")
        near = p.data(side, lab.topology.connect("client" if passive else "server", address,
                                                 IN_VAIN, source))
        far = p.accept(awaiting, side)
        for here, there in ((near, far), (far, near)):
            here.sock.sendall(PAYLOAD)
            if there.read(len(PAYLOAD)) != PAYLOAD:
                raise Failed("the contents differ")
        near.close()
        far.close()
        p.say("226 done")
        p.exchange("QUIT", "221 bye")


class ScriptedRun:
    """The jobs of a run, and what came of them: {way: {(form, tls, mode, setting): outcome}}."""

    def __init__(self, binary, folder, report, cells):
        self.binary = binary
        self.folder = folder
        self.report = report
        self.cells = cells
        self.pairs = sorted({(cell.form, cell.tls) for cell in cells})
        self.lock = threading.Lock()
        self.ways = {}

    def jobs(self):
        settings = [s for s in CCC_SETTINGS if any(cell.setting == s for cell in self.cells)]
        ways = [self._measure_peers, *(functools.partial(self._measure_alg, p) for p in PLACES)]
        return [functools.partial(self._setting, s) for s in settings] + ways * bool(settings)

    def _every_mode(self, lab, pairs):
        """{(form, tls, mode): exception or None}, the modes at a time."""
        def one_mode(mode):
            with lab.topology.listen("server", STAND_INS[mode].address(4), 21) as listener:
                return {(form, tls, mode): self._try(lab, listener, form, tls, mode)
                        for form, tls in pairs}
        with ThreadPoolExecutor(len(MODES)) as pool:
            return {key: error for part in pool.map(one_mode, MODES) for key, error in part.items()}

    @staticmethod
    def _try(lab, listener, form, tls, mode):
        try:
            converse(lab, listener, form, tls, mode)
        except Exception as error:  # a cell's failure is a result, whatever it is
            return error
        return None

    def _measure_peers(self):
        with Lab(f"{self.folder}/scripted-plain", servers=(), stand_ins=STAND_INS) as lab:
            self._keep("direct", self._every_mode(lab, self.pairs))

    @measured
    def _measure_alg(self, place):
        with AlgLab(f"{self.folder}/scripted-alg-{place}", place, stand_ins=STAND_INS) as lab:
            self._keep(f"alg-{place}", self._every_mode(lab, self.pairs))

    def _keep(self, way, outcomes, setting=None):
        with self.lock:
            self.ways.setdefault(way, {}).update(
                {(*key, setting): error for key, error in outcomes.items()})

    def _setting(self, setting):
        cells = [cell for cell in self.cells if cell.setting == setting]
        pairs = [(cell.form, cell.tls) for cell in cells]
        name = f"scripted-{setting}".replace("/", "-")
        try:
            with Lab(f"{self.folder}/{name}", self.binary, setting, servers=(),
                     stand_ins=STAND_INS) as lab:
                outcomes = self._every_mode(lab, pairs)
                self._keep(setting.path, outcomes, setting)
                for cell in cells:
                    self._tell(cell, outcomes, lab.gateway)
                self._account(lab, outcomes)
        except Exception as error:  # one setting that cannot start must not hide the others
            self.report.add(f"account/ccc scripted {setting}", FAIL, reason(error))

    def _tell(self, cell, outcomes, gateway):
        failed = {mode: error for mode in MODES if (error := outcomes[cell.form, cell.tls, mode])}
        if not failed:
            self.report.add(str(cell), OK)
            return
        notes = [line for error in failed.values() for line in (str(error), *getattr(error, "notes", []))]
        log = gateway.read_log().splitlines()[-LOG_LINES:]
        self.report.add(str(cell), FAIL, "; ".join(f"{m}: {reason(e)}" for m, e in failed.items()),
                        "\n".join([*notes, "--- log of ftpgate", *log]))

    def _account(self, lab, outcomes):
        """One pinhole for each transfer, each used; nothing is left."""
        name = f"account/ccc scripted {lab.setting}"
        passed = list(outcomes.values()).count(None)
        try:
            wait_until(lambda: lab.gateway.metrics().sum("sessions_active") == 0, "a session stays")
            wait_until(lambda: not lab.open_elements(), "elements are left in the table")
            metrics = lab.gateway.metrics()
            for what, found in (("sessions cleared", metrics.sum("ccc_total", outcome="cleared")),
                                ("pinholes used", metrics.sum("pinholes_total", outcome="used"))):
                if found != passed:
                    raise Failed(f"{what}: {found:g}, but {passed} sessions passed")
        except Failed as error:
            self.report.add(name, FAIL, reason(error))
        else:
            self.report.add(name, OK)

    def rows(self, ways):
        """Rows of the table: transfers that passed of those tried, both versions of TLS together."""
        for form in FORMS:
            cells = []
            for way in ways:
                found = [error for key, error in self.ways.get(way, {}).items() if key[0] == form]
                cells.append(f"{found.count(None)}/{len(found)}" if found else "–")
            if any(cell != "–" for cell in cells):
                yield f"| scripted: {form} / 1.2, 1.3 | " + " | ".join(cells) + " |"
