"""The cells in which TLS ends at the gateway: intercept, offload and originate.

A place is how ftpgate is set up (mode, how TLS starts on each side, the server's version, where the
clients dial), a talk is what the client says. Clients trust the local CA alone and check the name
that they dial; servers insist on what they insist on by default: vsftpd and ProFTPD on data
connections that resume the control connection's session, all of them on TLS.

All combinations would take an hour (`--full`). By default as many are tried as it takes for every
pair and the triples of `WORDS` to occur; they are picked one after the other, always the one that
brings most of what is lacking.
"""

import functools
import itertools
from dataclasses import dataclass

from cells import SERVERS, Setting
from clients import CLIENTS
from tls_peers import FTPS_CLIENTS, VERSIONS

MODES = ("intercept", "offload", "originate")

# Pure-FTPd knows no TLS from the first byte.
IMPLICIT_SERVERS = ("vsftpd", "proftpd", "pyftpdlib")

# Kermit has no word for it.
IMPLICIT_CLIENTS = ("curl", "lftp", "ftplib", "wget")

# In front of a server and in front of clients; TLS that ends needs the relay, which both lead to.
CAPTURES = {"direct": Setting("direct", "gateway", "relay"), "tproxy": Setting("tproxy", "gateway", "auto")}

CLEAR = "clear"


@dataclass(frozen=True)
class Place:
    """How ftpgate is configured: one run of it each."""

    mode: str
    client_start: str      # explicit, implicit or clear
    server_start: str
    server_tls: str        # the server's only version, or clear
    capture: str

    def __str__(self):
        return f"{self.mode}/{self.client_start}-{self.server_start}/{self.server_tls}/{self.capture}"

    @property
    def setting(self):
        return CAPTURES[self.capture]

    @property
    def port(self):
        return 990 if self.server_start == "implicit" else 21


@dataclass(frozen=True)
class Talk:
    """What the client does. `start` and `tls` are its own."""

    server: str
    client: str
    start: str
    tls: str
    mode: str
    family: int

    def __str__(self):
        return f"{self.server}/{self.client}/{self.start}/{self.tls}/{self.mode}/v{self.family}"

    def directly(self):
        """The talk with nobody in between that comes nearest."""
        if self.start == "implicit" and self.server not in IMPLICIT_SERVERS:
            return Talk(self.server, self.client, "explicit", self.tls, self.mode, self.family)
        return self


@dataclass(frozen=True)
class Cell:
    """A talk in a place."""

    place: Place
    talk: Talk

    def __str__(self):
        place, talk = self.place, self.talk
        return (f"tls/{talk.server}/{talk.client}/{place.mode}/{place.client_start}-{place.server_start}"
                f"/{talk.tls}-{place.server_tls}/{talk.mode}/v{talk.family}/{place.capture}")


def places():
    """Every place. Where clients dial the server's own port, TLS starts alike on both sides."""
    starts = ("explicit", "implicit")
    for client, server, tls in itertools.product(starts, starts, VERSIONS):
        yield Place("intercept", client, server, tls, "direct")
        if client == server:
            yield Place("intercept", client, server, tls, "tproxy")
    for client in starts:
        yield Place("offload", client, CLEAR, CLEAR, "direct")
    yield Place("offload", "explicit", CLEAR, CLEAR, "tproxy")
    for server, tls in itertools.product(starts, VERSIONS):
        yield Place("originate", CLEAR, server, tls, "direct")
    yield from (Place("originate", CLEAR, "explicit", tls, "tproxy") for tls in VERSIONS)


def every_cell():
    """The full product, IPv4 first."""
    for place in places():
        clients = CLIENTS if place.mode == "originate" else FTPS_CLIENTS
        versions = (CLEAR,) if place.mode == "originate" else VERSIONS
        for client, server, tls in itertools.product(clients.values(), SERVERS, versions):
            if place.server_start == "implicit" and server not in IMPLICIT_SERVERS:
                continue
            if place.client_start == "implicit" and client.name not in IMPLICIT_CLIENTS:
                continue
            for family, modes in sorted(client.modes.items()):
                for mode in modes:
                    yield Cell(place, Talk(server, client.name, place.client_start, tls, mode, family))


# What has to occur together at least once, by attributes of a cell.
WORDS = (("client", "server", "mode"), ("server", "mode", "starts"), ("client", "mode", "command"),
         ("client", "mode", "client_start"), ("mode", "starts", "versions"), ("client", "mode", "versions"),
         ("mode", "capture", "command"), ("server", "mode", "versions"), ("client", "capture"),
         ("server", "mode", "command"), ("mode", "family", "command"), ("server", "capture"))

# More of intercept, where both sides have their say.
WORDS_OF_INTERCEPT = (("client", "server", "command"), ("client", "starts"), ("client", "server", "tls"),
                      ("server", "starts", "versions"), ("client", "capture", "command"))


def _wanted(cell):
    place, talk = cell.place, cell.talk
    facts = {"client": talk.client, "server": talk.server, "mode": place.mode,
             "starts": (place.client_start, place.server_start), "client_start": place.client_start,
             "versions": (talk.tls, place.server_tls), "command": talk.mode, "family": talk.family,
             "tls": talk.tls, "capture": place.capture}
    more = WORDS_OF_INTERCEPT if place.mode == "intercept" else ()
    return frozenset((words, tuple(facts[word] for word in words)) for words in WORDS + more)


@functools.cache
def covering_set(full=False):
    """The cells of a run, in the order of the places."""
    cells = list(every_cell())
    if full:
        return cells
    wanted = {cell: _wanted(cell) for cell in cells}
    lacking = set().union(*wanted.values())
    # Cells that cannot pass cover nothing for those that can.
    possible = [cell for cell in cells if not _known_impossible(cell.talk)]
    lacking &= set().union(*(wanted[cell] for cell in possible))
    chosen = []
    while lacking:
        best = max(possible, key=lambda cell: len(wanted[cell] & lacking))
        chosen.append(best)
        lacking -= wanted[best]
    # And the impossible kind once with each server, for the measurement to tell.
    chosen += {(c.talk.client, c.talk.server): c for c in cells
               if _known_impossible(c.talk) and c.place.capture == "direct"}.values()
    order = {place: n for n, place in enumerate(places())}
    return sorted(chosen, key=lambda cell: order[cell.place])


def _known_impossible(talk):
    """curl 7.88 cannot do active mode with TLS on the data connection.

    Only the choice of cells goes by this; what is skipped goes by the measurement of the same run.
    """
    return talk.client == "curl" and talk.tls != CLEAR and talk.mode in ("PORT", "EPRT")
