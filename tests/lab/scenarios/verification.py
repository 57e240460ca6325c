"""Which servers are believed: refused, mirrored, pinned, by chain, or not looked at at all."""

import ftplib
import os

from authority import Authority, alternative_names, certificate, fingerprint
from lab import Failed
from scenarios import scenario
from terminating import DIRECT, TPROXY, TerminatingLab, scripted_lab
from tls_server import server_context

OTHER = "elsewhere.example"
LONG_AGO = ("20200101000000Z", "20210101000000Z")
# Within the life of the local CA, whose leaves live as long as the certificate in whose place they stand.
NOT_YET = ("20300101000000Z", "20310101000000Z")


def _self_signed(_authority, folder, names):
    return certificate(folder, extensions=[alternative_names(names)])


def _another_ca(_authority, folder, names):
    return Authority(os.path.join(folder, "another"), "another CA").issue(folder, names)


def _expired(authority, folder, names):
    return authority.issue(folder, names, dates=LONG_AGO)


def _not_yet(authority, folder, names):
    return authority.issue(folder, names, dates=NOT_YET)


def _wrong_name(authority, folder, _names):
    return authority.issue(folder, [OTHER, "203.0.113.9"])


# What is wrong with a certificate: how it is made.
BAD = {"signed by itself": _self_signed, "another CA": _another_ca, "expired": _expired,
       "not yet valid": _not_yet, "wrong name": _wrong_name}


def bad(kind):
    return lambda *where: server_context(*BAD[kind](*where))


def secrets_heard(scripted):
    return [line for line in scripted.all_heard() if line.split(" ")[0].upper() in ("USER", "PASS", "ACCT")]


@scenario("a server that cannot be verified is refused with a reason",
          *((kind, start, setting) for kind in BAD
            for start, setting in (("explicit", DIRECT), ("implicit", DIRECT), ("explicit", TPROXY))
            if setting == DIRECT and start == "explicit" or kind in ("signed by itself", "wrong name")))
def refused(binary, folder, parameters):
    """The client's own check is passed: it is told the reason inside TLS, by a gateway it trusts."""
    kind, start, setting = parameters
    with scripted_lab(folder, binary, setting, bad(kind), server={"implicit": start == "implicit"},
                      listener={"client_start": start, "server_start": start}) as (lab, scripted):
        for version in ("1.2", "1.3"):
            try:
                lab.secured("EPSV", version, implicit=start == "implicit").close()
            except ftplib.error_perm as error:
                if not str(error).startswith("530") or len(str(error)) < 20:
                    raise Failed(f"refused with {error}, not with 530 and a reason") from error
            else:
                raise Failed("the client was let in")
        code, text, _ = lab.curl()
        # CURLE_LOGIN_DENIED; with TLS from the first byte the 530 stands where a greeting is due.
        if code not in ((67,) if start == "explicit" else (8, 67)) or "< 530 " not in text:
            raise Failed(f"curl: exit code {code}\n{text}")
        if heard := secrets_heard(scripted):
            raise Failed(f"the server has heard {heard}")
        lab.settled()
        if lab.failed_handshakes(side="server") < 3:
            raise Failed("the failures are not counted")
        log = lab.gateway.read_log()
        if not [line for line in log.splitlines() if "WARN" in line and "certificate" in line]:
            raise Failed("the log does not tell of the certificate")


@scenario("untrusted mirror: the client's own check fails, and who does not check passes", *BAD)
def mirrored(binary, folder, kind):
    with scripted_lab(folder, binary, DIRECT, bad(kind),
                      server_side={"untrusted": "mirror"}) as (lab, scripted):
        code, text, got = lab.curl()
        # CURLE_PEER_FAILED_VERIFICATION
        if code != 60 or got:
            raise Failed(f"curl: exit code {code}, not 60\n{text}")
        if heard := secrets_heard(scripted):
            raise Failed(f"the server has heard {heard}")
        code, text, got = lab.curl(trust=False)
        if code != 0 or got != scripted.contents:
            raise Failed(f"curl -k: exit code {code}\n{text}")
        lab.settled()


@scenario("a certificate signed by itself is trusted when it is pinned",
          *((how, ca) for how in ("in roots", "by fingerprint") for ca in ("TRUE", "FALSE")))
def pinned(binary, folder, parameters):
    """openssl's habit is CA:TRUE, others say FALSE or nothing."""
    how, ca = parameters
    os.makedirs(folder)
    pair = certificate(folder, extensions=[alternative_names(["vsftpd.ftp.example", "198.51.100.10"]),
                                           f"basicConstraints=critical,CA:{ca}"])
    trust = ({"roots": pair[0]} if how == "in roots" else
             {"fingerprints": [fingerprint(pair[0]).replace(":", "").lower() if ca == "TRUE"
                               else fingerprint(pair[0])]})
    with TerminatingLab(f"{folder}/lab", binary, server_side=trust, server_options={"pair": pair}) as lab:
        lab.put_file("x", 5000)
        for version in ("1.2", "1.3"):
            ftp = lab.secured("PASV", version)
            if len(ftp.fetch("x")) != 5000:
                raise Failed("the file differs")
            ftp.quit()
            ftp.close()
        lab.settled()
    # Another certificate than the pinned one, with the same names, is none of it.
    os.makedirs(f"{folder}/other")
    other = certificate(f"{folder}/other", extensions=[alternative_names(["vsftpd.ftp.example",
                                                                          "198.51.100.10"])])
    with TerminatingLab(f"{folder}/lab2", binary, server_side=trust, server_options={"pair": other}) as lab:
        try:
            lab.secured().close()
        except ftplib.error_perm as error:
            if not str(error).startswith("530"):
                raise Failed(f"refused with {error}") from error
        else:
            raise Failed("another certificate than the pinned one was believed")


@scenario("verify chain and off, for all and for one listener",
          ("chain", "tls.server"), ("off", "the listener"))
def lax(binary, folder, parameters):
    """chain: any name of a trusted CA; off: anybody. The leaf bears the server's names all the same."""
    verify, where = parameters
    settings = ({"server_side": {"verify": verify}} if where == "tls.server" else
                # Roots and nobody to verify are a contradiction.
                {"listener": {"verify": verify}, "certificates": {"server": {}}})
    for kind in BAD:
        believed = verify == "off" or kind == "wrong name"
        inner = f"{folder}/{kind.replace(' ', '-')}"
        with scripted_lab(inner, binary, DIRECT, bad(kind), **settings) as (lab, scripted):
            # The client checks whether it was the local CA; the leaf bears the server's names and dates.
            options = ({"check_name": False} if kind == "wrong name" else
                       {"roots": ""} if "expired" in kind or "not yet" in kind else {})
            try:
                ftp = lab.secured("EPSV", "1.3", **options)
            except ftplib.error_perm as error:
                if believed or not str(error).startswith("530"):
                    raise Failed(f"{kind}: refused with {error}") from error
                continue
            try:
                if not believed:
                    raise Failed(f"{kind}: believed")
                if ftp.fetch("x") != scripted.contents:
                    raise Failed(f"{kind}: the contents differ")
                ftp.quit()
            finally:
                ftp.close()


@scenario("the name that the client asked for is asked of the server", "1.2", "1.3")
def names(binary, folder, version):
    with scripted_lab(folder, binary) as (lab, scripted):
        ftp = lab.secured("EPSV", version)
        names_shown = {name for kind, name in ftp.sock.getpeercert()["subjectAltName"] if kind == "DNS"}
        ftp.quit()
        ftp.close()
        if scripted.last().asked_for != ["scripted.ftp.example"]:
            raise Failed(f"the server was asked for {scripted.last().asked_for}")
        if names_shown != {"scripted.ftp.example"}:
            raise Failed(f"the client was shown {names_shown}")
        # A name that the server does not bear.
        try:
            lab.secured("EPSV", version, name=OTHER).close()
        except ftplib.error_perm as error:
            if not str(error).startswith("530"):
                raise Failed(f"refused with {error}") from error
        else:
            raise Failed("a server was believed that does not bear the name")


@scenario("originate verifies the server by its address", "a good one", *BAD)
def originated(binary, folder, kind):
    good = kind == "a good one"
    with scripted_lab(folder, binary, DIRECT, None if good else bad(kind), mode="originate",
                      listener={}) as (lab, scripted):
        server = lab.servers["scripted"]
        try:
            ftp = lab.ftp(server=server)
        except ftplib.error_perm as error:
            if good or not str(error).startswith("530"):
                raise Failed(f"refused with {error}") from error
        except ftplib.error_temp as error:
            raise Failed(f"refused with {error}, not for good") from error
        else:
            if not good:
                raise Failed("the client was let in")
            if ftp.fetch_digest("x")[0] != len(scripted.contents):
                raise Failed("the contents differ")
            ftp.quit()
            ftp.close()
            session = scripted.last()
            if session.verbs(in_tls=False) != ["AUTH"] or session.data_tls != [True]:
                raise Failed(f"the server heard {session.heard}, data in TLS: {session.data_tls}")
            if session.resumed != [True]:
                raise Failed("the data connection did not resume the control connection's session")
        if not good and (heard := secrets_heard(scripted)):
            raise Failed(f"the server has heard {heard}")
        lab.settled()
