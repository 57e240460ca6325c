#!/usr/bin/env python3
"""Records the conversations in this folder anew: FTP's control connection with AUTH TLS and CCC, all of its bytes.

    tests/records/record.py

Client and server are two `ssl` objects in this process, with no socket between them. Needs Python 3.8 and openssl, built
with the old versions of TLS. A conversation is a file:

    # what happens in it
    version TLSv1.3
    records C 8 S 12            of application data ahead of a line in the clear, as OpenSSL itself counted them
    C> AUTH TLS                 the client sends this line and CRLF in the clear
    S= 160303…                  the server sends these bytes of TLS; a line that begins with a blank goes on

Here the place where TLS ends is known, because a line in the clear does not go through `ssl`.
"""

import ssl
import subprocess
import tempfile
import warnings
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
V10, V11, V12, V13 = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
HEADER, APPLICATION_DATA = 256, 23


class Peer:
    """One side's TLS, and how many records of application data it has sent."""

    def __init__(self, context, server_side, session=None):
        self.records = 0
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context._msg_callback = self._on_message
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=server_side, session=session)

    def _on_message(self, _connection, direction, _version, content_type, _message_type, data):
        if (direction, int(content_type)) == ("write", HEADER) and data[0] == APPLICATION_DATA:
            self.records += 1

    def try_to(self, what):
        """Whether `what` was done; if not, it waits for the other side."""
        try:
            what()
        except ssl.SSLWantReadError:
            return False
        return True


class Conversation:
    """Client and server, and what they have sent in order."""

    def __init__(self, server, client, session=None):
        self.peers = {"C": Peer(client, False, session), "S": Peer(server, True)}
        self.sent = []
        self.version = None
        self.counts = {}

    def text(self, side, line):
        if self.version:
            self.counts.setdefault(side, self.peers[side].records)
        self.sent.append(f"{side}> {line}")

    def flush(self, side):
        data = self.peers[side].outgoing.read()
        if data:
            self.peers["S" if side == "C" else "C"].incoming.write(data)
            text = data.hex()
            parts = [text[at:at + 112] for at in range(0, len(text), 112)]
            self.sent.append(f"{side}= " + "\n   ".join(parts))

    def handshake(self):
        self.text("S", "220 ftp.example ready")
        self.text("C", "AUTH TLS")
        self.text("S", "234 Proceed with negotiation")
        done = {"C": False, "S": False}
        for _ in range(8):
            for side, peer in self.peers.items():
                done[side] = done[side] or peer.try_to(peer.tls.do_handshake)
                self.flush(side)
        if not all(done.values()):
            raise RuntimeError("the handshake does not end")
        self.version = self.peers["C"].tls.version()

    def say(self, side, line):
        """A line within TLS."""
        data = line.encode() + b"\r\n"
        self.peers[side].tls.write(data)
        self.flush(side)
        heard = self.peers["S" if side == "C" else "C"].tls.read(len(data))
        if heard != data:
            raise RuntimeError(f"{heard!r} instead of {data!r}")

    def log_in(self):
        for command, reply in [("PBSZ 0", "200 PBSZ=0"), ("PROT P", "200 Protection set to Private"),
                               ("USER anna", "331 Password required"), ("PASS secret", "230 Logged in")]:
            self.say("C", command)
            self.say("S", reply)

    def close(self, side):
        """A close_notify of one side, read by nobody yet."""
        self.peers[side].try_to(self.peers[side].tls.unwrap)
        self.flush(side)

    def hear_close(self, side):
        if self.peers[side].tls.read(1):
            raise RuntimeError("data instead of close_notify")

    def end_tls(self, who):
        """CCC and the close_notify of those in `who`, in that order."""
        self.say("C", "CCC")
        self.say("S", "200 Clearing control channel protection")
        for place, side in enumerate(who):
            if place == 1:
                self.hear_close(side)
            self.close(side)

    def in_the_clear(self):
        for command, reply in [("EPSV", "229 Entering Extended Passive Mode (|||50000|)"), ("RETR a", "150 Here it comes"),
                               (None, "226 Done"), ("QUIT", "221 Goodbye")]:
            if command:
                self.text("C", command)
            self.text("S", reply)

    def write(self, name, what):
        counts = " ".join(f"{side} {self.counts.get(side, peer.records)}" for side, peer in self.peers.items())
        lines = [f"# {what}", f"version {self.version}", f"records {counts}", *self.sent]
        (FOLDER / f"{name}.rec").write_text("\n".join(lines) + "\n", encoding="ascii")


class Contexts:
    """Contexts of both sides, with one certificate for all that they make."""

    def __init__(self, folder):
        self.certificate, self.key = f"{folder}/certificate", f"{folder}/key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-subj", "/CN=ftp.example", "-days", "3650", "-keyout", self.key, "-out", self.certificate],
                       check=True, capture_output=True)

    def make(self, version, ciphers="DEFAULT", minus=0, plus=0):
        """The server's and the client's, for one version, with options less and more than the usual ones."""
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.load_verify_locations(self.certificate)
        for context in (server, client):
            context.minimum_version = context.maximum_version = version
            # Level 0 lets SHA-1 and MD5 sign, as TLS before 1.2 does.
            context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
            context.options = (context.options & ~minus) | plus
            context.load_cert_chain(self.certificate, self.key)
        return server, client


ENDS = {
    "both-client-first": ("CS", "close_notify from both sides, the client first; its alert and EPSV can share a segment"),
    "both-server-first": ("SC", "close_notify from both sides, the server first, right behind its reply"),
    "client-only": ("C", "close_notify from the client alone"),
    "server-only": ("S", "close_notify from the server alone"),
    "neither": ("", "no close_notify: text follows the reply to CCC"),
}


def whole(contexts, name, what, who="CS", session=None, end="clear"):
    """A conversation from the greeting to QUIT, in a file; returns the client's TLS session."""
    conversation = Conversation(*contexts, session)
    conversation.handshake()
    client = conversation.peers["C"].tls
    if client.session_reused != (session is not None):
        raise RuntimeError(f"{name}: resumed or not, against what was wanted")
    conversation.log_in()
    session = client.session
    if end == "refused":
        conversation.say("C", "CCC")
        conversation.say("S", "533 CCC is not allowed here")
        conversation.say("C", "EPSV")
        conversation.say("S", "229 Entering Extended Passive Mode (|||50000|)")
        conversation.say("C", "QUIT")
        conversation.say("S", "221 Goodbye")
        conversation.close("S")
        conversation.hear_close("C")
        conversation.close("C")
    elif end == "late":
        conversation.end_tls("")
        conversation.text("C", "EPSV")
        conversation.text("S", "229 Entering Extended Passive Mode (|||50000|)")
        conversation.close("C")
        conversation.close("S")
        conversation.text("C", "QUIT")
        conversation.text("S", "221 Goodbye")
    else:
        conversation.end_tls(who)
        conversation.in_the_clear()
    conversation.write(name, what)
    return session


def main():
    warnings.filterwarnings("ignore", "ssl.TLSVersion", DeprecationWarning)
    for old in FOLDER.glob("*.rec"):
        old.unlink()
    with tempfile.TemporaryDirectory() as folder:
        contexts = Contexts(folder)
        for short, version in (("1.2", V12), ("1.3", V13)):
            for name, (who, what) in ENDS.items():
                whole(contexts.make(version), f"{short}-{name}", f"TLS {short}: {what}.", who)
            whole(contexts.make(version), f"{short}-ccc-refused", f"TLS {short}: CCC is refused; TLS to the end.",
                  end="refused")
            whole(contexts.make(version), f"{short}-late-alerts",
                  f"TLS {short}: no close_notify at CCC; each side's comes after a line in the clear (case 33).",
                  end="late")
            whole(contexts.make(version, plus=ssl.OP_NO_TICKET), f"{short}-without-tickets",
                  f"TLS {short}: no session tickets" + (", but sessions that the server keeps." if version == V13 else "."))
            pair = contexts.make(version)
            session = whole(pair, f"{short}-resumable", f"TLS {short}: session tickets.")
            whole(pair, f"{short}-resumed", f"TLS {short}: resumed with the ticket of an earlier session.", session=session)
            server, client = contexts.make(version)
            server.verify_mode = ssl.CERT_REQUIRED
            server.load_verify_locations(contexts.certificate)
            whole((server, client), f"{short}-client-certificate", f"TLS {short}: the client has a certificate too.")
        # In TLS 1.0 OpenSSL sends a record of no data ahead of each that has some.
        for short, version in (("1.0", V10), ("1.1", V11)):
            for name in ("both-client-first", "neither"):
                who, what = ENDS[name]
                whole(contexts.make(version), f"{short}-{name}", f"TLS {short}: {what}.", who)
        for name, cipher in (("cbc", "ECDHE-ECDSA-AES256-SHA384"), ("chacha", "ECDHE-ECDSA-CHACHA20-POLY1305")):
            whole(contexts.make(V12, cipher), f"1.2-{name}", f"TLS 1.2 with {cipher}.")
        server, client = contexts.make(V13)
        server.set_ecdh_curve("secp384r1")
        whole((server, client), "1.3-hello-retry",
              "TLS 1.3: a HelloRetryRequest; hellos in the clear after ChangeCipherSpec.")
        whole(contexts.make(V13, minus=ssl.OP_ENABLE_MIDDLEBOX_COMPAT), "1.3-without-change-cipher-spec",
              "TLS 1.3 without middlebox compatibility: no ChangeCipherSpec.")


if __name__ == "__main__":
    main()
