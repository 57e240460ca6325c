"""The kernel's side goes wrong: tables are taken away, sets are full, netlink is silent, news are lost."""

import signal
import socket
import time

from cells import Setting
from faults import (
    Rest, as_owner, delete_table, empty_pinholes, fill_pinholes, stopped_thread)
from lab import Failed
from process import wait_until
from scenarios import scenario
from scenarios.pinholes import SERVER, Opening, lab_of
from scripted import comma
from topology import MARK, owners_table

KERNEL = Setting("tproxy", "gateway", "kernel")
RELAY = Setting("tproxy", "gateway", "relay")
BOTH = (KERNEL, RELAY)

# What is noticed by itself is noticed at once; what is looked for is looked for every ten seconds.
PROMPTLY = 8.0
# The size of ftpgate's sets, as `ftpgate rules` shows it.
SET_SIZE = 65536


def repairs(lab, what):
    return lab.gateway.metrics().sum("firewall_repairs_total", what=what)


def tables(lab):
    return lab.topology.run("gateway", ["nft", "list", "tables"])[1].split()


class Running:
    """A session in the midst of a download."""

    def __init__(self, lab, mode="PASV"):
        self.peers = lab.peers()
        self.opening = Opening(lab, self.peers, mode, 4)
        self.peers.exchange("RETR x", "150 here")
        self.near, self.far = self.opening.use()
        self.moves()

    def moves(self):
        """Bytes pass in both directions."""
        for one, two in ((self.near, self.far), (self.far, self.near)):
            one.send(b"still here")
            if two.read(10) != b"still here":
                raise Failed("the contents differ")

    def ends(self):
        """It comes to its end in order."""
        self.near.close()
        self.far.read_to_end()
        self.far.close()
        self.peers.say("226 done")
        self.peers.exchange("NOOP", "200 still here")

    def __enter__(self):
        self.peers.__enter__()
        return self

    def __exit__(self, *error):
        self.opening.close()
        self.peers.__exit__(*error)


@scenario("faults: nft flush ruleset by another program", *BOTH)
def flush(binary, folder, setting):
    with lab_of(folder, binary, setting) as lab:
        rest = Rest(lab)
        with Running(lab) as running, lab.peers() as peers:
            opening = Opening(lab, peers, "PASV", 4)
            lab.topology.nft("gateway", "flush ruleset\n" + owners_table())
            wait_until(lambda: "ftpgate_keep" in tables(lab), "ftpgate_keep is not made anew", PROMPTLY)
            if "ftpgate" not in tables(lab):
                raise Failed("an owned table is flushed")
            wait_until(lambda: repairs(lab, "keeper") == 1, "not counted", PROMPTLY)
            if repairs(lab, "table"):
                raise Failed("the table was counted, which nobody could touch")
            # What the owner puts beside the rules is his, and no reason to put anything back.
            lab.topology.nft("gateway", "add chain inet ftpgate_keep owners\nadd rule inet ftpgate_keep owners counter\n")
            lab.topology.nft("gateway", "flush ruleset\n" + owners_table())
            wait_until(lambda: "ftpgate_keep" in tables(lab), "ftpgate_keep is not made anew", PROMPTLY)
            lab.topology.nft("gateway", "add chain inet ftpgate_keep owners\nadd rule inet ftpgate_keep owners counter\n")
            running.moves()
            near, far = opening.use()
            near.send(b"mine")
            if far.read(4) != b"mine":
                raise Failed("the pinhole that was awaited leads elsewhere")
            opening.close()
            running.ends()
        if "the table has vanished" not in lab.gateway.read_log():
            raise Failed("the log does not tell")
        if (count := repairs(lab, "keeper")) != 2:
            raise Failed(f"{count} repairs of what was flushed twice")
        rest.again()


@scenario("faults: the table itself is taken away", *BOTH)
def taken(binary, folder, setting):
    """As on kernels before 5.12, where a table has no owner."""
    with lab_of(folder, binary, setting) as lab:
        rest = Rest(lab)
        with Running(lab) as running, lab.peers() as peers:
            opening = Opening(lab, peers, "PASV", 4)
            for times in (1, 2):
                as_owner(lab, delete_table())
                wait_until(lambda: repairs(lab, "table") == times, "not noticed", PROMPTLY)
                if "ftpgate" not in tables(lab):
                    raise Failed("the table is not made anew")
            used = f"{running.opening.address[1]}"
            if any(used in str(value) and name.startswith("pin") for name, value in lab.open_elements()):
                raise Failed("a pinhole that was used is open again")
            running.opening.try_again(0.3)
            running.moves()
            near, far = opening.use()
            near.send(b"mine")
            if far.read(4) != b"mine":
                raise Failed("the pinhole that was awaited leads elsewhere")
            opening.try_again(0.3)
            opening.close()
            running.ends()
        if lab.topology.run("gateway", ["nft", "delete", "table", "inet", "ftpgate"], check=False)[0] == 0:
            raise Failed("the new table has no owner")
        with Running(lab, "PORT") as running:
            running.ends()
        rest.again()


@scenario("faults: conntrack -F by another program", *BOTH)
def forgotten(binary, folder, setting):
    """What the kernel carries is lost with it, and told so; sessions go on, and what is new works."""
    with lab_of(folder, binary, setting) as lab:
        rest = Rest(lab)
        with Running(lab) as running:
            lab.topology.run("gateway", ["conntrack", "-F"])
            if setting.path == "relay":
                running.moves()
            else:
                wait_until(lambda: lab.gateway.metrics().sum("data_connections_active") == 0,
                           "the data connection is counted on", PROMPTLY)
                running.near.reset()
                running.far.reset()
                running.peers.say("426 gone")
            running.peers.exchange("NOOP", "200 still here")
            opening = Opening(lab, running.peers, "EPSV", 4)
            near, far = opening.use()
            near.send(b"mine")
            if far.read(4) != b"mine":
                raise Failed("the next transfer leads elsewhere")
            opening.close()
        rest.again()


@scenario("faults: netlink does not answer", *BOTH)
def silent(binary, folder, setting):
    with lab_of(folder, binary, setting) as lab:
        rest = Rest(lab)
        with Running(lab) as running, lab.peers() as peers:
            with stopped_thread(lab.gateway.process.pid, "ftpgate-nft"):
                # The server's own address is dialled, so that the relay needs the kernel as well.
                peers.ask("PASV")
                start = time.monotonic()
                peers.server.send(f"227 ok ({comma(SERVER, 40007)})")
                peers.client.expect_code("425")
                took = time.monotonic() - start
                if not 2 < took < 9:
                    raise Failed(f"425 came after {took:.1f} s")
                peers.exchange("NOOP", "200 still here")
                running.moves()
            # By itself, and what was opened too late for anybody is not left open.
            wait_until(lambda: not lab.open_elements(), "a pinhole of nobody is open", PROMPTLY)
            opening = Opening(lab, peers, "PASV", 4)
            near, _ = opening.use()
            near.send(b"mine")
            opening.close()
            running.ends()
        if "has not answered" not in lab.gateway.read_log():
            raise Failed("the log does not tell")
        if lab.gateway.metrics().sum("pinholes_total", outcome="failed") != 1:
            raise Failed("not counted")
        rest.again()


# Not in the ordinary run: on one host the elements that fill the set were taken at one hour and, in
# silence, not at another.
@scenario("faults: case 43: a set is full")
def full(binary, folder):
    with lab_of(folder, binary, KERNEL) as lab:
        rest = Rest(lab)
        with Running(lab) as running, lab.peers() as peers:
            # A batch that does not fit is refused as a whole, and the running transfer may have an element there.
            first = 0
            for number in [4096] * (SET_SIZE // 4096) + [1 << power for power in reversed(range(12))]:
                as_owner(lab, fill_pinholes(number, first))
                first += number
            for mode, line in (("PASV", f"227 ok ({comma(SERVER, 40007)})"), ("EPSV", "229 ok (|||40007|)")):
                peers.ask(mode)
                peers.server.send(line)
                peers.client.expect_code("425")
            peers.exchange("NOOP", "200 still here")
            running.moves()
            as_owner(lab, empty_pinholes())
            opening = Opening(lab, peers, "PASV", 4)
            near, _ = opening.use()
            near.send(b"mine")
            opening.close()
            running.ends()
        if f"all {SET_SIZE} pinholes" not in lab.gateway.read_log():
            raise Failed("the log does not tell")
        if lab.gateway.metrics().sum("pinholes_total", outcome="failed") != 2:
            raise Failed("not counted")
        rest.again()


@scenario("faults: conntrack's news are lost")
def deaf(binary, folder):
    """ENOBUFS: more happens than ftpgate's socket holds, and the end of a data connection is part of it."""
    with lab_of(folder, binary, KERNEL) as lab:
        rest = Rest(lab)
        lab.topology.nft("gateway", f"""
            table inet owner {{
                chain marked {{
                    type filter hook output priority 0;
                    udp sport 40000 ct mark set {MARK:#x}
                }}
            }}""")
        with Running(lab) as running, lab.peers() as peers:
            lab.gateway.signal(signal.SIGSTOP)
            try:
                # An event each, of connections that bear the mark.
                with lab.topology.inside("gateway"), socket.socket(type=socket.SOCK_DGRAM) as sock:
                    sock.bind(("127.0.0.1", 40000))
                    for port in range(1, 60001):
                        sock.sendto(b"", ("127.0.0.1", port))
                running.near.reset()
                running.far.reset()
            finally:
                lab.gateway.signal(signal.SIGCONT)
            wait_until(lambda: repairs(lab, "flows") > 0, "not noticed", PROMPTLY)
            wait_until(lambda: lab.gateway.metrics().sum("data_connections_active") == 0,
                       "the data connection is counted on", PROMPTLY)
            running.peers.say("426 gone")
            opening = Opening(lab, peers, "PASV", 4)
            near, _ = opening.use()
            near.send(b"mine")
            opening.close()
        rest.again()
