"""Cases about data connections: thieves, refusals, replaced openings, abnormal ends."""

import errno
import socket
import time

from adversary import case
from adversary.gate import HERE
from adversary.replies import transfer
from process import Failed, wait_until
from scripted import PATIENCE, End, carries, comma, host_port

THIEF = "127.0.0.66"


def passive(peers, listener):
    """PASV up to the client's 227. Returns the address that the client was told."""
    peers.ask("PASV")
    peers.server.send(f"227 ok ({comma(HERE, listener.getsockname()[1])})")
    return host_port(peers.client.line())


def active(peers, listener, reply="200 ok"):
    """PORT up to the reply. Returns the address that the server was told."""
    peers.client.send("PORT " + comma(HERE, listener.getsockname()[1]))
    told = host_port(peers.server.line())
    peers.say(reply)
    return told


# How a data connection is asked for, up to its pinhole.
OPENINGS = {"passive": passive, "active": active}


def started(peers, listener, mode, command):
    """A transfer with its data connection up. Returns (client's end, server's end)."""
    if mode == "passive":
        address = passive(peers, listener)
        peers.exchange(command, "150 here")
        mine = peers.data("client", socket.create_connection(address, PATIENCE))
        return mine, peers.accept(listener, "server")
    address = active(peers, listener)
    peers.exchange(command, "150 here")
    theirs = peers.data("server", socket.create_connection(address, PATIENCE))
    return peers.accept(listener, "client"), theirs


def up_to(step, peers, listener, mode):
    """A download as far as `step`: "login", "opened", "command" or "data". With the last it returns
    (client's end, server's end), as `started` does."""
    if step == "data":
        return started(peers, listener, mode, "RETR x")
    if step != "login":
        OPENINGS[mode](peers, listener)
    if step == "command":
        peers.exchange("RETR x", "150 here")
    return None


def expect_reset(end, fault):
    """The connection must end by a reset, and not in order; `fault` is what to say if it does."""
    try:
        end.read_to_end()
    except ConnectionResetError:
        return
    raise Failed(fault)


def gets_nothing(address, source):
    """A connection from `source` ends, or is not made, and bears not a byte."""
    try:
        with socket.create_connection(address, 1, source_address=(source, 0)) as sock:
            sock.sendall(b"stolen")
            if sock.recv(1):
                raise Failed(f"{source} got data from {address}")
    except TimeoutError:
        raise Failed(f"a connection from {source} to {address} stays open") from None
    except OSError as error:
        if error.errno not in (errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE):
            raise


def no_connection(listener):
    listener.settimeout(0.3)
    try:
        listener.accept()
    except TimeoutError:
        return
    raise Failed("the thief's connection was passed on")


@case(10, "a thief from another address, and a second connection")
def thief(gate):
    g = gate()
    with g.peers() as p, g.data_listener() as theirs:
        address = passive(p, theirs)
        for _ in range(3):
            gets_nothing(address, THIEF)
        no_connection(theirs)
        p.exchange("RETR x", "150 here")
        mine = p.data("client", socket.create_connection(address, PATIENCE))
        data = p.accept(theirs, "server")
        gets_nothing(address, HERE)
        no_connection(theirs)
        carries(data, mine, b"for the client alone")
        p.say("226 done")
    with g.peers() as p, g.data_listener() as mine:
        address = active(p, mine)
        gets_nothing(address, THIEF)
        no_connection(mine)
    g.no_session()


@case(10, "ports are not handed out in order")
def random_ports(gate):
    g = gate()
    ports = []
    with g.peers() as p, g.data_listener() as theirs:
        for _ in range(12):
            ports.append(passive(p, theirs)[1])
    steps = {b - a for a, b in zip(ports, ports[1:])}
    if len(steps) < 4:
        raise Failed(f"predictable: {ports}")


@case(10, "an unused opening expires")
def expires(gate):
    g = gate(data={"open_timeout": "1s"})
    with g.peers() as p, g.data_listener() as theirs:
        passive(p, theirs)
        if not g.open_ports():
            raise Failed("nothing listens after PASV")
        time.sleep(1.2)
        g.nothing_open()
        if g.metrics().sum("pinholes_total", outcome="expired") != 1:
            raise Failed("the expiry is not counted")
        p.exchange("NOOP", "200 still here")


@case(11, "the server refuses PORT and PASV")
def refused(gate):
    g = gate()
    with g.peers() as p, g.data_listener() as mine:
        for reply in ("500 no", "425 no", "530 no"):
            active(p, mine, reply)
            g.nothing_open()
            p.exchange("PASV", reply)
            g.nothing_open()
        p.exchange("EPSV", "500 no")
        g.nothing_open()


@case(12, "PASV twice, PORT after PASV, PASV after PORT")
def newest_wins(gate):
    g = gate()
    with g.peers() as p, g.data_listener() as one, g.data_listener() as two:
        first = passive(p, one)
        second = passive(p, two)
        wait_until(lambda: g.open_ports() == [second[1]], f"open: {g.open_ports()}, not {second[1]}")
        gets_nothing(first, HERE)
        third = active(p, one)
        wait_until(lambda: g.open_ports() == [third[1]], f"open: {g.open_ports()}, not {third[1]}")
        fourth = passive(p, two)
        wait_until(lambda: g.open_ports() == [fourth[1]], f"open: {g.open_ports()}, not {fourth[1]}")
        transfer(g, p, two, fourth[1])
    g.no_session()


@case(43, "the pool is exhausted")
def exhausted(gate):
    g = gate()
    held = []
    try:
        for port in g.pool:
            try:
                held.append(socket.create_server((HERE, port)))
            except OSError:
                pass  # somebody else's; taken all the same
        with g.peers() as p, g.data_listener() as theirs:
            p.replaced("PASV", f"227 ok ({comma(HERE, theirs.getsockname()[1])})", "425", "421")
            for sock in held:
                sock.close()
            passive(p, theirs)
    finally:
        for sock in held:
            sock.close()


@case(45, "the client is gone at every step of a transfer")
def client_gone(gate):
    g = gate()
    for mode in ("passive", "active"):
        for step in ("login", "opened", "command", "data"):
            with g.peers() as p, g.data_listener() as listener:
                if ends := up_to(step, p, listener, mode):
                    mine, theirs = ends
                    theirs.send(b"some")
                    mine.reset()
                p.client.reset()
                p.server.closed()
            g.no_session()


@case(45, "the server is gone at every step of a transfer")
def server_gone(gate):
    g = gate()
    for mode in ("passive", "active"):
        for step in ("login", "opened", "data"):
            with g.peers() as p, g.data_listener() as listener:
                if ends := up_to(step, p, listener, mode):
                    _, theirs = ends
                    theirs.reset()
                p.server.reset()
                p.client.closed()
            g.no_session()


@case(45, "the server goes without an answer: 421, whatever it was asked")
def server_unanswered(gate):
    g = gate()
    for line in ("NOOP", "PASV", "EPSV", "RETR x"):
        for goes in (End.close, End.reset):
            with g.peers() as p:
                p.ask(line)
                goes(p.server)
                p.client.expect_code("421")
                p.client.closed()
        g.no_session()


@case(45, "nobody logs in")
def login_timeout(gate):
    g = gate(limits={"login_timeout": "1s"})
    with g.peers(login=False) as p:
        p.closed()
    g.no_session()


@case(46, "the sending half ends, the other half goes on")
def half_close(gate):
    g = gate()
    for mode in ("passive", "active"):
        with g.peers() as p, g.data_listener() as listener:
            mine, theirs = started(p, listener, mode, "STOR x")
            mine.send(b"upload")
            mine.half_close()
            if theirs.read_to_end() != b"upload":
                raise Failed("the upload differs")
            # The server has not closed yet: what it still says must arrive.
            carries(theirs, mine, b"a last word")
            p.say("226 done")
        g.no_session()


@case(46, "a reset in mid-transfer is passed on as a reset")
def reset(gate):
    g = gate()
    for mode in ("passive", "active"):
        for resetter in ("client", "server"):
            with g.peers() as p, g.data_listener() as listener:
                ends = started(p, listener, mode, "STOR x" if resetter == "client" else "RETR x")
                near, far = ends if resetter == "client" else reversed(ends)
                near.send(b"half of it")
                far.read(10)
                near.reset()
                expect_reset(far, f"{mode}: the {resetter}'s reset is seen as an end in order")
                p.say("426 aborted")
        g.nothing_open()
    if not g.metrics().sum("data_connections_total", outcome="aborted"):
        raise Failed("not counted as aborted")


@case(46, "an empty transfer")
def empty(gate):
    g = gate()
    for mode in ("passive", "active"):
        with g.peers() as p, g.data_listener() as listener:
            mine, theirs = started(p, listener, mode, "RETR x")
            carries(theirs, mine, b"")
            p.say("226 done")


@case(46, "ABOR in mid-transfer: the aborted upload is not seen as complete")
def abort(gate):
    g = gate()
    with g.peers() as p, g.data_listener() as listener:
        mine, theirs = started(p, listener, "passive", "STOR x")
        mine.send(b"half of it")
        theirs.read(10)
        p.ask("ABOR")
        mine.reset()
        expect_reset(theirs, "the server sees the aborted upload end in order")
        p.say("426 aborted")
        p.say("226 abort done")
        p.exchange("NOOP", "200 still here")
    g.no_session()
