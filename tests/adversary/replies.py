"""Cases about what a server sends: passive replies in every disguise, framing, endless text."""

import socket
import time

from adversary import case
from adversary.gate import HERE
from process import Failed
from scripted import PATIENCE, carries, comma, extended_port, host_port


def open_passive(gate, peers, reply, port, command="PASV"):
    """The server answers PASV or EPSV with `reply`, bytes with `%s` for the address or the port.

    Checks that only the numbers changed and that a connection to the new port reaches the server.
    """
    told = comma(HERE, port).encode() if command == "PASV" else str(port).encode()
    peers.ask(command)
    peers.server.send(reply % told + b"\r\n")
    line = peers.client.line()
    new = host_port(line)[1] if command == "PASV" else extended_port(line)
    if new not in gate.pool:
        raise Failed(f"not rewritten: {line!r}")
    told = comma(HERE, new).encode() if command == "PASV" else str(new).encode()
    if line != reply % told + b"\r\n":
        raise Failed(f"more than the numbers changed: {line!r}")
    return new


def transfer(gate, peers, listener, port, source=None):
    """A download through an open pinhole, of a client at `source` if that is not its usual address."""
    peers.exchange("RETR x", "150 here")
    sock = socket.create_connection((gate.host, port), PATIENCE,
                                    source_address=source and (source, 0))
    mine = peers.data("client", sock)
    carries(peers.accept(listener, "server"), mine)
    peers.say("226 done")
    mine.close()


def not_opened(gate, peers, reply, command="PASV", codes=("425",)):
    """A reply that names no usable address: the client is told so, and the session goes on."""
    peers.replaced(command, reply, *codes)
    peers.exchange("NOOP", "200 still here")
    if gate.open_ports():
        raise Failed(f"{reply!r} opened a port")


@case(1, "227 and 229 that nobody asked for")
def unsolicited(gate):
    g = gate()
    with g.peers() as p:
        p.exchange("NOOP", "227 Entering Passive Mode (127,0,0,1,200,1)")
        p.exchange("SYST", "229 Entering Extended Passive Mode (|||51201|)")
        p.exchange("NOOP", "200 still here")
    g.never_opened()


@case(2, "227 inside another reply while PASV is pending")
def inside_reply(gate):
    g = gate()
    with g.peers() as p:
        p.ask("PASV")
        text = b"500-no\r\n227 Entering Passive Mode (127,0,0,1,200,1)\r\n500 no\r\n"
        p.server.send(text)
        if p.client.read(len(text)) != text:
            raise Failed("the reply was changed")
        p.ask("STAT pub")
        text = b"213-list\r\n 227 (127,0,0,1,200,1)\r\n227 (127,0,0,1,200,1)\r\n213 end\r\n"
        for n in range(len(text)):
            p.server.sock.sendall(text[n:n + 1])
        if p.client.read(len(text)) != text:
            raise Failed("the reply was changed")
        p.exchange("PASV", "550 say 227 Entering Passive Mode (127,0,0,1,200,1)")
    g.never_opened()


@case(7, "227 and 229 with port 0 and below 1024")
def low_ports(gate):
    g = gate()
    with g.peers() as p:
        for port in (0, 21, 1023):
            not_opened(g, p, f"227 ok ({comma(HERE, port)})")
            not_opened(g, p, f"229 ok (|||{port}|)", "EPSV")


@case(8, "malformed 227")
def malformed(gate):
    g = gate()
    with g.peers() as p:
        for bad in ("256,0,0,1,200,1", "127,0,0,1,200", "127,0,0,1,256,1", "127,0,0,1,-3,1",
                    "127,0,0,1,4294967297,1", ""):
            not_opened(g, p, f"227 ok ({bad})")


@case(9, "227 naming another host")
def other_host(gate):
    g = gate()
    with g.peers() as p, g.data_listener() as theirs:
        p.ask("PASV")
        p.server.send("227 ok (" + comma("10.9.9.9", theirs.getsockname()[1]) + ")")
        host, port = host_port(p.client.line())
        if host != HERE:
            raise Failed(f"the client was told {host}")
        # The connection must go to the server that is there, not to the one that was named.
        transfer(g, p, theirs, port)
    g = gate(policy={"strict": True})
    with g.peers() as p:
        not_opened(g, p, "227 ok (10,9,9,9,200,1)")
    g.never_opened()


@case(15, "several replies in one segment, multi-line ones split anywhere")
def segments(gate):
    g = gate()
    with g.peers() as p, g.data_listener() as theirs:
        port = theirs.getsockname()[1]
        p.client.send(b"NOOP\r\nSYST\r\nPASV\r\n")
        for command in ("NOOP", "SYST", "PASV"):
            p.server.expect(command)
        p.server.send(b"200-one\r\n two\r\n200 three\r\n215 x\r\n227 ok ("
                      + comma(HERE, port).encode() + b")\r\n")
        for text in ("200-one", " two", "200 three", "215 x"):
            p.client.expect(text)
        new = host_port(p.client.line())[1]
        transfer(g, p, theirs, new)
        p.ask("HELP")
        p.server.send_bytewise(b"214-a\r\n214-b\r\n 214 c\r\n214 d\r\n")
        for text in ("214-a", "214-b", " 214 c", "214 d"):
            p.client.expect(text)


@case(16, "a multi-line 227")
def multi_line(gate):
    g = gate()
    with g.peers() as p, g.data_listener() as theirs:
        numbers = comma(HERE, theirs.getsockname()[1])
        p.ask("PASV")
        p.server.send(f"227-Entering ({numbers})\r\n200 not the end\r\n227 Passive ({numbers})".encode()
                      + b"\r\n")
        seen = [p.client.line() for _ in range(3)]
        if any(numbers.encode() in line for line in seen):
            raise Failed(f"the server's own port is in {seen!r}")
        transfer(g, p, theirs, host_port(seen[2])[1])
    # Lines that disagree: a client may read any of them.
    for first in (f"227-Entering ({comma(HERE, 1234)})", "227-Entering\r\n 227 no (1,2,3,4,5,6)"):
        with g.peers() as p, g.data_listener() as theirs:
            numbers = comma(HERE, theirs.getsockname()[1])
            p.ask("PASV")
            p.server.send(f"{first}\r\n227 Passive ({numbers})")
            seen = [p.client.line() for _ in range(first.count("\r\n") + 2)]
            places = {host_port(line) for line in seen if b"," in line}
            if len(places) != 1:
                raise Failed(f"{seen!r} leads to {places!r}")
            transfer(g, p, theirs, places.pop()[1])
    g.nothing_open()


@case(17, "227 in other words, 229 with another delimiter")
def wordings(gate):
    g = gate()
    with g.peers() as p:
        for reply in (b"227 Entering Passive Mode (%s).", b"227 Entering Passive Mode. %s",
                      b"227 =%s", b"227 Wechsel in den Passivmodus: %s jetzt", b"227 (%s)"):
            with g.data_listener() as theirs:
                new = open_passive(g, p, reply, theirs.getsockname()[1])
                transfer(g, p, theirs, new)
        for reply in (b"229 Extended (|||%s|)", b"229 Extended (!!!%s!)", b"229 ok (~~~%s~) now"):
            with g.data_listener() as theirs:
                new = open_passive(g, p, reply, theirs.getsockname()[1], "EPSV")
                transfer(g, p, theirs, new)
    g.nothing_open()


@case(18, "229 with an address, port 0, a port too great")
def odd_229(gate):
    g = gate()
    with g.peers() as p:
        with g.data_listener() as theirs:
            p.ask("EPSV")
            p.server.send(f"229 ok (|1|{HERE}|{theirs.getsockname()[1]}|)")
            transfer(g, p, theirs, extended_port(p.client.line()))
        for bad in ("(|||0|)", "(|||1000000|)", "(||50000|)", "(|||x|)", "none"):
            not_opened(g, p, f"229 ok {bad}", "EPSV")
    g.nothing_open()


@case(22, "an overlong reply line and an endless multi-line reply")
def overlong(gate):
    g = gate()
    before = g.memory()
    for piece in (b"x" * 65536, b"214-more of it\r\n" * 4096):
        with g.peers() as p:
            p.ask("HELP")
            passed, limit = 0, 8 << 20
            p.client.sock.settimeout(0.01)
            p.server.sock.settimeout(0.5)
            deadline = time.monotonic() + PATIENCE
            ended = False
            while not ended and passed < limit and time.monotonic() < deadline:
                try:
                    p.server.sock.sendall(b"214-" + piece)
                except OSError:
                    pass  # closed, or nobody reads any more
                try:
                    got = len(p.client.sock.recv(1 << 20))
                    passed, ended = passed + got, got == 0
                except TimeoutError:
                    pass
                except ConnectionResetError:
                    ended = True
            if not ended:
                raise Failed(f"{passed} bytes of one reply passed and the session goes on")
    with g.peers() as p:
        # Held back as a whole, so that its place is free for a word of the gateway's.
        p.ask("PASV")
        p.server.send(b"227-more of it\r\n" * 2000)
        if not (said := p.client.closed()).startswith(b"421 "):
            raise Failed(f"the client sees {said!r}")
    g.no_session()
    g.grown_at_most(before)


@case(24, "replies without a code, with code 600, in 8-bit text")
def no_code(gate):
    g = gate()
    for text in (b"hello there (127,0,0,1,200,1)\r\n", b"\r\n", b"600 (127,0,0,1,200,1)\r\n",
                 b"22\xff7 (127,0,0,1,200,1)\r\n", b"2277 (127,0,0,1,200,1)\r\n"):
        with g.peers() as p:
            p.ask("PASV")
            p.server.send(text)
            # Forwarded or closed, both will do; what must not be is a pinhole.
            p.client.sock.settimeout(0.5)
            try:
                p.client.sock.recv(4096)
            except (TimeoutError, ConnectionResetError):
                pass
    g.never_opened()
    g.no_session()


@case(24, "8-bit text in a reply passes unchanged")
def eight_bit(gate):
    g = gate()
    with g.peers() as p:
        p.ask("PWD")
        p.server.send(b'257 "/gr\xfc\xdfe" ist es\r\n')
        p.client.expect(b'257 "/gr\xfc\xdfe" ist es\r\n')


@case(42, "lines behind a rewritten 227 are byte-exact")
def exact_after_227(gate):
    g = gate()
    with g.peers() as p, g.data_listener() as theirs:
        port = theirs.getsockname()[1]
        p.client.send(b"PASV\r\nSYST\r\n")
        p.server.expect("PASV")
        p.server.send(b"227 ok (127,0,0,1,%d,%d) and\tmore \r\n" % (port >> 8, port & 255))
        line = p.client.line()
        new = host_port(line)[1]
        if line != b"227 ok (127,0,0,1,%d,%d) and\tmore \r\n" % (new >> 8, new & 255):
            raise Failed(f"more than the numbers changed: {line!r}")
        p.server.expect("SYST")
        p.server.send(b"215  two  blanks \xe4 \r\n")
        p.client.expect(b"215  two  blanks \xe4 \r\n")


@case(42, "LPRT and LPSV are refused, and FEAT does not offer them")
def long_address(gate):
    g = gate()
    with g.peers() as p:
        for command in ("LPRT 4,4,127,0,0,1,2,200,1", "LPSV"):
            p.answered(command, "502")
            p.server.silent(0.1)
        p.ask("FEAT")
        p.server.send(b"211-Features:\r\n LPRT\r\n EPSV\r\n LPSV\r\n MDTM\r\n211 End\r\n")
        for text in ("211-Features:", " EPSV", " MDTM", "211 End"):
            p.client.expect(text)
