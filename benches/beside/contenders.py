"""What is measured: each way of getting FTP across a NAT gateway, set up as its own manual advises.

A contender puts rules and processes into a line's gateway. Rules that the owner of such a gateway has anyway
(forward policy drop, what is established passes) are there wherever packets are forwarded. Proxies, through
which nothing is forwarded, run without any rule, that is, at their best.
"""

import subprocess
from dataclasses import dataclass, field

import peers
import secured
import world
from world import GATEWAY_CLIENT_SIDE, GATEWAY_SERVER_SIDE, SERVER, BenchError

METRICS = "http://127.0.0.1:9121/metrics"
READY = "http://127.0.0.1:9121/readyz"
# HAProxy knows nothing of FTP: the server's passive ports are forwarded one to one.
_PASSIVE_PORTS = "30000-30999"


@dataclass
class Contender:
    """A line with its server and its gateway running."""

    name: str
    title: str
    line: world.Line
    address: str
    user: str = "anonymous"
    # How TLS begins, and its suite, for those that end it on both sides.
    tls: str | None = None
    cipher: str = secured.CIPHERS[0]
    process: subprocess.Popen | None = None
    server_process: subprocess.Popen | None = None
    failure: str | None = None
    samples: dict = field(default_factory=dict)

    @property
    def is_ftpgate(self):
        return is_ftpgate(self.name)

    @property
    def client_words(self):
        """What the measuring client has to know of it."""
        words = [f"{self.address}:21", f"user={self.user}"]
        return words + [f"tls={self.tls}", f"cipher={self.cipher}"] if self.tls else words


TITLES = {
    "nat": "plain NAT",
    "alg": "kernel ALG",
    "haproxy": "HAProxy (TCP, splice)",
    "squid": "Squid ftp_port",
    "mod_proxy": "ProFTPD mod_proxy",
    "kernel": "ftpgate kernel, tproxy",
    "relay": "ftpgate relay, tproxy",
    "kernel-direct": "ftpgate kernel, direct",
    "relay-direct": "ftpgate relay, direct",
    "haproxy-tls": "HAProxy, TLS on both sides",
    "mod_proxy-tls": "mod_proxy, TLS on both sides",
    "intercept": "ftpgate intercept, direct",
}
# HAProxy cannot follow AUTH.
_TLS_STARTS = {"haproxy-tls": "implicit", "mod_proxy-tls": "explicit", "intercept": "explicit"}


def is_ftpgate(name):
    return name.startswith(("kernel", "relay", "intercept"))


def set_up(name, scratch, ftpgate, cipher):
    """Builds the line of the contender `name`. A contender that does not start bears its `failure`."""
    line = world.Line(scratch / name)
    through = name in ("nat", "alg", "kernel", "relay")
    contender = Contender(name, TITLES[name], line, SERVER if through else GATEWAY_CLIENT_SIDE)
    contender.tls, contender.cipher = _TLS_STARTS.get(name), cipher
    if contender.tls:
        secured.make_certificate(line.folder)
    _start_server(contender, scratch / "data")
    try:
        match name:
            case "nat" | "alg":
                line.gateway.run(["nft", "-f", "-"], text=_NAT_RULES if name == "nat" else _ALG_RULES)
            case "haproxy" | "haproxy-tls":
                _start_haproxy(contender)
            case "squid":
                _start_squid(contender)
            case "mod_proxy" | "mod_proxy-tls":
                _start_mod_proxy(contender)
            case _:
                _start_ftpgate(contender, ftpgate)
        world.wait_for_greeting(line.client, contender.address, contender.process, contender.tls == "implicit")
    except (BenchError, OSError, subprocess.SubprocessError) as error:
        said = line.log("gateway") if contender.process else ""
        contender.failure = f"{error}\n{said}".strip()
    return contender


_NAT_RULES = """
table inet owner {
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "client0" accept
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "server0" masquerade
  }
}
"""

_ALG_RULES = """
table inet owner {
  ct helper ftp { type "ftp" protocol tcp; }
  chain prerouting {
    type filter hook prerouting priority filter;
    iifname "client0" tcp dport 21 ct helper set "ftp"
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "client0" tcp dport 21 accept
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "server0" masquerade
  }
}
"""

# The owner's part beside ftpgate: its own table sets the mark, the owner's rules accept it.
_FTPGATE_OWNER_RULES = """
table inet owner {
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    ct mark 0x2100 accept
  }
}
"""


def _start_server(contender, data):
    """vsftpd, anonymous: a password hash costs more than the session around it.

    Its network isolation makes and destroys a network namespace per session. On a server of its own that is its
    own affair; here it would disturb the netfilter of the gateway, which shares the kernel, so it is off. The anonymous
    user is one whose home exists on every Debian.
    """
    folder = contender.line.folder
    (folder / "empty").mkdir()
    settings = f"""
listen=YES
background=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=NO
anon_root={data}
ftp_username=daemon
nopriv_user=nobody
secure_chroot_dir={folder / "empty"}
pam_service_name=other
check_shell=NO
seccomp_sandbox=NO
isolate=NO
isolate_network=NO
tcp_wrappers=NO
xferlog_enable=NO
max_per_ip=0
max_clients=0
"""
    if contender.name.startswith("haproxy"):
        first, last = _PASSIVE_PORTS.split("-")
        settings += f"pasv_address={GATEWAY_CLIENT_SIDE}\npasv_min_port={first}\npasv_max_port={last}\n"
    words = [peers.VSFTPD, folder / "vsftpd.conf"]
    if contender.tls:
        settings += secured.vsftpd(folder, contender.tls)
        words = [*secured.only(folder, contender.cipher), *words]
    (folder / "vsftpd.conf").write_text(settings)
    line = contender.line
    process = line.start(line.server, words, "server")
    contender.server_process = process
    world.wait_for_greeting(line.server, SERVER, process, contender.tls == "implicit")


def _start_haproxy(contender):
    """`splice-auto` leaves most of such a stream to copying (measured: 10 Gbit/s where this reaches 25)."""
    folder = contender.line.folder
    bind, server = secured.haproxy(folder) if contender.tls else ("", "")
    (folder / "haproxy.cfg").write_text(f"""
global
  maxconn 4000
  tune.pipesize 1048576
defaults
  mode tcp
  option splice-request
  option splice-response
  timeout connect 5s
  timeout client 5m
  timeout server 5m
listen control
  bind {GATEWAY_CLIENT_SIDE}:21 {bind}
  server ftp {SERVER}:21 {server}
listen data
  bind {GATEWAY_CLIENT_SIDE}:{_PASSIVE_PORTS} {bind}
  server ftp {SERVER} {server}
""")
    _start_gateway(contender, ["haproxy", "-db", "-f", folder / "haproxy.cfg"])


def _start_squid(contender):
    folder = contender.line.folder
    (folder / "squid.conf").write_text(f"""
http_port 127.0.0.1:3128
ftp_port {GATEWAY_CLIENT_SIDE}:21
http_access allow all
cache deny all
access_log none
cache_log {folder / "squid-cache.log"}
pid_filename {folder / "squid.pid"}
coredump_dir none
pinger_enable off
visible_hostname gateway.example
shutdown_lifetime 0 seconds
""")
    # Squid's documented form for a client that dials the proxy: the server stands in the login name.
    contender.user = f"anonymous@{SERVER}"
    (folder / "squid-cache.log").touch()
    (folder / "squid-cache.log").chmod(0o666)
    _start_gateway(contender, ["squid", "-N", "-f", folder / "squid.conf"])


def _start_mod_proxy(contender):
    folder = contender.line.folder
    (folder / "run").mkdir(mode=0o755)
    (folder / "proftpd.conf").write_text(f"""
ModulePath /usr/lib/proftpd
LoadModule mod_tls.c
LoadModule mod_proxy.c
ServerType standalone
ServerName beside
DefaultAddress {GATEWAY_CLIENT_SIDE}
SocketBindTight on
Port 21
UseIPv6 off
User nobody
Group nogroup
MaxInstances 2000
PidFile {folder / "run" / "pid"}
ScoreboardFile {folder / "run" / "scoreboard"}
DelayEngine off
UseReverseDNS off
RequireValidShell off
WtmpLog off
TransferLog none
SystemLog none
ProxyEngine on
ProxyRole reverse
ProxyTables {folder / "run" / "tables"}
ProxyReverseServers ftp://{SERVER}:21
ProxySourceAddress {GATEWAY_SERVER_SIDE}
{secured.mod_proxy(folder) if contender.tls else ""}
""")
    _start_gateway(contender, ["proftpd", "-n", "-c", folder / "proftpd.conf"])


def _start_ftpgate(contender, ftpgate):
    if ftpgate is None:
        raise BenchError("no ftpgate binary")
    line = contender.line
    path, _, direct = contender.name.partition("-")
    if direct or contender.tls:
        where = f'listen: "{GATEWAY_CLIENT_SIDE}:21", capture: direct, server: "{SERVER}:21"'
    else:
        where = 'listen: "0.0.0.0:2121", capture: tproxy, capture_ports: [21], server: original'
    tls = secured.ftpgate(line.folder, ftpgate) if contender.tls else ("", "")
    (line.folder / "ftpgate.yaml").write_text(f"""
listeners:
  - {{ name: beside, {where}, source: gateway{tls[0]} }}
{tls[1]}
data: {{ path: {"relay" if contender.tls else path}, ports: 50000-50999 }}
limits: {{ sessions_per_client: 2000 }}
telemetry: {{ listen: "127.0.0.1:9121", log: {{ format: text, level: warn }} }}
""")
    # ftpgate counts the bytes of the kernel path, and that is part of its price.
    line.gateway.run(["nft", "-f", "-"], text=_FTPGATE_OWNER_RULES)
    line.sysctl("net.netfilter.nf_conntrack_acct", 1)
    _start_gateway(contender, [ftpgate, "run", "--config", line.folder / "ftpgate.yaml"])
    world.wait_for_http(line.gateway, READY, contender.process)


def _start_gateway(contender, words):
    contender.process = contender.line.start(contender.line.gateway, words, "gateway")
