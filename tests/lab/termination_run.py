"""Runs the cells of `termination_cells`: what the peers do by themselves first, then through ftpgate.

By themselves means: the same client, TLS where it would have TLS, the same server at its defaults.
What fails there but not with a server that takes data connections without session reuse is no
excuse: there a gateway that resumes on the server's side helps, and the cell must pass. What fails
with both is a thing that the peers cannot do.
"""

import collections
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from authority import Authority, server_dns
from cells import CELL_BYTES, SERVERS, converse, reason
from clients import CLIENTS
from lab import Lab
from process import Failed
from report import FAIL, OK, SKIP
from servers import PASSWORD
from terminating import TerminatingLab
from termination_cells import CLEAR, IMPLICIT_SERVERS, MODES
from tls_peers import FTPS_CLIENTS, SecuredTask, check_security

# Those that demand session reuse by default.
STRICT_SERVERS = ("vsftpd", "proftpd")

AT_A_TIME = 3
LOG_LINES = 60

COLUMNS = ("TLS, directly", "intercept", "offload", "in clear, directly", "originate")


def attempt(lab, name, talk, server, roots):
    """One talk in a lab of whichever kind. Returns None, or the exception with its dialogue."""
    host, port = lab.target(server, talk.family)
    folder = f"{lab.folder}/{name}"
    try:
        if talk.start == CLEAR:
            converse(lab.topology, server, talk, folder, host, port)
            return None
        task = converse(lab.topology, server, talk, folder, host, port, FTPS_CLIENTS, SecuredTask,
                        tls=talk.tls, ccc=False, implicit=talk.start == "implicit", roots=roots,
                        name=server_dns(server))
        check_security(task)
    except Exception as error:  # a cell's failure is a result, whatever it is
        return error
    return None


class TerminationRun:
    """The jobs of a run. `direct` holds what the peers do by themselves, once it is measured:
    {talk: (outcome at the server's defaults, outcome without session reuse)}; an outcome is an
    exception or None. `outcomes` holds {mode: {cell: outcome}}."""

    def __init__(self, binary, folder, report, cells):
        self.binary = binary
        self.folder = folder
        self.report = report
        self.cells = cells
        self.direct = Future()
        self.lock = threading.Lock()
        self.outcomes = {mode: {} for mode in MODES}

    def measure_jobs(self):
        """What the others wait for."""
        return [self._measure] * bool(self.cells)

    def jobs(self):
        """To be begun after the measurement."""
        by_place = collections.defaultdict(list)
        for cell in self.cells:
            by_place[cell.place].append(cell)
        return [lambda p=place, c=group: self._place(p, c) for place, group in by_place.items()]

    @staticmethod
    def _each(function, items):
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            return list(pool.map(function, items))

    def _measure(self):
        try:
            self.direct.set_result(self._measure_peers())
        except BaseException as error:
            self.direct.set_exception(error)
            raise

    def _measure_peers(self):
        talks = sorted({cell.talk.directly() for cell in self.cells}, key=str)
        with Lab(f"{self.folder}/tls-plain", servers=()) as lab:
            authority = Authority(f"{self.folder}/tls-plain/authority")
            started, index = {}, 0
            secured = {"tls": True, "authority": authority}
            for kind, names, options in (
                    ("clear", SERVERS, {"tls": None}),
                    ("explicit", SERVERS, secured | {"strict": True}),
                    ("implicit", IMPLICIT_SERVERS, secured | {"strict": True, "implicit": True, "port": 990}),
                    ("explicit-lenient", STRICT_SERVERS, secured | {"strict": False}),
                    ("implicit-lenient", STRICT_SERVERS,
                     secured | {"strict": False, "implicit": True, "port": 990})):
                started[kind] = lab.start_more(kind, names, index, **options)
                index += len(names)

            def measure(pair):
                number, talk = pair
                servers = [started[talk.start][talk.server]]
                if (lenient := started.get(f"{talk.start}-lenient", {}).get(talk.server)):
                    servers.append(lenient)
                errors = []
                for n, server in enumerate(servers):
                    # A failure that does not last says nothing about what the peers can do.
                    tries = (attempt(lab, f"{number}-{n}-{k}", talk, server, authority.roots)
                             for k in range(3))
                    first = next(tries)
                    errors.append(first and next((None for error in tries if error is None), first))
                    if errors[-1] is None:
                        break
                return errors[0], errors[-1]
            return dict(zip(talks, self._each(measure, enumerate(talks)), strict=True))

    def _place(self, place, cells):
        direct = self.direct.result()
        for cell in cells:
            if error := direct[cell.talk.directly()][1]:
                self.report.add(str(cell), SKIP, reason(error))
        able = [cell for cell in cells if direct[cell.talk.directly()][1] is None]
        if not able:
            return
        try:
            with self._lab(place) as lab:
                passed = [cell for cell, well in
                          zip(able, self._each(lambda pair: self._cell(lab, *pair), enumerate(able)),
                              strict=True) if well]
                self._account(lab, place, passed)
        except Exception as error:  # one place that cannot start must not hide the others
            for cell in able:
                self.report.add(str(cell), FAIL, reason(error))

    def _lab(self, place):
        listener = {} if place.client_start == CLEAR else {"client_start": place.client_start}
        options = {}
        if place.server_start != CLEAR:
            listener["server_start"] = place.server_start
            options = {"version": place.server_tls, "implicit": place.server_start == "implicit",
                       "port": place.port}
        servers = IMPLICIT_SERVERS if place.server_start == "implicit" else SERVERS
        return TerminatingLab(f"{self.folder}/tls-{str(place).replace('/', '-')}", self.binary,
                              place.setting, servers, place.mode, listener, server_options=options,
                              capture_ports=(place.port,))

    def _cell(self, lab, number, cell):
        error = attempt(lab, f"{number}", cell.talk, lab.servers[cell.talk.server], lab.roots)
        with self.lock:
            self.outcomes[cell.place.mode][cell] = error
        if error is None:
            self.report.add(str(cell), OK)
            return True
        log = lab.gateway.read_log().splitlines()[-LOG_LINES:]
        details = "\n".join([getattr(error, "dialogue", ""), "--- log of ftpgate", *log])
        self.report.add(str(cell), FAIL, reason(error), details)
        return False

    def _account(self, lab, place, passed):
        try:
            account(lab, place, passed)
        except Exception as error:
            log = "\n".join(lab.gateway.read_log().splitlines()[-LOG_LINES:])
            self.report.add(f"account/tls {place}", FAIL, reason(error), log)
        else:
            self.report.add(f"account/tls {place}", OK)

    def told(self):
        """What the peers do by themselves, a line a talk."""
        for talk, (first, last) in self.direct.result().items() if self.cells else ():
            words = ("well" if first is None else
                     f"only without session reuse: {reason(first)}" if last is None else
                     f"peers cannot: {reason(last)}")
            yield f"{talk}: {words}"

    def rows(self):
        """Rows of the table, a pair each: talks that passed of those tried."""
        if not self.direct.done():
            return
        direct = self.direct.result()
        clients = list(dict.fromkeys([*FTPS_CLIENTS, *CLIENTS]))
        for server, client in ((s, c) for s in SERVERS for c in clients):
            def by_themselves(clear):
                return [first for talk, (first, _) in direct.items()
                        if (talk.server, talk.client) == (server, client) and (talk.start == CLEAR) == clear]

            def through(mode):
                return [error for cell, error in self.outcomes[mode].items()
                        if (cell.talk.server, cell.talk.client) == (server, client)]
            columns = [by_themselves(False), through("intercept"), through("offload"),
                       by_themselves(True), through("originate")]
            if any(columns):
                yield f"| {server} / {client} | " + " | ".join(map(_fraction, columns)) + " |"


def _fraction(outcomes):
    return f"{outcomes.count(None)}/{len(outcomes)}" if outcomes else "–"


def table(run):
    """Server and client against the modes, as Markdown; empty when nothing was run."""
    rows = list(run.rows())
    if not rows:
        return []
    return ["| server / client | " + " | ".join(COLUMNS) + " |", "|---|" + "---|" * len(COLUMNS), *rows]


def account(lab, place, passed):
    """What must be true of ftpgate after these cells."""
    gateway = lab.gateway
    lab.settled()
    if children := gateway.children():
        raise Failed(f"ftpgate has child processes: {children}")
    metrics = gateway.metrics()
    clients = CLIENTS if place.client_start == CLEAR else FTPS_CLIENTS
    uploads = sum(clients[cell.talk.client].uploads for cell in passed)
    # What is read is seen: verbs and bytes of secured sessions no less than of clear ones.
    for verb, least in (("STOR", uploads), ("RETR", len(passed))):
        if (seen := metrics.sum("commands_total", verb=verb)) < least:
            raise Failed(f"{seen:g} x {verb} counted, at least {least} sent")
    for direction, count in (("download", len(passed)), ("upload", uploads)):
        if (carried := metrics.sum("data_bytes_total", direction=direction)) < count * CELL_BYTES:
            raise Failed(f"{carried:g} bytes of {direction} for {count} files of {CELL_BYTES}")
    transfers = uploads + 2 * len(passed)
    if place.client_start != CLEAR and lab.handshakes(side="client", connection="data") < transfers:
        raise Failed(f"too few data handshakes with clients for {transfers} transfers")
    if place.server_start != CLEAR:
        # Servers that insist on it have had it; the others may have.
        insisted = sum(1 + 1 + clients[cell.talk.client].uploads for cell in passed
                       if cell.talk.server in STRICT_SERVERS)
        if (resumed := lab.handshakes(side="server", connection="data", resumed=True)) < insisted:
            raise Failed(f"{resumed:g} data handshakes with servers resumed, at least {insisted} had to be")
    stored = [line for line in lab.audit("transfer")
              if line.get("verb") == "STOR" and line["path"].endswith(".put")]
    if sum(line["upload"] > CELL_BYTES and "user" in line for line in stored) < uploads:
        raise Failed(f"the audit knows {len(stored)} uploads of {uploads}: {stored[:3]}")
    with open(lab.audit_path, encoding="utf-8") as audit:
        texts = {"log": gateway.read_log(), "audit": audit.read()}
    for name, text in texts.items():
        for secret in (PASSWORD, "lab@example.org"):
            if secret in text:
                raise Failed(f"the {name} holds a password")
    if (code := gateway.stop()) != 0:
        raise Failed(f"exit code {code} after SIGTERM")
