"""Session reuse: servers that insist on it and clients that know it, or do not."""

import ftplib
import os

from clients import MODES
from lab import Failed
from scenarios import scenario
from terminating import DIRECT, TPROXY, TerminatingLab
from tls_peers import VERSIONS

STEPS = ("get", "put", "list")


def steps_of_ftplib(lab, server, version):
    """Each step in each mode in a session of its own. Returns {(mode, step): exception or None}."""
    contents = os.urandom(70_001)
    with open(server.path("fetched"), "wb") as out:
        out.write(contents)
    outcomes = {}
    for mode in MODES:
        for step in STEPS:
            ftp = lab.secured(mode, version, server)
            try:
                _step(ftp, server, step, f"stored-{mode}", contents)
                ftp.quit()
                outcomes[mode, step] = None
            except OSError as error:
                # An upload may meet the end of its data connection before it reads the refusal.
                outcomes[mode, step] = Failed(f"{_reply(ftp)} ({error!r})")
            except (*ftplib.all_errors, Failed) as error:
                outcomes[mode, step] = error
            finally:
                ftp.close()
    return outcomes


def _reply(ftp):
    try:
        return ftp.getmultiline()
    except (EOFError, OSError):
        return "no reply"


def _step(ftp, server, step, name, contents):
    if step == "get":
        if ftp.fetch("fetched") != contents:
            raise Failed("the fetched file differs")
    elif step == "put":
        # ftplib's `storbinary` wants a file.
        with open(server.path("fetched"), "rb") as source:
            ftp.storbinary(f"STOR {name}", source)
        with open(server.path(name), "rb") as stored:
            if stored.read() != contents:
                raise Failed("the stored file differs")
    else:
        lines = []
        ftp.retrlines("LIST", lines.append)
        if not any("fetched" in line for line in lines):
            raise Failed(f"not in the listing: {lines}")


@scenario("ftplib passes 0 of 12 by itself and 12 of 12 through intercept",
          *((server, version, setting) for server, setting in (("vsftpd", DIRECT), ("proftpd", TPROXY))
            for version in VERSIONS))
def helped(binary, folder, parameters):
    """Python's ftplib does not resume; these servers demand it by default."""
    name, version, setting = parameters
    os.makedirs(folder)
    told = {"version": version}
    with TerminatingLab(f"{folder}/plain", None, setting, (name,), server_options=told) as lab:
        outcomes = steps_of_ftplib(lab, lab.server, version)
    if well := [step for step, error in outcomes.items() if error is None]:
        raise Failed(f"{name} does not insist on session reuse: {well} passed with nobody in between")
    # It is for this, and for nothing else, that they fail.
    for step, error in outcomes.items():
        if str(error)[:3] not in ("522", "425"):
            raise Failed(f"{step} with nobody in between: {error!r}")
    with TerminatingLab(f"{folder}/intercept", binary, setting, (name,), server_options=told) as lab:
        outcomes = steps_of_ftplib(lab, lab.server, version)
        if bad := {step: error for step, error in outcomes.items() if error is not None}:
            raise Failed(f"{12 - len(bad)} of 12 passed through intercept; {bad}")
        lab.settled()
        if (full := lab.handshakes(side="server", connection="data", resumed=False)):
            raise Failed(f"{full:g} data handshakes with the server did not resume")
        if (resumed := lab.handshakes(side="server", connection="data", resumed=True)) != 12:
            raise Failed(f"{resumed:g} resumed data handshakes with the server for 12 transfers")


def transfer_many(lab, server, version, count, **options):
    """So many uploads and downloads in one session, in turn, contents compared."""
    ftp = lab.secured("EPSV", version, server, **options)
    try:
        for n in range(count // 2):
            contents = f"{n} ".encode() * (1 + 37 * (n % 20))
            path = os.path.join(lab.folder, "source")
            with open(path, "wb") as out:
                out.write(contents)
            with open(path, "rb") as source:
                ftp.storbinary(f"STOR many-{n}", source)
            if (got := ftp.fetch(f"many-{n}")) != contents:
                raise Failed(f"transfer {n}: {len(got)} bytes and not the {len(contents)} stored")
        ftp.quit()
    except ftplib.all_errors as error:
        failed = Failed(f"transfer {n}: {error!r}")
        failed.notes = ftp.dialogue[-20:]
        raise failed from error
    finally:
        ftp.close()


@scenario("case 38: 200 transfers in one session to a server that demands reuse",
          *((server, version) for server in ("vsftpd", "proftpd") for version in VERSIONS))
def many(binary, folder, parameters):
    name, version = parameters
    with TerminatingLab(folder, binary, servers=(name,), server_options={"version": version}) as lab:
        transfer_many(lab, lab.server, version, 200, reuse=False)
        lab.settled()
        counts = {resumed: lab.handshakes(side="server", connection="data", resumed=resumed)
                  for resumed in (True, False)}
        if counts != {True: 200, False: 0}:
            raise Failed(f"data handshakes with the server, by resumption: {counts}")


def _lives_or_was_ended(lab, ftp):
    """Pure-FTPd ends the session, by leaving it or by leaving the transfer unanswered; ProFTPD leaves it
    now and then when its data connection is reset. vsftpd does neither.
    """
    try:
        ftp.ask("NOOP", "200")
    except Failed:
        ended = [lab.gateway.metrics().sum("sessions_total", outcome=word)
                 for word in ("server_closed", "server_silent")]
        if lab.server.name == "vsftpd" or sum(ended) != 1:
            raise


@scenario("client_reuse require: refused without, served with resumption",
          *((server, version) for server in ("pure-ftpd", "proftpd", "vsftpd") for version in VERSIONS))
def required(binary, folder, parameters):
    """Case 37. Pure-FTPd's last reply has several lines, or it ends the session, or it says nothing."""
    name, version = parameters
    with TerminatingLab(folder, binary, servers=(name,), listener={"client_reuse": "require"}) as lab:
        ftp = lab.secured("EPSV", version, reuse=False)
        # Longer than a server may be silent.
        ftp.sock.settimeout(15)
        try:
            lab.put_file("x", 5000)
            got = bytearray()
            try:
                ftp.retrbinary("RETR x", got.extend)
            except ftplib.Error as error:
                refusal = str(error)
            except OSError:
                # The data connection's handshake may be ended at once; the reply must come all the same.
                refusal = ftp.expect("522", "425", "421")
            else:
                raise Failed("a client that does not resume was served")
            if refusal[:3] not in ("522", "425", "421") or "\n" in refusal:
                raise Failed(f"a client that does not resume was answered {refusal!r}")
            if got:
                raise Failed(f"{len(got)} bytes reached a client that does not resume")
            # The session lives on, where the server has not ended it.
            if not refusal.startswith("421"):
                _lives_or_was_ended(lab, ftp)
        finally:
            ftp.close()
        # With the session of another control connection: as good as none.
        thief, owner = (lab.secured("EPSV", version, reuse=True) for _ in range(2))
        try:
            thief.context, thief.session = owner.context, owner.session
            try:
                thief.fetch("x")
            except (ftplib.Error, OSError, EOFError):
                pass
            else:
                raise Failed("a client with another session's ticket was served")
            if len(owner.fetch("x")) != 5000:
                raise Failed("the owner of the session was not served")
            owner.quit()
        finally:
            thief.close()
            owner.close()
        transfer_many(lab, lab.server, version, 4, reuse=True)
        lab.settled()


@scenario("client_reuse off and prefer: clients with and without resumption", "off", "prefer")
def not_required(binary, folder, word):
    with TerminatingLab(folder, binary, listener={"client_reuse": word}) as lab:
        for version in VERSIONS:
            for reuse in (False, True):
                transfer_many(lab, lab.server, version, 4, reuse=reuse)
        lab.settled()
        resumed = lab.handshakes(side="client", connection="data", resumed=True)
        if resumed != {"off": 0, "prefer": 8}[word]:
            raise Failed(f"{resumed:g} data handshakes with clients resumed")
