"""Certificates beside the servers': of clients, of the gateway itself; whom it does not look into."""

import ftplib
import os
import re
import shutil
import ssl
import time

from authority import Authority, local_ca, not_after
from lab import Failed
from process import call, wait_until
from scenarios import scenario
from scenarios.verification import secrets_heard
from terminating import DIRECT, TPROXY, TerminatingLab, scripted_lab
from tls_peers import VERSIONS
from tls_server import server_context

SUBJECT = "/O=lab/CN=alice of accounting"

# What a client sees whose handshake is ended: in TLS 1.3 it may be over for the client by then.
ENDED = (ssl.SSLError, ConnectionError, EOFError, ftplib.Error)


@scenario("clients have to show a certificate",
          *((mode, start) for mode in ("intercept", "offload") for start in ("explicit", "implicit")))
def required(binary, folder, parameters):
    """z/OS SECURE_LOGIN REQUIRED; its subject is in the log."""
    mode, start = parameters
    os.makedirs(folder)
    clients = Authority(f"{folder}/clients", "the clients' CA")
    own = clients.issue(folder, ["alice.example"], "alice-", SUBJECT, "clientAuth")
    foreign = Authority(f"{folder}/others", "another CA").issue(folder, ["bob.example"], "bob-",
                                                                purpose="clientAuth")
    implicit = start == "implicit"
    listener = {"client_start": start, "client_certificates": "require"}
    if mode == "intercept":
        listener["server_start"] = start
        options = {"implicit": True, "port": 990} if implicit else {}
    else:
        options = {}
    with TerminatingLab(f"{folder}/lab", binary, DIRECT, ("pure-ftpd",) if not implicit else ("vsftpd",),
                        mode, listener, certificates={"client": {"roots": clients.roots}},
                        server_options=options) as lab:
        lab.put_file("x", 5000)
        for version in VERSIONS:
            ftp = lab.secured("EPSV", version, implicit=implicit, shown=own)
            if len(ftp.fetch("x")) != 5000:
                raise Failed("the file differs")
            ftp.quit()
            ftp.close()
            for shown in (None, foreign):
                try:
                    lab.secured("EPSV", version, implicit=implicit, shown=shown).close()
                except ENDED:
                    continue
                raise Failed(f"a client with the certificate {shown} was let in")
        lab.settled()
        seen = {line.get("certificate", "") for line in lab.audit("login")}
        if not seen or not all("alice of accounting" in subject for subject in seen):
            raise Failed(f"the subject of the client's certificate is not in the audit but {seen}")
        if lab.failed_handshakes(side="client", connection="control") < 4:
            raise Failed("the refused handshakes are not counted")


@scenario("the gateway shows its own certificate to a server that asks", *VERSIONS)
def shown_to_server(binary, folder, version):
    os.makedirs(folder)
    gateways = Authority(f"{folder}/gateways", "the gateways' CA")
    pair = gateways.issue(folder, ["gateway.example"], "gateway-", "/O=lab/CN=the gateway", "clientAuth")
    with scripted_lab(f"{folder}/lab", binary,
                      context=lambda authority, where, names: server_context(
                          *authority.issue(where, names), version, gateways.roots),
                      server_side={"certificate": {"chain": pair[0], "key": pair[1]}}) as (lab, scripted):
        ftp = lab.secured("EPSV", version)
        if ftp.fetch("x") != scripted.contents:
            raise Failed("the contents differ")
        ftp.quit()
        ftp.close()
        if "the gateway" not in str(scripted.last().shown):
            raise Failed(f"the server was shown {scripted.last().shown}")
        if expiries(lab) != {"ca": not_after(lab.roots), "client": not_after(pair[0])}:
            raise Failed(f"the metrics say of certificates {expiries(lab)}")


def expiries(lab):
    """When which certificate expires, as the metrics say."""
    return {labels["certificate"]: value for name, labels, value in lab.gateway.metrics().samples
            if name == "ftpgate_certificate_expiry_timestamp_seconds"}


@scenario("a server that insists on a client's certificate: refused, or carried unread from then on",
          *((word, version) for word in ("refuse", "passthrough") for version in VERSIONS))
def insists(binary, folder, parameters):
    word, version = parameters
    os.makedirs(folder)
    clients = Authority(f"{folder}/clients", "the clients' CA")
    own = clients.issue(folder, ["alice.example"], "alice-", SUBJECT, "clientAuth")
    with scripted_lab(f"{folder}/lab", binary,
                      context=lambda authority, where, names: server_context(
                          *authority.issue(where, names), version, clients.roots),
                      server_side={"client_certificates": word}) as (lab, scripted):
        for _ in range(2):
            # In passthrough the client meets the server itself, whose CA it does not trust here.
            try:
                lab.secured("EPSV", version, shown=own).close()
            except ENDED:
                continue
            raise Failed("a session came about without the client's certificate")
        if heard := secrets_heard(scripted):
            raise Failed(f"the server has heard {heard}")
        if not any("certificate" in line for line in lab.gateway.read_log().splitlines() if "WARN" in line):
            raise Failed("the log does not tell why")
        if word == "passthrough":
            ftp = lab.secured("EPSV", version, shown=own, roots=lab.authority.roots)
            ftp.ask("NOOP", "200")
            ftp.quit()
            ftp.close()
            if "alice" not in str(scripted.last().shown):
                raise Failed(f"the server was shown {scripted.last().shown}")


@scenario("a server that asks for a client's certificate and does without", *VERSIONS)
def asks(binary, folder, version):
    """As vsftpd does by default (ssl_request_cert)."""
    with scripted_lab(folder, binary, context=lambda authority, where, names: server_context(
            *authority.issue(where, names), version, authority.roots, ssl.CERT_OPTIONAL)) as (lab, scripted):
        ftp = lab.secured("EPSV", version)
        if ftp.fetch("x") != scripted.contents:
            raise Failed("the contents differ")
        ftp.quit()
        ftp.close()


@scenario("bypass: carried unread, by network and by name",
          *((by, setting) for by in ("198.51.100.0/28", "2001:db8:2::/64", "*.ftp.example", "nobody.example")
            for setting in (DIRECT, TPROXY) if setting == TPROXY or by[0] == "1"))
def bypassed(binary, folder, parameters):
    by, setting = parameters
    family = 6 if ":" in by else 4
    with TerminatingLab(folder, binary, setting, ("pure-ftpd",), listener={"bypass": [by]}) as lab:
        unread = by != "nobody.example"
        ftp = lab.secured("EPSV", "1.3", family=family,
                          roots=lab.authority.roots if unread else lab.roots)
        state = "passthrough" if unread else "terminated"
        if lab.gateway.metrics().sum("control_protection", state=state) != 1:
            raise Failed(f"the session is not counted as {state}")
        ftp.quit()
        ftp.close()
        if setting == TPROXY and by[0] == "1":
            # Who is dialled at another address, and is not on the list, is looked into.
            lab.secured("EPSV", "1.3", family=6).close()
        lab.settled()


def complaint(binary, config):
    """What `run` says of a configuration that cannot be used."""
    code, text = call([binary, "run", "--config", config], check=False, timeout=5)
    if code not in (1, 2):
        raise Failed(f"exit code {code}, neither 1 nor 2\n{text}")
    return text


@scenario("a local CA that others can read, that does not match, that is not there")
def unusable(binary, folder):
    os.makedirs(folder)
    _, ca = local_ca(binary, folder)
    config = os.path.join(folder, "ftpgate.yaml")
    with open(config, "w", encoding="ascii") as out:
        out.write('listeners:\n  - { name: a, listen: "127.0.0.1:2121", capture: direct, '
                  'server: "127.0.0.1:21", tls: { mode: intercept } }\nfirewall: { backend: none }\n'
                  'telemetry: { listen: "127.0.0.1:2122" }\n'
                  "tls: { ca: { certificate: local-ca/ca.crt, key: local-ca/ca.key } }\n")
    code, text = call([binary, "check", "--config", config], check=False)
    if code != 0:
        raise Failed(f"a good one: exit code {code}\n{text}")
    if os.stat(ca["key"]).st_mode & 0o777 != 0o600:
        raise Failed("the key's file is not 0600")
    for mode in (0o660, 0o604, 0o644):
        os.chmod(ca["key"], mode)
        if not re.search(r"ca\.key.*(read|0600|mode)", complaint(binary, config)):
            raise Failed(f"mode {mode:o}: {complaint(binary, config)}")
    os.chmod(ca["key"], 0o600)
    # `init` does not overwrite.
    code, text = call([binary, "ca", "init", "--dir", os.path.dirname(ca["key"])], check=False)
    if code == 0:
        raise Failed(f"ca init has overwritten a CA\n{text}")
    another, _ = local_ca(binary, f"{folder}/another")
    shutil.copy(another, ca["certificate"])
    if "match" not in complaint(binary, config):
        raise Failed(f"mismatching: {complaint(binary, config)}")
    os.unlink(ca["certificate"])
    if "ca.crt" not in complaint(binary, config):
        raise Failed(f"missing: {complaint(binary, config)}")


@scenario("offload shows its fixed certificate, and the new one when the files have changed", *VERSIONS)
def reloaded(binary, folder, version):
    os.makedirs(folder)
    ours = Authority(f"{folder}/ours", "the owner's CA")
    name = "pure-ftpd.ftp.example"
    pair = ours.issue(folder, [name], subject="/O=lab/CN=the first")
    with TerminatingLab(f"{folder}/lab", binary, servers=("pure-ftpd",), mode="offload", certificates={
            "certificate": {"chain": pair[0], "key": pair[1]}}) as lab:
        lab.roots = ours.roots
        lab.put_file("x", 5000)

        def shown():
            ftp = lab.secured("EPSV", version)
            try:
                if len(ftp.fetch("x")) != 5000:
                    raise Failed("the file differs")
                return str(ftp.sock.getpeercert()["subject"])
            finally:
                ftp.close()
        if "the first" not in shown():
            raise Failed(f"shown: {shown()}")
        running = lab.secured("EPSV", version)
        os.makedirs(f"{folder}/new")
        if expiries(lab) != {"fixed": not_after(pair[0])}:
            raise Failed(f"the metrics say of certificates {expiries(lab)}")
        for new, old in zip(ours.issue(f"{folder}/new", [name], subject="/O=lab/CN=the second"), pair):
            os.replace(new, old)
        # Before any session asks for it.
        wait_until(lambda: expiries(lab) == {"fixed": not_after(pair[0])},
                   "the metrics do not see the new certificate")
        wait_until(lambda: "the second" in shown(), "the new certificate is not shown", timeout=20, step=0.5)
        # A session that runs goes on with what it has, on its data connections too.
        if len(running.fetch("x")) != 5000:
            raise Failed("a running session does not go on")
        running.quit()
        running.close()
        # A broken file leaves the good one in place.
        with open(pair[0], "w", encoding="ascii") as out:
            out.write("-----BEGIN CERTIFICATE-----\nnonsense\n")
        time.sleep(3)
        if "the second" not in shown():
            raise Failed("a broken file has replaced a good certificate")
        # A name that it does not bear is not answered (case 29).
        try:
            lab.secured("EPSV", version, name="other.example").close()
        except ssl.SSLError as error:
            if "unrecognized name" not in str(error).replace("_", " ").lower():
                raise Failed(f"another name was answered with {error}") from error
        else:
            raise Failed("another name than the certificate's was answered")
