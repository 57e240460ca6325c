"""The kernel's own FTP helper in ftpgate's place: the same network, the same default of dropping.

It is no part of what is tested; it is measured beside ftpgate, so that the table of peers tells
what an owner gains. `nf_conntrack_ftp` reads the control connection, `nf_nat_ftp` rewrites the
addresses in it, and the owner's rules accept what conntrack calls related.
"""

import functools
import os
import shutil

from gateway import direct_port
from process import Failed
from servers import start_servers
from topology import GATEWAY, Topology

# Where the gateway stands: clients dial the servers' own addresses, or the gateway's.
PLACES = ("clients", "server")


class AlgLab:
    """Namespaces, servers and the kernel's helper. A context manager; the names are those of `Lab`."""

    def __init__(self, folder, place, servers=(), stand_ins=None):
        self.folder = folder
        self.place = place
        self.servers, self.processes = {}, []
        os.makedirs(folder, exist_ok=True)
        # In front of a server the clients' addresses are kept, as owners do.
        self.topology = Topology(server_route=place == "server")
        try:
            self.servers, self.processes = start_servers(self.topology, folder, servers, tls=True)
            self.servers |= stand_ins or {}
            self.topology.nft("gateway", self.rules())
        except BaseException:
            self.close()
            raise

    def rules(self):
        if self.place == "clients":
            nat = """
            chain source {
                type nat hook postrouting priority 100;
                oifname "s0" masquerade
            }"""
        else:
            entries = "".join(
                f"""
                {word} daddr {GATEWAY["client", family]} tcp dport {direct_port(server, family)} \\
                    dnat {word} to {_bracketed(server.address(family))}:{server.port}"""
                for server in self.servers.values() for family, word in ((4, "ip"), (6, "ip6")))
            nat = f"""
            chain destination {{
                type nat hook prerouting priority -100;{entries}
            }}"""
        return f"""
        delete table inet owner
        table inet owner {{
            ct helper ftp-standard {{
                type "ftp" protocol tcp;
            }}
            chain helpers {{
                type filter hook prerouting priority 0;
                tcp dport 21 ct state new ct helper set "ftp-standard"
            }}
            chain forwarding {{
                type filter hook forward priority 0; policy drop;
                ct state established,related accept
                iifname "c0" tcp dport 21 ct state new accept
            }}{nat}
        }}"""

    def target(self, server, family=4):
        """Where a client dials to reach the server."""
        if self.place == "server":
            return GATEWAY["client", family], direct_port(server, family)
        return server.address(family), server.port

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for process in self.processes:
            process.stop(grace=0.5)
        self.topology.close()
        for server in self.servers.values():
            shutil.rmtree(server.home, ignore_errors=True)


def measured(function):
    """Lets a measurement fail without harm to the run: a kernel may be without the helper."""
    @functools.wraps(function)
    def measure(*arguments):
        try:
            function(*arguments)
        except Failed as error:
            print(f"the kernel's helper cannot be measured: {error}", flush=True)
    return measure


def _bracketed(host):
    return f"[{host}]" if ":" in host else host
