"""Beside the firewalls that owners have: what docs/deploy-firewalls.md says, tried for real."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

from firewalls import FIREWALLS, Site
from lab import Failed, refused
from process import wait_until
from scenarios import scenario
from scenarios.lifecycle import finish
from scenarios.transfers import LARGE
from topology import GATEWAY

# (client, mode, family): all ways of the data, and a second client's account of them.
ALL = [("curl", mode, 4) for mode in ("PASV", "EPSV", "PORT", "EPRT")]
SIX = [("curl", mode, 6) for mode in ("EPSV", "EPRT")]
LFTP = [("lftp", "PASV", 4), ("lftp", "PORT", 4)]

# Transfers of one talk: a file stored, one fetched, a listing.
STEPS = 3

SMALL = b"small" * 1000


def put_files(site):
    """A large file in the server's folder, and a small one. Returns the SHA-256 of the large one."""
    with open(site.server.path("small"), "wb") as out:
        out.write(SMALL)
    block = os.urandom(1 << 20)
    digest = hashlib.sha256()
    with open(site.server.path("large"), "wb") as out:
        for _ in range(LARGE >> 20):
            out.write(block)
            digest.update(block)
    return digest.hexdigest()


def talks(site, path, wanted):
    """Every talk passes, and through its own pinhole."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda words: site.talk(*words), wanted))
    used = site.metrics().sum("pinholes_total", outcome="used", path=path)
    if used != STEPS * len(wanted):
        raise Failed(f"{used:g} pinholes of the {path} path used by {STEPS * len(wanted)} transfers")


def strangers(site):
    """Nobody but the awaited peer gets in, before it has come and after."""
    passive, active = site.ftp("PASV"), site.ftp("PORT")
    address = passive.makepasv()
    refused(site.topology, "client2", address, timeout=0.5)
    refused(site.topology, "stranger", (GATEWAY["server", 4], 50000), timeout=0.5)
    passive.putline("NLST")
    with site.topology.connect("client", address):
        passive.expect("150", "125")
        # The pinhole is used up.
        refused(site.topology, "client2", address, timeout=0.5)
        passive.expect("226")
    with site.topology.inside("client"):
        listener = active.makeport()
    refused(site.topology, "stranger", (GATEWAY["server", 4], 50000), timeout=0.5)
    listener.close()
    passive.quit()
    active.quit()


def fetch_small(ftp, when):
    if ftp.fetch_digest("small") != (len(SMALL), hashlib.sha256(SMALL).hexdigest()):
        raise Failed(f"a download {when} differs")


def reload_beside_transfers(site, digest, commands):
    """No session and no transfer is touched by what an owner does with the firewall."""
    idle = site.ftp("EPSV")
    running = []
    for mode in ("PASV", "PORT"):
        ftp = site.ftp(mode)
        with site.topology.inside("client"):
            data = ftp.transfercmd("RETR large")
        running.append((ftp, data, data.recv(1000)))
    for command in commands:
        site.machine.run(command)
        if "inet ftpgate" not in site.tables():
            raise Failed(f"{' '.join(command)} has taken ftpgate's table away")
        fetch_small(idle, f"after {' '.join(command)}")
    for ftp, data, begun in running:
        finish(data, begun, digest)
        ftp.expect("226")
        ftp.quit()
    idle.quit()


@scenario("a NAT gateway beside the owner's firewall", *FIREWALLS)
def gateway(binary, folder, name):
    with Site(folder, binary, FIREWALLS[name], "gateway") as site:
        digest = put_files(site)
        site.serve("auto")
        talks(site, "kernel", ALL + SIX + LFTP)
        strangers(site)
        reload_beside_transfers(site, digest, site.firewall.RELOADS)
        # That it is the line which does it.
        site.firewall.without_line()
        ftp = site.ftp("PASV")
        refused(site.topology, "client", ftp.makepasv(), timeout=0.5)
        ftp.close()
        site.firewall.with_line()
        ftp = site.ftp("PASV")
        fetch_small(ftp, "with the line")
        ftp.quit()
        site.serve("relay")
        # IPv6 on the relay path needs more of firewalld than is shipped.
        talks(site, "relay", ALL + SIX * (name != "firewalld"))
        reload_beside_transfers(site, digest, site.firewall.RELOADS[:1])


@scenario("in front of a server beside the owner's firewall", *FIREWALLS)
def server(binary, folder, name):
    with Site(folder, binary, FIREWALLS[name], "server") as site:
        put_files(site)
        site.serve("kernel")
        talks(site, "kernel", ALL)
        strangers(site)
        if name == "firewalld":
            service_ftp(site)
        site.serve("relay")
        talks(site, "relay", ALL)


def service_ftp(site):
    """firewalld's service `ftp` brings the kernel's own helper, which takes the data connection for its."""
    # For good and by a reload, which puts services ahead of ports.
    firewalld(site, "--add-service=ftp")
    ftp = site.ftp("PASV")
    refused(site.topology, "client", ftp.makepasv(), timeout=0.5)
    ftp.close()
    wait_until(lambda: site.metrics().sum("sessions_active") == 0, "the session stays")
    if not site.metrics().sum("pinholes_total", outcome="withdrawn"):
        raise Failed("the pinhole was used beside the helper")
    firewalld(site, "--remove-service=ftp")
    site.talk("curl", "PASV")


def firewalld(site, change):
    site.machine.run(["firewall-cmd", "--permanent", "--zone=public", change])
    site.machine.run(["firewall-cmd", "--reload"])
