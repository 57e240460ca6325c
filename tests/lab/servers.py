"""The FTP servers of the lab, each as a small recipe: how to configure it and how to start it.

Every daemon has an address of its own on the server's segment, one instance a family, and one
folder that it serves: `pub` in it holds what clients fetch and takes what they store.
"""

import os
import shutil
import time
from dataclasses import dataclass

from process import Failed, Process, call
from topology import server_address

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
    tls: bool = False      # AUTH TLS is taken; Pure-FTPd always does so
    passive: str = ""      # the range of passive ports as A-B; empty: any
    named: str = ""        # the address to be named in a 227; empty: its own
    implicit: bool = False   # vsftpd, ProFTPD: TLS from the first byte instead of AUTH

    def address(self, family):
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


def start_servers(topology, folder, names, port=21, first_index=0, vsftpd_extra="", tls=False,
                  passive="", named="", implicit=False):
    """Starts the daemons named. Returns ({name: Server}, [Process]); what they are told: `Server`."""
    servers, processes = {}, []
    for index, name in enumerate(names, first_index):
        home = os.path.join(folder, f"{name}-{port}")
        os.makedirs(os.path.join(home, "pub"))
        # vsftpd writes as an account whose home exists (daemon), the others as nobody.
        os.chmod(os.path.join(home, "pub"), 0o777)
        server = Server(name, index, home, port, vsftpd_extra, tls, passive, named,
                        implicit)
        private = os.path.join(folder, f"{name}-{port}-private")
        os.makedirs(private, mode=0o755)
        for argv in RECIPES[name](server, private):
            log = os.path.join(folder, f"{name}-{port}.log")
            env = {"OPENSSL_CONF": os.path.join(private, "openssl.cnf")} if server.tls else {}
            processes.append(Process(argv, log, topology.ns["server"], env=os.environ | env))
        servers[name] = server
    for server in servers.values():
        for family in (4, 6):
            _wait_for_greeting(topology, server, family)
    return servers, processes


def _wait_for_greeting(topology, server, family):
    deadline = time.monotonic() + 10
    while True:
        try:
            with topology.connect("server", (server.address(family), server.port), 2.0) as s:
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


def _vsftpd_tls(private, implicit):
    """Data connections have to resume the control connection's TLS session: its default."""
    chain, key = certificate(private)
    return f"""
ssl_enable=YES
allow_anon_ssl=YES
require_ssl_reuse=YES
ssl_ciphers=HIGH
rsa_cert_file={chain}
rsa_private_key_file={key}
implicit_ssl={"YES" if implicit else "NO"}
"""


def _vsftpd(server, private):
    extra = server.extra + (_vsftpd_tls(private, server.implicit) if server.tls else "")
    if server.passive:
        low, high = server.passive.split("-")
        extra += f"\npasv_min_port={low}\npasv_max_port={high}"
    if server.named:
        extra += f"\npasv_address={server.named}"
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


def certificate(folder):
    """Makes a key and a certificate signed by itself. Returns the paths (chain, key)."""
    chain, key = os.path.join(folder, "certificate.pem"), os.path.join(folder, "key.pem")
    call(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
          "-subj", "/CN=lab", "-keyout", key, "-out", chain])
    return chain, key


def _mod_tls(private, implicit):
    """Session reuse is not insisted on: not every client knows it (ftplib does not).

    No tickets of TLS 1.3 are sent: lftp closes an upload without having read them, which makes its
    kernel send a RST, by which ProFTPD now and then loses the end of the file.
    """
    chain, key = certificate(private)
    _write(os.path.join(private, "openssl.cnf"), """
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = tls
[tls]
NumTickets = 0
""")
    return f"""
ModulePath {CACHE}/proftpd-mod-crypto/usr/lib/proftpd
LoadModule mod_tls.c
TLSEngine on
TLSLog none
TLSProtocol TLSv1.2 TLSv1.3
TLSECCertificateFile {chain}
TLSECCertificateKeyFile {key}
TLSOptions NoSessionReuseRequired {"UseImplicitSSL" if implicit else ""}
"""


def _proftpd(server, private):
    users = _write(os.path.join(private, "users"),
                   f"{USER}:{_password_hash()}:{NOBODY}:{NOBODY}::{server.home}:/bin/false\n", 0o600)
    extra = _mod_tls(private, server.implicit) if server.tls else ""
    if server.passive:
        extra += "PassivePorts " + server.passive.replace("-", " ") + "\n"
    if server.named:
        extra += f"MasqueradeAddress {server.named}\n"
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
    chain, key = certificate(private)
    with open(key, "a") as both, open(chain) as chain:
        both.write(chain.read())
    more = []
    if server.passive:
        more += ["-p", server.passive.replace("-", ":")]
    if server.named:
        more += ["-P", server.named]
    for family in (4, 6):
        yield [f"{CACHE}/pure-ftpd/usr/sbin/pure-ftpd", "-S", f"{server.address(family)},{server.port}",
               "-4" if family == 4 else "-6", "-l", f"puredb:{database}", "-A", "-E", "-H", "-c", "200",
               "-C", "100", "-u", "1000", "-Y", "1", "-2", key, "-g", os.path.join(private, f"pid{family}"),
               *more]


def _pyftpdlib(server, private):
    script = os.path.join(os.path.dirname(__file__), "pyftpdlib_server.py")
    for family in (4, 6):
        yield [f"{CACHE}/venv/bin/python", script, server.home, USER, PASSWORD, str(server.port),
               server.address(family)]


RECIPES = {"vsftpd": _vsftpd, "proftpd": _proftpd, "pure-ftpd": _pure_ftpd, "pyftpdlib": _pyftpdlib}


def installed():
    """What setup.sh has not yet brought, as a list of paths; empty when the lab can run."""
    needed = [f"{CACHE}/vsftpd/usr/sbin/vsftpd", f"{CACHE}/proftpd-core/usr/sbin/proftpd",
              f"{CACHE}/pure-ftpd/usr/sbin/pure-ftpd", f"{CACHE}/venv/bin/python",
              f"{CACHE}/proftpd-mod-crypto/usr/lib/proftpd/mod_tls.so"]
    tools = ["nft", "ip", "curl", "lftp", "tnftp", "inetutils-ftp", "ncftpget", "wget", "kermit", "openssl"]
    return ([path for path in needed if not os.path.exists(path)]
            + [tool for tool in tools if not shutil.which(tool)])
