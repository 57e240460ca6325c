"""The forms in which peers end TLS after CCC, as functions of a scripted session.

Documented for z/OS (TLSRFCLEVEL RFC4217 and CCCNONOTIFY) and seen with others: a close_notify of
both sides, of one or of none; the alert in one segment with the first line in clear, or with the
reply in front of it; one byte a segment. Each function gets a session that is logged in inside TLS
and a `first` line, which is the first in clear, and returns when that has arrived at the server.
Where `first` names a port of the client it may arrive rewritten, so what arrived is returned.
"""

FORMS = {}


def form(name):
    """Registers a form."""
    def register(function):
        FORMS[name] = function
        return function
    return register


def _first(both, line):
    both.peers.client.send(line)
    return both.peers.server.line()


@form("both sides notify, the server first")
def server_first(both, first):
    both.exchange("CCC", "200 clear")
    both.notify("server")
    both.notify("client")
    return _first(both, first)


@form("both sides notify, the client first")
def client_first(both, first):
    both.exchange("CCC", "200 clear")
    both.notify("client")
    both.notify("server")
    return _first(both, first)


@form("only the server notifies")
def server_only(both, first):
    both.exchange("CCC", "200 clear")
    both.notify("server")
    return _first(both, first)


@form("only the client notifies")
def client_only(both, first):
    both.exchange("CCC", "200 clear")
    both.notify("client")
    return _first(both, first)


@form("nobody notifies")
def nobody(both, first):
    both.exchange("CCC", "200 clear")
    return _first(both, first)


@form("alert and command in one segment")
def one_segment(both, first):
    """Case 32."""
    both.exchange("CCC", "200 clear")
    both.notify("server")
    alert = both.client.close_notify()
    both.peers.client.send(alert + first.encode() + b"\r\n")
    both.server.open(both.server.record())
    return both.peers.server.line()


@form("reply and alert in one segment")
def reply_and_alert(both, first):
    """As ProFTPD sends them."""
    both.ask("CCC")
    together = both.server.seal("200 clear") + both.server.close_notify()
    both.client.open(both.carry(both.peers.server, both.peers.client, together))
    both.notify("client")
    return _first(both, first)


@form("the server's alert behind the client's first line")
def crossing(both, first):
    both.exchange("CCC", "200 clear")
    both.notify("client")
    seen = _first(both, first)
    both.notify("server")
    return seen


@form("byte by byte")
def bytewise(both, first):
    both.exchange("CCC", "200 clear", bytewise=True)
    both.notify("server", bytewise=True)
    both.notify("client", bytewise=True)
    both.peers.client.send_bytewise(first.encode() + b"\r\n")
    return both.peers.server.line()


@form("nobody notifies, and another line comes first")
def another_line(both, first):
    """As most clients do: the data command is not the first line in clear."""
    both.exchange("CCC", "200 clear")
    both.peers.exchange("NOOP", "200 in clear")
    return _first(both, first)


@form("the first line behind CCC, ahead of its reply")
def ahead(both, first):
    """A client that does not wait; the other direction is still in TLS when its line comes."""
    both.peers.client.send(both.client.seal("CCC") + first.encode() + b"\r\n")
    both.server.expect("CCC")
    seen = both.peers.server.line()
    both.say("200 clear")
    return seen
