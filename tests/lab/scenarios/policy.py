"""The owner's rules before real servers: what the client may not do never reaches them."""

import os

from cells import SERVERS, Setting
from lab import Failed, Lab
from scenarios import scenario

PLACES = (Setting("tproxy", "gateway", "kernel"), Setting("direct", "gateway", "relay"))

# One server asks for its own directory by a path that begins at its root, another at the machine's.
SECRET = {"deny": ["DELE", "MDTM"], "paths": {"deny": ["**/secret/**"]}}


def refused(ftp, line, words):
    """The command is refused by the gateway, in the words of one of its keys."""
    reply = ftp.ask(line, "502", "521", "530", "550")
    if words not in reply:
        raise Failed(f"{line}: {reply!r}")


@scenario("paths and commands that the policy refuses", *PLACES)
def paths(binary, folder, setting):
    with Lab(folder, binary, setting, SERVERS, policy=SECRET) as lab:
        for server in lab.servers.values():
            digest = lab.put_file("open", 70_001, server)
            os.mkdir(server.path("secret"))
            os.chmod(server.path("secret"), 0o777)
            lab.put_file("secret/x", 100, server)
            ftp = lab.ftp(server=server)
            try:
                if "MDTM" in ftp.ask("FEAT", "211"):
                    raise Failed(f"{server.name}: MDTM is offered")
                refused(ftp, "DELE open", "This command is refused")
                if ftp.fetch_digest("open") != (70_001, digest):
                    raise Failed(f"{server.name}: what may be fetched came otherwise")
                # From outside, from inside, and before the server has said where the client is.
                refused(ftp, "RETR secret/x", "This path is refused")
                ftp.ask("CWD secret", "250")
                refused(ftp, "RETR x", "This path is refused")
                ftp.ask("CDUP", "200", "250")
                ftp.send_now(b"CWD secret\r\nSIZE x\r\nCDUP\r\nSIZE open\r\n")
                ftp.expect("250")
                ftp.expect("550")
                ftp.expect("200", "250")
                if ftp.expect("213").split() != ["213", "70001"]:
                    raise Failed(f"{server.name}: the replies are out of order")
                if ftp.fetch_digest("open") != (70_001, digest):
                    raise Failed(f"{server.name}: nothing passes any more")
            finally:
                ftp.close()
        if lab.gateway.metrics().sum("refusals_total", reason="policy") < 4 * len(SERVERS):
            raise Failed("the refusals are not counted")
        if 'rule="paths.deny"' not in (log := lab.gateway.read_log()) and '"rule":"paths.deny"' not in log:
            raise Failed("the log does not name the rule")


@scenario("names that servers read in different ways", PLACES[1])
def names(binary, folder, setting):
    policy = {"paths": {"deny": ["**/secret/**", "plan_*", "*.key"]}}
    with Lab(folder, binary, setting, SERVERS, policy=policy) as lab:
        for server in lab.servers.values():
            for name in ("open", "secret"):
                os.mkdir(server.path(name))
                os.chmod(server.path(name), 0o777)
            for name in ("open/x", "secret/x", "open/plan_b", "open/b.key"):
                lab.put_file(name, 100, server)
            ftp = lab.ftp(server=server)
            try:
                ftp.ask("CWD open", "250")
                if server.name.startswith(("vsftpd", "pure")):
                    # Judged in one folder, and carried out in another one. ProFTPD takes nothing but RNTO there.
                    ftp.ask("RNFR x", "350")
                    ftp.ask("CWD ../secret", "250")
                    ftp.ask("RNTO ../open/stolen", "503")
                    ftp.ask("CWD ../open", "250")
                for line in ("DELE plan\x01b", "DELE plan\x0bb", "DELE x "):
                    ftp.ask(line, "501")
                for line in ("DELE plan_b", "RNFR plan_b", 'XCRC "b.key"', "XCRC b.key 0 1", "STOU ../secret/y"):
                    refused(ftp, line, "This path is refused")
                ftp.ask("RNFR x", "350")
                ftp.ask("RNTO y", "250")
            finally:
                ftp.close()
            there = sorted(os.listdir(server.path("open"))), sorted(os.listdir(server.path("secret")))
            if there != (["b.key", "plan_b", "y"], ["x"]):
                raise Failed(f"{server.name}: what is there now is {there}")


@scenario("a server that the policy does not list is never dialled", *PLACES)
def servers(binary, folder, setting):
    with Lab(folder, binary, setting, policy={"servers": ["192.0.2.200/32"]}) as lab:
        try:
            lab.ftp()
        except Exception as error:
            if "421 This server is not served here." not in str(error):
                raise Failed(f"the client was told {error!r}") from error
        else:
            raise Failed("the session was let through")
        metrics = lab.gateway.metrics()
        if metrics.sum("server_connect_seconds_count"):
            raise Failed("the server was dialled")
        if metrics.sum("sessions_total", outcome="policy") != 1:
            raise Failed("the session did not end by the policy")
