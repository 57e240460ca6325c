"""Replicas behind one address: each has a slice of the data ports, by which they are told apart.

                       ┌─ 50000-50499 ─▶ 192.0.2.1  replica 0 ─┐
 client ─▶ 203.0.113.7 ┤                                       ├─ FTP server
                       └─ 50500-50999 ─▶ 192.0.2.3  replica 1 ─┘

The front is a rule where the client's packets leave: the control port goes to both in turn, a data port to
the replica whose slice it is in. The second replica stands where the lab's second client does.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor

from cells import Setting
from gateway import Gateway
from lab import Failed, Lab
from process import wait_until
from scenarios import scenario

FRONT, PORT, SESSIONS, SIZE = "203.0.113.7", 2300, 20, 5000
REPLICAS = {"gateway": "192.0.2.1", "client2": "192.0.2.3"}

RULES = f"""
    table ip front {{
        chain out {{
            type nat hook output priority -100; policy accept;
            ip daddr {FRONT} tcp dport {PORT} dnat to numgen inc mod 2 map {{ 0 : 192.0.2.1, 1 : 192.0.2.3 }}
            ip daddr {FRONT} tcp dport 50000-50499 dnat to 192.0.2.1
            ip daddr {FRONT} tcp dport 50500-50999 dnat to 192.0.2.3
        }}
    }}"""


def named(binary, folder, name):
    """ftpgate on a host of this name."""
    path = os.path.join(folder, name)
    with open(path, "w", encoding="ascii") as out:
        out.write(f"#!/bin/sh\nexec unshare --uts sh -c 'hostname {name} && exec \"$0\" \"$@\"' "
                  f"{binary} \"$@\"\n")
    os.chmod(path, 0o755)
    return path


def settings(lab):
    return {"listeners": [{"name": "ftp", "listen": f"0.0.0.0:{PORT}",
                           "server": f"{lab.server.address(4)}:21", "advertise": {"client": FRONT}}],
            "data": {"path": "relay", "ports": "50000-50999", "slices": 2, "slice": "hostname"},
            "firewall": {"backend": "none"}}


def fetch(lab, number):
    """A session of curl, PASV and EPSV in turn. Returns how it ended, and how many bytes came."""
    out = os.path.join(lab.folder, f"fetched{number}")
    form = ["--disable-epsv", "--no-ftp-skip-pasv-ip"] if number % 2 else []
    code, text = lab.topology.run(
        "client", ["curl", "-sS", "-m", "10", *form, "-o", out, "-u",
                   f"{lab.server.user}:{lab.server.password}", f"ftp://{FRONT}:{PORT}/pub/x"],
        check=False)
    return code, os.path.getsize(out) if os.path.exists(out) else 0, text


@scenario("replicas: slices of the data ports behind one address")
def slices(binary, folder):
    with Lab(folder, binary, Setting("direct", "gateway", "relay")) as lab:
        lab.put_file("x", SIZE)
        lab.gateway.stop()
        lab.topology.plug("client2", "s0", "side-s", [2])
        lab.topology.nft("client", RULES)
        replicas = []
        try:
            for number, namespace in enumerate(REPLICAS):
                own = os.path.join(folder, f"replica{number}")
                os.makedirs(own)
                gateway = Gateway(lab.topology, named(binary, own, f"ftpgate-{number}"), own,
                                  lab.gateway.settings | settings(lab), namespace)
                replicas.append(gateway.start())
            with ThreadPoolExecutor(4) as pool:
                ends = list(pool.map(lambda number: fetch(lab, number), range(SESSIONS)))
            if failed := [end for end in ends if end[:2] != (0, SIZE)]:
                raise Failed(f"{len(failed)} of {SESSIONS} sessions fail, such as {failed[0]}")
            for number, replica in enumerate(replicas):
                counts(number, replica)
        finally:
            for replica in replicas:
                replica.stop()


def counts(number, replica):
    """Each has half of the sessions and of the ports, and every transfer of its own sessions."""
    def seen(name, **labels):
        return replica.metrics().sum(name, **labels)

    first = 50000 + 500 * number
    if f"500 ports in {first}-{first + 499}, slice {number} of 2" not in replica.read_log():
        raise Failed(f"replica {number} does not tell its slice:\n{json.dumps(replica.settings['data'])}")
    wait_until(lambda: seen("sessions_active") == 0 and seen("ports_free") == 500,
               f"replica {number} has sessions or ports left")
    found = (seen("ports"), seen("sessions_total"),
             seen("data_connections_total", outcome="completed"))
    if found != (500, SESSIONS / 2, SESSIONS / 2):
        raise Failed(f"replica {number} has (ports, sessions, transfers) {found}")
