"""Cases about what a client sends: commands, arguments, framing, Telnet."""

import socket
import time

from adversary import case
from adversary.gate import HERE
from process import Failed
from scripted import PATIENCE, carries, comma, host_port

OTHER = "127.0.0.9"

# `limits.line` at its default.
LINE_LIMIT = 4160


def refused_by_gateway(peers, command, *codes):
    """The command is answered with a code by the gateway; the server sees nothing; it goes on."""
    reply = peers.answered(command, *codes)
    peers.server.silent(0.1)
    peers.exchange("NOOP", "200 still here")
    return reply


def ends_session(gate, peers, code=None):
    """The gateway closes both connections, with a last reply if one is due."""
    said, _ = peers.closed()
    if code and not said.splitlines()[-1:][0].startswith(code.encode()):
        raise Failed(f"the client was told {said!r}, not {code}")
    gate.never_opened()
    gate.no_session()


@case(3, "an HTTP request, IRC or TLS where FTP is due")
def not_ftp(gate):
    g = gate()
    for text in (b"POST / HTTP/1.1\r\nHost: x\r\n\r\nPORT 127,0,0,1,200,1\r\n",
                 b"GET / HTTP/1.0\r\n\r\n", b"PRIVMSG x :PORT 127,0,0,1,200,1\r\n",
                 b"\x16\x03\x01\x00\x05hello\r\nPORT 127,0,0,1,200,1\r\n"):
        with g.peers(login=False) as p:
            p.client.send(text)
            _, seen = p.closed()
            if b"PORT" in seen or b"HTTP" in seen or b"PRIVMSG" in seen:
                raise Failed(f"the server saw {seen!r}")
        g.never_opened()
        g.no_session()


@case(3, "a client that talks before the server has greeted")
def talks_first(gate):
    g = gate()
    with g.peers(greet=False, login=False) as p:
        p.client.send("PORT " + comma(HERE, 50000))
        p.server.silent()
    g.never_opened()


@case(4, "PORT behind a bare LF in an argument, and before the login")
def smuggled(gate):
    g = gate()
    with g.peers(login=False) as p:
        p.client.send(b"USER a\nPORT " + comma(HERE, 50000).encode() + b"\r\n")
        first = p.server.line()
        if first.rstrip(b"\r\n") != b"USER a":
            raise Failed(f"the server saw {first!r}")
        p.server.silent(0.1)
        p.say("331 password")
        p.client.expect_code("530")
        for command in ("PORT " + comma(HERE, 50000), f"EPRT |1|{HERE}|50000|", "PASV", "EPSV",
                        "RETR x", "STOR x", "STOU", "APPE x", "LIST", "NLST", "MLSD"):
            refused_by_gateway(p, command, "530")
    g.never_opened()


@case(5, "227 from the client, PORT from the server")
def roles_reversed(gate):
    g = gate()
    with g.peers() as p:
        p.client.send("227 Entering Passive Mode (127,0,0,1,200,1)")
        ends_session(g, p)
    with g.peers() as p:
        p.server.send("PORT 127,0,0,1,200,1")
        p.closed()
    g.never_opened()
    g.no_session()


@case(6, "PORT and EPRT naming a third address")
def bounce(gate):
    g = gate()
    with g.peers() as p:
        refused_by_gateway(p, "PORT " + comma(OTHER, 50000), "501", "504")
        refused_by_gateway(p, f"EPRT |1|{OTHER}|50000|", "501", "504")
    g.never_opened()


@case(7, "PORT and EPRT with port 0 and below 1024")
def low_ports(gate):
    g = gate()
    with g.peers() as p:
        for port in (0, 1, 22, 1023):
            refused_by_gateway(p, "PORT " + comma(HERE, port), "504", "501")
            refused_by_gateway(p, f"EPRT |1|{HERE}|{port}|", "504", "501")
    g.never_opened()


@case(8, "malformed arguments of PORT, EPRT and EPSV")
def malformed(gate):
    g = gate()
    with g.peers() as p:
        for bad in ("256,0,0,1,200,1", "127,0,0,1,200", "127,0,0,1,200,1,1", "127,0,0,1,256,1",
                    "127,0,0,1,-1,1", "+127,0,0,1,200,1", "", "127,0,0,1,4294967297,1",
                    "127,0,0,1,200,1x", "a,b,c,d,e,f", "127.0.0.1,200,1"):
            refused_by_gateway(p, f"PORT {bad}".rstrip(), "501")
        for bad in ("", "|1|127.0.0.1|65536|", "|1|127.0.0.1|", "|1|127.0.0.1|50000", "|1||50000|",
                    "|1|127.0.0.256|50000|", "|1|127.0.0.1|-1|", "|1|127.0.0.1|99999999999|",
                    "1|127.0.0.1|50000|"):
            refused_by_gateway(p, f"EPRT {bad}".rstrip(), "501")
        refused_by_gateway(p, "EPSV x", "501", "522")
    g.never_opened()


@case(13, "NOOP and PORT, PORT and RETR, PASV and RETR in one segment each")
def pipelined(gate):
    g = gate()
    with g.peers() as p, g.data_listener() as mine, g.data_listener() as theirs:
        port = "PORT " + comma(HERE, mine.getsockname()[1])
        p.client.send(f"NOOP\r\n{port}\r\nRETR x".encode() + b"\r\n")
        p.server.expect("NOOP")
        p.say("200 noop")
        advertised = host_port(p.server.line())
        # The RETR behind a PORT is held until the server has accepted the PORT, or is sent at
        # once; either way it comes, in order, and the pinhole is there by then.
        p.say("200 port")
        p.server.expect("RETR x")
        p.say("150 here")
        data = p.data("server", socket.create_connection(advertised, PATIENCE))
        carries(data, p.accept(mine, "client"), b"active")
        p.say("226 done")

        p.client.send(b"PASV\r\nRETR y\r\n")
        p.server.expect("PASV")
        p.server.send("227 =" + comma(HERE, theirs.getsockname()[1]))
        address = host_port(p.client.line())
        p.server.expect("RETR y")
        p.say("150 here")
        mine_data = p.data("client", socket.create_connection(address, PATIENCE))
        carries(p.accept(theirs, "server"), mine_data, b"passive")
        p.say("226 done")
    g.nothing_open()


@case(13, "50 commands at once, replies in order")
def fifty(gate):
    g = gate()
    with g.peers() as p:
        p.client.send(b"".join(b"MKD %d\r\n" % n for n in range(50)))
        for n in range(50):
            p.server.expect(f"MKD {n}")
        p.server.send(b"".join(b"257 %d\r\n" % n for n in range(50)))
        for n in range(50):
            p.client.expect(f"257 {n}")


@case(14, "every line of a session byte by byte")
def bytewise(gate):
    g = gate()
    with g.peers() as p, g.data_listener() as mine, g.data_listener() as theirs:
        p.client.send_bytewise(b"PORT " + comma(HERE, mine.getsockname()[1]).encode() + b"\r\n")
        if host_port(p.server.line())[1] not in g.pool:
            raise Failed("PORT was not rewritten")
        p.server.send_bytewise(b"200 ok\r\n")
        p.client.expect("200 ok")
        p.client.send_bytewise(b"PASV\r\n")
        p.server.expect("PASV")
        p.server.send_bytewise(b"227 ok (" + comma(HERE, theirs.getsockname()[1]).encode() + b")\r\n")
        if host_port(p.client.line())[1] not in g.pool:
            raise Failed("227 was not rewritten")
    g.no_session()


@case(19, "EPRT with odd delimiters, and with the other family")
def eprt(gate):
    g = gate()
    with g.peers() as p, g.data_listener() as mine:
        port = mine.getsockname()[1]
        for delimiter in "|!~#a":
            d = delimiter
            p.client.send(f"EPRT {d}1{d}{HERE}{d}{port}{d}")
            line = p.server.line()
            if not line.startswith(b"EPRT ") or str(port).encode() in line:
                raise Failed(f"the server saw {line!r}")
            p.say("200 ok")
        reply = refused_by_gateway(p, "EPRT |3|x|50000|", "522")
        if b"(1)" not in reply:
            raise Failed(f"the list of families is wrong: {reply!r}")


@case(19, "EPRT over IPv6 with a scoped and a mapped address")
def eprt_v6(gate):
    g = gate(host="::1")
    with g.peers() as p, g.data_listener() as mine:
        p.client.send(f"EPRT |2|::1|{mine.getsockname()[1]}|")
        if not p.server.line().startswith(b"EPRT |2|::1|"):
            raise Failed("the server was not told an IPv6 address")
        p.say("200 ok")
        refused_by_gateway(p, "EPRT |2|::ffff:127.0.0.1|50000|", "501", "504", "522")
        refused_by_gateway(p, "EPRT |2|fe80::1%lo|50000|", "501", "504", "522")


@case(20, "EPSV ALL, then PORT, PASV and EPRT")
def epsv_all(gate):
    g = gate()
    with g.peers() as p:
        p.exchange("EPSV ALL", "200 from now on")
        for command in ("PORT " + comma(HERE, 50000), "PASV", f"EPRT |1|{HERE}|50000|"):
            refused_by_gateway(p, command, "501", "503", "504", "520", "522", "530")
    g.never_opened()


@case(21, "NUL, and CR without LF, inside a line")
def forbidden_bytes(gate):
    g = gate()
    for text in (b"NO\0OP\r\n", b"USER a\rPORT 127,0,0,1,200,1\r\n", b"NOOP\r\0\r\n"):
        with g.peers() as p:
            p.client.send(text)
            ends_session(g, p, "500")


@case(21, "LF alone ends a line")
def line_feed(gate):
    g = gate()
    with g.peers() as p:
        p.client.send(b"NOOP\nSYST\r\n")
        p.server.expect("NOOP", b"NOOP\n")
        p.server.expect("SYST")


@case(22, "an overlong command and an endless one")
def overlong(gate):
    g = gate()
    before = g.memory()
    for size in (LINE_LIMIT + 200, 8 << 20):
        with g.peers() as p:
            p.client.sock.settimeout(PATIENCE)
            try:
                p.client.sock.sendall(b"STOR " + b"x" * size)
                p.client.sock.sendall(b"\r\n")
            except OSError:
                pass  # closed in the middle of it: what is wanted
            _, seen = p.closed()
            if b"STOR" in seen:
                raise Failed("the overlong line reached the server")
    g.no_session()
    g.grown_at_most(before)


@case(22, "a command of the full length passes")
def longest(gate):
    g = gate()
    with g.peers() as p:
        p.ask("STOR " + "x" * 4000)


@case(23, "Telnet negotiation is answered, not relayed; IAC inside a verb")
def telnet(gate):
    g = gate()
    with g.peers() as p:
        p.client.send(b"\xff\xfd\x01NO\xff\xf1OP\r\n")     # DO ECHO, then NOP inside the verb
        p.server.expect("NOOP")
        if p.client.read(3) != b"\xff\xfc\x01":
            raise Failed("DO was not answered with WONT")
        p.say("200 noop")
        p.client.send(b"\xff\xfb\x03SYST\r\n")             # WILL SUPPRESS-GO-AHEAD
        p.server.expect("SYST")
        if p.client.read(3) != b"\xff\xfe\x03":
            raise Failed("WILL was not answered with DONT")
        p.say("215 x")
        p.client.send(b"STOR a\xff\xffb\r\n")              # an escaped octet 255 in a name
        p.server.expect(b"STOR a\xff\xffb\r\n", b"STOR a\xffb\r\n")


@case(23, "ABOR behind IAC IP and Synch, as urgent data")
def urgent_abor(gate):
    g = gate()
    with g.peers() as p:
        p.exchange("TYPE I", "200 ok")
        p.client.sock.sendall(b"\xff\xf4")
        p.client.sock.send(b"\xff", socket.MSG_OOB)
        time.sleep(0.05)
        p.client.sock.sendall(b"\xf2ABOR\r\n")
        line = p.server.line()
        # The server may be sent the Telnet signal too (RFC 959 §4.1.3), but the verb is ABOR.
        if not line.endswith(b"ABOR\r\n") or line[:-6].strip(b"\xff\xf4\xf2"):
            raise Failed(f"the server saw {line!r}")
        p.say("226 nothing to abort")


@case(42, "lines behind a rewritten PORT are byte-exact")
def exact_after_port(gate):
    g = gate()
    with g.peers() as p, g.data_listener() as mine:
        p.client.send(b"PORT " + comma(HERE, mine.getsockname()[1]).encode()
                      + b"\r\nSTOR  two  blanks \xe4\xf6\r\nnoop\r\n")
        if host_port(p.server.line())[1] not in g.pool:
            raise Failed("PORT was not rewritten")
        p.say("200 ok")
        p.server.expect(b"STOR  two  blanks \xe4\xf6\r\n")
        p.say("150 go")
        p.say("226 done")
        p.server.expect(b"noop\r\n")
