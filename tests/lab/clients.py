"""The FTP clients of the lab, each as a small driver: store a file, fetch a file, list a folder.

A driver says which modes its client can be told to use and does the three steps in one session
where the client allows that. It returns the client's own account of the dialogue, in which
`used_mode` looks for the command that was really sent: a client that falls back quietly (curl
from EPSV to PASV) would otherwise hide a defect.
"""

import ftplib
import os
import re
from dataclasses import dataclass, field

from process import Failed

MODES = ("PASV", "EPSV", "PORT", "EPRT")

# Seconds; the clients' own limits are below it so that they tell what went wrong.
CLIENT_LIMIT = 40
STEP_LIMIT = 10


@dataclass
class Task:
    """What one client shall do, and in `dialogue` and `listing` what came of it."""

    topology: object
    host: str
    port: int
    family: int
    user: str
    password: str
    mode: str
    folder: str            # a scratch folder of its own
    upload: str            # the local file to store …
    stored_as: str         # … and its name in `pub`
    fetch: str             # the name in `pub` to fetch …
    namespace: str = "client"
    dialogue: list = field(default_factory=list)
    listing: str = ""

    @property
    def fetched(self):
        """Where the fetched file shall be."""
        return os.path.join(self.folder, "fetched")

    @property
    def passive(self):
        return self.mode in ("PASV", "EPSV")

    @property
    def url(self):
        host = f"[{self.host}]" if self.family == 6 else self.host
        return f"ftp://{host}:{self.port}"

    # Words in front of a client's command line.
    prefix = ()

    def run(self, argv, stdin=None, check=True):
        """Runs the client in its namespace and keeps what it says."""
        # Some look up their own host's name, for which there is nobody to ask here.
        env = dict(os.environ, HOME=self.folder, LC_ALL="C", TERM="dumb",
                   RES_OPTIONS="timeout:1 attempts:1")
        code, text = self.topology.run(self.namespace, [*self.prefix, *argv], timeout=CLIENT_LIMIT,
                                       stdin=stdin, check=False, env=env, cwd=self.folder)
        self.dialogue.append(text)
        if check and code != 0:
            raise Failed(f"{argv[0]}: exit code {code}")
        return text

    def read(self, name):
        with open(os.path.join(self.folder, name), encoding="utf-8", errors="replace") as text:
            return text.read()


# How the clients show a command that they send: `> `, `---> `, `--> ` or `… Cmd: `.
_SENT = re.compile(r"^(?:-*> |.*  Cmd: )(PASV|EPSV|PORT|EPRT)(?=\s|$)", re.MULTILINE)


def used_mode(task):
    """The data commands found in the client's account, as a set of words out of `MODES`."""
    return set(_SENT.findall("\n".join(task.dialogue)))


def _curl(task):
    common = ["-sS", "-v", "--connect-timeout", "5", "-m", str(STEP_LIMIT), "--user",
              f"{task.user}:{task.password}", "--no-ftp-skip-pasv-ip",
              *{"PASV": ["--disable-epsv"], "EPSV": [], "EPRT": ["-P", "-"],
                "PORT": ["--disable-eprt", "-P", "-"]}[task.mode]]
    pub = f"{task.url}/pub/"
    task.run(["curl", *common, "-T", task.upload, pub + task.stored_as,
              "--next", *common, "-o", task.fetched, pub + task.fetch,
              "--next", *common, "-o", os.path.join(task.folder, "listing"), pub])
    task.listing = task.read("listing")


def lftp(task, *settings):
    """lftp with these settings besides those that the task itself asks for."""
    yes = {True: "yes", False: "no"}
    own = "".join(f"set {setting}\n" for setting in settings)
    script = f"""
debug -o {task.folder}/debug 9
set cmd:fail-exit yes
set ftp:fix-pasv-address no
set ftp:passive-mode {yes[task.passive]}
set ftp:prefer-epsv {yes[task.mode == "EPSV"]}
set xfer:clobber yes
{own}open -u {task.user},{task.password} {task.url}
put {task.upload} -o pub/{task.stored_as}
get pub/{task.fetch} -o {task.fetched}
ls pub > {task.folder}/listing
bye
"""
    try:
        task.run(["lftp", "--norc", "-f", "/dev/stdin"], stdin=script.encode())
    finally:
        if os.path.exists(os.path.join(task.folder, "debug")):
            task.dialogue.append(task.read("debug"))
    task.listing = task.read("listing")


def _lftp(task):
    lftp(task, f"net:timeout {STEP_LIMIT}", "net:max-retries 1", "net:reconnect-interval-base 1",
         "ftp:ssl-allow no")


def _tnftp(task):
    lines = [f"user {task.user} {task.password}", "binary",
             f"passive {'on' if task.passive else 'off'}",
             f"epsv4 {'on' if task.mode in ('EPSV', 'EPRT') else 'off'}",
             f"put {task.upload} pub/{task.stored_as}",
             f"get pub/{task.fetch} {task.fetched}",
             f"ls pub {task.folder}/listing", "quit", ""]
    task.run(["tnftp", "-n", "-i", "-v", "-d", task.host, str(task.port)],
             stdin="\n".join(lines).encode(), check=False)
    task.listing = task.read("listing")


def _inetutils(task):
    lines = [f"user {task.user} {task.password}", "binary",
             *(["epsv4"] if task.family == 4 and task.mode in ("EPSV", "EPRT") else []),
             *(["passive"] if task.passive else []),
             f"put {task.upload} pub/{task.stored_as}",
             f"get pub/{task.fetch} {task.fetched}",
             f"ls pub {task.folder}/listing", "quit", ""]
    task.run(["inetutils-ftp", "-n", "-v", "-d", task.host, str(task.port)],
             stdin="\n".join(lines).encode(), check=False)
    task.listing = task.read("listing")


def _ncftp(task):
    debug = os.path.join(task.folder, "debug")
    common = ["-u", task.user, "-p", task.password, "-P", str(task.port), "-d", debug,
              "-t", str(STEP_LIMIT), "-r", "1", "-F" if task.passive else "-E"]
    try:
        task.run(["ncftpput", *common, "-C", task.host, task.upload, f"pub/{task.stored_as}"])
        task.run(["ncftpget", *common, "-C", task.host, f"pub/{task.fetch}", task.fetched])
        task.listing = task.run(["ncftpls", *common, "-l", f"{task.url}/pub/"])
    finally:
        if os.path.exists(debug):
            task.dialogue.append(task.read("debug"))


def _wget(task):
    # wget has no upload: the cell is a download and a listing.
    common = ["wget", "-d", "--tries=1", f"--timeout={STEP_LIMIT}", f"--ftp-user={task.user}",
              f"--ftp-password={task.password}", *([] if task.passive else ["--no-passive-ftp"])]
    task.run([*common, "-O", task.fetched, f"{task.url}/pub/{task.fetch}"])
    task.run([*common, "-O", os.path.join(task.folder, "listing"), f"{task.url}/pub/"])
    task.listing = task.read("listing")


class ModalFTP(ftplib.FTP):
    """ftplib told to use one of the four modes, whatever the family; believes the 227's address."""

    trust_server_pasv_ipv4_address = True
    mode = "EPSV"

    def __init__(self, dialogue, mode):
        super().__init__(timeout=STEP_LIMIT)
        self.dialogue = dialogue
        self.mode = mode
        self.passiveserver = mode in ("PASV", "EPSV")

    def putline(self, line):
        self.dialogue.append(f"> {line}")
        super().putline(line)

    def getline(self):
        line = super().getline()
        self.dialogue.append(f"< {line}")
        return line

    def makepasv(self):
        if self.mode == "PASV":
            return super().makepasv()
        return ftplib.parse229(self.sendcmd("EPSV"), self.sock.getpeername())

    def sendport(self, host, port):
        # The base class chooses by family; here the mode does.
        return self.sendeprt(host, port) if self.mode == "EPRT" else super().sendport(host, port)


def _ftplib(task):
    with task.topology.inside(task.namespace), ModalFTP(task.dialogue, task.mode) as ftp:
        ftp.connect(task.host, task.port)
        ftp.login(task.user, task.password)
        with open(task.upload, "rb") as source:
            ftp.storbinary(f"STOR pub/{task.stored_as}", source)
        with open(task.fetched, "wb") as sink:
            ftp.retrbinary(f"RETR pub/{task.fetch}", sink.write)
        lines = []
        ftp.retrlines("LIST pub", lines.append)
        task.listing = "\n".join(lines)
        ftp.quit()


def _kermit(task):
    script = os.path.join(task.folder, "script.ksc")
    with open(script, "w", encoding="utf-8") as out:
        out.write(f"""set ftp debug on
set ftp verbose-mode on
set ftp passive-mode {"on" if task.passive else "off"}
set ftp autologin on
ftp open {task.host} {task.port} /user:{task.user} /password:{task.password}
if fail exit 1
ftp type binary
ftp put /binary {task.upload} pub/{task.stored_as}
if fail exit 2
ftp get /binary /as-name:{task.fetched} pub/{task.fetch}
if fail exit 3
ftp directory pub
if fail exit 4
ftp bye
exit 0
""")
    task.listing = task.run(["kermit", script, "-Y", "-H"])


@dataclass(frozen=True)
class Client:
    """A client, what it can do by itself, and how."""

    name: str
    modes: dict            # family: modes it can be told to use
    drive: object
    uploads: bool = True


V6 = ("EPSV", "EPRT")

CLIENTS = {client.name: client for client in (
    Client("curl", {4: MODES, 6: V6}, _curl),
    # Over IPv4 lftp knows EPSV but no EPRT.
    Client("lftp", {4: ("PASV", "EPSV", "PORT"), 6: V6}, _lftp),
    Client("tnftp", {4: MODES, 6: V6}, _tnftp),
    # What its `epsv4` is about is PASV alone: over IPv4 it knows no EPRT.
    Client("inetutils", {4: ("PASV", "EPSV", "PORT"), 6: V6}, _inetutils),
    Client("ncftp", {4: ("PASV", "PORT")}, _ncftp),
    Client("wget", {4: ("PASV", "PORT"), 6: V6}, _wget, uploads=False),
    Client("ftplib", {4: MODES, 6: V6}, _ftplib),
    Client("kermit", {4: ("PASV", "PORT")}, _kermit),
)}


def check(task, server, client, expected):
    """Compares what arrived on both sides. Raises `Failed` with the difference."""
    with open(task.fetched, "rb") as got:
        if got.read() != expected["fetch"]:
            raise Failed("the fetched file differs")
    if client.uploads:
        with open(server.path(task.stored_as), "rb") as got:
            if got.read() != expected["upload"]:
                raise Failed("the stored file differs")
        if task.stored_as not in task.listing:
            raise Failed("the listing lacks the stored file")
    if task.fetch not in task.listing:
        raise Failed("the listing lacks the fetched file")
    used = used_mode(task)
    if used != {task.mode}:
        raise Failed(f"the client used {sorted(used)}, not {task.mode}")
