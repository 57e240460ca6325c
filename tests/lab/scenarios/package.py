"""The Debian package in a booted machine: installed, configured, used, upgraded, removed; what its unit
lets ftpgate do; and the commands of docs/deploy-appliance.md as they stand there."""

import contextlib
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from appliance import CONFIG, NEWER, SERVICE, SOCKET, bare, installed, packages
from cells import Setting, Talk, converse
from lab import Failed
from process import wait_until
from scenarios import scenario
from scenarios.handover import AFTER, BEFORE, PIECE, PIECE_PAUSE, Greeter, Stream, captures, check
from scenarios.lifecycle import begin_download, finish
from scenarios.transfers import LARGE
from scripted import PATIENCE

# What `systemd-analyze security` says, as docs/deploy-appliance.md has it; lower is safer.
EXPOSURE = 1.7

# CAP_NET_ADMIN, as /proc/PID/status has it.
NET_ADMIN = f"{1 << 12:016x}"

TOP = os.path.join(os.path.dirname(__file__), "..", "..", "..")
PAGE = os.path.join(TOP, "docs", "deploy-appliance.md")

# In the journal, where a right is missing or a system call is not foreseen.
REFUSALS = ("not permitted", "Permission denied", "EPERM", "os error 1)", "os error 13)", "SIGSYS",
            "Read-only file system")

# A process that calls what the unit does not foresee is killed, where the unit as it is lets the call fail.
STRICT = "[Service]\nSystemCallErrorNumber=kill\n"

# Where the ways to take a connection, to show oneself and to carry data each occur.
WAYS = (("tproxy", "gateway"), ("tproxy", "client"), ("redirect", "gateway"), ("direct", "gateway"))

TALKS = (Talk("vsftpd", "curl", "EPSV", 4), Talk("vsftpd", "lftp", "PORT", 4),
         Talk("vsftpd", "lftp", "PASV", 4), Talk("vsftpd", "curl", "EPRT", 6))


def talk_all(lab, label):
    """Real clients, active and passive, both families."""
    for number, talk in enumerate(TALKS):
        host, port = lab.target(lab.server, talk.family)
        converse(lab.topology, lab.server, talk, os.path.join(lab.folder, f"{label}-{number}"),
                 host, port)


def no_refusals(machine):
    """Nothing in the journal says that ftpgate lacks a right, and nothing was killed."""
    for line in machine.journal().splitlines():
        if "ftpgate" in line and any(word in line for word in REFUSALS):
            raise Failed(f"a right is missing: {line}")


@scenario("the rights of the unit suffice", *WAYS)
def rights(binary, folder, parameter):
    capture, source = parameter
    with installed(binary, folder, Setting(capture, source, "kernel")) as (lab, machine):
        gateway = lab.gateway
        machine.write(f"/etc/systemd/system/{SERVICE}.d/strict.conf", STRICT)
        machine.run(["systemctl", "daemon-reload"])
        audit = "/var/log/ftpgate/audit.jsonl"
        told = {"audit": {"path": audit, "journald": True}}
        gateway.lay_over(telemetry=gateway.settings["telemetry"] | told,
                         data=gateway.settings["data"] | {"blind_ports": "60000-60100"})
        gateway.start()
        for path in ("kernel", "relay"):
            if not gateway.reload(data=gateway.settings["data"] | {"path": path}):
                raise Failed(f"the reload is refused: {gateway.read_log()[-2000:]}")
            talk_all(lab, path)
            moved = gateway.metrics().sum("data_connections_total", path=path, outcome="completed")
            if moved < 3 * len(TALKS):
                raise Failed(f"{moved:g} data connections took the path {path}")
        for place, text in (("file", machine.read(audit)), ("journal", machine.journal(SERVICE, 5000))):
            if '"event":"transfer"' not in text:
                raise Failed(f"no transfer stands in the audit's {place}: {text[-1000:]}")
        machine.run(["sh", "-c", "ftpgate sessions && runuser -u ftpgate -- ftpgate sessions"])
        holds_what_it_should(gateway, machine)
        no_refusals(machine)


def holds_what_it_should(gateway, machine):
    """The process is the user's, and has one right."""
    status = gateway.status()
    user = machine.run(["id", "-u", "ftpgate"])[1].strip()
    if set(status["Uid"].split()) != {user} or user == "0":
        raise Failed(f"it runs as {status['Uid']}")
    held = {key: status[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    # What could be inherited ftpgate gives up by itself; the bounding set is the unit's.
    expected = {key: NET_ADMIN for key in ("CapPrm", "CapEff", "CapBnd")}
    if held != expected | dict.fromkeys(("CapInh", "CapAmb"), "0" * 16):
        raise Failed(f"its capabilities are {held}")
    if status["NoNewPrivs"] != "1" or status["Seccomp"] != "2":
        raise Failed(f"no new privileges {status['NoNewPrivs']}, seccomp {status['Seccomp']}")
    # What the unit asks for, as far as the host of the lab lets its machines have it.
    files, most = open_files(machine, gateway.pid)[0], open_files(machine, 1)[1]
    if files != min(65536, most):
        raise Failed(f"{files} open files at most")
    said = machine.run(["systemd-analyze", "security", "--no-pager", SERVICE])[1]
    score = re.search(r"^→ Overall exposure level for .*: ([\d.]+)", said, re.MULTILINE)
    if not score or float(score[1]) > EXPOSURE:
        raise Failed(f"the unit is less safe than documented ({EXPOSURE}): {said.splitlines()[-1]}")


@scenario("the unit with fewer rights and with more")
def other_rights(binary, folder):
    with installed(binary, folder, Setting("direct", "gateway", "relay")) as (lab, machine):
        gateway = lab.gateway
        restart_with(machine, "AmbientCapabilities=\nCapabilityBoundingSet=\n",
                     lambda: gateway.lay_over(firewall={"backend": "none"}))
        talk_all(lab, "sidecar")
        if {gateway.status()[key].strip("0") for key in ("CapPrm", "CapBnd", "CapAmb")} != {""}:
            raise Failed("the process has a capability")
        no_refusals(machine)
        # A port below 1024 that is not the socket unit's.
        low = gateway.settings["listeners"][0] | {"name": "low", "listen": "192.0.2.1:21"}
        gateway.lay_over(listeners=[*gateway.settings["listeners"], low])
        code, _ = machine.run(["systemctl", "restart", SERVICE], check=False)
        if code == 0 or "need the capability CAP_NET_BIND_SERVICE" not in gateway.read_log():
            raise Failed(f"port 21 without the right to it: {gateway.read_log()[-1000:]}")
        machine.run(["systemctl", "stop", SOCKET, SERVICE])
        both = "CAP_NET_ADMIN CAP_NET_BIND_SERVICE"
        restart_with(machine, f"AmbientCapabilities={both}\nCapabilityBoundingSet={both}\n")
        with lab.topology.connect("client", ("192.0.2.1", 21)) as client:
            client.settimeout(10)
            if not client.recv(100).startswith(b"220 "):
                raise Failed("port 21 does not greet")


def restart_with(machine, lines, prepare=lambda: None):
    """The service with these lines beside its own, as `systemctl edit` writes them."""
    prepare()
    machine.write(f"/etc/systemd/system/{SERVICE}.d/override.conf", f"[Service]\n{lines}")
    machine.run(["systemctl", "daemon-reload"])
    machine.run(["systemctl", "reset-failed", SERVICE], check=False)
    machine.run(["systemctl", "restart", SERVICE])


def open_files(machine, pid):
    """The limits of a process, the one in force and the highest."""
    found = re.search(r"^Max open files +(\d+) +(\d+)", machine.read(f"/proc/{pid}/limits"), re.MULTILINE)
    return int(found[1]), int(found[2])


@scenario("the package is installed, upgraded and removed")
def life(binary, folder):
    greeter = Greeter()
    limits = {"drain_timeout": "2s", "sessions_per_client": 2000}
    package, newer = packages(binary, folder)
    # Not so much that the journal leaves lines out.
    log = {"log": {"format": "text", "level": "info"}}
    with bare(binary, folder, Setting("tproxy", "gateway", "kernel"), limits=limits, telemetry=log,
              stand_ins={"greeter": greeter}) as (lab, machine), contextlib.closing(greeter):
        greeter.open(lab.topology)
        before = listening(machine)
        installation(machine, package, before)
        lab.gateway.configure()
        machine.run(["systemctl", "enable", "--now", SERVICE])
        talk_all(lab, "installed")
        reloads(lab.gateway, machine)
        keys(lab.gateway, machine)
        digest = lab.put_file("large", LARGE)
        for what, action in (
                ("restart", lambda: machine.run(["systemctl", "restart", SERVICE])),
                ("upgrade", lambda: machine.install(newer, "-o", "Dpkg::Options::=--force-confold"))):
            replaced(lab, machine, action, digest, what)
        if NEWER not in machine.run(["dpkg-query", "-W", "ftpgate"])[1]:
            raise Failed("the newer package is not there")
        talk_all(lab, "upgraded")
        not_taken(lab.gateway, machine, newer)
        reboots(lab, machine)
        no_refusals(machine)
        removal(lab, machine, before)


def listening(machine):
    """Sockets that listen in the machine, as a set of addresses."""
    lines = machine.run(["ss", "-Hlntu"])[1].splitlines()
    return {line.split()[4] for line in lines}


def installation(machine, package, before):
    """Right after it nothing listens, runs or is enabled, and the first start says what is missing."""
    machine.install(package)
    if listening(machine) != before:
        raise Failed(f"it listens on {listening(machine) - before}")
    for unit in (SERVICE, SOCKET):
        state = machine.run(["systemctl", "is-enabled", unit], check=False)[1].strip()
        if (state, machine.show(unit, "ActiveState")) != ("disabled", "inactive"):
            raise Failed(f"{unit} is {state} and {machine.show(unit, 'ActiveState')}")
    owner = machine.run(["stat", "-c", "%U:%G %a", "/etc/ftpgate/keys", "/etc/ftpgate"])[1].split("\n")
    if owner[:2] != ["ftpgate:ftpgate 700", "root:root 755"]:
        raise Failed(f"the folders are {owner}")
    code, _ = machine.run(["systemctl", "start", SERVICE], check=False)
    if code == 0 or "no listener: write at least one" not in machine.journal(SERVICE):
        raise Failed(f"a start without a listener: {machine.journal(SERVICE)}")
    if machine.show(SERVICE, "ExecMainStatus") != "2" or machine.show(SERVICE, "NRestarts") != "0":
        raise Failed("a file that is wrong is tried again")
    machine.run(["systemctl", "stop", SOCKET, SERVICE])
    machine.run(["systemctl", "reset-failed", SERVICE])
    for page in ("ftpgate", "ftpgate-run"):
        if not machine.exists(f"/usr/share/man/man1/{page}.1.gz"):
            raise Failed(f"no man page {page}")


def reloads(gateway, machine):
    """`systemctl reload` says whether the file was taken."""
    if not gateway.reload(limits=gateway.settings["limits"] | {"sessions": 500}):
        raise Failed("a good file is refused")
    good = machine.read(CONFIG)
    machine.write(CONFIG, "listeners: 5\n")
    code, _ = machine.run(["systemctl", "reload", SERVICE], check=False)
    if code == 0 or "listeners" not in machine.journal(SERVICE):
        raise Failed("a bad file is reloaded in silence")
    machine.write(CONFIG, good)
    if gateway.metrics().sum("config_reloads_total", outcome="refused") != 1:
        raise Failed("the refusal is not counted")


def keys(gateway, machine):
    """A private key is the service's own or root's for its group, and is refused where others may read it."""
    folder, plain = "/etc/ftpgate/keys", gateway.settings
    machine.run(["runuser", "-u", "ftpgate", "--", "ftpgate", "ca", "init", "--dir", folder])
    ending = [listener | {"tls": {"mode": "intercept"}} for listener in plain["listeners"]]
    ca = {"ca": {"certificate": "keys/ca.crt", "key": "keys/ca.key"}}
    if not gateway.reload(listeners=ending, tls=ca, data=plain["data"] | {"path": "auto"}):
        raise Failed(f"the CA cannot be used: {gateway.read_log()[-1000:]}")
    machine.run(["chown", "root:ftpgate", f"{folder}/ca.key"])
    machine.run(["chmod", "640", f"{folder}/ca.key"])
    if not gateway.reload():
        raise Failed("a key of root's, for the group of the service, is refused")
    machine.run(["chmod", "644", f"{folder}/ca.key"])
    if gateway.reload() or "ca.key" not in machine.journal(SERVICE, lines=20):
        raise Failed("a key that others may read is taken")
    machine.run(["rm", f"{folder}/ca.key", f"{folder}/ca.crt"])
    if not gateway.reload(listeners=plain["listeners"], tls={}, data=plain["data"]):
        raise Failed("the way back is refused")


def replaced(lab, machine, action, digest, what):
    """Another process takes the place of this one, under clients and transfers of the kernel path."""
    first, began = lab.gateway.pid, time.time()
    _, *slow = begin_download(lab, "EPSV")
    over = threading.Event()
    with Stream(lab) as stream, ThreadPoolExecutor(2) as pool, contextlib.ExitStack() as stack:
        stack.callback(over.set)
        rest = pool.submit(trickle, slow[0], over)
        time.sleep(BEFORE)
        done = pool.submit(action)
        wait_until(lambda: drained(machine) > began or done.done(), f"the {what} does not begin",
                   timeout=60)
        if not captures(lab):
            raise Failed(f"the captures are gone in the {what}")
        done.result()
        machine.wait_for_unit(SERVICE)
        if rest.done():
            raise Failed(f"the transfer did not last over the {what}")
        over.set()
        time.sleep(AFTER)
        # A moment of the wall clock, as the clients' clock has it.
        start = drained(machine) - time.time() + time.monotonic()
        # Who was there before, and was not greeted yet, hears the good-bye.
        results = [(moment, outcome) for moment, outcome in stream.end()
                   if not (moment < start and outcome.startswith("421 "))]
        check(lab, results, (start, time.monotonic()))
        if lab.gateway.pid == first:
            raise Failed(f"the same process runs after the {what}")
        finish(slow[0], slow[1] + rest.result(), digest)
    if machine.show(SERVICE, "NFileDescriptorStore") != "1":
        raise Failed("the socket of the table is not stored")


def trickle(sock, over):
    """Reads to the end, slowly until `over`. Returns what came."""
    received = bytearray()
    sock.settimeout(PATIENCE)
    while piece := sock.recv(PIECE):
        received += piece
        over.wait(PIECE_PAUSE)
    return received


def drained(machine):
    """When a process of the service last began its end, in seconds of Unix time."""
    _, said = machine.run(["journalctl", "--no-pager", "-b", "-u", SERVICE, "-g", "INFO draining"],
                          check=False)
    found = re.findall(r"(\S+)Z +INFO draining", said)
    return datetime.fromisoformat(f"{found[-1]}+00:00").timestamp() if found else 0.0


def not_taken(gateway, machine, package):
    """A package whose version refuses the configuration leaves the process alone."""
    first, good = gateway.pid, machine.read(CONFIG)
    machine.write(CONFIG, "listeners: 5\n")
    said = machine.install(package, "--reinstall")
    machine.write(CONFIG, good)
    if gateway.pid != first or "the configuration has to change for this version" not in said:
        raise Failed(f"process {first}, then {gateway.pid}: {said}")


def reboots(lab, machine):
    """What is enabled comes up, with its sysctls, and serves."""
    counts = "/proc/sys/net/netfilter/nf_conntrack_acct"
    machine.run(["sysctl", "-qw", "net.netfilter.nf_conntrack_acct=0"])
    machine.reboot()
    machine.wait_for_unit(SERVICE)
    if machine.read(counts).strip() != "1":
        raise Failed("conntrack does not count after the reboot")
    wait_until(lambda: lab.gateway.get("/readyz")[0] == 200, "not ready after the reboot")
    talk_all(lab, "rebooted")


def removal(lab, machine, before):
    """`remove` leaves what the owner has written, `purge` nothing of the package."""
    machine.write("/etc/ftpgate/keys/ca.key", "secret\n", "600", "ftpgate:ftpgate")
    machine.run(["apt-get", "remove", "-y", "ftpgate"])
    if listening(machine) != before or lab.table() is not None:
        raise Failed(f"left: {listening(machine) - before}, {lab.table()}")
    if lab.host_state() != lab.before:
        raise Failed(f"left behind: {set(lab.host_state().splitlines()) - set(lab.before.splitlines())}")
    if machine.exists("/usr/bin/ftpgate") or not machine.exists(CONFIG):
        raise Failed("remove takes too little or too much")
    machine.run(["rm", "/etc/ftpgate/keys/ca.key"])
    machine.run(["apt-get", "purge", "-y", "ftpgate"])
    code, left = machine.run(["find", "/etc", "/usr", "/var/lib/systemd", "/var/log", "/run", "-name",
                              "*ftpgate*", "-not", "-path", "/etc/systemd/system/ftpgate.socket.d*",
                              "-not", "-path", "/run/credentials/*"], check=False)
    if left.strip():
        raise Failed(f"purge leaves (exit code {code}): {left}")




@scenario("the page on appliances is followed", "From a bare Debian to a gateway", "Without the package")
def page(binary, folder, heading):
    with bare(binary, folder, Setting("tproxy", "gateway", "kernel")) as (lab, machine):
        package, _ = packages(binary, folder)
        # What the page takes for granted in the folder where it begins.
        machine.copy(package, f"/root/{os.path.basename(package)}")
        machine.copy(binary, "/root/target/release/ftpgate", "755")
        for path in ["config/gateway.yaml", *commands_of("Without the package", r"deploy/systemd/[\w.]+")]:
            machine.copy(os.path.join(TOP, path), f"/root/{path}")
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            machine.run(["sysctl", "-qw", f"{key}={int(heading.startswith('Without'))}"])
        script = "\n".join(commands_of(heading, ".+"))
        script = re.sub(r"ftpgate_\S+\.deb", os.path.basename(package), script)
        code, text = machine.run(["bash", "-euxc", f"cd /root\n{script}"], check=False, timeout=120)
        if code != 0:
            raise Failed(f"exit code {code}\n{text}\n{machine.journal(SERVICE)}")
        if machine.show(SERVICE, "StatusText") != "accepting clients":
            raise Failed(f"the service is not there: {machine.journal(SERVICE)}")
        for number, talk in enumerate(TALKS[:3]):
            converse(lab.topology, lab.server, talk, os.path.join(folder, f"page-{number}"))
        holds_what_it_should(lab.gateway, machine)
        no_refusals(machine)
        if heading == "Without the package":
            return
        machine.write("/root/server.key", "secret\n")
        for more, path, wanted in (("Other listeners", "", "0.0.0.0:21"),
                                   ("Private keys", "/etc/ftpgate/keys/ca.key", "ftpgate 600"),
                                   ("Private keys", "/etc/ftpgate/keys/server.key", "ftpgate 600")):
            machine.run(["bash", "-eux", "-c", "cd /root\nrm -f /etc/ftpgate/keys/*\n"
                         + "\n".join(commands_of(more, ".+"))])
            found = listening(machine) if not path else machine.run(["stat", "-c", "%U %a", path])[1]
            if wanted not in found:
                raise Failed(f"after the commands of {more!r}: {found}")


def commands_of(heading, pattern):
    """What matches in the commands below a heading of the page, up to the next heading."""
    with open(PAGE, encoding="utf-8") as text:
        section = re.search(rf"^###? {heading}\n(.*?)^##", text.read(), re.MULTILINE | re.DOTALL)[1]
    blocks = re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return re.findall(pattern, "".join(blocks))
