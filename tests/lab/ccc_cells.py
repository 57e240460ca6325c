"""The cells of FTPS with CCC: the control connection comes back in clear text, data stays in TLS.

A talk is what two peers say to each other; it is measured three ways: through plain routing, which
tells what the peers can do by themselves, through the kernel's own helper, which is only compared
with, and through ftpgate, where a talk that the peers can do must pass.

- Each talk goes through ftpgate on both data paths; the places where the gateway can stand (in
  front of clients, in front of a server with or without the clients' addresses) take turns.
- Two pairs that can do most, with different libraries of TLS on the client's side (GnuTLS in lftp,
  OpenSSL in Python), are tried in every setting.
"""

import collections
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from cells import PATHS, Setting, converse, reason
from kernel_alg import PLACES, AlgLab, measured
from lab import Lab
from process import Failed, wait_until
from report import FAIL, OK, SKIP
from servers import PASSWORD
from tls_peers import TLS_CLIENTS, VERSIONS, SecuredTask, check_security

CCC_SERVERS = ("proftpd", "pure-ftpd")
THOROUGH = (("proftpd", "lftp"), ("pure-ftpd", "ftplib"))

# In front of clients (they dial the server's own address); in front of a server (they dial the
# gateway's), which sees the gateway or the client.
STANDS = (("tproxy", "gateway"), ("direct", "gateway"), ("direct", "client"))
CCC_SETTINGS = tuple(Setting(*stand, path) for stand in STANDS for path in PATHS)

# The columns of the table.
WAYS = {"direct": "direct",
        "alg-clients": "kernel's helper, in front of clients",
        "alg-server": "kernel's helper, in front of a server",
        "kernel": "ftpgate, kernel path", "relay": "ftpgate, relay path"}

# How many cells run at a time in one set of namespaces: most of their time is waiting.
AT_A_TIME = 3
LOG_LINES = 60


@dataclass(frozen=True)
class CccTalk:
    """What the two peers say to each other."""

    server: str
    client: str
    tls: str
    prot: str
    mode: str
    family: int

    def __str__(self):
        return (f"ccc/{self.server}/{self.client}/tls{self.tls}/prot{self.prot}/{self.mode}"
                f"/v{self.family}")


@dataclass(frozen=True)
class CccCell:
    """A talk through ftpgate in one setting."""

    setting: Setting
    talk: CccTalk

    def __str__(self):
        return f"{self.talk}/{self.setting}"


def talks():
    """Every talk over IPv4 with protected data; of IPv6 and of clear data only a few."""
    found = [CccTalk(server, client.name, tls, "P", mode, 4)
             for server in CCC_SERVERS for client in TLS_CLIENTS.values()
             for tls in VERSIONS for mode in client.modes[4]]
    for n, (server, client) in enumerate(THOROUGH):
        found += [CccTalk(server, client, VERSIONS[n], "P", mode, 6) for mode in ("EPSV", "EPRT")]
        found += [CccTalk(server, client, VERSIONS[1 - n], "C", mode, 4) for mode in ("PASV", "PORT")]
    return found


def covering_set():
    """The cells of a full run, in the order of the settings."""
    cells, dealt = [], 0
    for talk in talks():
        if (talk.server, talk.client) in THOROUGH and talk.family == 4 and talk.prot == "P":
            cells += [CccCell(setting, talk) for setting in CCC_SETTINGS]
            continue
        cells += [CccCell(Setting(*STANDS[(dealt + n) % len(STANDS)], path), talk)
                  for n, path in enumerate(PATHS)]
        dealt += 1
    return sorted(cells, key=lambda cell: CCC_SETTINGS.index(cell.setting))


def attempt(lab, name, talk):
    """One talk in a lab of whichever kind. Returns None, or the exception with its dialogue."""
    server = lab.servers[talk.server]
    host, port = lab.target(server, talk.family)
    try:
        task = converse(lab.topology, server, talk, f"{lab.folder}/{name}", host, port,
                        TLS_CLIENTS, SecuredTask, tls=talk.tls, prot=talk.prot)
        check_security(task)
    except Exception as error:  # a cell's failure is a result, whatever it is
        return error
    return None


class CccRun:
    """The jobs of a run. `ways` holds what came of them: {way: {talk: exception or None}}."""

    def __init__(self, binary, folder, report, cells):
        self.binary = binary
        self.folder = folder
        self.report = report
        self.cells = cells
        self.talks = sorted({cell.talk for cell in cells}, key=str)
        self.plain = Future()      # {talk: exception or None}
        self.lock = threading.Lock()
        self.ways = collections.defaultdict(dict)

    def measure_jobs(self):
        """What the others wait for."""
        return [self._measure_peers] * bool(self.cells)

    def jobs(self):
        """To be begun after the measurement."""
        if not self.cells:
            return []
        by_setting = collections.defaultdict(list)
        for cell in self.cells:
            by_setting[cell.setting].append(cell)
        return [*(lambda s=setting, c=group: self._setting(s, c)
                  for setting, group in by_setting.items()),
                *(lambda p=place: self._measure_alg(p) for place in PLACES)]

    def _each(self, function, items):
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            return list(pool.map(function, items))

    def _measure_peers(self):
        def twice(pair):
            # A failure that does not last says nothing about what the peers can do.
            number, talk = pair
            return attempt(lab, f"{number}-1", talk) and attempt(lab, f"{number}-2", talk)
        try:
            with Lab(f"{self.folder}/ccc-plain", servers=CCC_SERVERS, server_options={"tls": True}) as lab:
                outcomes = self._each(twice, enumerate(self.talks))
            self.ways["direct"] = dict(zip(self.talks, outcomes, strict=True))
            self.plain.set_result(self.ways["direct"])
        except BaseException as error:
            self.plain.set_exception(error)
            raise

    @measured
    def _measure_alg(self, place):
        able = [talk for talk in self.talks if self.plain.result()[talk] is None]
        with AlgLab(f"{self.folder}/ccc-alg-{place}", place, CCC_SERVERS) as lab:
            outcomes = self._each(lambda pair: attempt(lab, f"{pair[0]}", pair[1]), enumerate(able))
        self.ways[f"alg-{place}"] = dict(zip(able, outcomes, strict=True))

    def _setting(self, setting, cells):
        plain = self.plain.result()
        for cell in cells:
            if plain[cell.talk] is not None:
                self.report.add(str(cell), SKIP, reason(plain[cell.talk]))
        able = [cell for cell in cells if plain[cell.talk] is None]
        try:
            name = f"ccc-{setting}".replace("/", "-")
            with Lab(f"{self.folder}/{name}", self.binary, setting, CCC_SERVERS,
                     server_options={"tls": True}) as lab:
                passed = self._each(lambda pair: self._cell(lab, *pair), enumerate(able))
                self._account(lab, sum(passed))
        except Exception as error:  # one setting that cannot start must not hide the others
            for cell in able:
                self.report.add(str(cell), FAIL, reason(error))

    def _cell(self, lab, number, cell):
        error = attempt(lab, f"{number}", cell.talk)
        with self.lock:
            self.ways[cell.setting.path][cell] = error
        if error is None:
            self.report.add(str(cell), OK)
            return True
        log = lab.gateway.read_log().splitlines()[-LOG_LINES:]
        details = "\n".join([getattr(error, "dialogue", ""), "--- log of ftpgate", *log])
        self.report.add(str(cell), FAIL, reason(error), details)
        return False

    def _account(self, lab, passed):
        """What must be true of ftpgate after cells of which so many passed."""
        try:
            account(lab, passed)
        except Exception as error:
            log = "\n".join(lab.gateway.read_log().splitlines()[-LOG_LINES:])
            self.report.add(f"account/ccc {lab.setting}", FAIL, reason(error), log)
        else:
            self.report.add(f"account/ccc {lab.setting}", OK)

    def rows(self, ways):
        """Rows of the table: talks that passed of those tried, a row for each pair and version."""
        rows = {}
        for talk in self.talks:
            rows.setdefault((talk.server, talk.client, talk.tls), []).append(talk)
        for (server, client, tls), talks_of_row in sorted(rows.items()):
            cells = [_fraction(self.ways[way], talks_of_row) for way in ways]
            yield f"| {server} / {client} / {tls} | " + " | ".join(cells) + " |"


def table(*runs):
    """Server, client and version of TLS against the ways, as Markdown; empty when nothing was run."""
    rows = [row for run in runs for row in run.rows(WAYS)]
    if not rows:
        return []
    return ["| server / client / TLS | " + " | ".join(WAYS.values()) + " |",
            "|---|" + "---|" * len(WAYS), *rows]


def _fraction(outcomes, talks_of_row):
    """`outcomes`: {talk or cell: exception or None}."""
    tried = [error for key, error in outcomes.items() if getattr(key, "talk", key) in talks_of_row]
    return f"{tried.count(None)}/{len(tried)}" if tried else "–"


def account(lab, passed):
    """No pinhole outlives its session, every passed cell is counted as a return to clear text."""
    gateway = lab.gateway
    wait_until(lambda: gateway.metrics().sum("sessions_active") == 0, "sessions_active is not 0",
               timeout=10)
    wait_until(lambda: not lab.open_elements(), "elements are left in the table")
    metrics = gateway.metrics()
    if metrics.sum("pinholes_open") != 0:
        raise Failed("pinholes_open is not 0")
    if metrics.sum("control_protection") != 0:
        raise Failed("control_protection still counts a session")
    if (cleared := metrics.sum("ccc_total", outcome="cleared")) < passed:
        raise Failed(f"{cleared:g} sessions counted as cleared, {passed} cells passed")
    if gateway.children():
        raise Failed("ftpgate has child processes")
    if PASSWORD in gateway.read_log():
        raise Failed("the log holds a password")
