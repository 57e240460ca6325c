"""Beside the firewalls that owners have: what docs/deploy-firewalls.md says, tried for real."""

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor

from cells import Setting
from clients import MODES
from firewalls import FIREWALLS, Site
from lab import Failed, Lab, refused
from process import wait_until
from scenarios import scenario
from scenarios.lifecycle import finish
from scenarios.transfers import LARGE
from topology import GATEWAY

# (client, mode, family): all ways of the data, and two with another client.
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
    all_used(site, path, STEPS * len(wanted))


def all_used(site, path, count):
    """So many pinholes were used since ftpgate's start, and none was left unused."""
    def counted(**labels):
        return site.metrics().sum("pinholes_total", **labels)
    wait_until(lambda: counted(outcome="used", path=path) == count,
               f"{counted(outcome='used', path=path):g} pinholes of the {path} path used instead of {count}")
    if counted() != count:
        raise Failed(f"{counted() - count:g} pinholes were not used")


def strangers(site):
    """Nobody but the awaited peer gets in, before it has come and after."""
    passive, active = site.ftp("PASV"), site.ftp("PORT")
    address = passive.makepasv()
    refused(site.topology, "client2", address, timeout=0.5)
    passive.putline("NLST")
    with site.topology.connect("client", address):
        passive.expect("150", "125")
        # The pinhole is used up.
        refused(site.topology, "client2", address, timeout=0.5)
        passive.expect("226")
    with site.topology.inside("client"):
        listener = active.makeport()
    # Where the server is awaited, a neighbour of its own knocks.
    host, port = GATEWAY["server", 4], awaited(site)
    refused(site.topology, "stranger", (host, port), timeout=0.5)
    listener.close()
    passive.quit()
    active.quit()


def awaited(site):
    """The port at which the server is awaited for active mode."""
    text = site.machine.run(["nft", "list", "set", "inet", "ftpgate", "pin4"])[1]
    found = re.findall(rf"{site.server.address(4)} \. {GATEWAY['server', 4]} \. (\d+)", text)
    if len(found) != 1:
        raise Failed(f"not one pinhole for the server: {text}")
    return int(found[0])


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
        wait_until(site.firewall.in_force, f"no rules after {' '.join(command)}", timeout=20)
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
    """firewalld's service `ftp` brings the kernel's own helper, for which data connections are related."""
    # For good and by a reload, which puts services ahead of ports.
    firewalld(site, "--add-service=ftp")
    ftp = site.ftp("PASV")
    if "helper=ftp" not in site.machine.run(["conntrack", "-L", "-p", "tcp"])[1]:
        raise Failed("the helper has not taken the control connection")
    ftp.quit()
    site.serve("kernel")
    talks(site, "kernel", ALL)
    firewalld(site, "--remove-service=ftp")


def firewalld(site, change):
    site.machine.run(["firewall-cmd", "--permanent", "--zone=public", change])
    site.machine.run(["firewall-cmd", "--reload"])


# The kernel's own helper on both control connections of a session: on what arrives, and on what ftpgate dials.
HELPER = """
table inet helper {
    ct helper ftp-standard {
        type "ftp" protocol tcp;
    }
    chain arriving {
        type filter hook prerouting priority filter;
        meta l4proto tcp ct state new tcp dport { 21, 2200, 2201 } ct helper set "ftp-standard"
    }
    chain leaving {
        type filter hook output priority filter;
        tcp dport 21 ct state new ct helper set "ftp-standard"
    }
}
"""


@scenario("beside the kernel's own helper", Setting("tproxy", "gateway", "kernel"),
          Setting("tproxy", "gateway", "relay"), Setting("direct", "gateway", "kernel"),
          Setting("direct", "gateway", "relay"))
def helper(binary, folder, setting):
    """It announces data connections, which then begin as related; they still use their pinholes."""
    with Lab(folder, binary, setting) as lab:
        lab.put_file("x", 5000)
        lab.topology.nft("gateway", HELPER)
        modes = [(mode, 4) for mode in MODES] + [("EPSV", 6), ("EPRT", 6)]
        for mode, family in modes:
            ftp = lab.ftp(mode, family=family)
            if ftp.fetch_digest("x")[0] != 5000:
                raise Failed(f"{mode} over IPv{family}")
            ftp.quit()
        wait_until(lambda: lab.gateway.metrics().sum("pinholes_total", outcome="used") == len(modes),
                   "data connections passed beside their pinholes")
