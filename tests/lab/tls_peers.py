"""FTP clients that secure the control connection with TLS and give it back in clear text with CCC.

As in `clients.py`, a driver stores a file, fetches one and lists the folder, and tells which modes
its client can be told to use; here it also pins the version of TLS, asks for PROT P or PROT C and,
where the task says so, sends CCC once it is logged in.
"""

import ftplib
import os
import re
import ssl
from dataclasses import dataclass

from clients import MODES, V6, Client, ModalFTP, Task, lftp
from process import Failed

VERSIONS = ("1.2", "1.3")

# Seconds; shorter than in clear text, because a gateway that cannot read leaves them waiting.
STEP_LIMIT = 5


@dataclass
class SecuredTask(Task):
    """A task over FTPS."""

    tls: str = "1.3"       # the only version the client may speak
    prot: str = "P"        # protection of the data connections: P or C
    ccc: bool = True       # give the control connection back in clear text
    reuse: bool = False    # ftplib: resume the TLS session on data connections
    implicit: bool = False   # curl, lftp: TLS from the first byte
    optional: bool = False   # curl, lftp, Kermit: go on in clear text where TLS is refused

    @property
    def url(self):
        return super().url.replace("ftp:", "ftps:") if self.implicit else super().url


# The commands of RFC 2228 and 4217 in the client's account, marked as in `clients._SENT`.
_SENT = re.compile(r"^(?:-*> |.*  Cmd: )(AUTH|PBSZ|PROT|CCC)(?: +(\w+))?", re.MULTILINE)


def sent(task):
    """The commands about protection in the client's account, as (verb, first word behind it)."""
    return _SENT.findall("\n".join(task.dialogue))


def check_security(task):
    """The client must have done what it was told. Raises `Failed` with what it did instead."""
    said = sent(task)
    if task.implicit == any(verb == "AUTH" for verb, _ in said):
        raise Failed(f"implicit TLS wanted: {task.implicit}, the client sent {said}")
    if task.ccc != any(verb == "CCC" for verb, _ in said):
        raise Failed(f"CCC wanted: {task.ccc}, the client sent {said}")
    # Without PROT it is C (RFC 4217 §9).
    prot = [word for verb, word in said if verb == "PROT"] or ["C"]
    if prot[-1] != task.prot:
        raise Failed(f"the client asked for PROT {prot[-1]}, not {task.prot}")


def _curl(closing):
    """`closing`: passive waits for the server's close_notify, active sends its own first."""
    def drive(task):
        common = ["-sS", "-v", "-k", "--connect-timeout", str(STEP_LIMIT), "-m", str(STEP_LIMIT), "--user",
                  f"{task.user}:{task.password}", "--no-ftp-skip-pasv-ip",
                  f"--tlsv{task.tls}", "--tls-max", task.tls,
                  # PROT P and PROT C, in that order.
                  "--ssl" if task.optional else
                  "--ssl-reqd" if task.prot == "P" else "--ftp-ssl-control",
                  *(["--ftp-ssl-ccc", "--ftp-ssl-ccc-mode", closing] if task.ccc else []),
                  *{"PASV": ["--disable-epsv"], "EPSV": [], "EPRT": ["-P", "-"],
                    "PORT": ["--disable-eprt", "-P", "-"]}[task.mode]]
        pub = f"{task.url}/pub/"
        # One program a step: with CCC curl does not take a connection up again.
        task.run(["curl", *common, "-T", task.upload, pub + task.stored_as])
        task.run(["curl", *common, "-o", task.fetched, pub + task.fetch])
        task.run(["curl", *common, "-o", os.path.join(task.folder, "listing"), pub])
        task.listing = task.read("listing")
    return drive


def _lftp(task):
    """lftp takes a close_notify that arrives together with the 200 for the end of the connection and
    begins anew: a race that it loses some ten times in a row now and then, through plain routing
    too (dozens with Pure-FTPd were seen), so that it is given its retries, as by default.
    """
    yes = {True: "yes", False: "no"}
    lftp(task, f"net:timeout {STEP_LIMIT}", "net:max-retries 300", "net:reconnect-interval-base 0",
         "net:reconnect-interval-multiplier 1", "ftp:ssl-allow yes",
         f"ftp:ssl-force {yes[not task.optional]}", f"ftp:ssl-protect-data {yes[task.prot == 'P']}",
         f"ftp:ssl-protect-list {yes[task.prot == 'P']}", f"ftp:ssl-use-ccc {yes[task.ccc]}",
         "ssl:verify-certificate no", f"ssl:priority NORMAL:-VERS-ALL:+VERS-TLS{task.tls}")


def context(version):
    """A client's TLS context of one version that believes every certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = made.maximum_version = {
        "1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    return made


class SecuredFTP(ModalFTP, ftplib.FTP_TLS):
    """ftplib's FTP over TLS in one of the four modes.

    `reuse`: data connections resume the control connection's TLS session, which ftplib by itself
    does not do.
    """

    def __init__(self, dialogue, mode, version, reuse=False):
        super().__init__(dialogue, mode)
        self.timeout = STEP_LIMIT
        self.context = context(version)
        self.reuse = reuse
        self.session = None

    def remember_session(self):
        """Keeps the TLS session for the data connections: to be called while TLS still runs.

        In TLS 1.3 the server sends it after the handshake, so a reply must have been read.
        """
        self.session = self.sock.session

    def ntransfercmd(self, cmd, rest=None):
        # Past FTP_TLS, which would not resume a session.
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        if self._prot_p:
            conn = self.context.wrap_socket(conn, server_hostname=self.host,
                                            session=self.session if self.reuse else None)
        return conn, size


def _ftplib(task):
    with (task.topology.inside(task.namespace),
          SecuredFTP(task.dialogue, task.mode, task.tls, task.reuse) as ftp):
        ftp.connect(task.host, task.port)
        ftp.login(task.user, task.password)
        ftp.remember_session()
        if task.prot == "P":
            ftp.prot_p()
        if task.ccc:
            ftp.ccc()
        with open(task.upload, "rb") as source:
            ftp.storbinary(f"STOR pub/{task.stored_as}", source)
        with open(task.fetched, "wb") as sink:
            ftp.retrbinary(f"RETR pub/{task.fetch}", sink.write)
        lines = []
        ftp.retrlines("LIST pub", lines.append)
        task.listing = "\n".join(lines)
        ftp.quit()


def _kermit(task):
    # Its OpenSSL is told the version by a configuration file: Kermit has no word for it.
    openssl = os.path.join(task.folder, "openssl.cnf")
    with open(openssl, "w", encoding="utf-8") as out:
        out.write("openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n[tls]\n"
                  f"MinProtocol = TLSv{task.tls}\nMaxProtocol = TLSv{task.tls}\n")
    script = os.path.join(task.folder, "script.ksc")
    with open(script, "w", encoding="utf-8") as out:
        out.write(f"""set ftp debug on
set ftp verbose-mode on
set auth tls verify no
set ftp authtype tls
set ftp passive-mode {"on" if task.passive else "off"}
set ftp autologin on
ftp open {task.host} {task.port} /user:{task.user} /password:{task.password}
if fail exit 1
{"set ftp command-protection-level clear" if task.ccc else ""}
{"set ftp data-protection-level clear" if task.prot == "C" else ""}
ftp type binary
ftp put /binary {task.upload} pub/{task.stored_as}
if fail exit 2
ftp get /binary /as-name:{task.fetched} pub/{task.fetch}
if fail exit 3
ftp directory pub
if fail exit 4
ftp bye
exit 0
""")
    task.listing = task.run(["env", f"OPENSSL_CONF={openssl}", "kermit", script, "-Y", "-H"])


TLS_CLIENTS = {client.name: client for client in (
    Client("curl-passive", {4: MODES, 6: V6}, _curl("passive")),
    Client("curl-active", {4: MODES, 6: V6}, _curl("active")),
    # Over IPv4 lftp knows EPSV but no EPRT.
    Client("lftp", {4: ("PASV", "EPSV", "PORT"), 6: V6}, _lftp),
    Client("ftplib", {4: MODES, 6: V6}, _ftplib),
    Client("kermit", {4: ("PASV", "PORT")}, _kermit),
)}
