"""Loops (case 48), and what looks like one: a port that the gateway and a client both have."""

import contextlib
import socket

from cells import Setting
from lab import Failed, Lab
from process import wait_until
from scenarios import scenario
from topology import GATEWAY, HOST, MARK, server_address


@scenario("loop: the way leads back to the gateway", "direct", "tproxy")
def loop(binary, folder, how):
    """Case 48."""
    host, port = GATEWAY["server", 4], 2300
    setting = Setting("tproxy", "gateway", "kernel")
    # A listener whose server is this very listener, under another of the host's addresses.
    extra = [{"name": "loop", "listen": f"0.0.0.0:{port}", "capture": "direct",
              "server": f"{host}:{port}"}] if how == "direct" else []
    with Lab(folder, binary, setting, extra_listeners=extra) as lab:
        # Under tproxy: a client dials the listener itself, so the original destination is it.
        target = (GATEWAY["client", 4], port if how == "direct" else 2121)
        with lab.topology.connect("client", target) as sock:
            sock.settimeout(5)
            try:
                while sock.recv(4096):
                    pass
            except ConnectionResetError:
                pass
            except TimeoutError:
                raise Failed("the connection is still open") from None
        wait_until(lambda: lab.gateway.metrics().sum("sessions_active") == 0, "sessions stay")
        if (count := lab.gateway.metrics().sum("sessions_total")) > 2:
            raise Failed(f"{count:g} sessions out of one connection")


@scenario("loop: a client on the gateway's own host with the port that the gateway dials from is none")
def same_port(binary, folder):
    """Case 48: the kernel gives connections one port if they lead to different ones; here all have it."""
    ports = {2300: 2301, 2302: 2303}
    extra = [{"name": f"same-port-{port}", "listen": f"127.0.0.1:{port}", "capture": "direct",
              "server": f"127.0.0.1:{server_port}"} for port, server_port in ports.items()]
    setting = Setting("tproxy", "gateway", "kernel")
    with Lab(folder, binary, setting, extra_listeners=extra) as lab:
        lab.topology.run("gateway", ["sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40000"])
        with contextlib.ExitStack() as stack:
            # The second session is beside the first, whose connection to its server has the port as well.
            for port, server_port in ports.items():
                listener = stack.enter_context(lab.topology.listen("gateway", "127.0.0.1", server_port))
                client = stack.enter_context(lab.topology.connect("gateway", ("127.0.0.1", port)))
                listener.settimeout(5)
                server = stack.enter_context(listener.accept()[0])
                if server.getpeername()[1] != client.getsockname()[1]:
                    raise Failed("the ports differ")
                server.sendall(b"220 here\r\n")
                client.settimeout(5)
                if (greeting := client.recv(100)) != b"220 here\r\n":
                    raise Failed(f"the client sees {greeting!r}")


# What an owner may ask of packets to the gateway itself: to connection tracking the two are one connection.
STRICT_INPUT = f"""
    table inet strict {{
        chain input {{
            type filter hook input priority 0; policy drop;
            iifname lo accept
            meta l4proto ipv6-icmp accept
            ct state established,related accept
            meta mark {MARK:#x} ct state new accept
        }}
    }}"""


def say(near, far, line):
    """The line arrives."""
    near.sendall(line)
    far.settimeout(5)
    heard = far.recv(len(line), socket.MSG_WAITALL)
    if heard != line:
        raise Failed(f"{line!r} arrives as {heard + far.recv(100) if heard else heard!r}")


@scenario("loop: a client with the port that the gateway dials from in its name is none",
          *((f"v{family}", first) for family in (4, 6) for first in ("greeted", "waiting")))
def same_port_in_its_name(binary, folder, how):
    """Case 48: under `source: client` a client may choose the port that the gateway has in its name.

    Both sessions stand, whether the first has been greeted by then or still waits for its server.
    """
    version, first = how
    family = int(version[1])
    server_at = (server_address(1, family), 21)
    with (Lab(folder, binary, Setting("tproxy", "client", "relay")) as lab,
          contextlib.ExitStack() as stack):
        lab.topology.nft("gateway", STRICT_INPUT)
        listener = stack.enter_context(lab.topology.listen("server", *server_at))
        listener.settimeout(5)

        def dial(port):
            source = (HOST["client", family], port)
            return stack.enter_context(lab.topology.connect("client", server_at, source=source))

        def accept():
            server, seen = listener.accept()
            return stack.enter_context(server), seen[1]

        client = dial(20000)
        server, port = accept()
        if first == "greeted":
            say(server, client, b"220 first\r\n")
        next_client = dial(port)
        if first == "waiting":
            say(server, client, b"220 first\r\n")
        next_server, _ = accept()
        say(next_server, next_client, b"220 second\r\n")
        # Each of the two connections from that port goes on.
        for _ in range(3):
            for near, far in ((client, server), (next_client, next_server)):
                say(near, far, b"NOOP\r\n")
                say(far, near, b"200 done\r\n")
