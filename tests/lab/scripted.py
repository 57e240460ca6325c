"""Both ends of a session in one hand: what a scripted client and a scripted server say and see.

The scripts read as dialogues: `peers.client.send(…)`, `peers.server.expect(…)`. Every wait is
bounded. An end is plain bytes on a socket; it knows nothing of FTP.
"""

import re
import socket
import struct
import time

from process import Failed

# How long an end waits for what must come, and how long for what must not, in seconds. The former is
# above every timeout of ftpgate's that a script waits for.
PATIENCE = 10.0
SILENCE = 0.3


class End:
    """One end of a control or data connection."""

    def __init__(self, name, sock, notes):
        self.name = name
        self.sock = sock
        self.notes = notes
        self.buffer = b""
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        """Bytes as they are; text gets CR LF."""
        if isinstance(data, str):
            data = data.encode("latin-1") + b"\r\n"
        self.notes.append(f"{self.name} sends {shorten(data)}")
        self.sock.sendall(data)

    def send_bytewise(self, data):
        """One byte a segment."""
        self.notes.append(f"{self.name} sends, byte by byte, {shorten(data)}")
        for n in range(len(data)):
            self.sock.sendall(data[n:n + 1])
            time.sleep(0.001)

    def line(self):
        """The next line, with its end."""
        while b"\n" not in self.buffer:
            self._fill("a line")
        line, _, self.buffer = self.buffer.partition(b"\n")
        self.notes.append(self.name + " sees " + shorten(line + b"\n"))
        return line + b"\n"

    def expect(self, *wanted):
        """The next line must be one of these (text: with CR LF). Returns it."""
        options = [w.encode("latin-1") + b"\r\n" if isinstance(w, str) else w for w in wanted]
        line = self.line()
        if line not in options:
            raise Failed(f"{self.name} sees {shorten(line)}, not {' or '.join(map(shorten, options))}")
        return line

    def expect_code(self, *codes):
        """The next line must begin with one of these reply codes and a blank. Returns it."""
        line = self.line()
        if line[:4] not in [code.encode() + b" " for code in codes]:
            raise Failed(f"{self.name} sees {shorten(line)}, not a reply {' or '.join(codes)}")
        return line

    def read(self, size):
        """Exactly so many bytes."""
        while len(self.buffer) < size:
            self._fill(f"{size} bytes")
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def read_to_end(self):
        """Everything up to an end in order; a reset raises `ConnectionResetError`."""
        while True:
            piece = self.sock.recv(1 << 16)
            if not piece:
                data, self.buffer = self.buffer, b""
                return data
            self.buffer += piece

    def silent(self, duration=SILENCE):
        """Nothing may come for a while."""
        self.sock.settimeout(duration)
        try:
            if not self.buffer:
                self.buffer = self.sock.recv(4096)
                if not self.buffer:
                    raise Failed(f"{self.name} sees the connection closed")
            raise Failed(f"{self.name} sees {shorten(self.buffer)} and should see nothing")
        except TimeoutError:
            pass
        finally:
            self.sock.settimeout(PATIENCE)

    def closed(self):
        """The connection must end, in order or by a reset. Returns what came before."""
        try:
            while True:
                piece = self.sock.recv(1 << 16)
                if not piece:
                    break
                self.buffer += piece
        except ConnectionResetError:
            pass
        except TimeoutError:
            raise Failed(f"{self.name}: the connection is still open") from None
        data, self.buffer = self.buffer, b""
        self.notes.append(f"{self.name} sees {shorten(data)} and then the end")
        return data

    def reset(self):
        """Closes with a RST."""
        self.notes.append(f"{self.name} resets")
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def half_close(self):
        self.notes.append(f"{self.name} closes its sending half")
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        self.sock.close()

    def _fill(self, what):
        try:
            piece = self.sock.recv(1 << 16)
        except TimeoutError:
            raise Failed(f"{self.name} waits in vain for {what}; has {shorten(self.buffer)}") from None
        if not piece:
            raise Failed(f"{self.name} sees the end and not {what}; has {shorten(self.buffer)}")
        self.buffer += piece


def shorten(data, limit=160):
    text = repr(data)[1:]
    return text if len(text) <= limit else f"{text[:limit]}… ({len(data)} bytes)"


class Peers:
    """A client and a server with the gateway between them.

    `connect()` makes the client's socket to the gateway, `listener` is the server's own.
    """

    def __init__(self, connect, listener, greet=True, login=False):
        self.notes = []
        self.sockets = []
        try:
            self.client = self._end("client", connect())
            listener.settimeout(PATIENCE)
            try:
                sock, self.seen_as = listener.accept()
            except TimeoutError:
                raise Failed("the gateway does not connect to the server") from None
            self.server = self._end("server", sock)
            if greet:
                self.say("220 scripted")
            if login:
                self.login()
        except BaseException as error:
            self._leave(error)
            raise

    def _end(self, name, sock):
        self.sockets.append(sock)
        return End(name, sock, self.notes)

    def data(self, name, sock):
        """One end of a data connection; closed with the rest."""
        return self._end(f"{name}'s data", sock)

    def accept(self, listener, name):
        """Waits for a data connection at a listening socket of `name`."""
        listener.settimeout(PATIENCE)
        try:
            sock, _ = listener.accept()
        except TimeoutError:
            raise Failed(f"no data connection reaches the {name}") from None
        return self.data(name, sock)

    def say(self, reply):
        """The server says a line that must reach the client unchanged."""
        self.server.send(reply)
        self.client.expect(reply)

    def ask(self, command):
        """The client says a line that must reach the server unchanged."""
        self.client.send(command)
        self.server.expect(command)

    def exchange(self, command, reply):
        self.ask(command)
        self.say(reply)

    def login(self):
        self.exchange("USER x", "331 password")
        self.exchange("PASS y", "230 in")

    def answered(self, command, *codes):
        """The client says a line, and the next that it sees must bear one of these codes. Returns
        that line."""
        self.client.send(command)
        return self.client.expect_code(*codes)

    def replaced(self, command, reply, *codes):
        """The server answers a command; the client must be told something else, with one of these
        codes. Returns that line."""
        self.ask(command)
        self.server.send(reply)
        return self.client.expect_code(*codes)

    def closed(self):
        """Both connections must end. Returns what the client and what the server saw before."""
        return self.client.closed(), self.server.closed()

    def ends(self, name):
        """The end of this name, and the other."""
        return (self.client, self.server) if name == "client" else (self.server, self.client)

    def __enter__(self):
        return self

    def __exit__(self, _, error, __):
        self._leave(error)

    def _leave(self, error):
        for sock in self.sockets:
            sock.close()
        if error is not None:
            error.notes = self.notes


def carries(sender, receiver, contents=b"contents"):
    """One end of a data connection sends its last, which must arrive whole and with an end in order."""
    sender.send(contents)
    sender.close()
    if (got := receiver.read_to_end()) != contents:
        raise Failed(f"{receiver.name} sees {shorten(got)} and then the end, not {shorten(contents)}")


_HOST_PORT = re.compile(rb"(\d+),(\d+),(\d+),(\d+),(\d+),(\d+)")


def host_port(line):
    """The address and port in a 227 or PORT."""
    found = _HOST_PORT.search(line)
    if not found:
        raise Failed(f"no address in {shorten(line)}")
    numbers = [int(n) for n in found.groups()]
    return ".".join(map(str, numbers[:4])), numbers[4] * 256 + numbers[5]


def extended_port(line):
    """The port in a 229 or EPRT: the last field of the delimited list."""
    found = re.findall(rb"([!-/:-~])(\d+)\1", line)
    if not found:
        raise Failed(f"no port in {shorten(line)}")
    return int(found[-1][1])


def comma(host, port):
    """`h1,h2,h3,h4,p1,p2`."""
    return f"{host.replace('.', ',')},{port >> 8},{port & 255}"
