"""Cases about lines, in namespaces with nftables: disguises, segments, smuggling, bounce, order."""

from adversary import in_lab
from adversary.kernel import (CLIENT, FRONT, NAT, OWN, REDIRECT, dialled, never_opened, no_session,
                              nothing_open, small_segments)
from process import Failed, wait_until
from scenarios.pinholes import SERVER, SERVER6, Opening
from scripted import carries, comma, host_port
from topology import GATEWAY, HOST

# A port of the server's that no client has any business with.
SECRET = 5432


@in_lab(1, "227 and 229 that nobody asked for, also as the greeting", NAT, FRONT)
def unsolicited(lab):
    told = comma(SERVER, SECRET)
    with lab.peers(login=False) as p:
        p.exchange("USER x", f"227 Entering Passive Mode ({told})")
    with lab.peers() as p:
        for reply in (f"227 Entering Passive Mode ({told})", f"229 ok (|||{SECRET}|)",
                      f"200 227 Entering Passive Mode ({told})"):
            p.exchange("NOOP", reply)
        p.say(f"227 Entering Passive Mode ({told})")
    never_opened(lab)


@in_lab(2, "227 at the start of a segment, within an error text and a listing, segments of 88 bytes", NAT,
        FRONT, REDIRECT)
def segment_tricks(lab):
    trap = f"227 Entering Passive Mode ({comma(SERVER, SECRET)})"
    with small_segments(lab) as p:
        for pad in range(60, 92):
            # Both ways in which the trap comes to stand first: the stack's own, and by hand.
            name = "x" * pad + trap
            p.ask(f"RETR {name}")
            p.server.send(f"550 {name}: no such file")
            p.client.expect(f"550 {name}: no such file")
        for command in ("PASV", "STAT x", "NOOP"):
            p.ask(command)
            for piece in ("550 no such file: ", trap, "\r\n"):
                p.server.sock.sendall(piece.encode())
            p.client.expect(f"550 no such file: {trap}")
        p.ask("STAT pub")
        for piece in ("213-status\r\n ", trap, "\r\n", trap, "\r\n213 end\r\n"):
            p.server.sock.sendall(piece.encode())
        for line in ("213-status", f" {trap}", trap, "213 end"):
            p.client.expect(line)
    never_opened(lab)


@in_lab(2, "PORT at the start of a segment, within the name of a file, segments of 88 bytes", NAT, OWN)
def segments_of_the_client(lab):
    trap = f"PORT {comma(CLIENT, SECRET)}"
    with small_segments(lab) as p:
        for pad in range(60, 92):
            p.exchange("STOR " + "x" * pad + trap, "550 no")
        p.client.sock.sendall(b"STOR ")
        p.client.sock.sendall(trap.encode())
        p.client.sock.sendall(b"\r\n")
        p.server.expect(f"STOR {trap}")
        p.say("550 no")
    never_opened(lab)


SLIPSTREAMS = {
    "POST": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n",
    "a form": b"POST /? HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=\r\n\r\n",
    "CONNECT": b"CONNECT x:21 HTTP/1.1\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method named like a command": b"USER /x HTTP/1.1\r\nHost: x\r\n\r\n",
    "SIP": b"REGISTER sip:x;transport=tcp SIP/2.0\r\nContact: <sip:x@192.0.2.2:5432>\r\n\r\n",
    "IRC": b"PRIVMSG x :\x01DCC SEND f 3221225986 5432 1\x01\r\n",
    "NICK": b"NICK x\r\nUSER x 0 * :x\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n",
    "STUN": b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"0" * 12 + b"\r\n",
    "SMTP": b"EHLO x\r\n",
    "SSH": b"SSH-2.0-x\r\n",
    "H.323": b"\x03\x00\x00\x2b\x08\x02\r\n",
}


@in_lab(3, "NAT slipstreaming: other protocols with PORT at the start of a segment", NAT, FRONT)
def slipstream(lab):
    port = f"PORT {comma(CLIENT, SECRET)}\r\n".encode()
    for name, text in SLIPSTREAMS.items():
        with lab.peers(login=False) as p:
            p.client.sock.sendall(text)
            for _ in range(3):
                try:
                    p.client.sock.sendall(b"x" * 200 + b"\r\n" + port)
                    p.client.sock.sendall(port)
                except OSError:
                    break  # closed already
            _, seen = p.closed()
            if seen:
                raise Failed(f"{name}: the server saw {seen[:80]!r}")
    never_opened(lab)
    no_session(lab)


@in_lab(4, "a login and PORT smuggled in one argument: no port of another host's", NAT, OWN)
def smuggled_login(lab):
    """Java's ftp:// with %0a in the user's name, and a server that plays along."""
    with lab.peers(login=False) as p:
        p.client.send(f"USER a\nPORT {comma(CLIENT, SECRET)}\nEPRT |1|{CLIENT}|{SECRET}|".encode() + b"\r\n")
        p.server.expect(b"USER a\n", b"USER a\r\n")
        p.say("331 password")
        p.client.expect_code("530")
        p.client.expect_code("530")
        p.exchange("PASS x", "230 in")
        p.client.send(f"CWD a\nPORT {comma(HOST['client2', 4], SECRET)}".encode() + b"\r\n")
        p.server.expect(b"CWD a\n", b"CWD a\r\n")
        p.say("250 ok")
        p.client.expect_code("501", "504")
    never_opened(lab)


# Whom a client may want to have dialled; none of them is the client.
THIRD = [HOST["client2", 4], HOST["stranger", 4], SERVER, GATEWAY["client", 4], GATEWAY["server", 4],
         "127.0.0.1", "0.0.0.0", "0.0.0.1", "169.254.1.1", "224.0.0.1", "255.255.255.255", "192.0.2.255",
         "192.0.2.0", "240.0.0.1"]
THIRD6 = [HOST["client2", 6], SERVER6, GATEWAY["client", 6], GATEWAY["server", 6], "::1", "::", "fe80::1",
          "ff02::1", f"::ffff:{CLIENT}", "::ffff:127.0.0.1", f"64:ff9b::{CLIENT}"]


@in_lab(6, "PORT and EPRT to strangers, both sides of the gateway, the server, loopback, multicast …", NAT, OWN,
        FRONT)
def bounce(lab):
    for family, hosts in ((4, THIRD), (6, THIRD6)):
        with lab.peers(family) as p:
            for host in hosts:
                number = 1 if family == 4 else 2
                commands = [f"EPRT |{number}|{host}|{SECRET}|"]
                if family == 4:
                    commands.append(f"PORT {comma(host, SECRET)}")
                for command in commands:
                    p.answered(command, "501", "504", "522")
            # The other family's socket is none of this client's.
            other = f"EPRT |2|{HOST['client', 6]}|{SECRET}|" if family == 4 else f"PORT {comma(CLIENT, SECRET)}"
            p.client.send(other)
            if lab.setting.path == "kernel":
                p.client.expect_code("501", "504", "522", "500")
            p.server.silent(0.3)
            p.exchange("NOOP", "200 still here")
    never_opened(lab)


@in_lab(7, "PORT, EPRT, 227 and 229 with port 0 and below 1024", NAT, FRONT)
def low_ports(lab):
    with lab.peers() as p:
        for port in (0, 22, 1023):
            for command in (f"PORT {comma(CLIENT, port)}", f"EPRT |1|{CLIENT}|{port}|"):
                p.answered(command, "504", "501")
            for command, reply in (("PASV", f"227 ok ({comma(SERVER, port)})"), ("EPSV", f"229 ok (|||{port}|)")):
                p.replaced(command, reply, "425")
    never_opened(lab)


@in_lab(9, "227 naming other hosts: the connection goes to the server that is there", NAT, OWN, FRONT)
def other_hosts(lab):
    for host in (HOST["client2", 4], HOST["stranger", 4], GATEWAY["client", 4], GATEWAY["server", 4], "127.0.0.1",
                 "0.0.0.0", "224.0.0.1", "255.255.255.255", "169.254.169.254"):
        with lab.peers() as p, lab.topology.listen("server", SERVER) as theirs:
            port = theirs.getsockname()[1]
            p.ask("PASV")
            p.server.send(f"227 ok ({comma(host, port)})")
            address = host_port(p.client.line())
            if address[0] != dialled(lab.setting, SERVER):
                raise Failed(f"the client was told {address[0]} for {host}")
            mine = p.data("client", lab.topology.connect("client", address))
            carries(p.accept(theirs, "server"), mine)


@in_lab(13, "PORT and RETR, PASV and RETR in one segment each; 40 commands at once", NAT, FRONT)
def pipelined(lab):
    with lab.peers() as p, lab.topology.listen("client", CLIENT) as mine:
        p.client.send(f"NOOP\r\nPORT {comma(CLIENT, mine.getsockname()[1])}\r\nRETR x".encode() + b"\r\n")
        p.server.expect("NOOP")
        p.say("200 noop")
        address = host_port(p.server.line())
        p.say("200 port")
        p.server.expect("RETR x")
        theirs = p.data("server", lab.topology.connect("server", address, source=(SERVER, 0)))
        p.say("150 here")
        carries(theirs, p.accept(mine, "client"), b"active")
        p.say("226 done")
    with lab.peers() as p, lab.topology.listen("server", SERVER) as theirs:
        p.client.send(b"PASV\r\nRETR y\r\n" + b"".join(b"MKD %d\r\n" % n for n in range(40)))
        p.server.expect("PASV")
        p.server.send(f"227 ={comma(SERVER, theirs.getsockname()[1])}")
        address = host_port(p.client.line())
        p.server.expect("RETR y")
        p.say("150 here")
        mine = p.data("client", lab.topology.connect("client", address))
        carries(p.accept(theirs, "server"), mine, b"passive")
        p.say("226 done")
        for n in range(40):
            p.server.expect(f"MKD {n}")
        p.server.send(b"".join(b"257 %d\r\n" % n for n in range(40)))
        for n in range(40):
            p.client.expect(f"257 {n}")
    nothing_open(lab)


@in_lab(14, "PORT, 227, EPRT and 229 byte by byte", NAT, OWN, FRONT)
def bytewise(lab):
    for mode in ("PASV", "EPSV", "PORT", "EPRT"):
        with lab.peers() as p:
            for end in (p.client, p.server):
                end.send = lambda data, end=end: end.send_bytewise(
                    data.encode("latin-1") + b"\r\n" if isinstance(data, str) else data)
            opening = Opening(lab, p, mode, 4)
            opening.bears()
            opening.close()


@in_lab(12, "each way of asking after each other: one pinhole, the newest", NAT, OWN, FRONT)
def newest_wins(lab):
    modes = ("PASV", "EPRT", "EPSV", "PORT", "PASV")
    with lab.peers() as p:
        earlier = []
        for mode in modes:
            opening = Opening(lab, p, mode, 4)
            wait_until(lambda: lab.gateway.metrics().sum("pinholes_open") == 1, "more than one is open")
            for old in earlier:
                old.shut()
            earlier = [opening]
        earlier[-1].bears("the newest does not work")
    no_session(lab)


@in_lab(12, "200 times PASV: one pinhole, and the ports come back", NAT, FRONT)
def greedy(lab):
    before = lab.gateway.metrics().sum("ports_free")
    with lab.peers() as p:
        for n in range(200):
            p.replaced("PASV", f"227 ok ({comma(SERVER, 20000 + n)})", "227")
        metrics = lab.gateway.metrics()
        if metrics.sum("pinholes_open") != 1 or before - metrics.sum("ports_free") > 1:
            raise Failed("one client holds more than one opening")
    no_session(lab)
    wait_until(lambda: lab.gateway.metrics().sum("ports_free") == before, "ports are lost")
