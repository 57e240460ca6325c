"""What the owner sees of a running gateway, and asks of it: the control socket and its commands."""

import contextlib
import fcntl
import json
import os
import pty
import select
import socket
import stat
import struct
import subprocess
import tempfile
import termios
import time

from cells import Setting
from lab import Failed, Lab
from process import call, wait_until
from scenarios import scenario
from scenarios.lifecycle import finish
from scenarios.pinholes import ScriptedLab
from scenarios.transfers import LARGE

RELAY = Setting("tproxy", "gateway", "relay")
KERNEL = Setting("tproxy", "gateway", "kernel")

# Debian's user without rights.
NOBODY = 65534

# So much of a file that it cannot all be on its way, so that its end shows what became of it.
HELD_BACK = 64 << 20


@contextlib.contextmanager
def controlled(kind, folder, binary, setting, **options):
    """A lab whose gateway has a control socket. Yields the lab and a function that asks."""
    with tempfile.TemporaryDirectory(prefix="ftpgate-") as place:
        os.chmod(place, 0o755)
        path = f"{place}/run/admin.sock"

        def ask(*argv, code=0):
            found, text = call([binary, *argv, "--socket", path], check=False)
            if found != code:
                raise Failed(f"{argv}: exit code {found} instead of {code}\n{text}")
            return text

        ask.path = path
        with kind(folder, binary, setting, admin=path, **options) as lab:
            yield lab, ask


def listed(ask):
    return json.loads(ask("sessions", "--json"))["sessions"]


def only(ask, state):
    """The only session, once it is at this."""
    def found():
        sessions = listed(ask)
        return sessions[0] if [one["state"] for one in sessions] == [state] else None
    return wait_until(found, f"no session is {state}: {listed(ask)}")


def begin(lab, name):
    """A download that has begun and waits. Returns (session, data socket)."""
    ftp = lab.ftp("EPSV")
    with lab.topology.inside("client"):
        return ftp, ftp.transfercmd(f"RETR {name}")


@scenario("sessions shows a transfer that grows, and close ends it", RELAY)
def relayed(binary, folder, setting):
    with controlled(Lab, folder, binary, setting) as (lab, ask):
        lab.put_file("large", HELD_BACK)
        ftp, data = begin(lab, "large")
        seen = only(ask, "transferring")
        if (seen["user"], seen["last_verb"]) != (lab.server.user, "RETR"):
            raise Failed(f"the session is shown as {seen}")
        grown = 0
        for _ in range(3):
            data.recv(1 << 20)
            taken = data.recv(1 << 20, socket.MSG_WAITALL)
            if not taken:
                raise Failed("the file is over too early")

            def more():
                [transfer] = only(ask, "transferring")["transfers"]
                return transfer["moved"]["download"] > grown and transfer
            transfer = wait_until(more, f"no more than {grown} bytes are told")
            grown = transfer["moved"]["download"]
            if (transfer["verb"], transfer["path"], transfer["data_path"]) != ("RETR", "large", "relay"):
                raise Failed(f"the transfer is shown as {transfer}")
        table = ask("sessions")
        if f"{seen['id']} " not in table or "RETR " not in table or lab.server.user not in table:
            raise Failed(f"the table is\n{table}")
        if any(len(line) > 100 for line in table.splitlines()):
            raise Failed(f"the table is wider than 100 columns\n{table}")
        ask("close", str(seen["id"]))
        # 150 comes ahead of the end.
        while not (reply := ftp.getmultiline()).startswith("421"):
            if not reply.startswith("150"):
                raise Failed(f"the client hears {reply!r}")
        if "gateway's owner" not in reply:
            raise Failed(f"the client hears {reply!r}")
        try:
            while data.recv(1 << 20):
                pass
            raise Failed("the data connection ends as if the file were complete")
        except ConnectionResetError:
            pass
        wait_until(lambda: not listed(ask), "the session is still shown")
        error = ask("close", str(seen["id"]), code=1)
        if f"there is no session {seen['id']}" not in error:
            raise Failed(error)
        if lab.gateway.metrics().sum("sessions_total", outcome="closed_by_owner") != 1:
            raise Failed("sessions_total does not tell who ended it")


@scenario("close ends a session, and the kernel its transfer", KERNEL)
def in_kernel(binary, folder, setting):
    with controlled(Lab, folder, binary, setting) as (lab, ask):
        digest = lab.put_file("large", LARGE)
        ftp, data = begin(lab, "large")
        begun = data.recv(1000)
        seen = only(ask, "transferring")
        [transfer] = seen["transfers"]
        if transfer["moved"] is not None or transfer["data_path"] != "kernel":
            raise Failed(f"the transfer is shown as {transfer}")
        unused = lab.ftp("EPSV")
        unused.makepasv()
        offering = next(one for one in listed(ask) if one["pinholes"])
        ask("close", str(offering["id"]))
        unused.expect("421")
        ask("close", str(seen["id"]))
        while ftp.getmultiline()[:3] != "421":
            pass
        only(ask, "ending")
        # The translations of one that was used are swept a moment later.
        wait_until(lambda: not lab.open_elements(), "pinholes are left")
        finish(data, begun, digest)
        wait_until(lambda: not listed(ask), "the session is still shown")


@scenario("the control socket is its owner's", RELAY)
def guarded(binary, folder, setting):
    """Its mode and owner; a second user; one that is left behind, and one that is in use."""
    with controlled(Lab, folder, binary, setting) as (lab, ask):
        there = os.stat(ask.path)
        with open(f"/proc/{lab.gateway.process.pid}/status", encoding="ascii") as status:
            user = next(int(line.split()[2]) for line in status if line.startswith("Uid:"))
        if user == 0 or (stat.S_IMODE(there.st_mode), there.st_uid) != (0o600, user):
            raise Failed(f"the socket's mode is {there.st_mode:o}, its owner {there.st_uid}")
        if stat.S_IMODE(os.stat(os.path.dirname(ask.path)).st_mode) != 0o755:
            raise Failed("the folder's mode is not 0755")
        curl = ["curl", "-sS", "--unix-socket", ask.path, "-o", "/dev/null", "-w", "%{http_code}",
                "http://ftpgate/sessions"]
        as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        if call(curl)[1] != "200":
            raise Failed("curl is not answered")
        if call([*as_nobody, *curl], check=False)[0] != 7:
            raise Failed("somebody else may connect")
        # Even where the mode is no guard any more.
        os.chmod(ask.path, 0o666)
        code, text = call([*as_nobody, *curl], check=False)
        if code == 0 or not text.endswith("000"):
            raise Failed(f"somebody else is answered: {text}")
        if "is turned away at the control socket" not in lab.gateway.read_log():
            raise Failed("the log does not tell of somebody else")
        second = os.path.join(folder, "second.yaml")
        with open(second, "w", encoding="utf-8") as out:
            json.dump({"listeners": [{"listen": "127.0.0.1:2990", "server": "127.0.0.1:2991"}],
                       "data": {"path": "relay"}, "firewall": {"backend": "none"},
                       "telemetry": {"listen": None}, "admin": {"socket": ask.path}}, out)
        code, text = call([binary, "run", "--config", second], check=False)
        if code != 1 or "admin.socket: " not in text or "another ftpgate" not in text:
            raise Failed(f"a second gateway says {code}: {text}")
        lab.gateway.process.kill()
        lab.gateway.process.stop()
        if not os.path.exists(ask.path):
            raise Failed("a killed gateway has taken its socket away")
        error = ask("sessions", code=1)
        if "does ftpgate run" not in error:
            raise Failed(error)
        lab.gateway.start()
        if listed(ask):
            raise Failed("sessions without clients")
        lab.gateway.stop()
        if os.listdir(os.path.dirname(ask.path)):
            raise Failed("the socket is left behind")


@scenario("reload and drain are asked for over the control socket", RELAY)
def ordered(binary, folder, setting):
    with controlled(Lab, folder, binary, setting) as (lab, ask):
        with open(lab.gateway.config, encoding="utf-8") as text:
            settings = json.load(text)

        def write(limits):
            with open(lab.gateway.config, "w", encoding="utf-8") as out:
                json.dump(settings | {"limits": limits}, out)

        write({"sessions": 77})
        if "limits.sessions: 10000 -> 77" not in (text := ask("reload")):
            raise Failed(f"reload says {text}")
        write({"sessions": "many"})
        text = ask("reload", code=1)
        if "goes on as before" not in text or "limits.sessions" not in text:
            raise Failed(f"reload of a bad file says {text}")
        lab.put_file("large", HELD_BACK)
        _, data = begin(lab, "large")
        only(ask, "transferring")
        ask("drain")
        wait_until(lambda: lab.gateway.get("/readyz")[0] == 503, "readyz does not turn")
        # Sessions are still shown, and may still be ended, which ends the gateway.
        ask("close", str(only(ask, "transferring")["id"]))
        process = lab.gateway.process
        wait_until(lambda: not process.alive(), "the gateway does not end", timeout=10)
        if lab.gateway.stop() != 0 or os.path.exists(ask.path):
            raise Failed("the gateway does not end in order")
        data.close()


@scenario("a hostile user name harms no terminal", RELAY)
def hostile_name(binary, folder, setting):
    with controlled(ScriptedLab, folder, binary, setting) as (lab, ask), lab.peers(login=False) as peers:
        peers.exchange("USER a\x1b]0;owned\x07\x1b[2J", "331 password")
        peers.exchange("PASS \x1b[31msecret", "230 in")
        shown = r"a\x1b]0;owned\x07\x1b[2J"
        seen = only(ask, "idle")
        if seen["user"] != shown:
            raise Failed(f"the user is shown as {seen['user']!r}")
        for text in (ask("sessions"), ask("sessions", "--json")):
            if any(ord(c) < 32 and c != "\n" for c in text) or "secret" in text:
                raise Failed(f"what is shown is {text!r}")
        with Terminal([binary, "top", "--socket", ask.path], columns=140) as terminal:
            # What is too long for its column is cut.
            terminal.shows("a\\x1b]0;")
            if b"\x07" in terminal.seen or b"\x1b]" in terminal.seen:
                raise Failed(f"top writes {terminal.seen!r}")
            terminal.press("q")
            terminal.ends()


class Terminal:
    """A command in a terminal."""

    def __init__(self, argv, lines=24, columns=80):
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.before = termios.tcgetattr(self.theirs)
        self.seen = b""
        self.popen = subprocess.Popen(argv, stdin=self.theirs, stdout=self.theirs, stderr=self.theirs,
                                      env=dict(os.environ, TERM="xterm-256color"),
                                      start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait(10)
        os.close(self.ours)
        os.close(self.theirs)

    def take(self, limit=0.1):
        """What has been written meanwhile."""
        while select.select([self.ours], [], [], limit)[0]:
            self.seen += os.read(self.ours, 1 << 16)
            limit = 0

    def shows(self, text, timeout=10.0):
        """Waits until this is written."""
        until = time.monotonic() + timeout
        while text.encode() not in self.seen:
            if time.monotonic() > until:
                raise Failed(f"{text!r} is not shown: {self.seen[-3000:]!r}")
            self.take()

    def resize(self, lines, columns):
        self.seen = b""
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.popen.send_signal(28)  # SIGWINCH, which only a foreground process would get by itself.

    def press(self, key):
        os.write(self.ours, key.encode())

    def ends(self):
        """Waits for the end, which has to leave the terminal as it was."""
        until = time.monotonic() + 10
        while self.popen.poll() is None:
            if time.monotonic() > until:
                raise Failed("top does not end")
            self.take()
        self.take()
        if self.popen.returncode != 0:
            raise Failed(f"exit code {self.popen.returncode}: {self.seen[-3000:]!r}")
        if termios.tcgetattr(self.theirs) != self.before:
            raise Failed("the terminal is left in another mode")
        for what, sequence in (("the other screen", b"\x1b[?1049l"), ("no cursor", b"\x1b[?25h")):
            if sequence not in self.seen:
                raise Failed(f"the terminal is left with {what}")


@scenario("top", RELAY)
def top(binary, folder, setting):
    with controlled(Lab, folder, binary, setting) as (lab, ask):
        lab.put_file("large", HELD_BACK)
        _, data = begin(lab, "large")
        client = ":".join(map(str, data.getsockname()[:1]))
        argv = [binary, "top", "--socket", ask.path]
        with Terminal(argv) as terminal:
            terminal.shows(client)
            terminal.shows("transferring")
            terminal.shows("LAST REFUSALS")
            terminal.press("q")
            terminal.ends()
        with Terminal(argv) as terminal:
            terminal.shows(client)
            terminal.press("\x1b[C")
            # Drawn anew as a whole; else only what has changed is written.
            terminal.resize(12, 60)
            terminal.shows("transferring")
            terminal.shows("bytes")
            terminal.popen.terminate()
            terminal.ends()
        with Terminal(argv) as terminal:
            terminal.shows(client)
            lab.gateway.process.kill()
            terminal.shows("not up to date: no gateway answers")
            terminal.press("\x03")
            terminal.ends()
        code, text = call(argv, check=False)
        if code != 1 or "does ftpgate run" not in text:
            raise Failed(f"top without a gateway: {code} {text}")
