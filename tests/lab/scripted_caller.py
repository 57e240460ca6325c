"""A scripted client of a gateway where TLS ends, and a server behind it.

The client's TLS works in memory, as in `scripted_tls`: a script decides which bytes leave in which
segment, and which never do.
"""

import contextlib
import socket
import ssl

import tls_server
from process import Failed
from scripted import End, extended_port, shorten
from scripted_tls import TlsEnd, server_context
from tls_peers import context


def terminating(gate, mode="intercept", limits=None, **listener):
    """A `Gate` where TLS ends."""
    return gate(tls={"mode": mode} | listener, limits=limits)


@contextlib.contextmanager
def server_behind(gate, version="1.3", **words):
    """A `TlsServer` behind a gate; `words` are told to it."""
    server = tls_server.TlsServer(server_context(version), **words)
    with server.serve_at(gate.listener, lambda host: socket.create_server((host, 0))):
        yield server


class Caller:
    """A client: use as a context manager. What it says goes inside TLS from the handshake on."""

    def __init__(self, gate, version="1.3", made=None, greeted=True):
        self.gate = gate
        self.notes = []
        self.end = End("client", gate.connect(), self.notes)
        self.made = made or context(version)
        self.version = version
        self.tls = None
        self.text = b""
        self.sockets = [self.end.sock]
        if greeted:
            self.end.expect_code("220")

    def __enter__(self):
        return self

    def __exit__(self, _, error, __):
        for sock in self.sockets:
            sock.close()
        if error is not None:
            error.notes = self.notes

    def auth(self):
        """AUTH and the handshake."""
        self.end.send("AUTH TLS")
        self.end.expect_code("234")
        self.handshake()

    def begin(self):
        """The first flight, to be sent. Returns its bytes."""
        self.tls = TlsEnd(self.end, self.made, False)
        return self.tls.shake()[1]

    def handshake(self):
        """To the end of it. Raises `ssl.SSLError` or `Failed` where it does not come to that."""
        self.end.sock.sendall(self.begin())
        self.finish()

    def finish(self):
        """What is left of a handshake that has begun."""
        for _ in range(16):
            self.tls.incoming.write(self.tls.record())
            done, data = self.tls.shake()
            if data:
                self.end.sock.sendall(data)
            if done:
                self.notes.append(f"client: {self.tls.tls.version()}")
                return
        raise Failed("the handshake does not come to its end")

    def send(self, line):
        if self.tls is None:
            self.end.send(line)
            return
        self.notes.append(f"client sends in TLS {shorten(line.encode())}")
        self.end.sock.sendall(self.tls.seal(line))

    def line(self):
        """The next line, inside TLS or in clear."""
        if self.tls is None:
            return self.end.line()
        while b"\n" not in self.text:
            self.text += self.tls.open(self.tls.record())
        line, _, self.text = self.text.partition(b"\n")
        self.notes.append("client sees in TLS " + shorten(line + b"\n"))
        return line + b"\n"

    def reply(self, *codes):
        """The next reply's lines; the last must bear one of these codes."""
        lines = [self.line()]
        if lines[0][3:4] == b"-":
            while not lines[-1].startswith(lines[0][:3] + b" "):
                lines.append(self.line())
        if lines[-1][:3].decode() not in codes:
            raise Failed(f"the client sees {lines}, not a reply {' or '.join(codes)}")
        return lines

    def ask(self, line, *codes):
        self.send(line)
        return self.reply(*codes)

    def login(self, prot="P"):
        self.ask("USER x", "331")
        self.ask("PASS y", "230")
        if self.tls is not None:
            self.ask("PBSZ 0", "200")
            self.ask(f"PROT {prot}", "200")

    def data(self, line="RETR x", secured=True, resume=True):
        """EPSV and a command. Returns the data connection, in TLS if it is to be."""
        port = extended_port(self.ask("EPSV", "229")[-1])
        if port not in self.gate.pool:
            raise Failed(f"port {port} is none of the gateway's")
        self.send(line)
        sock = socket.create_connection((self.gate.host, port), 5)
        if secured:
            session = self.tls.tls.session if resume and self.tls is not None else None
            sock = self.made.wrap_socket(sock, server_hostname="lab", session=session,
                                         suppress_ragged_eofs=False)
        self.sockets.append(sock)
        return sock

    def fetch(self, secured=True):
        """A whole download."""
        with self.data(secured=secured) as sock:
            self.reply("150", "125")
            got = read_all(sock)
            if secured:
                with contextlib.suppress(OSError):
                    sock.unwrap()
        self.reply("226")
        return got

    def closed(self):
        """The connection must end; returns what came before, opened where it is TLS."""
        data = self.end.closed()
        if self.tls is None or not data:
            return data
        try:
            return self.text + self.tls.open(data)
        except ssl.SSLError:
            return data


def read_all(sock):
    """Everything up to an end in order; anything else raises."""
    data = b""
    while piece := sock.recv(1 << 16):
        data += piece
    return data


def works(caller, server, secured=True):
    """A session is logged in and a download gives what it should."""
    caller.login()
    if caller.fetch(secured) != server.contents:
        raise Failed("the contents differ")


def secrets_heard(server):
    """Lines with a login that reached the server."""
    return [line for line in server.all_heard() if line.split(" ")[0].upper() in ("USER", "PASS")]
