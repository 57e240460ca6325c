"""Start, death and end of ftpgate, and what it leaves on the host."""

import hashlib
import json
import signal
import time

from cells import Setting
from lab import Failed, Lab, refused
from process import wait_until
from scenarios import scenario
from scenarios.pinholes import Opening, lab_of
from scenarios.transfers import LARGE

KERNEL = [Setting("tproxy", "gateway", "kernel"), Setting("tproxy", "client", "kernel"),
          Setting("redirect", "gateway", "kernel"), Setting("direct", "gateway", "kernel")]


def begin_download(lab, mode):
    """A download that has begun and waits. Returns (session, data socket, bytes so far)."""
    ftp = lab.ftp(mode)
    with lab.topology.inside("client"):
        data = ftp.transfercmd("RETR large")
    return ftp, data, data.recv(1000)


def finish(data, begun, digest):
    """Reads the rest and compares."""
    total = hashlib.sha256(begun)
    data.settimeout(10)
    while piece := data.recv(1 << 18):
        total.update(piece)
    data.close()
    if total.hexdigest() != digest:
        raise Failed("the download was harmed")


@scenario("kill -9 does not harm a kernel-path transfer", *KERNEL)
def killed(binary, folder, setting):
    with Lab(folder, binary, setting) as lab:
        digest = lab.put_file("large", LARGE)
        running = [begin_download(lab, mode) for mode in ("EPSV", "PORT")]
        unused = lab.ftp("PASV")
        address = unused.makepasv()
        lab.gateway.process.kill()
        if lab.table() is not None or lab.open_elements():
            raise Failed("the table outlives the process")
        refused(lab.topology, "client", address, timeout=0.5)
        for _, data, begun in running:
            finish(data, begun, digest)


@scenario("a restart beside a running transfer", *KERNEL)
def restarted(binary, folder, setting):
    with Lab(folder, binary, setting) as lab:
        digest = lab.put_file("large", LARGE)
        running = [begin_download(lab, mode) for mode in ("EPSV", "PORT")]
        lab.gateway.process.kill()
        lab.gateway.process.stop()
        lab.gateway.start()
        tables = lab.topology.run("gateway", ["nft", "list", "tables"])[1]
        if tables.split().count("ftpgate") != 1:
            raise Failed(f"not one table but {tables!r}")
        for mode in ("PASV", "EPRT"):
            ftp = lab.ftp(mode)
            if ftp.fetch_digest("large") != (LARGE, digest):
                raise Failed(f"{mode}: the download after the restart differs")
            ftp.quit()
        for _, data, begun in running:
            finish(data, begun, digest)


@scenario("a left-over table is replaced")
def left_over(binary, folder):
    """Somebody restored the rules from a file: a table of this name that nobody owns."""
    with Lab(folder, binary) as lab:
        lab.gateway.stop()
        lab.topology.nft("gateway", "add table inet ftpgate\n"
                                    "add set inet ftpgate stale { type ipv4_addr; }\n")
        lab.gateway.start()
        text = json.dumps(lab.table())
        if "stale" in text:
            raise Failed("the old table was not replaced")
        lab.put_file("x", 10)
        ftp = lab.ftp("EPSV")
        if ftp.fetch_digest("x")[0] != 10:
            raise Failed("the transfer failed")
        ftp.quit()


@scenario("a clean exit leaves nothing", *(Setting(capture, source, path) for capture, source, path in (
    ("tproxy", "gateway", "kernel"), ("tproxy", "client", "relay"), ("redirect", "gateway", "relay"),
    ("redirect", "client", "kernel"), ("direct", "client", "relay"))))
def clean_exit(binary, folder, setting):
    with Lab(folder, binary, setting) as lab:
        lab.put_file("x", 10)
        ftp = lab.ftp("EPSV")
        ftp.fetch_digest("x")
        ftp.makepasv()
        if lab.gateway.stop() != 0:
            raise Failed("the exit code is not 0")
        if (after := lab.host_state()) != lab.before:
            changed = set(after.splitlines()) ^ set(lab.before.splitlines())
            raise Failed(f"left behind or taken away: {sorted(changed)}")
        # And when a crash comes in between, the next clean exit has nothing left to clean.
        lab.gateway.start()
        lab.gateway.process.kill()
        lab.gateway.process.stop()
        lab.gateway.start()
        lab.gateway.stop()
        if lab.host_state() != lab.before:
            raise Failed("something is left after a crash and a clean exit")


@scenario("shutdown with sessions and transfers at work", "kernel", "relay")
def shutdown(binary, folder, path):
    """The client takes no more data: the time to drain ends what hangs."""
    setting = Setting("tproxy", "gateway", path)
    with Lab(folder, binary, setting, limits={"drain_timeout": "2s"}) as lab:
        lab.put_file("large", LARGE)
        ftp, data, _ = begin_download(lab, "EPSV")
        start = time.monotonic()
        code = lab.gateway.process.stop(grace=20)
        if code != 0:
            raise Failed(f"exit code {code}")
        if not 2 <= (took := time.monotonic() - start) < 15:
            raise Failed(f"SIGTERM took {took:.1f} s")
        ftp.expect("421")
        data.close()
        ftp.close()


@scenario("shutdown at once", "SIGINT", "SIGTERM twice")
def at_once(binary, folder, how):
    setting = Setting("tproxy", "gateway", "relay")
    with Lab(folder, binary, setting, limits={"drain_timeout": "10m"}) as lab:
        lab.put_file("large", LARGE)
        ftp, data, _ = begin_download(lab, "EPSV")
        start = time.monotonic()
        if how == "SIGINT":
            lab.gateway.signal(signal.SIGINT)
        else:
            lab.gateway.signal(signal.SIGTERM)
            wait_until(lambda: "draining" in lab.gateway.get("/readyz")[1], "it does not drain")
            lab.gateway.signal(signal.SIGTERM)
        if (code := lab.gateway.process.popen.wait(15)) != 0:
            raise Failed(f"exit code {code}")
        if (took := time.monotonic() - start) > 12:
            raise Failed(f"it took {took:.1f} s")
        ftp.expect("421")
        data.close()
        ftp.close()


@scenario("no process for a session or a pinhole", "kernel", "relay")
def no_children(binary, folder, path):
    with lab_of(folder, binary, Setting("tproxy", "gateway", path)) as lab:
        with lab.peers() as peers:
            for mode in ("PASV", "EPRT"):
                opening = Opening(lab, peers, mode, 4)
                if found := lab.gateway.children():
                    raise Failed(f"children: {found}")
                near, far = opening.use()
                if found := lab.gateway.children():
                    raise Failed(f"children: {found}")
                near.close()
                far.close()
                opening.close()
