"""Cases about what one client, one server or one session may take, and what the others have then."""

import contextlib
import socket
import threading
import time

from adversary import case
from adversary.data import passive, started
from adversary.gate import HERE
from adversary.replies import transfer
from process import Failed, wait_until
from scripted import PATIENCE, Peers, comma

# Whoever else is there while one goes too far.
OTHER = "127.0.0.77"

# A reply to PASV that nobody will dial.
NOWHERE = f"227 ok ({comma(HERE, 4711)})"

# What one hostile session may cost, in KiB: its buffers, and what the allocator keeps of them.
MOST_MEMORY = 4 * 1024

# How long a flood may find nobody who takes it until it is taken for held back, in seconds.
HELD_BACK = 1.5


def from_address(g, source):
    """A session of another client, greeted and logged in."""
    return Peers(lambda: dial(g, source), g.listener, login=True)


def dial(g, source=HERE):
    return socket.create_connection((g.host, g.port), PATIENCE, source_address=(source, 0))


def turned_away(g, words, source=HERE):
    """A connection is answered 421 with these words, and closed."""
    with dial(g, source) as sock:
        said = b""
        while piece := sock.recv(4096):
            said += piece
    if not said.startswith(b"421 ") or words.encode() not in said:
        raise Failed(f"{said!r} is no 421 that says {words!r}")


def ended(g, outcome):
    return g.metrics().sum("sessions_total", outcome=outcome)


def expect_ended(g, outcome, count):
    wait_until(lambda: ended(g, outcome) == count,
               f"{ended(g, outcome):g} sessions ended by {outcome}, not {count}")


def others_go_on(g):
    """A client from another address is served, transfer and all."""
    with from_address(g, OTHER) as p:
        fetch(g, p, OTHER)


def fetch(g, p, source):
    """A whole RETR of a client at `source`."""
    with g.data_listener() as listener:
        fetch_over(g, p, listener, source)


def fetch_over(g, p, listener, source):
    """A file, for which the server awaits the data connection at `listener`."""
    transfer(g, p, listener, passive(p, listener)[1], source)


@case(43, "too many sessions: of a client, in all, of a server")
def too_many(gate):
    g = gate(limits={"sessions": 3, "sessions_per_client": 2})
    with g.peers() as one, g.peers() as two:
        turned_away(g, "from your address")
        with from_address(g, OTHER) as other:
            turned_away(g, "Too many sessions;", "127.0.0.78")
            for p in (one, two, other):
                p.exchange("NOOP", "200 on")
    expect_ended(g, "too_many_sessions", 2)
    others_go_on(g)
    g.no_session()
    g = gate(limits={"sessions_per_server": 1})
    with g.peers() as p:
        turned_away(g, "with this server", OTHER)
        p.exchange("NOOP", "200 on")
    expect_ended(g, "server_full", 1)
    g.no_session()
    others_go_on(g)


@case(43, "sessions that the gateway ends and their client does not close")
def lingering(gate):
    """A session that is being closed still has its descriptors, so it has its place as well."""
    g = gate(limits={"sessions_per_client": 2})
    begun, accepted, held = time.monotonic(), 0, []
    try:
        for _ in range(300):
            held.append(dial(g))
            held[-1].sendall(b"GET / HTTP/1.1\r\n\r\n")
            said = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := held[-1].recv(4096):
                    said += piece
            accepted += b"from your address" not in said
        # A client that does not close is waited for, some two seconds.
        most = 2 * (2 + (time.monotonic() - begun) / 2)
    finally:
        for sock in held:
            sock.close()
    if not 2 <= accepted <= most:
        raise Failed(f"{accepted} sessions of one client, where {most:.0f} are possible at two a time")
    g.no_session()
    # Their connections with the server are over, and nobody has taken them yet.
    with contextlib.suppress(BlockingIOError):
        g.listener.setblocking(False)
        while True:
            g.listener.accept()[0].close()
    g.listener.setblocking(True)
    others_go_on(g)


@case(43, "new sessions faster than new_sessions_per_client")
def too_fast(gate):
    g = gate(limits={"new_sessions_per_client": "3/h"})
    for _ in range(3):
        with g.peers() as p:
            p.exchange("NOOP", "200 on")
    for _ in range(200):
        turned_away(g, "Too many new sessions")
    expect_ended(g, "new_session_rate", 200)
    # The log has some of them, and says how many not.
    if (lines := g.read_log().count("new_sessions_per_client is reached")) > 100:
        raise Failed(f"{lines} lines of 200 refusals")
    others_go_on(g)
    g.no_session()


@case(43, "failed logins: the session ends, the next ones wait, and other clients do not")
def guessing(gate):
    g = gate(limits={"failed_logins_per_client": "3/h"})
    with g.peers(login=False) as p:
        for number in range(4):
            p.exchange(f"USER user{number}", "331 password")
            # Out of turn, and no guess.
            p.exchange("ACCT x", "503 not now")
            p.exchange("PASS wrong", "530 no")
        p.client.expect_code("421")
        p.closed()
    for _ in range(3):
        turned_away(g, "failed logins")
    expect_ended(g, "failed_logins", 4)
    others_go_on(g)
    g.reload(failed_logins_per_client="none")
    with g.peers() as p:
        p.exchange("NOOP", "200 on")
    g.no_session()


@case(43, "one client cannot drain the ports")
def ports(gate):
    g = gate(limits={"sessions_per_client": 1000}, data={"open_timeout": "2m"})
    share = -(-len(g.pool) * 3 // 4)
    sessions = []
    try:
        for _ in range(share):
            p = g.peers()
            sessions.append(p)
            p.replaced("PASV", NOWHERE, "227")
        with g.peers() as p:
            p.replaced("PASV", NOWHERE, "425")
            p.exchange("NOOP", "200 on")
        others_go_on(g)
        sessions[0].exchange("NOOP", "200 on")
        if g.metrics().sum("ports_free") != len(g.pool) - share:
            raise Failed("the client holds another number of ports than its share")
    finally:
        for p in sessions:
            p._leave(None)
    g.no_session()
    if g.metrics().sum("ports_free") != len(g.pool):
        raise Failed("ports are missing")


@case(43, "data connections of one session")
def pinholes(gate):
    g = gate(limits={"pinholes_per_session": 2})
    with g.peers() as p, g.data_listener() as listener:
        running = [started(p, listener, "passive", "STOR x") for _ in range(2)]
        p.replaced("PASV", NOWHERE, "425")
        for end in running.pop():
            end.close()
        p.say("226 done")
        wait_until(lambda: g.metrics().sum("data_connections_active") == 1, "it does not end")
        started(p, listener, "passive", "STOR x")
    g.no_session()


@case(45, "a server that never greets, a client that says nothing, a byte at a time")
def silence(gate):
    g = gate(limits={"first_line_timeout": "1s"})
    with g.peers(greet=False, login=False) as p:
        p.server.send(b"220-wait\r\n")
        p.client.expect("220-wait")
        p.closed()
    with g.peers() as p:
        # Who has said something has time.
        time.sleep(2)
        p.exchange("NOOP", "200 on")
    with g.peers(login=False) as p:
        p.client.expect_code("421")
        p.client.closed()
    with g.peers(login=False) as p:
        drip(p.client, b"USER slowly\r\n")
    expect_ended(g, "greeting_timeout", 1)
    expect_ended(g, "first_line_timeout", 2)
    # A line now and then is no login.
    g = gate(limits={"login_timeout": "2s"})
    with g.peers(login=False) as p:
        answering = threading.Thread(target=answer, args=(p.server.sock,), daemon=True)
        answering.start()
        drip(p.client, b"NOOP\r\n" * 10)
    expect_ended(g, "login_timeout", 1)
    g.no_session()


def drip(end, data):
    """Sends a byte at a time until the connection ends, which it has to."""
    deadline = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < deadline:
        for n in range(len(data)):
            try:
                end.sock.sendall(data[n:n + 1])
            except OSError:
                return
            time.sleep(0.2)
    raise Failed("a byte at a time keeps a session for ever")


def answer(sock, reply=b"200 ok, and go on with whatever you want to do\r\n"):
    """A server that answers every line, as long as it is let."""
    try:
        while lines := sock.recv(1 << 16):
            sock.sendall(reply * lines.count(b"\n"))
    except OSError:
        pass


def flood(sock, data, most=100 << 20):
    """Sends until nobody takes any more, or the session ends. True if all of it was taken."""
    sock.settimeout(HELD_BACK)
    sent = 0
    try:
        while sent < most:
            sent += sock.send(data)
    except OSError:
        return False
    return True


def deaf(g, before, side, data, is_taken=False):
    """One side floods the gateway with `data`, and the client reads nothing. What leads to no answer
    may be taken; anything else is held back, and ends by a timeout."""
    with g.peers() as p:
        answering = threading.Thread(target=answer, args=(p.server.sock,), daemon=True)
        if side == "client":
            answering.start()
        if flood(getattr(p, side).sock, data) and not is_taken:
            raise Failed(f"100 MB of {data[:12]!r} were taken for a client that does not read")
        g.grown_at_most(before, MOST_MEMORY)
        others_go_on(g)
        if not is_taken:
            wait_until(lambda: g.metrics().sum("sessions_active") == 0,
                       f"the session of {data[:12]!r} does not end", timeout=30)
    g.grown_at_most(before, MOST_MEMORY)


# More than once asked for, Telnet options are answered no more.
TELNET = b"\xff\xfd\x01" * 16384


@case(22, "a client that does not read is not read, and ends by its timeouts: 100 MB of commands")
def deaf_client(gate):
    g = gate(limits={"idle_timeout": "4s"}, level="info")
    before = g.memory()
    deaf(g, before, "client", b"NOOP\r\n" * 8192)
    deaf(g, before, "client", b"LPRT 1\r\n" * 8192)
    deaf(g, before, "client", TELNET, is_taken=True)
    if (lines := g.read_log().count("long_address")) > 400:
        raise Failed(f"{lines} lines about refused commands")
    g.no_session()


@case(22, "replies without end to a client that does not read")
def flooding_server(gate):
    g = gate(limits={"idle_timeout": "4s"}, level="info")
    before = g.memory()
    for line in (b"200 unasked\r\n", b"227 ok (127,0,0,1,4,5)\r\n", b"220-more\r\n"):
        deaf(g, before, "server", line * 8192)
    deaf(g, before, "server", TELNET, is_taken=True)
    if (lines := g.read_log().count("unsolicited_passive_reply")) > 400:
        raise Failed(f"{lines} lines about unasked replies")
    g.no_session()


@case(22, "100 000 commands at once")
def pipelining(gate):
    g = gate(level="info")
    before = g.memory()
    count = 100_000
    with g.peers() as p:
        answering = threading.Thread(target=answer, args=(p.server.sock, b"200 ok\r\n"), daemon=True)
        answering.start()
        sending = threading.Thread(target=p.client.sock.sendall, args=(b"NOOP\r\n" * count,), daemon=True)
        sending.start()
        wanted = len(b"200 ok\r\n") * count
        seen = 0
        while seen < wanted:
            piece = p.client.sock.recv(1 << 16)
            if not piece:
                raise Failed(f"the session ends after {seen} bytes of replies")
            seen += len(piece)
            if seen < wanted // 2 < seen + len(piece):
                others_go_on(g)
        g.grown_at_most(before, MOST_MEMORY)
        p.client.half_close()
        answering.join(PATIENCE)
    g.no_session()
