"""A small FTP server over TLS, in threads, that remembers what it was told and how.

For what the daemons do not show or cannot be made to do: whether a command arrived inside TLS, which
certificate the client showed, whether a data connection resumed, CCC taken or refused.
"""

import contextlib
import functools
import socket
import ssl
import struct
import threading
from dataclasses import dataclass, field

from process import Failed
from servers import Server

PATIENCE = 8.0


def server_context(chain, key, version="", client_roots="", asked=ssl.CERT_REQUIRED):
    """`client_roots`: who signs the certificates that clients have to (or may) show."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Python by default takes a missing close_notify for one, whatever suppress_ragged_eofs says.
    made.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    made.load_cert_chain(chain, key)
    if version:
        made.minimum_version = made.maximum_version = {
            "1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    if client_roots:
        made.load_verify_locations(client_roots)
        made.verify_mode = asked
    return made


@dataclass
class Session:
    """One control connection as the server saw it."""

    heard: list = field(default_factory=list)    # (line, whether inside TLS)
    faults: list = field(default_factory=list)   # handshakes that failed, in words
    shown: list = field(default_factory=list)    # subjects of certificates that clients showed
    asked_for: list = field(default_factory=list)   # names asked for (SNI), None for none
    resumed: list = field(default_factory=list)  # of each data connection in TLS
    data_tls: list = field(default_factory=list)  # of each data connection, whether in TLS
    ended: threading.Event = field(default_factory=threading.Event)

    def verbs(self, in_tls=None):
        """The verbs heard; `in_tls`: only those inside TLS, or only those in clear."""
        return [line.split(" ")[0].upper() for line, secured in self.heard
                if in_tls is None or secured == in_tls]


class TlsServer:
    """Use `serve` as a context manager. `sessions` holds a `Session` for each control connection.

    `ccc`: the reply to CCC; with a 2xx the server ends TLS as RFC 4217 has it, or without a
    close_notify if `notify` is false, or with one in front of the second reply in clear if it is "late". `auth`: the reply to AUTH; `feat`: what FEAT offers. `truncate`:
    downloads end in the middle, without a close_notify. `contents` is what RETR of any name gives.
    """

    contents = bytes(range(256)) * 40

    def __init__(self, context, implicit=False, ccc="533 no", after_greeting=False, notify=True,
                 auth="234 go ahead", feat=("AUTH TLS", "PBSZ", "PROT", "CCC", "SSCN", "CPSV", "EPSV"),
                 truncate=False):
        self.context = context
        self.implicit = implicit
        self.after_greeting = after_greeting
        self.ccc = ccc
        self.notify = notify
        self.auth = auth
        self.feat = feat
        self.truncate = truncate
        self.sessions = []
        self.stored = {}

    def stand_in(self, index=0, port=21):
        """What `Lab.stand_ins` wants to know; it is never logged in to by that."""
        return Server("scripted", index, "/nonexistent", port, implicit=self.implicit)

    def serve(self, lab, server):
        """Serves in the place of `server`, a stand-in, in a lab."""
        topology = lab.topology
        listen = functools.partial(topology.listen, "server")
        return self.serve_at(listen(server.address(4), server.port), listen)

    @contextlib.contextmanager
    def serve_at(self, listener, listen):
        """Serves at a listening socket, which is closed then; `listen` makes another one on a host."""
        self.listen = listen
        thread = threading.Thread(target=self._accept, args=(listener,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            listener.close()

    def last(self):
        """The newest session, when it is over."""
        if not self.sessions:
            raise Failed("no session reached the server")
        if not self.sessions[-1].ended.wait(PATIENCE):
            raise Failed("the server's session does not end")
        return self.sessions[-1]

    def all_heard(self):
        return [line for session in self.sessions for line, _ in session.heard]

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            session = Session()
            self.sessions.append(session)
            threading.Thread(target=self._session, args=(sock, session), daemon=True).start()

    def _session(self, sock, session):
        sock.settimeout(PATIENCE)
        try:
            _Dialogue(self, sock, session).run()
        except ssl.SSLError as error:
            session.faults.append(str(error))
        except OSError:
            pass  # the peer is gone: what it said is remembered
        finally:
            sock.close()
            session.ended.set()


class _Dialogue:
    """One control connection."""

    def __init__(self, server, sock, session):
        self.server, self.session = server, session
        self.clear = sock
        self.tls = None
        self.private = False
        self.listener = None
        self.until_alert = 0

    @property
    def sock(self):
        return self.tls or self.clear

    def run(self):
        if self.server.after_greeting:
            self.say("220 scripted")
        if self.server.implicit or self.server.after_greeting:
            self.secure()
        if not self.server.after_greeting:
            self.say("220 scripted")
        try:
            while (line := self.line()) is not None:
                self.session.heard.append((line, self.tls is not None))
                if self.answer(line) is False:
                    return
        finally:
            for sock in filter(None, (self.listener, self.tls)):
                sock.close()

    def say(self, line):
        data = line.encode() + b"\r\n"
        if self.until_alert:
            self.until_alert -= 1
            if not self.until_alert:
                # Nobody can read it any more; its length is that of an alert.
                data = b"\x15\x03\x03\x00\x1a" + bytes(range(26)) + data
        self.sock.sendall(data)

    def line(self):
        """One byte at a time: what follows may be TLS, or no longer be."""
        data = b""
        while not data.endswith(b"\n"):
            piece = self.sock.recv(1)
            if not piece:
                return None
            data += piece
            if data in (b"\x15", b"\x17") and self.tls is None:
                # The peer's close_notify, which a server without one of its own has left unread.
                header = self.sock.recv(4, socket.MSG_WAITALL)
                self.sock.recv(int.from_bytes(header[2:], "big"), socket.MSG_WAITALL)
                data = b""
        return data.decode("latin-1").rstrip("\r\n")

    def secure(self):
        context = self.server.context
        asked_for = []
        context.sni_callback = lambda _sock, name, _context: asked_for.append(name)
        self.tls = context.wrap_socket(self.clear, server_side=True, suppress_ragged_eofs=True,
                                       do_handshake_on_connect=False)
        self.tls.settimeout(PATIENCE)
        try:
            self.tls.do_handshake()
        finally:
            self.session.asked_for += asked_for
        if certificate := self.tls.getpeercert():
            self.session.shown.append(certificate["subject"])

    def answer(self, line):
        verb, _, rest = line.partition(" ")
        match verb.upper():
            case "AUTH":
                self.say(self.server.auth)
                if self.server.auth.startswith("2"):
                    self.secure()
            case "USER":
                self.say("331 password")
            case "PASS":
                self.say("230 in")
            case "PROT":
                self.private = rest.upper() == "P"
                self.say("200 ok")
            case "CCC":
                self.say(self.server.ccc)
                if self.server.ccc.startswith("2"):
                    self.clear, self.tls = (self.tls.unwrap() if self.server.notify is True else
                                            socket.socket(fileno=self.tls.detach())), None
                    self.clear.settimeout(PATIENCE)
                    self.until_alert = 2 if self.server.notify == "late" else 0
            case "EPSV":
                self.passive()
                self.say(f"229 passive (|||{self.listener.getsockname()[1]}|)")
            case "PASV":
                self.passive()
                host, port = self.listener.getsockname()
                self.say(f"227 passive ({host.replace('.', ',')},{port >> 8},{port & 255})")
            case "RETR" | "LIST":
                self.transfer(self.send)
            case "STOR":
                self.transfer(lambda sock: self.server.stored.update({rest: _read_all(sock)}))
            case "FEAT":
                self.say("\r\n".join(["211-here", *(f" {word}" for word in self.server.feat), "211 end"]))
            case "QUIT":
                self.say("221 bye")
                return False
            case "PBSZ" | "TYPE" | "NOOP" | "CWD":
                self.say("200 ok")
            case "PWD":
                self.say('257 "/"')
            case _:
                self.say("502 no")
        return True

    def passive(self):
        if self.listener:
            self.listener.close()
        self.listener = self.server.listen(self.sock.getsockname()[0])
        self.listener.settimeout(PATIENCE)

    def send(self, sock):
        contents = self.server.contents
        if not self.server.truncate:
            return sock.sendall(contents)
        sock.sendall(contents[:len(contents) // 2])
        # In clear only a reset tells that the end is none.
        if not self.private:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ssl.SSLError("truncated as told")

    def transfer(self, carry):
        self.say("150 here")
        sock, _ = self.listener.accept()
        sock.settimeout(PATIENCE)
        try:
            self.session.data_tls.append(self.private)
            if self.private:
                # An end without a close_notify is a fault.
                sock = self.server.context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False)
                self.session.resumed.append(sock.session_reused)
            carry(sock)
            if self.private:
                sock = sock.unwrap()
        except (ssl.SSLError, OSError) as error:
            self.session.faults.append(f"data: {error}")
            self.say("426 broken")
        else:
            self.say("226 done")
        finally:
            sock.close()


def _read_all(sock):
    data = b""
    while piece := sock.recv(1 << 16):
        data += piece
    return data
