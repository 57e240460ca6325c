"""FTP clients that secure the control connection with TLS and give it back in clear text with CCC.

As in `clients.py`, a driver stores a file, fetches one and lists the folder, and tells which modes
its client can be told to use; here it also pins the version of TLS, asks for PROT P or PROT C and,
where the task says so, sends CCC once it is logged in.
"""

import ftplib
import os
import re
import socket
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
    roots: str = ""        # the only certificate trusted (a path); empty: every certificate is believed
    name: str = ""         # the name dialled, and expected in the certificate; empty: the address
    shown: tuple = None    # curl, ftplib: (chain, key) of the client's own certificate

    @property
    def url(self):
        url = super().url.replace("ftp:", "ftps:") if self.implicit else super().url
        return f"{url.partition('//')[0]}//{self.name}:{self.port}" if self.name else url

    @property
    def prefix(self):
        """Where a name is dialled, the client sees a hosts file of its own that knows the name."""
        if not self.name:
            return ()
        hosts = os.path.join(self.folder, "hosts")
        with open(hosts, "w", encoding="ascii") as out:
            out.write(f"127.0.0.1 localhost\n{self.host} {self.name}\n")
        # `ip netns exec` has given the client a namespace of mounts.
        return ("sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts)

    @property
    def dialled(self):
        return self.name or self.host


# The commands of RFC 2228 and 4217 in the client's account, marked as in `clients._SENT`.
_SENT = re.compile(r"^(?:-*> |.*  Cmd: )(AUTH|PBSZ|PROT|CCC)(?: +(\w+))?", re.MULTILINE)


def sent(task):
    """The commands about protection in the client's account, as (verb, first word behind it)."""
    return _SENT.findall("\n".join(task.dialogue))


def check_security(task):
    """The client must have done what it was told. Raises `Failed` with what it did instead, and with
    its dialogue.
    """
    said = sent(task)
    # Without PROT it is C (RFC 4217 §9).
    prot = ([word for verb, word in said if verb == "PROT"] or ["C"])[-1]
    fault = None
    if task.implicit == any(verb == "AUTH" for verb, _ in said):
        fault = f"implicit TLS wanted: {task.implicit}, the client sent {said}"
    elif task.ccc != any(verb == "CCC" for verb, _ in said):
        fault = f"CCC wanted: {task.ccc}, the client sent {said}"
    elif prot != task.prot:
        fault = f"the client asked for PROT {prot}, not {task.prot}"
    if fault:
        error = Failed(fault)
        error.dialogue = "\n".join(task.dialogue)
        raise error


def _curl(closing):
    """`closing`: passive waits for the server's close_notify, active sends its own first."""
    def drive(task):
        trust = (["--cacert", task.roots, "--capath", "/nonexistent"] if task.roots else ["-k"])
        if task.shown:
            trust += ["--cert", task.shown[0], "--key", task.shown[1]]
        common = ["-sS", "-v", *trust, "--connect-timeout", str(STEP_LIMIT), "-m", str(STEP_LIMIT), "--user",
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
         *(["ssl:verify-certificate yes", "ssl:check-hostname yes", f"ssl:ca-file {task.roots}"]
           if task.roots else ["ssl:verify-certificate no"]),
         f"dns:order {'inet' if task.family == 4 else 'inet6'}",
         f"ssl:priority NORMAL:-VERS-ALL:+VERS-TLS{task.tls}")


def context(version, roots="", shown=None, check_name=True):
    """A client's TLS context of one version that believes every certificate, or those under `roots`.

    `shown`: the client's own certificate as (chain, key).
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = bool(roots) and check_name
    if roots:
        made.load_verify_locations(roots)
    else:
        made.verify_mode = ssl.CERT_NONE
    if shown:
        made.load_cert_chain(*shown)
    made.minimum_version = made.maximum_version = {
        "1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    return made


class SecuredFTP(ModalFTP, ftplib.FTP_TLS):
    """ftplib's FTP over TLS in one of the four modes.

    `reuse`: data connections resume the control connection's TLS session, which ftplib by itself
    does not do. `implicit`: TLS from the first byte. `name`: what the certificate has to bear
    instead of the address dialled.
    """

    def __init__(self, dialogue, mode, version, reuse=False, implicit=False, name="", **trust):
        super().__init__(dialogue, mode)
        self.timeout = STEP_LIMIT
        self.context = context(version, **trust)
        self.reuse = reuse
        self.implicit = implicit
        self.name = name
        self.session = None

    def connect(self, host="", port=0, timeout=-999, source_address=None):
        if not self.implicit:
            welcome = super().connect(host, port, timeout, source_address)
            self.host = self.name or host
            return welcome
        self.host = self.name or host
        sock = socket.create_connection((host, port), self.timeout, source_address)
        self.af = sock.family
        self.sock = self.context.wrap_socket(sock, server_hostname=self.host)
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome

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
          SecuredFTP(task.dialogue, task.mode, task.tls, task.reuse, task.implicit, task.name,
                     roots=task.roots, shown=task.shown) as ftp):
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
{f"set auth tls verify-file {task.roots}" if task.roots else ""}
set auth tls verify {"fail-if-no-peer-cert" if task.roots else "no"}
set ftp authtype tls
set ftp passive-mode {"on" if task.passive else "off"}
set ftp autologin on
ftp open {task.dialled} {task.port} /user:{task.user} /password:{task.password}
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


def _wget(task):
    # No upload; and no word for a version but the priorities of its GnuTLS.
    common = ["wget", "-d", "--tries=1", f"--timeout={STEP_LIMIT}", f"--ftp-user={task.user}",
              f"--ftp-password={task.password}", "--inet4-only" if task.family == 4 else "--inet6-only",
              f"--ciphers=NORMAL:-VERS-ALL:+VERS-TLS{task.tls}",
              *([f"--ca-certificate={task.roots}"] if task.roots else ["--no-check-certificate"]),
              *([] if task.passive else ["--no-passive-ftp"]),
              *(["--ftps-implicit"] if task.implicit else []),
              *(["--ftps-clear-data-connection"] if task.prot == "C" else [])]
    url = task.url.replace("ftp:", "ftps:")
    task.run([*common, "-O", task.fetched, f"{url}/pub/{task.fetch}"])
    task.run([*common, "-O", os.path.join(task.folder, "listing"), f"{url}/pub/"])
    task.listing = task.read("listing")


TLS_CLIENTS = {client.name: client for client in (
    Client("curl-passive", {4: MODES, 6: V6}, _curl("passive")),
    Client("curl-active", {4: MODES, 6: V6}, _curl("active")),
    # Over IPv4 lftp knows EPSV but no EPRT.
    Client("lftp", {4: ("PASV", "EPSV", "PORT"), 6: V6}, _lftp),
    Client("ftplib", {4: MODES, 6: V6}, _ftplib),
    Client("kermit", {4: ("PASV", "PORT")}, _kermit),
)}

# Those that stay in TLS; curl's ways to end it are no matter then.
FTPS_CLIENTS = {client.name: client for client in (
    Client("curl", {4: MODES, 6: V6}, _curl("passive")),
    TLS_CLIENTS["lftp"], TLS_CLIENTS["ftplib"], TLS_CLIENTS["kermit"],
    Client("wget", {4: ("PASV", "PORT"), 6: V6}, _wget, uploads=False),
)}
