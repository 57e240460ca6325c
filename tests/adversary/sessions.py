"""Cases about a session as a whole: what begins it, what resets it, where it leads, what it asks in odd ways."""

import socket
import time

from adversary import case
from adversary.data import passive, started
from adversary.gate import HERE
from adversary.replies import transfer
from ports import free_block, return_block
from process import Failed, wait_until
from scripted import End, carries, comma, host_port


@case(1, "a greeting that is a 227 or a 229, and one of several lines")
def greetings(gate):
    g = gate()
    for greeting in (b"227 Entering Passive Mode (127,0,0,1,200,1)\r\n", b"229 ok (|||51201|)\r\n",
                     b"220-hello\r\n227 Entering Passive Mode (127,0,0,1,200,1)\r\n220 ready\r\n"):
        with g.peers(greet=False, login=False) as p:
            p.server.send(greeting)
            if p.client.read(len(greeting)) != greeting:
                raise Failed("the greeting was changed")
    g.never_opened()


@case(2, "a 227 for EPSV and a 229 for PASV: text, never a pinhole")
def crossed(gate):
    g = gate()
    with g.peers() as p:
        p.exchange("PASV", "229 ok (|||50000|)")
        p.exchange("EPSV", f"227 ok ({comma(HERE, 50000)})")
        p.exchange("NOOP", "200 still here")
    g.never_opened()


@case(3, "requests whose method is a verb of FTP")
def chosen_method(gate):
    g = gate()
    for verb in ("USER", "FEAT", "SYST", "STOR", "HELP"):
        with g.peers(login=False) as p:
            p.client.send(f"{verb} /x HTTP/1.1\r\nHost: x\r\n\r\nPORT 127,0,0,1,200,1")
            _, seen = p.closed()
            if seen:
                raise Failed(f"the server saw {seen!r}")
    g.never_opened()
    g.no_session()


@case(11, "PORT and PASV answered with anything but what accepts them")
def half_accepted(gate):
    g = gate()
    with g.peers() as p, g.data_listener() as mine:
        for reply in ("150 what", "350 more", "331 who", "421-\r\n421 no", "600 odd"):
            try:
                p.client.send("PORT " + comma(HERE, mine.getsockname()[1]))
                p.server.line()
                p.server.send(reply)
                p.client.line()
                p.server.send("200 now then" if reply.startswith("150") else "500 no")
                p.client.line()
            except (Failed, OSError):
                break  # closed: as good
    g.no_session()


@case(36, "REIN in mid-transfer; a data command behind it is one before the login")
def rein(gate):
    g = gate()
    with g.peers() as p, g.data_listener() as listener:
        mine, theirs = started(p, listener, "passive", "RETR x")
        p.ask("REIN")
        carries(theirs, mine, b"all of it")
        p.say("226 done")
        p.say("220 anew")
        p.answered("PASV", "530")
        p.server.silent(0.1)
        p.login()
        passive(p, listener)
    g.no_session()


@case(36, "HOST before the login, and behind it")
def host(gate):
    g = gate()
    with g.peers(login=False) as p, g.data_listener() as listener:
        p.exchange("HOST ftp.example.com", "220 that one")
        p.login()
        p.exchange("HOST [::1]", "503 too late")
        passive(p, listener)
    g.no_session()


@case(40, "SSCN and CPSV in clear: the address of CPSV's reply is the gateway's")
def cpsv(gate):
    g = gate()
    with g.peers() as p, g.data_listener() as theirs:
        p.exchange("SSCN ON", "200 on")
        p.ask("CPSV")
        p.server.send(f"227 ok ({comma(HERE, theirs.getsockname()[1])})")
        address = host_port(p.client.line())
        if address[1] not in g.pool:
            raise Failed(f"not rewritten: {address}")
        transfer(g, p, theirs, address[1])
    g.no_session()


@case(43, "two sessions, one port: the second is told so, the first is unharmed")
def one_port(gate):
    block = free_block()
    try:
        g = gate(data={"ports": f"{block[0]}-{block[0]}"})
        with g.peers() as one, g.data_listener() as theirs:
            address = passive(one, theirs)
            with g.peers() as two:
                for command, reply in (("PASV", f"227 ok ({comma(HERE, 50000)})"), ("EPSV", "229 ok (|||50000|)")):
                    two.replaced(command, reply, "425", "421")
                two.exchange("NOOP", "200 still here")
            transfer(g, one, theirs, address[1])
        g.no_session()
    finally:
        return_block(block[0])


@case(45, "a client that stops reading replies, and one that never sends a whole line")
def slow(gate):
    g = gate(limits={"idle_timeout": "1s"})
    with g.peers() as p:
        p.client.send(b"NOO")
        p.closed()
    with g.peers() as mute, g.peers() as other:
        # Nobody reads what the server says; another session goes on all the while.
        mute.client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        mute.server.sock.settimeout(0.05)
        begin = time.monotonic()
        sent = 0
        try:
            mute.ask("STAT")
            while time.monotonic() - begin < 1.5 and sent < 64 << 20:
                try:
                    sent += mute.server.sock.send(b"213-" + b"x" * 500 + b"\r\n")
                except TimeoutError:
                    pass
                other.exchange("NOOP", "200 still here")
        except (BrokenPipeError, ConnectionResetError):
            pass
        other.exchange("NOOP", "200 still here")
    if g.memory() > 64 * 1024:
        raise Failed(f"{g.memory()} KiB in use")
    g.no_session()


@case(48, "a circle of two gateways: bounded, and it comes to an end")
def circle(gate):
    block = free_block()
    try:
        one = gate(server=(HERE, block[0]), limits={"sessions_per_client": 10, "login_timeout": "3s"})
        two = gate(server=(HERE, one.port), port=block[0],
                   limits={"sessions_per_client": 10, "login_timeout": "3s"})
        with one.connect() as sock:
            End("client", sock, []).closed()
        for each in (one, two):
            wait_until(lambda g=each: g.metrics().sum("sessions_active") == 0, "sessions stay", timeout=15)
            if (count := each.metrics().sum("sessions_total")) > 30:
                raise Failed(f"{count:g} sessions out of one connection")
    finally:
        return_block(block[0])


@case(13, "PASV 20 times in one segment: each reply finds its command, the last opening is the one")
def pasv_twenty(gate):
    g = gate()
    with g.peers() as p, g.data_listener() as theirs:
        p.client.send(b"PASV\r\n" * 20 + b"NOOP\r\n")
        ports = []
        for n in range(20):
            p.server.expect("PASV")
            port = theirs.getsockname()[1] if n == 19 else 40000 + n
            p.server.send(f"227 ok ({comma(HERE, port)})")
            ports.append(host_port(p.client.line())[1])
        p.server.expect("NOOP")
        p.say("200 noop")
        wait_until(lambda: g.open_ports() == [ports[-1]], f"open: {g.open_ports()}, not {ports[-1]}")
        transfer(g, p, theirs, ports[-1])
    g.no_session()


@case(21, "NUL and bare CR in what the server says, with PASV pending")
def forbidden_in_replies(gate):
    g = gate()
    for text in (b"200 ok\r227 ok (127,0,0,1,200,1)\r\n", b"200 ok\0\r\n", b"200-a\r227 ok (127,0,0,1,200,1)\r\n200 b\r\n",
                 b"\r227 ok (127,0,0,1,200,1)\r\n"):
        with g.peers() as p:
            p.ask("PASV")
            p.server.send(text)
            said, _ = p.closed()
            if b"227" in said:
                raise Failed(f"the client was told {said!r}")
    g.never_opened()
    g.no_session()


@case(22, "commands without end to a server that neither reads nor answers")
def flood(gate):
    g = gate()
    before = g.memory()
    with g.peers() as p, g.peers() as other:
        p.server.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        p.client.sock.settimeout(0.2)
        sent = 0
        try:
            while sent < 64 << 20:
                sent += p.client.sock.send(b"NOOP\r\n" * 10_000)
        except TimeoutError:
            pass  # nobody reads any more: what is wanted
        except OSError:
            pass  # or closed
        else:
            raise Failed(f"{sent} bytes of unanswered commands were taken")
        other.exchange("NOOP", "200 still here")
        g.grown_at_most(before)
    g.no_session()
