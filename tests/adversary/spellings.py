"""Cases about what one reader takes for a data command or an address, and another does not.

A gateway and the peer behind it have to read the same: whatever a lenient server may take for PORT, and a
lenient client for the address in a 227, must not be something that the gateway has not judged.
"""

import socket

from adversary import case
from adversary.commands import OTHER
from adversary.gate import HERE
from process import Failed
from scripted import PATIENCE, Peers, comma, extended_port, host_port


@case(6, "PORT spelt so that only a lenient server reads it: never passed on with a third address")
def spellings(gate):
    g = gate()
    third = comma(OTHER, 50000).encode()
    for line in (b" PORT %s", b"\tPORT %s", b"\x0bPORT %s", b"\x0cPORT %s", b"PORT\t%s", b"PORT\x0b%s", b"PORT\x0c%s",
                 b"port  %s", b"pOrT %s", b"PORT %s ", b"PORT\xa0%s", b"\xa0PORT %s", b"PO\xff\xf1RT %s",
                 b"PO\xff\xfa\x01\xff\xf0RT %s", b"\x08PORT %s", b"\x1bPORT %s", b"\x7fPORT %s", b"\x1cPORT %s", b"\x0b\x0c EPRT |1|127.0.0.9|50000|%.0s"):
        with g.peers() as p:
            p.client.send(line % third + b"\r\n")
            p.client.send(b"NOOP\r\n")
            p.server.sock.settimeout(2)
            try:
                seen = p.server.line()
            except (Failed, OSError):
                continue  # closed, or nothing came: both will do
            if b"0,9" in seen and b"PORT" in seen.upper() or b"0.9" in seen:
                raise Failed(f"{line!r} reached the server as {seen!r}")
    g.never_opened()


@case(8, "PORT and EPRT with leading zeros, blanks, hexadecimals, names and short forms")
def spelt_numbers(gate):
    g = gate()
    with g.peers() as p:
        for bad in ("127,0,0,01,200,1", "0127,0,0,1,200,1", "127, 0,0,1,200,1", " 127 ,0,0,1,200,1", "0x7f,0,0,1,200,1",
                    "127,0,0,1,200,1,", ",127,0,0,1,200,1", "127,0,0,1,,1", "127,0,0,1,0200,1", "127,0,0,1,200,+1",
                    "127;0;0;1;200;1", "127,0,0,1,200,1\x0b", "127,0,0,1,18446744073709551816,1",
                    "\xb9,0,0,1,200,1"):
            p.answered(f"PORT {bad}", "501", "504")
        for bad in ("|1|127.1|50000|", "|1|2130706433|50000|", "|1|localhost|50000|", "|1|127.0.0.01|50000|",
                    "|1| 127.0.0.1|50000|", "|1|127.0.0.1 |50000|", "|1|0x7f.0.0.1|50000|", "|1|127.0.0.1|+50000|",
                    "|1|127.0.0.1| 50000|", "|1|127.0.0.1|0xc350|", "|1|127.0.0.1|50000|x|", "||1||127.0.0.1||50000||"):
            p.answered(f"EPRT {bad}", "501", "504", "522")
        p.server.silent(0.2)
        p.exchange("NOOP", "200 still here")
    g.never_opened()


def first_six(line):
    """The address that curl and ftplib find: the first six numbers with commas between, anywhere."""
    try:
        return host_port(line)
    except Failed:
        return None


@case(9, "227 with two addresses, and with numbers ahead of it: clients read what the gateway has judged")
def two_addresses(gate):
    g = gate()
    with g.data_listener() as theirs:
        port = theirs.getsockname()[1]
        own, foreign = comma(HERE, port), comma("10.9.9.9", 50000)
        for text in (f"227 ok ({own}) ({foreign})", f"227 ok ({foreign}) ({own})", f"227 {foreign} ({own})",
                     f"227 1,{own}", f"227 ok ({own},7)", f"227 ok (1,{own})", f"227 {foreign},({own})",
                     f"227 ok ({own.replace(',', ', ')})", f"227-({foreign})\r\n227 ({own})",
                     f"227 ok (127,0,0,01,{port >> 8},{port & 255})"):
            with g.peers() as p:
                p.ask("PASV")
                p.server.send(text)
                for _ in text.splitlines():
                    line = p.client.line()
                    if line[:3] != b"227":
                        break
                    found = first_six(line)
                    if found and (found[0] != HERE or found[1] not in g.pool):
                        raise Failed(f"{text!r}: the client sees {line!r} and dials {found}")
    g.no_session()


@case(18, "229 with two ports, and with numbers ahead of it: clients read what the gateway has judged")
def two_ports(gate):
    g = gate()
    for text in ("229 ok (|||50000|) (|||50001|)", "229 1 (|||50000|)", "229 |||50001| (|||50000|)",
                 "229 ok (|||050000|)", "229 ok (||| 50000|)", "229 ok (|||+50000|)", "229 ok ((|||50000|))"):
        with g.peers() as p:
            p.ask("EPSV")
            p.server.send(text)
            line = p.client.line()
            # curl and ftplib: what follows the first parenthesis.
            read = line.partition(b"(")[2]
            if line[:3] == b"229" and b"5000" in read:
                raise Failed(f"{text!r}: the client sees {line!r}")
    g.no_session()


@case(19, "a client of IPv4 at a listener for both families")
def both_families(gate):
    g = gate(host="::")
    with Peers(lambda: socket.create_connection((HERE, g.port), PATIENCE), g.listener, login=True) as p:
        if b"(1)" not in p.answered("EPRT |2|::1|50000|", "522"):
            raise Failed("the list of families is wrong")
        # The same address in the other family's words is no stranger's.
        for mapped in ("::ffff:127.0.0.1", "::ffff:7f00:1"):
            p.client.send(f"EPRT |2|{mapped}|50000|")
            if extended_port(p.server.line()) not in g.pool:
                raise Failed("EPRT was not rewritten")
            p.say("500 no")
        p.answered(f"EPRT |2|::ffff:{OTHER}|50000|", "501", "504", "522")
        p.answered("PORT " + comma(OTHER, 50000), "501", "504")
        p.server.silent(0.2)
        with socket.create_server((HERE, 0)) as mine:
            p.client.send(f"EPRT |1|{HERE}|{mine.getsockname()[1]}|")
            if extended_port(p.server.line()) not in g.pool:
                raise Failed("EPRT was not rewritten")
            p.say("200 ok")
    g.no_session()
