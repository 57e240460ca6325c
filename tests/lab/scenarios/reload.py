"""Another configuration, and the end, for a gateway at work."""

import os
import shutil
import signal
import time

from authority import local_ca
from cells import Setting
from lab import GATEWAY, Failed, Lab, refused
from process import wait_until
from scenarios import scenario
from scenarios.lifecycle import begin_download, finish
from scenarios.transfers import LARGE
from terminating import TerminatingLab


def listeners_with(lab, **keys):
    """The lab's own listeners, with these keys laid over each."""
    return [listener | keys for listener in lab.gateway.settings["listeners"]]


def expect_outcome(outcome, wanted, lab):
    if outcome != wanted:
        tail = "\n".join(lab.gateway.process.tail())
        raise Failed(f"the reload was {outcome}\n{tail}")


def answer_to_auth(ftp):
    ftp.putcmd("AUTH TLS")
    return ftp.getmultiline()


def end_of(ftp):
    """The farewell and the end of a control connection."""
    ftp.expect("421")
    try:
        ftp.getline()
    except (EOFError, ConnectionResetError):
        return
    raise Failed("the session goes on after its farewell")


@scenario("reload beside running transfers", "kernel", "relay")
def beside_transfers(binary, folder, path):
    setting = Setting("tproxy", "gateway", path)
    with Lab(folder, binary, setting, second=("vsftpd",), capture_ports=(21,)) as lab:
        second = next(iter(lab.second.values()))
        digest = lab.put_file("large", LARGE)
        small = lab.put_file("small", 100_000)
        lab.put_file("x", 10, second)
        running = [begin_download(lab, mode) for mode in ("EPSV", "PORT")]
        waiting = lab.ftp("PASV")
        address = waiting.makepasv()
        refused(lab.topology, "client", lab.target(second))
        if not lab.open_elements():
            raise Failed("no pinhole waits")
        changed = listeners_with(lab, capture_ports=[21, 2100], tls={"mode": "refuse"})
        outcome = lab.gateway.reload(listeners=changed, data=lab.gateway.settings["data"] | {
            "ports": "51000-51099"})
        expect_outcome(outcome, "applied", lab)
        log = lab.gateway.read_log()
        for told in ("listeners[out-v4].tls.mode: passthrough -> refuse",
                     "listeners[out-v4].capture_ports: [21] -> [21, 2100]",
                     "data.ports: 50000-50999 -> 51000-51099"):
            if told not in log:
                raise Failed(f"the log does not tell {told!r}")
        # The pinhole from before is there, and leads to its server.
        with lab.topology.connect("client", address) as data:
            waiting.ask("RETR small", "150")
            got = bytearray()
            while piece := data.recv(1 << 16):
                got += piece
        waiting.expect("226")
        if len(got) != 100_000:
            raise Failed(f"{len(got)} bytes through the pinhole from before")
        if "Secured sessions" in answer_to_auth(waiting):
            raise Failed("the new setting holds for an old session")
        new = lab.ftp("EPSV", login=False)
        if "Secured sessions" not in (answer := answer_to_auth(new)):
            raise Failed(f"the new setting does not hold for a new session: {answer!r}")
        new.close()
        for mode in ("EPSV", "EPRT"):
            new = lab.ftp(mode)
            if new.fetch_digest("small") != (100_000, small):
                raise Failed(f"{mode}: the download after the reload differs")
            new.quit()
        other = lab.ftp("EPSV", server=second)
        if other.fetch_digest("x")[0] != 10:
            raise Failed("the new capture port does not work")
        other.quit()
        for ftp, data, begun in running:
            finish(data, begun, digest)
            ftp.expect("226")
            ftp.quit()
        waiting.quit()
        wait_until(lambda: lab.gateway.metrics().sum("ports_free") == 100, "the pool is not the new one")


@scenario("reload: listeners come and go")
def come_and_go(binary, folder):
    host = GATEWAY["client", 4]
    setting = Setting("tproxy", "gateway", "relay")
    with Lab(folder, binary, setting) as lab:
        lab.put_file("x", 10)
        own = lab.gateway.settings["listeners"]

        def direct(name, port):
            return {"name": name, "listen": f"{host}:{port}", "capture": "direct",
                    "server": f"{lab.server.address(4)}:21"}

        def session(port):
            ftp = lab.ftp(login=False)
            ftp.close()
            with lab.topology.inside("client"):
                ftp.connect(host, port)
            ftp.login(lab.server.user, lab.server.password)
            ftp.cwd("pub")
            return ftp

        def fetch(ftp):
            if ftp.fetch_digest("x")[0] != 10:
                raise Failed("the transfer failed")

        expect_outcome(lab.gateway.reload(listeners=[*own, direct("a", 2300)]), "applied", lab)
        old = session(2300)
        fetch(old)
        # One goes, one comes, and one that stays has another name.
        expect_outcome(lab.gateway.reload(listeners=[*own, direct("b", 2301)]), "applied", lab)
        if (how := refused(lab.topology, "client", (host, 2300))) != "ConnectionRefusedError":
            raise Failed(f"the removed listener: {how}")
        fetch(old)
        fetch(session(2301))
        expect_outcome(lab.gateway.reload(listeners=[*own, direct("c", 2301)]), "applied", lab)
        new = session(2301)
        fetch(new)
        if lab.gateway.metrics().sum("sessions_total", listener="a") != 0:
            raise Failed("the session of the removed listener has ended")
        if lab.gateway.metrics().sum("sessions_active", listener="c") != 1:
            raise Failed("the listener does not bear its new name")
        fetch(old)
        for ftp in (old, new):
            ftp.quit()


@scenario("reload: a bad file changes nothing")
def bad_file(binary, folder):
    setting = Setting("tproxy", "gateway", "kernel")
    with Lab(folder, binary, setting) as lab:
        lab.put_file("x", 10)
        good = lab.gateway.settings
        before = lab.table()

        def refuse(told, text=None, **sections):
            size = len(lab.gateway.read_log())
            outcome = lab.gateway.reload_text(text) if text else lab.gateway.reload(**sections)
            expect_outcome(outcome, "refused", lab)
            log = lab.gateway.read_log()[size:]
            for piece in told:
                if piece not in log:
                    raise Failed(f"{piece!r} is not told: {log}")
            lab.gateway.settings = good
            ftp = lab.ftp("EPSV")
            if ftp.fetch_digest("x")[0] != 10:
                raise Failed("the gateway does not work any more")
            ftp.quit()

        refuse(["ftpgate.yaml:3:", "listeners[0].captur:", "ftpgate.yaml:5:", "data.ports"],
               "listeners:\n  - name: a\n    captur: tproxy\ndata:\n  ports: 600-500\n")
        refuse(["firewall.mark", "restart"], firewall=good["firewall"] | {"mark": 0x77})
        taken = {"name": "taken", "listen": f"{GATEWAY['client', 4]}:2300", "capture": "direct",
                 "server": f"{lab.server.address(4)}:21"}
        with lab.topology.listen("gateway", GATEWAY["client", 4], 2300):
            changed = listeners_with(lab, capture_ports=[21, 2100, 2101])
            refuse(["listener taken", "Address already in use"], listeners=[*changed, taken])
        if rules(lab.table()) != rules(before):
            raise Failed("the rules have changed")
        expect_outcome(lab.gateway.reload(), "applied", lab)
        if lab.gateway.metrics().sum("config_reloads_total", outcome="refused") != 3:
            raise Failed("the refusals are not counted")


def rules(table):
    """The rules of a table without their handles, which count on."""
    return [{key: value for key, value in item["rule"].items() if key != "handle"}
            for item in table if "rule" in item]


@scenario("reload: a new local CA is used")
def new_authority(binary, folder):
    with TerminatingLab(folder, binary) as lab:
        lab.put_file("x", 1000)
        # The gateway's own file is written over.
        lab.roots = shutil.copy(lab.roots, os.path.join(folder, "first-ca.crt"))
        if lab.curl()[0] != 0:
            raise Failed("the fetch with the first CA failed")
        session = lab.secured()
        os.makedirs(os.path.join(folder, "other"))
        roots, files = local_ca(binary, os.path.join(folder, "other"))
        shutil.copy(files["certificate"], lab.gateway.settings["tls"]["ca"]["certificate"])
        shutil.copy(files["key"], lab.gateway.settings["tls"]["ca"]["key"])
        if lab.curl()[0] != 0:
            raise Failed("the new CA is in use before it was to be read")
        lab.roots = roots
        expect_outcome(lab.gateway.reload(), "applied", lab)
        code, text, _ = lab.curl()
        if code != 0:
            raise Failed(f"the new CA is not in use: {text}")
        if len(session.fetch("x")) != 1000:
            raise Failed("a session from before does not go on")
        session.quit()


@scenario("drain: what runs is finished", "kernel", "relay")
def drain(binary, folder, path):
    setting = Setting("tproxy", "gateway", path)
    with Lab(folder, binary, setting, limits={"drain_timeout": "1m"}) as lab:
        digest = lab.put_file("large", LARGE)
        running = [begin_download(lab, mode) for mode in ("EPSV", "PORT")]
        idle = lab.ftp("EPSV")
        start = time.monotonic()
        lab.gateway.signal(signal.SIGTERM)
        wait_until(lambda: lab.gateway.get("/readyz")[0] == 503, "readyz does not turn")
        if "draining" not in (text := lab.gateway.get("/readyz")[1]):
            raise Failed(f"readyz says {text!r}")
        end_of(idle)
        refused(lab.topology, "client", lab.target(lab.server))
        ftp, data, begun = running.pop()
        finish(data, begun, digest)
        ftp.expect("226")
        end_of(ftp)
        if not lab.gateway.process.alive():
            raise Failed("it does not wait for the other transfer")
        ftp, data, begun = running.pop()
        # A second transfer is not begun; the one that runs is answered first.
        ftp.putcmd("PASV")
        finish(data, begun, digest)
        ftp.expect("226")
        end_of(ftp)
        if (code := lab.gateway.process.popen.wait(15)) != 0:
            raise Failed(f"exit code {code}")
        if (took := time.monotonic() - start) > 40:
            raise Failed(f"it took {took:.1f} s")
