"""A storm of faults by chance: resets, peers that go, ABORs, pinholes left alone, rules and connections
taken away, a process that stands still. Whatever happens, nothing is left of it afterwards."""

import contextlib
import random
import signal
import socket
import struct
import threading
import time

from cells import Setting
from faults import Rest, as_owner, delete_table, seed
from lab import Failed
from scenarios import scenario
from scenarios.pinholes import SERVER, lab_of
from scripted import comma, extended_port, host_port
from topology import HOST, owners_table

SETTINGS = (Setting("tproxy", "gateway", "kernel"), Setting("tproxy", "client", "kernel"),
            Setting("tproxy", "client", "relay"), Setting("direct", "gateway", "kernel"),
            Setting("direct", "gateway", "relay"))
CLIENTS = 6
# No step of a session waits longer: whoever is in the way of a fault goes on with the next session.
STEP = 2.0
GONE = (OSError, EOFError, AttributeError, ValueError, Failed)


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Server:
    """An FTP server that keeps to the protocol, more or less."""

    def __init__(self, topology, listener, chance):
        self.topology, self.listener, self.chance = topology, listener, chance
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                number = self.chance.random()
                threading.Thread(target=self._serve, args=(sock, random.Random(number)), daemon=True).start()

    def _serve(self, sock, chance):
        data = None
        with contextlib.suppress(*GONE), contextlib.ExitStack() as stack:
            stack.callback(sock.close)
            sock.settimeout(10 * STEP)
            lines = stack.enter_context(sock.makefile("rb"))

            def say(text):
                sock.sendall(text.encode() + b"\r\n")

            say("220 here")
            while line := lines.readline():
                verb = line[:4].strip().upper()
                if chance.random() < 0.03:
                    return reset(sock)
                if verb in (b"PASV", b"EPSV"):
                    data = stack.enter_context(self.topology.listen("server", SERVER))
                    port = data.getsockname()[1]
                    say(f"227 ok ({comma(SERVER, port)})" if verb == b"PASV" else f"229 ok (|||{port}|)")
                elif verb in (b"PORT", b"EPRT"):
                    data = (host_port(line) if verb == b"PORT"
                            else (line.split(b"|")[2].decode(), extended_port(line)))
                    say("500 no" if chance.random() < 0.1 else "200 ok")
                elif verb == b"RETR":
                    say("150 here")
                    self._send(data, chance)
                    say("226 done")
                elif verb == b"QUIT":
                    say("221 bye")
                    return None
                else:
                    say({b"USER": "331 password", b"PASS": "230 in"}.get(verb, "200 ok"))
        return None

    def _send(self, data, chance):
        if isinstance(data, tuple):
            sock = self.topology.connect("server", data, STEP, (SERVER, 0))
        else:
            data.settimeout(STEP)
            sock = data.accept()[0]
        with sock:
            sock.settimeout(STEP)
            for _ in range(chance.randrange(20)):
                sock.sendall(b"x" * 10_000)
            end = chance.random()
            if end < 0.2:
                reset(sock)
            elif end < 0.4:
                time.sleep(chance.random())


class Client(threading.Thread):
    """One session after the other, of which some come to an end in order."""

    def __init__(self, lab, chance, until):
        super().__init__(daemon=True)
        self.lab, self.chance, self.until = lab, chance, until
        self.sessions = self.transfers = 0

    def run(self):
        while time.monotonic() < self.until:
            self.sessions += 1
            with contextlib.suppress(*GONE), contextlib.ExitStack() as stack:
                self._session(stack)

    def _session(self, stack):
        chance = self.chance
        sock = stack.enter_context(self.lab.topology.connect(
            "client", self.lab.target(self.lab.server), STEP))
        sock.settimeout(STEP)
        lines = stack.enter_context(sock.makefile("rb"))

        def ask(text):
            sock.sendall(text.encode() + b"\r\n")
            return lines.readline()

        lines.readline()
        ask("USER x")
        ask("PASS y")
        for _ in range(chance.randrange(6)):
            self._transfer(stack, sock, ask, lines)
        end = chance.random()
        if end < 0.3:
            ask("QUIT")
        elif end < 0.6:
            reset(sock)

    def _transfer(self, stack, sock, ask, lines):
        chance, topology = self.chance, self.lab.topology
        mode = chance.choice(("PASV", "EPSV", "PORT", "EPRT"))
        if mode in ("PASV", "EPSV"):
            line = ask(mode)
            address = (host_port(line) if mode == "PASV"
                       else (sock.getpeername()[0], extended_port(line)))
        else:
            host = HOST["client", 4]
            listener = stack.enter_context(topology.listen("client", host))
            listener.settimeout(STEP)
            port = listener.getsockname()[1]
            ask(f"PORT {comma(host, port)}" if mode == "PORT" else f"EPRT |1|{host}|{port}|")
        if chance.random() < 0.15:
            return
        sock.sendall(b"RETR x\r\n")
        if mode in ("PASV", "EPSV"):
            data = stack.enter_context(topology.connect("client", address, STEP))
        else:
            data = stack.enter_context(listener.accept()[0])
        data.settimeout(STEP)
        end = chance.random()
        if end < 0.15:
            reset(data)
        elif end < 0.25:
            sock.sendall(b"ABOR\r\n")
        else:
            while data.recv(1 << 16):
                pass
        while not (line := lines.readline()).startswith((b"226", b"4", b"5")) and line:
            pass
        self.transfers += line.startswith(b"226")


def blows(lab, chance, until):
    """What happens to the host and to the process meanwhile."""
    while time.monotonic() < until:
        blow = chance.randrange(4)
        if blow == 0:
            lab.topology.nft("gateway", "flush ruleset\n" + owners_table())
        elif blow == 1:
            as_owner(lab, delete_table())
        elif blow == 2:
            lab.topology.run("gateway", ["conntrack", "-F"], check=False)
        else:
            lab.gateway.signal(signal.SIGSTOP)
            time.sleep(0.1)
            lab.gateway.signal(signal.SIGCONT)
        time.sleep(chance.uniform(0.1, 0.6))


def storm(binary, folder, setting, duration):
    number = seed()
    chance = random.Random(number)
    limits = {"idle_timeout": "3s", "login_timeout": "3s"}
    with lab_of(folder, binary, setting, limits=limits, open_timeout="2s",
                data={"idle_timeout": "3s"}) as lab:
        rest = Rest(lab)
        listener = lab.listeners[4]
        Server(lab.topology, listener, random.Random(chance.random()))
        until = time.monotonic() + duration
        clients = [Client(lab, random.Random(chance.random()), until) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        blows(lab, chance, until)
        for client in clients:
            client.join(60)
            if client.is_alive():
                raise Failed(f"a client hangs (FTPGATE_SEED={number})")
        done = sum(client.sessions for client in clients), sum(client.transfers for client in clients)
        metrics = lab.gateway.metrics()
        print(f"{setting}: {done[0]} sessions, {done[1]} whole transfers,",
              {what: metrics.sum("firewall_repairs_total", what=what) for what in ("table", "keeper", "flows")},
              flush=True)
        if not all(done):
            raise Failed(f"nothing came through: {done} (FTPGATE_SEED={number})")
        try:
            rest.again()
        except Failed as error:
            raise Failed(f"{error} (FTPGATE_SEED={number})") from None
        if "panicked" in lab.gateway.read_log():
            raise Failed(f"ftpgate has panicked (FTPGATE_SEED={number})")


@scenario("faults: a storm of all kinds", *SETTINGS)
def short(binary, folder, setting):
    storm(binary, folder, setting, 5)


@scenario("faults: a long storm of all kinds", *SETTINGS, full=True)
def long(binary, folder, setting):
    storm(binary, folder, setting, 120)
