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


def terminating(gate, mode="intercept", limits=None, certificates=None, **listener):
    """A `Gate` where TLS ends."""
    return gate(tls={"mode": mode} | listener, limits=limits, certificates=certificates)


@contextlib.contextmanager
def server_behind(gate, version="1.3", context=None, **words):
    """A `TlsServer` behind a gate, of one version of TLS or with a context of its own; `words` are
    told to it."""
    server = tls_server.TlsServer(context or server_context(version), **words)
    with server.serve_at(gate.listener, lambda host: socket.create_server((host, 0))):
        yield server


@contextlib.contextmanager
def scripted_gate(gate, mode="intercept", version="1.3", server=None, **options):
    """A `Gate` where TLS ends, in front of a `TlsServer` that `server` are words for; `options` go to
    `terminating`. Yields both; in the end nothing of a session may be left."""
    made = terminating(gate, mode, **options)
    with server_behind(made, version, **(server or {})) as behind:
        yield made, behind
    made.no_session()


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
        self.ask_for_tls()
        self.handshake()

    def ask_for_tls(self):
        """AUTH alone, which is granted: the hello is due."""
        self.end.send("AUTH TLS")
        self.end.expect_code("234")

    def begin(self, name="lab"):
        """The first flight, to be sent; it asks for the server `name`. Returns its bytes."""
        self.tls = TlsEnd(self.end, self.made, False, name)
        return self.tls.shake()[1]

    def handshake(self):
        """To the end of it. Raises `ssl.SSLError` or `Failed` where it does not come to that."""
        self.end.sock.sendall(self.begin())
        self.tls.finish()

    def leave_tls(self):
        """Behind the reply to CCC comes the gateway's close_notify; the caller is in clear then."""
        if not self.tls.ended():
            raise Failed("behind the 200 comes no close_notify")
        self.tls = None

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

    def dial_data(self, line="RETR x"):
        """After EPSV: its reply, a command, and the data connection. Returns it, not in TLS yet."""
        port = extended_port(self.reply("229")[-1])
        if port not in self.gate.pool:
            raise Failed(f"port {port} is none of the gateway's")
        self.send(line)
        sock = socket.create_connection((self.gate.host, port), 5)
        self.sockets.append(sock)
        return sock

    def data(self, line="RETR x", secured=True):
        """EPSV and a command. Returns the data connection, in TLS if it is to be; it resumes then."""
        self.send("EPSV")
        sock = self.dial_data(line)
        return self.secure_data(sock, self.tls.tls.session) if secured else sock

    def secure_data(self, sock, session):
        """A data connection in TLS that resumes `session`; an end without a close_notify raises."""
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


def read_until_over(sock):
    """Everything up to the end of the connection, in order or not."""
    data = b""
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        while piece := sock.recv(1 << 16):
            data += piece
    return data


def works(caller, server, secured=True):
    """A session is logged in and a download gives what it should."""
    caller.login()
    fetches(caller, server, secured)


def fetches(caller, server, secured=True):
    """A download gives what it should."""
    if caller.fetch(secured) != server.contents:
        raise Failed("the contents differ")


@contextlib.contextmanager
def in_vain(fault):
    """What is tried within must not come off, in whichever way the client's library learns of it;
    `fault` is what to say if it does."""
    try:
        yield
    except (ssl.SSLError, Failed, OSError):
        return
    raise Failed(fault)


def secrets_heard(server):
    """Lines with a login that reached the server."""
    return [line for line in server.all_heard() if line.split(" ")[0].upper() in ("USER", "PASS")]


def no_login_heard(server):
    if heard := secrets_heard(server):
        raise Failed(f"the server has heard {heard}")


def asked_for_tls(caller, mode="intercept"):
    """The server's end of the session that `caller` has just begun, where no `TlsServer` is: it has
    been asked for TLS, and has not answered. With `intercept` it is the client who asks.
    """
    caller.gate.listener.settimeout(5)
    server = End("server", caller.gate.listener.accept()[0], caller.notes)
    server.send("220 scripted")
    if mode == "intercept":
        caller.end.expect_code("220")
        caller.end.send("AUTH TLS")
    server.expect("AUTH TLS")
    return server
