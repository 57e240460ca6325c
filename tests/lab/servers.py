"""The FTP servers of the lab, each as a small recipe: how to configure it and how to start it.

Every daemon has an address of its own on the server's segment, one instance a family, and one
folder that it serves: `pub` in it holds what clients fetch and takes what they store.
"""

import os
import shutil
import time
from dataclasses import dataclass

from authority import certificate, server_dns
from process import Failed, Process, call
from topology import HOST, server_address

CACHE = os.environ.get("FTPGATE_LAB_CACHE", "/var/cache/ftpgate-lab")

# The one user of ProFTPD, Pure-FTPd and pyftpdlib. vsftpd is anonymous: its password check is PAM's.
USER = "lab"
PASSWORD = "xyzzy-Plugh-4711"

NOBODY = 65534


@dataclass(frozen=True)
class Server:
    """A running daemon as a client needs to know it."""

    name: str
    index: int
    home: str
    port: int = 21
    extra: str = ""        # more lines for vsftpd's configuration
    tls: bool = False      # AUTH TLS is taken; Pure-FTPd does so unless this is None
    passive: str = ""      # the range of passive ports as A-B; empty: any
    named: str = ""        # the address to be named in a 227; empty: its own
    implicit: bool = False   # all but Pure-FTPd: TLS from the first byte instead of AUTH
    version: str = ""      # the only version of TLS: 1.2 or 1.3; empty: both
    authority: object = None   # who signs the certificate; None: it signs itself
    # Whether data connections have to resume the TLS session of the control connection and no other
    # data is sent: the defaults of vsftpd and ProFTPD. None: that is said at each recipe.
    strict: bool = None
    pair: tuple = None     # (chain, key) instead of a certificate made for it
    extra_tls: str = ""    # more lines about TLS for vsftpd's or ProFTPD's configuration
    host: str = "server"   # the namespace: this one, or that of a host of `topology.HOST`
    foreign: bool = False  # data connections with others than the client are allowed (FXP)

    def address(self, family):
        if self.host != "server":
            return HOST[self.host, family]
        return server_address(self.index, family)

    @property
    def user(self):
        return "anonymous" if self.name == "vsftpd" else USER

    @property
    def password(self):
        return "lab@example.org" if self.name == "vsftpd" else PASSWORD

    def path(self, name):
        """Where a file of the folder `pub` lies on disk."""
        return os.path.join(self.home, "pub", name)


def start_servers(topology, folder, names, port=21, first_index=0, vsftpd_extra="", **told):
    """Starts the daemons named. Returns ({name: Server}, [Process]); what they are told: `Server`."""
    servers, processes = {}, []
    for index, name in enumerate(names, first_index):
        home = os.path.join(folder, f"{name}-{port}")
        os.makedirs(os.path.join(home, "pub"))
        # vsftpd writes as an account whose home exists (daemon), the others as nobody.
        os.chmod(os.path.join(home, "pub"), 0o777)
        server = Server(name, index, home, port, vsftpd_extra, **told)
        private = os.path.join(folder, f"{name}-{port}-private")
        os.makedirs(private, mode=0o755)
        env = {"OPENSSL_CONF": _openssl(server, private)} if server.tls else {}
        for argv in RECIPES[name](server, private):
            log = os.path.join(folder, f"{name}-{port}.log")
            processes.append(Process(argv, log, topology.ns[server.host], env=os.environ | env))
        servers[name] = server
    for server in servers.values():
        for family in (4, 6):
            _wait_for_greeting(topology, server, family)
    return servers, processes


def _wait_for_greeting(topology, server, family):
    deadline = time.monotonic() + 10
    while True:
        try:
            with topology.connect(server.host, (server.address(family), server.port), 2.0) as s:
                # With implicit TLS the client speaks first.
                if server.implicit or s.recv(3) == b"220":
                    return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise Failed(f"{server.name} does not greet over IPv{family}")
        time.sleep(0.05)


def _write(path, text, mode=0o644):
    with open(path, "w") as out:
        out.write(text)
    os.chmod(path, mode)
    return path


def _openssl(server, private):
    """A configuration of OpenSSL for daemons that have no words of their own for it."""
    only = [f"MinProtocol = TLSv{server.version}", f"MaxProtocol = TLSv{server.version}"]
    # Without tickets of TLS 1.3, see `_mod_tls`.
    silent = ["NumTickets = 0"] if server.name == "proftpd" and not server.strict else []
    lines = "\n".join(silent + (only if server.version else []))
    return _write(os.path.join(private, "openssl.cnf"), f"""
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = tls
[tls]
{lines}
""")


def _pair(server, private):
    """The paths of the server's chain and key."""
    if server.pair:
        return server.pair
    if server.authority:
        names = [server_dns(server), server.address(4), server.address(6)]
        return server.authority.issue(private, names)
    return certificate(private)


def _vsftpd_tls(server, private):
    """Data connections have to resume the control connection's TLS session: its default.

    That neither login nor data pass in clear is the default for the accounts that are not
    anonymous; `strict` brings it to the anonymous one.
    """
    chain, key = _pair(server, private)
    reuse = "NO" if server.strict is False else "YES"
    force = "YES" if server.strict else "NO"
    return f"""
ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl={force}
force_anon_data_ssl={force}
require_ssl_reuse={reuse}
ssl_ciphers=HIGH
rsa_cert_file={chain}
rsa_private_key_file={key}
implicit_ssl={"YES" if server.implicit else "NO"}
{server.extra_tls}
"""


def _vsftpd(server, private):
    extra = server.extra + (_vsftpd_tls(server, private) if server.tls else "")
    if server.passive:
        low, high = server.passive.split("-")
        extra += f"\npasv_min_port={low}\npasv_max_port={high}"
    if server.named:
        extra += f"\npasv_address={server.named}"
    if server.foreign:
        # To others than its client it does not get from port 20: 500 OOPS: vsf_sysutil_bind.
        extra += "\npasv_promiscuous=YES\nport_promiscuous=YES\nconnect_from_port_20=NO"
    empty = os.path.join(private, "empty")
    os.makedirs(empty)
    for family in (4, 6):
        key, on, off = (("listen_address", "listen", "listen_ipv6") if family == 4
                        else ("listen_address6", "listen_ipv6", "listen"))
        config = _write(os.path.join(private, f"vsftpd{family}.conf"), f"""
{on}=YES
{off}=NO
{key}={server.address(family)}
listen_port={server.port}
background=NO
seccomp_sandbox=NO
pam_service_name=other
check_shell=NO
secure_chroot_dir={empty}
anonymous_enable=YES
no_anon_password=NO
anon_root={server.home}
ftp_username=daemon
write_enable=YES
anon_upload_enable=YES
anon_mkdir_write_enable=YES
anon_other_write_enable=YES
anon_world_readable_only=NO
anon_umask=022
connect_from_port_20=YES
async_abor_enable=YES
{extra}
""")
        yield [f"{CACHE}/vsftpd/usr/sbin/vsftpd", config]


def _password_hash():
    # md5crypt: cheap, so that a session costs less than its login.
    return call(["openssl", "passwd", "-1", "-salt", "ftpgate", PASSWORD])[1].strip()


def _mod_tls(server, private):
    """Session reuse is not insisted on unless it is asked for: not every client knows it (ftplib
    does not).

    No tickets of TLS 1.3 are sent then: lftp closes an upload without having read them, which makes
    its kernel send a RST, by which ProFTPD now and then loses the end of the file.
    """
    chain, key = _pair(server, private)
    versions = f"TLSv{server.version}" if server.version else "TLSv1.2 TLSv1.3"
    options = " ".join([*(["NoSessionReuseRequired"] if not server.strict else []),
                        *(["UseImplicitSSL"] if server.implicit else [])])
    return f"""
ModulePath {CACHE}/proftpd-mod-crypto/usr/lib/proftpd
LoadModule mod_tls.c
TLSEngine on
TLSLog none
TLSProtocol {versions}
TLSECCertificateFile {chain}
TLSECCertificateKeyFile {key}
{"TLSRequired on" if server.strict else ""}
{f"TLSOptions {options}" if options else ""}
{server.extra_tls}
"""


def _proftpd(server, private):
    users = _write(os.path.join(private, "users"),
                   f"{USER}:{_password_hash()}:{NOBODY}:{NOBODY}::{server.home}:/bin/false\n", 0o600)
    extra = _mod_tls(server, private) if server.tls else ""
    if server.passive:
        extra += "PassivePorts " + server.passive.replace("-", " ") + "\n"
    if server.named:
        extra += f"MasqueradeAddress {server.named}\n"
    if server.foreign:
        extra += "AllowForeignAddress on\n"
    for family in (4, 6):
        config = _write(os.path.join(private, f"proftpd{family}.conf"), f"""
ServerName lab
ServerType standalone
DefaultAddress {server.address(family)}
SocketBindTight on
Port {server.port}
UseIPv6 {"on" if family == 6 else "off"}
UseReverseDNS off
User nobody
Group nogroup
AuthUserFile {users}
AuthOrder mod_auth_file.c
RequireValidShell off
DefaultRoot ~
AllowOverwrite on
AllowStoreRestart on
AllowRetrieveRestart on
MaxInstances none
TimesGMT on
WtmpLog off
TransferLog none
SystemLog {private}/system{family}.log
ScoreboardFile {private}/scoreboard{family}
PidFile {private}/pid{family}
DelayEngine off
{extra}""")
        # proftpd looks up its own host's name and has no other way to be told an address.
        yield [f"{CACHE}/proftpd-core/usr/sbin/proftpd", "-n", "-q", "-S", server.address(family),
               "-c", config]


def _pure_ftpd(server, private):
    passwd = _write(os.path.join(private, "passwd"),
                    f"{USER}:{_password_hash()}:{NOBODY}:{NOBODY}::{server.home}/./::::::::::::\n")
    database = os.path.join(private, "users.pdb")
    call([f"{CACHE}/pure-ftpd/usr/bin/pure-pw", "mkdb", database, "-f", passwd])
    # TLS for who asks for it; key and certificate in one file.
    both = os.path.join(private, "both.pem")
    with open(both, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
        for path in reversed(_pair(server, private)):
            with open(path) as part:
                out.write(part.read())
    # 0: no TLS at all; 1: for who asks for it; 3: neither login nor data in clear.
    more = ["-Y", "0" if server.tls is None else "3" if server.strict else "1"]
    if server.passive:
        more += ["-p", server.passive.replace("-", ":")]
    if server.named:
        more += ["-P", server.named]
    if server.foreign:
        more += ["-w"]
    for family in (4, 6):
        yield [f"{CACHE}/pure-ftpd/usr/sbin/pure-ftpd", "-S", f"{server.address(family)},{server.port}",
               "-4" if family == 4 else "-6", "-l", f"puredb:{database}", "-A", "-E", "-H", "-c", "200",
               "-C", "100", "-u", "1000", "-2", both, "-g", os.path.join(private, f"pid{family}"),
               *more]


def _pyftpdlib(server, private):
    script = os.path.join(os.path.dirname(__file__), "pyftpdlib_server.py")
    more = []
    if server.tls:
        chain, key = _pair(server, private)
        more = ["--chain", chain, "--key", key, *(["--version", server.version] if server.version else []),
                *(["--implicit"] if server.implicit else []), *(["--required"] if server.strict else [])]
    if server.foreign:
        more += ["--foreign"]
    for family in (4, 6):
        yield [f"{CACHE}/venv/bin/python", script, server.home, USER, PASSWORD, str(server.port),
               server.address(family), *more]


RECIPES = {"vsftpd": _vsftpd, "proftpd": _proftpd, "pure-ftpd": _pure_ftpd, "pyftpdlib": _pyftpdlib}


def installed():
    """What setup.sh has not yet brought, as a list of paths; empty when the lab can run."""
    needed = [f"{CACHE}/vsftpd/usr/sbin/vsftpd", f"{CACHE}/proftpd-core/usr/sbin/proftpd",
              f"{CACHE}/pure-ftpd/usr/sbin/pure-ftpd", f"{CACHE}/venv/bin/python",
              f"{CACHE}/proftpd-mod-crypto/usr/lib/proftpd/mod_tls.so",
              f"{CACHE}/prometheus/usr/bin/prometheus", f"{CACHE}/prometheus/usr/bin/promtool",
              f"{CACHE}/keepalived/usr/sbin/keepalived", f"{CACHE}/conntrackd/usr/sbin/conntrackd",
              f"{CACHE}/haproxy/usr/sbin/haproxy", f"{CACHE}/libfaketime.done", f"{CACHE}/machine.done"]
    tools = ["nft", "ip", "conntrack", "curl", "lftp", "tnftp", "inetutils-ftp", "ncftpget", "wget",
             "kermit", "openssl", "systemd-nspawn", "buildah", "musl-gcc", "runc", "readelf",
             "strip"]
    return ([path for path in needed if not os.path.exists(path)]
            + [tool for tool in tools if not shutil.which(tool)])
