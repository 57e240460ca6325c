"""FTPS where the owner has set nothing for it, and where TLS is refused: what peers and owner see."""

import ftplib
import threading
import time

from ccc_cells import CCC_SERVERS, attempt, talks
from cells import Setting, converse
from lab import STEP_LIMIT, Failed, Lab
from process import wait_until
from scenarios import scenario
from tls_peers import TLS_CLIENTS, VERSIONS, SecuredFTP, SecuredTask, sent

PLACES = (Setting("tproxy", "gateway", "kernel"), Setting("tproxy", "gateway", "relay"),
          Setting("direct", "gateway", "kernel"), Setting("direct", "gateway", "relay"))

# Seconds after which a client gives up on a data connection that leads nowhere.
IN_VAIN = 1.5


class Watch(threading.Thread):
    """Looks at ftpgate's sets and maps and at its metrics again and again, for anything open."""

    def __init__(self, lab):
        super().__init__()
        self.lab = lab
        self.looks = 0
        self.found = []
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(0.02):
            self.look()

    def look(self):
        elements = self.lab.open_elements()
        metrics = self.lab.gateway.metrics()
        opened = metrics.sum("pinholes_open") + metrics.sum("pinholes_total")
        if elements or opened:
            self.found.append((elements, opened))
        self.looks += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


def try_in_vain(lab, server, mode, version, failures):
    """One session of ftplib without CCC; says in `failures` what it got to see."""
    ftp = SecuredFTP([], mode, version, reuse=True)
    ftp.timeout = STEP_LIMIT
    got = bytearray()
    with lab.topology.inside("client"):
        try:
            ftp.connect(*lab.target(server))
            ftp.login(server.user, server.password)
            ftp.remember_session()
            ftp.prot_p()
            ftp.voidcmd("TYPE I")
            if ftp.sendcmd("SIZE pub/x") != "213 5000":
                raise Failed("the control connection does not work")
            ftp.timeout = IN_VAIN
            ftp.sock.settimeout(IN_VAIN)
            try:
                ftp.retrbinary("RETR pub/x", got.extend)
            except ftplib.all_errors as error:
                failures.append((server.name, mode, version, str(error)))
                return
        finally:
            ftp.close()
    raise Failed(f"{server.name} {mode}: {len(got)} bytes came through that nobody opened a way for")


@scenario("FTPS without CCC fails and is explained", *PLACES)
def nothing_set(binary, folder, setting):
    with Lab(folder, binary, setting, CCC_SERVERS, server_options={"tls": True}) as lab:
        runs, failures, errors = [], [], []
        for server in lab.servers.values():
            lab.put_file("x", 5000, server)
            for n, mode in enumerate(("PASV", "EPSV", "PORT", "EPRT")):
                runs.append((server, mode, VERSIONS[n % 2]))

        def one(run):
            try:
                try_in_vain(lab, *run, failures)
            except Exception as error:  # told below: a thread cannot raise for the test
                errors.append(error)
        with Watch(lab) as watch:
            threads = [threading.Thread(target=one, args=(run,)) for run in runs]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if errors:
            raise errors[0]
        wait_until(lambda: lab.gateway.metrics().sum("sessions_active") == 0, "a session stays",
                   timeout=10)
        watch.look()
        if watch.found or watch.looks < 10:
            raise Failed(f"open in {watch.looks} looks: {watch.found}")
        if len(failures) != len(runs):
            raise Failed(f"{len(runs)} sessions, of which failed: {failures}")
        if (none := lab.gateway.metrics().sum("ccc_total", outcome="none")) != len(runs):
            raise Failed(f"{none:g} sessions counted as without CCC, {len(runs)} made")
        told = [line for line in lab.gateway.read_log().splitlines()
                if "WARN" in line and "data ports were not visible" in line
                and "did not use CCC" in line and "blind_ports" in line]
        if len(told) != len(runs):
            raise Failed(f"{len(told)} lines of log explain {len(runs)} failures")


@scenario("active mode without CCC fails in spite of blind ports and is explained", *PLACES[::3])
def active_with_blind_ports(binary, folder, setting):
    with Lab(folder, binary, setting, CCC_SERVERS, data={"blind_ports": "60000-60020"},
             server_options={"tls": True, "passive": "60000-60020"}) as lab:
        failures = []
        for server in lab.servers.values():
            lab.put_file("x", 5000, server)
            for mode, version in zip(("PORT", "EPRT"), VERSIONS):
                try_in_vain(lab, server, mode, version, failures)
        made = 2 * len(lab.servers)
        if len(failures) != made:
            raise Failed(f"{made} sessions, of which failed: {failures}")
        wait_until(lambda: lab.gateway.metrics().sum("ccc_total", outcome="none") == made,
                   "the sessions are not counted as without CCC")
        if seen := lab.gateway.metrics().sum("data_connections_total"):
            raise Failed(f"{seen:g} data connections where there can be none")
        told = [line for line in lab.gateway.read_log().splitlines()
                if "WARN" in line and "did not use CCC" in line and "active mode" in line]
        if len(told) != made:
            raise Failed(f"{len(told)} lines of log explain {made} failures")


def fall_back(lab, server, client, mode):
    """A client for which TLS is optional does all its steps in clear text."""
    host, port = lab.target(server)
    talk = Talk(server.name, client, mode)
    task = converse(lab.topology, server, talk, f"{lab.folder}/{server.name}-{client}-{mode}", host,
                    port, TLS_CLIENTS, SecuredTask, ccc=False, optional=True)
    verbs = {verb for verb, _ in sent(task)}
    if verbs - {"AUTH"}:
        raise Failed(f"{server.name} {client}: not a clear session, the client sent {verbs}")
    return "AUTH" in verbs


class Talk:
    """What `converse` wants to know of a talk."""

    family = 4

    def __init__(self, server, client, mode):
        self.server, self.client, self.mode = server, client, mode

    def __str__(self):
        return f"{self.server}/{self.client}/{self.mode}"


@scenario("FTPS refused, clients go on in clear", *PLACES[:3])
def refuse(binary, folder, setting):
    clients = ("curl-passive", "lftp", "kermit")
    with Lab(folder, binary, setting, CCC_SERVERS, tls={"mode": "refuse"},
             server_options={"tls": True}) as lab:
        asked = set()
        for server in lab.servers.values():
            for client in clients:
                for mode in ("PASV", "PORT"):
                    start = time.monotonic()
                    if fall_back(lab, server, client, mode):
                        asked.add(client)
                    # At once, and not after a wait for an answer that does not come.
                    if (took := time.monotonic() - start) > 10:
                        raise Failed(f"{server.name} {client} {mode}: took {took:.0f} s")
        if asked != set(clients):
            raise Failed(f"AUTH was sent by {asked}")
        metrics = lab.gateway.metrics()
        if not metrics.sum("refusals_total", reason="auth_refused"):
            raise Failed("the refusals are not counted")
        # Those that insist give up, and send no password.
        server = lab.servers["proftpd"]
        ftp = SecuredFTP([], "EPSV", "1.3")
        with lab.topology.inside("client"):
            ftp.connect(*lab.target(server))
            try:
                ftp.login(server.user, server.password)
            except ftplib.error_perm as error:
                if not str(error).startswith("502"):
                    raise Failed(f"AUTH was answered with {error}") from error
            else:
                raise Failed("a client that insists on TLS was let in without")
            finally:
                ftp.close()
        if any("USER" in line or "PASS" in line for line in ftp.dialogue):
            raise Failed(f"the client sent {ftp.dialogue}")




@scenario("data.mode converts after CCC", "passive", "active")
def converts(binary, folder, towards_server):
    """The data connections are TLS end to end, whoever dials: the client is TLS's client always."""
    wanted = {("proftpd", "lftp", "1.3"), ("pure-ftpd", "ftplib", "1.2")}
    modes = ("PORT", "EPRT") if towards_server == "passive" else ("PASV", "EPSV")
    with Lab(folder, binary, PLACES[3], CCC_SERVERS, data={"mode": towards_server},
             server_options={"tls": True}) as lab:
        for number, talk in enumerate(talks()):
            if (talk.server, talk.client, talk.tls) in wanted and talk.mode in modes:
                if error := attempt(lab, f"{number}", talk):
                    error.notes = getattr(error, "dialogue", "").splitlines()
                    raise error
