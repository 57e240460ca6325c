"""The cells: which server, client, capture, source, path, mode and family are tried together.

All combinations would be 1488. Left out is what repeats another cell's question:

- The gateway's own ways (capture × source × path × mode × family) are all tried, with two peers
  that can do everything and differ in style: ftplib with vsftpd (one command at a time, insists on
  the advertised address) and curl with ProFTPD (its own fallbacks, reuses the session).
- What a certain client says to a certain server (server × client × mode × family) does not depend
  on how the connection was captured; each such combination is tried once, and the configurations
  take turns so that each meets every server and every client.
"""

import itertools
import os
from dataclasses import dataclass

from clients import CLIENTS, Task, check
from process import Failed

SERVERS = ("vsftpd", "proftpd", "pure-ftpd", "pyftpdlib")
CAPTURES = ("tproxy", "redirect", "direct")
SOURCES = ("gateway", "client")
PATHS = ("kernel", "relay")
THOROUGH = (("vsftpd", "ftplib"), ("proftpd", "curl"))

# A cell's files: longer than one segment and than a relay's first buffer, and not a round number.
CELL_BYTES = 70_001


@dataclass(frozen=True)
class Setting:
    """How ftpgate is configured: one run of it each."""

    capture: str
    source: str
    path: str

    def __str__(self):
        return f"{self.capture}/{self.source}/{self.path}"


SETTINGS = tuple(Setting(*words) for words in itertools.product(CAPTURES, SOURCES, PATHS))


@dataclass(frozen=True)
class Talk:
    """What the two peers say to each other, however the gateway stands between them."""

    server: str
    client: str
    mode: str
    family: int

    def __str__(self):
        return f"{self.server}/{self.client}/{self.mode}/v{self.family}"


@dataclass(frozen=True)
class Cell:
    """A talk through the gateway in one setting."""

    setting: Setting
    talk: Talk

    def __str__(self):
        talk = self.talk
        return f"{talk.server}/{talk.client}/{self.setting}/{talk.mode}/v{talk.family}"


def talks():
    """Every talk of which the client is capable."""
    return [Talk(server, client.name, mode, family)
            for server in SERVERS for client in CLIENTS.values()
            for family, modes in client.modes.items() for mode in modes]


def covering_set():
    """The cells of a full run, in the order of the settings."""
    cells = [Cell(setting, talk) for setting in SETTINGS for talk in talks()
             if (talk.server, talk.client) in THOROUGH]
    rest = [talk for talk in talks() if (talk.server, talk.client) not in THOROUGH]
    # Neighbours in the list differ in mode, then family, client and server: dealing them out one
    # by one gives each setting some of everything.
    cells += [Cell(SETTINGS[n % len(SETTINGS)], talk) for n, talk in enumerate(rest)]
    return sorted(cells, key=lambda cell: SETTINGS.index(cell.setting))


def files_of(talk):
    """The contents to fetch and to store; they tell the cells apart."""
    label = f"{talk} ".encode()
    body = label * (CELL_BYTES // len(label) + 1)
    # Binary: every octet, CR and LF and Telnet's IAC among them.
    every = bytes(range(256))
    return {"fetch": every + body[:CELL_BYTES], "upload": body[:CELL_BYTES] + every + b"up"}


def converse(topology, server, talk, folder, host=None, port=None, clients=CLIENTS, make=Task,
             **more):
    """Lets the client do its three steps and compares. Returns the `Task`; raises on failure.

    The client is one of `clients`; `make` makes its task and is given `more` too. The exception
    bears the dialogue in its attribute `dialogue`.
    """
    client = clients[talk.client]
    os.makedirs(folder)
    tag = os.path.basename(folder)
    expected = files_of(talk)
    with open(os.path.join(folder, "upload"), "wb") as out:
        out.write(expected["upload"])
    with open(server.path(f"{tag}.get"), "wb") as out:
        out.write(expected["fetch"])
    task = make(topology, host or server.address(talk.family), port or server.port, talk.family,
                server.user, server.password, talk.mode, folder, os.path.join(folder, "upload"),
                f"{tag}.put", f"{tag}.get", **more)
    try:
        client.drive(task)
        check(task, server, client, expected)
    except Exception as error:
        error.dialogue = "\n".join(task.dialogue)
        raise
    finally:
        for name in (task.stored_as, task.fetch):
            if os.path.exists(server.path(name)):
                os.unlink(server.path(name))
    return task


def reason(error):
    """One line for the report."""
    if isinstance(error, Failed):
        return str(error).splitlines()[0]
    return f"{type(error).__name__}: {error}"
