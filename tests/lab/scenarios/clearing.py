"""CCC where TLS ends at the gateway: each side comes back to clear text, or stays, by itself."""

from dataclasses import dataclass

from authority import server_dns
from cells import SERVERS, converse, reason
from lab import Failed
from scenarios import scenario
from terminating import DIRECT, TPROXY, TerminatingLab, scripted_lab
from tls_peers import FTPS_CLIENTS, TLS_CLIENTS, VERSIONS, SecuredTask, check_security

TAKEN, REFUSED = "200 clear", "533 no"


@scenario("server_ccc: what the server hears when the client sends CCC, and when it does not",
          *((word, answer, version) for word in ("follow", "never", "always") for answer in (TAKEN, REFUSED)
            for version in VERSIONS))
def heard(binary, folder, parameters):
    word, answer, version = parameters
    with scripted_lab(folder, binary, listener={"server_ccc": word}, server={"ccc": answer}) as (lab, scripted):
        for client_clears in (True, False):
            ftp = lab.secured("EPSV", version, reuse=True)
            try:
                if client_clears:
                    ftp.ccc()
                    ftp.ask("NOOP", "200")
                if ftp.fetch("x") != scripted.contents:
                    raise Failed("the contents differ")
                ftp.quit()
            finally:
                ftp.close()
            session = scripted.last()
            asked = word == "always" or (word == "follow" and client_clears)
            # With `always` a refusal after the login does not keep it from asking for the client's sake.
            if bool(session.verbs().count("CCC")) != asked:
                raise Failed(f"client clears: {client_clears}; the server heard {session.heard}")
            in_clear = asked and answer == TAKEN
            if ("RETR" in session.verbs(in_tls=False)) != in_clear:
                raise Failed(f"client clears: {client_clears}; the server heard {session.heard}")
            if not in_clear and session.verbs(in_tls=False) != ["AUTH"]:
                raise Failed(f"the server heard in clear {session.verbs(in_tls=False)}")
            if {"USER", "PASS"} & set(session.verbs(in_tls=False)):
                raise Failed("the login reached the server in clear")
            if session.data_tls != [True] or session.resumed != [True] or session.faults:
                raise Failed(f"data in TLS: {session.data_tls}, resumed: {session.resumed}, "
                             f"faults: {session.faults}")
        lab.settled()


@dataclass(frozen=True)
class Clearing:
    """A client that sends CCC and a server that may take it."""

    server: str
    client: str
    tls: str
    mode: str
    family: int = 4

    def __str__(self):
        return f"ccc-{self.server}/{self.client}/{self.tls}/{self.mode}"


def clearings():
    """curl's active mode with TLS data fails by itself; of modes and versions each has its turn."""
    for client in ("curl-passive", "curl-active", "lftp", "ftplib"):
        modes = ("PASV", "EPSV") if client.startswith("curl") else TLS_CLIENTS[client].modes[4]
        for number, server in enumerate(SERVERS):
            yield Clearing(server, client, VERSIONS[number % 2], modes[number % len(modes)])
            yield Clearing(server, client, VERSIONS[1 - number % 2], modes[(number + 1) % len(modes)])


def converse_all(lab, folder, talks, clients, **options):
    """Each talk in turn; tells all that fail."""
    failures, notes = [], []
    for number, talk in enumerate(talks):
        server = lab.servers[talk.server]
        host, port = lab.target(server, talk.family)
        try:
            check_security(converse(lab.topology, server, talk, f"{folder}/talk{number}", host, port,
                                    clients, SecuredTask, tls=talk.tls, roots=lab.roots,
                                    name=server_dns(server), **options))
        except Exception as error:  # told with the others
            failures.append(f"{talk}: {reason(error)}")
            notes += [f"--- {talk}", *getattr(error, "dialogue", "").splitlines()]
    if failures:
        failed = Failed(f"{len(failures)} failed: {'; '.join(failures)}")
        failed.notes = notes
        raise failed


@scenario("clients send CCC, whether or not the server can",
          ("intercept", DIRECT), ("intercept", TPROXY), ("offload", DIRECT))
def real_clients(binary, folder, parameters):
    """vsftpd and pyftpdlib know no CCC, nor do the clear servers of offload; curl, lftp, ftplib do."""
    mode, setting = parameters
    with TerminatingLab(folder, binary, setting, SERVERS, mode) as lab:
        converse_all(lab, folder, list(clearings()), TLS_CLIENTS, ccc=True)
        lab.settled()
        if (cleared := lab.gateway.metrics().sum("ccc_total", outcome="cleared")) < len(list(clearings())):
            raise Failed(f"{cleared:g} sessions counted as cleared, {len(list(clearings()))} made")


@scenario("server_ccc always with real servers", "intercept", "originate")
def real_servers(binary, folder, mode):
    """Those that can (ProFTPD, Pure-FTPd) are cleared after the login, the others stay in TLS."""
    with TerminatingLab(folder, binary, DIRECT, SERVERS, mode, {"server_ccc": "always"}) as lab:
        if mode == "intercept":
            talks = [Clearing(server, client, VERSIONS[n % 2], command) for n, server in enumerate(SERVERS)
                     for client, command in (("curl", "EPSV"), ("lftp", "PASV"), ("ftplib", "PORT"))]
            converse_all(lab, folder, talks, FTPS_CLIENTS, ccc=False)
        else:
            for server in lab.servers.values():
                digest = lab.put_file("x", 70_001, server)
                for command in ("PASV", "EPRT"):
                    ftp = lab.ftp(command, server)
                    if ftp.fetch_digest("x")[1] != digest:
                        raise Failed(f"{server.name} {command}: the contents differ")
                    ftp.quit()
                    ftp.close()
        lab.settled()
