"""TLS on both ends of a scripted session, with every byte and segment in the script's own hand.

`SecuredPeers` lays TLS over `scripted.Peers`: the library works on memory only (`ssl.MemoryBIO`),
so a script decides what leaves when, in which segments, and what never leaves at all (a
close_notify, for z/OS CCCNONOTIFY). Whatever passes as TLS must arrive byte for byte.
"""

import atexit
import functools
import shutil
import ssl
import tempfile
import threading

import tls_server
from authority import certificate
from process import Failed
from scripted import shorten
from tls_peers import context

_lock = threading.Lock()


@functools.cache
def _certificate():
    """One key for the whole run. Returns the paths (chain, key)."""
    folder = tempfile.mkdtemp(prefix="ftpgate-lab-key-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return certificate(folder)


def server_context(version):
    """A server's TLS context of one version."""
    with _lock:
        chain, key = _certificate()
    return tls_server.server_context(chain, key, version)


class TlsEnd:
    """The TLS of one end of a control connection. It writes bytes and is fed bytes, no more."""

    def __init__(self, end, made, is_server, name="lab"):
        self.end = end
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = made.wrap_bio(self.incoming, self.outgoing, server_side=is_server,
                                 server_hostname=None if is_server else name)

    def shake(self):
        """One step of the handshake. Returns (whether it is over, the bytes to send)."""
        try:
            self.tls.do_handshake()
            return True, self.outgoing.read()
        except ssl.SSLWantReadError:
            return False, self.outgoing.read()

    def finish(self):
        """What is left of a handshake after the client's first flight, record by record."""
        for _ in range(16):
            self.incoming.write(self.record())
            done, data = self.shake()
            if data:
                self.end.sock.sendall(data)
            if done:
                self.end.notes.append(f"{self.end.name}: {self.tls.version()}")
                return
        raise Failed("the handshake does not come to its end")

    def seal(self, data):
        """The records that carry these bytes; text gets CR LF."""
        if isinstance(data, str):
            data = data.encode("latin-1") + b"\r\n"
        self.tls.write(data)
        return self.outgoing.read()

    def close_notify(self):
        """The alert of this end."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def open(self, records):
        """What these records carry; b"" for a close_notify and for tickets."""
        self.incoming.write(records)
        found = b""
        try:
            while piece := self.tls.read(1 << 14):
                found += piece
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        return found

    def ended(self):
        """Whether the next record, tickets aside, is the peer's close_notify."""
        for _ in range(8):
            self.incoming.write(self.record())
            try:
                return self.tls.read(1) == b""
            except ssl.SSLZeroReturnError:
                return True
            except ssl.SSLWantReadError:
                pass  # a ticket
        return False

    def record(self):
        """The next record as it comes from the connection."""
        header = self.end.read(5)
        if not 20 <= header[0] <= 23:
            raise Failed(f"{self.end.name} sees {shorten(header)} where a record is due")
        return header + self.end.read(int.from_bytes(header[3:], "big"))

    def expect(self, *wanted):
        """The next line inside TLS must be one of these. Returns it."""
        line = b""
        while not line.endswith(b"\n"):
            line += self.open(self.record())
        if line not in [w.encode("latin-1") + b"\r\n" for w in wanted]:
            raise Failed(f"{self.end.name} sees in TLS {shorten(line)}, not {' or '.join(wanted)}")
        self.end.notes.append(f"{self.end.name} sees in TLS {shorten(line)}")
        return line


class SecuredPeers:
    """Both ends of a session in TLS. `peers` are the ends in clear; all notes go to theirs."""

    def __init__(self, peers, version):
        self.peers = peers
        self.version = version
        self.client = TlsEnd(peers.client, context(version), False)
        self.server = TlsEnd(peers.server, server_context(version), True)

    def carry(self, sender, receiver, data, bytewise=False):
        """One end sends bytes, the other must see the same bytes. Returns them."""
        if bytewise:
            sender.send_bytewise(data)
        else:
            sender.send(data)
        got = receiver.read(len(data))
        if got != data:
            raise Failed(f"{receiver.name} sees {shorten(got)}, not {shorten(data)}")
        return got

    def handshake(self, bytewise=False):
        """The whole handshake, with the tickets of TLS 1.3 behind it."""
        done = {self.client: False, self.server: False}
        for _ in range(8):
            for here, there in ((self.client, self.server), (self.server, self.client)):
                if not done[here]:
                    done[here], data = here.shake()
                    if data:
                        there.incoming.write(self.carry(here.end, there.end, data, bytewise))
            if all(done.values()):
                self.client.open(b"")
                return
        raise Failed("the handshake does not come to its end")

    def ask(self, command, bytewise=False):
        """The client says a line in TLS; it must reach the server."""
        record = self.client.seal(command)
        found = self.server.open(self.carry(self.peers.client, self.peers.server, record, bytewise))
        if found != command.encode() + b"\r\n":
            raise Failed(f"the server sees in TLS {shorten(found)}, not {command}")

    def say(self, reply, bytewise=False):
        """The server says a line in TLS; it must reach the client."""
        record = self.server.seal(reply)
        found = self.client.open(self.carry(self.peers.server, self.peers.client, record, bytewise))
        if found != reply.encode() + b"\r\n":
            raise Failed(f"the client sees in TLS {shorten(found)}, not {reply}")

    def exchange(self, command, reply, bytewise=False):
        self.ask(command, bytewise)
        self.say(reply, bytewise)

    def login(self, prot="P", bytewise=False):
        for command, reply in (("USER x", "331 password"), ("PASS y", "230 in"),
                               ("PBSZ 0", "200 ok"), (f"PROT {prot}", "200 ok")):
            self.exchange(command, reply, bytewise)

    def hello(self):
        """The client's hello alone, which must reach the server."""
        self.carry(self.peers.client, self.peers.server, self.client.shake()[1])

    def notify(self, name, bytewise=False):
        """The close_notify of the client or the server is sent and arrives."""
        here, there = ((self.client, self.server) if name == "client" else (self.server, self.client))
        alert = here.close_notify()
        if not alert:
            raise Failed(f"{name}: the TLS library writes no close_notify")
        there.open(self.carry(here.end, there.end, alert, bytewise))


def secured(peers, version, auth="AUTH TLS", bytewise=False):
    """AUTH in clear, then the handshake. Returns the `SecuredPeers`."""
    peers.exchange(auth, "234 go ahead")
    both = SecuredPeers(peers, version)
    both.handshake(bytewise)
    return both


def in_tls(peers, version, **options):
    """A session that is logged in inside TLS."""
    both = secured(peers, version, **options)
    both.login()
    return both
