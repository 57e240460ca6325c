"""Implicit TLS on port 990 with real peers: vsftpd and ProFTPD, curl and lftp; with CCC and without."""

from ccc_cells import CccTalk
from cells import Setting, converse, reason
from lab import Failed, Lab
from process import wait_until
from scenarios import scenario
from scenarios.blind_ports import BLIND, HIGH, LOW, table_text
from tls_peers import TLS_CLIENTS, SecuredTask, check_security

IMPLICIT = {"mode": "passthrough", "client_start": "implicit", "server_start": "implicit"}

# (talk, CCC). What these peers cannot do through plain routing, curl's active mode and CCC of
# vsftpd, is left out.
TALKS = [(CccTalk(server, client, tls, "P", mode, family), ccc)
         for server, client, tls, mode, family, ccc in (
             ("proftpd", "curl-passive", "1.2", "PASV", 4, True),
             ("proftpd", "curl-passive", "1.3", "EPSV", 6, True),
             ("proftpd", "curl-active", "1.3", "EPSV", 4, True),
             ("proftpd", "lftp", "1.3", "PASV", 4, True),
             ("proftpd", "lftp", "1.2", "EPSV", 4, True),
             ("proftpd", "lftp", "1.3", "PORT", 4, True),
             ("proftpd", "lftp", "1.2", "EPSV", 4, False),
             ("proftpd", "curl-passive", "1.3", "EPSV", 4, False),
             ("vsftpd", "lftp", "1.3", "EPSV", 4, False),
             ("vsftpd", "curl-passive", "1.2", "EPSV", 6, False))]


@scenario("implicit TLS with real peers", Setting("tproxy", "gateway", "kernel"),
          Setting("direct", "gateway", "relay"))
def implicit(binary, folder, setting):
    with Lab(folder, binary, setting, ("vsftpd", "proftpd"), tls=IMPLICIT, data=BLIND,
             capture_ports=(990,), server_options={
                 "tls": True, "implicit": True, "port": 990, "passive": f"{LOW}-{HIGH}"}) as lab:
        before = table_text(lab)
        for number, (talk, ccc) in enumerate(TALKS):
            host, port = lab.target(lab.servers[talk.server], talk.family)
            try:
                check_security(converse(
                    lab.topology, lab.servers[talk.server], talk, f"{folder}/{number}", host, port,
                    TLS_CLIENTS, SecuredTask, tls=talk.tls, ccc=ccc, implicit=True))
            except Exception as error:
                failed = Failed(f"{talk}, CCC {ccc}: {reason(error)}")
                failed.notes = getattr(error, "dialogue", "").splitlines()
                raise failed from error
        wait_until(lambda: lab.gateway.metrics().sum("sessions_active") == 0, "a session stays")
        metrics = lab.gateway.metrics()
        for outcome, least in (("cleared", sum(ccc for _, ccc in TALKS)),
                               ("none", sum(not ccc for _, ccc in TALKS))):
            if (found := metrics.sum("ccc_total", outcome=outcome)) < least:
                raise Failed(f"{found:g} sessions counted as {outcome}, at least {least} made")
        if table_text(lab) != before:
            raise Failed(f"the table is not what it was before: {table_text(lab)}")
