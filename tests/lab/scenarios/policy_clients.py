"""curl and lftp before the owner's rules: how they end, what they tell their user, and what has changed on
the server: what is allowed and nothing else."""

import hashlib
import os
from dataclasses import dataclass

from cells import Setting
from clients import STEP_LIMIT
from lab import Failed, Lab
from scenarios import scenario
from terminating import DIRECT, TerminatingLab

PLACES = (Setting("tproxy", "gateway", "kernel"), Setting("direct", "gateway", "relay"))
SIZE = 70_001
ANY = "any code but 0"


@dataclass(frozen=True)
class Deed:
    """What a user has a client do, and what must come of it.

    `new` and `gone` are the names of the server's files that are there, or no longer, afterwards; `words`
    the gateway's, which the client must have seen. With `fetched` the file `x` arrives.
    """

    client: str
    does: str
    code: object = 0
    words: str = ""
    new: tuple = ()
    gone: tuple = ()
    fetched: bool = False


READ, FETCH = "Files can only be read here.", "Files can only be stored here."
PATH, VERB, ACTIVE = "This path is refused", "This command is refused", "No active mode here"

# What curl's codes mean: 21 a command of -Q failed, 25 an upload was refused, 30 PORT failed, 78 there is no
# such file. lftp says 1 to everything.
DEEDS = (
    ({"profile": "read_only"}, (
        Deed("curl", "get x", fetched=True),
        Deed("curl", "put y", 25, READ),
        Deed("curl", "quote DELE pub/x", 21, READ),
        Deed("curl", "quote SITE CHMOD 777 pub/x", 21, READ),
        Deed("lftp", "get x", fetched=True),
        Deed("lftp", "put y", 1, READ),
        Deed("lftp", "rm pub/x", 1, READ),
        Deed("lftp", "mv pub/x pub/z", 1, READ))),
    ({"profile": "upload_only"}, (
        Deed("curl", "get x", 78, FETCH),
        Deed("curl", "put y", new=("y",)),
        Deed("curl", "quote DELE pub/x", 21, FETCH),
        Deed("lftp", "get x", 1, FETCH),
        Deed("lftp", "put z", new=("z",)),
        Deed("lftp", "mkdir pub/m", new=("m",)),
        Deed("lftp", "mv pub/x pub/w", 1, FETCH))),
    ({"deny": ["DELE", "SITE CHMOD", "APPE"]}, (
        Deed("curl", "quote DELE pub/x", 21, VERB),
        Deed("curl", "append y", 25, VERB),
        Deed("curl", "put y", new=("y",)),
        Deed("lftp", "rm pub/x", 1, VERB),
        Deed("lftp", "chmod 777 pub/x", 1, VERB),
        Deed("lftp", "mv pub/x pub/z", new=("z",), gone=("x",)))),
    ({"paths": {"deny": ["**/secret/**", "*.exe"]}}, (
        Deed("curl", "get secret/x", 78, PATH),
        Deed("curl", "put y.exe", 25, PATH),
        Deed("curl", "put y", new=("y",)),
        Deed("lftp", "get secret/x", 1, PATH),
        Deed("lftp", "mv pub/x pub/x.exe", 1, PATH),
        Deed("lftp", "rm pub/secret/x", 1, PATH))),
    ({"active": "refuse"}, (
        Deed("curl", "active get x", 30, ACTIVE),
        Deed("curl", "get x", fetched=True),
        Deed("lftp", "get x", fetched=True))),
)

# Where TLS ends at ftpgate.
PRIVATE = (
    # It says AUTH SSL, which means PROT P from the start: its clear data finds nobody.
    Deed("curl", "clear get x", ANY, "534 Only PROT P"),
    Deed("curl", "get x", fetched=True),
    Deed("curl", "put y", new=("y",)),
    Deed("lftp", "clear get x", 1, "521"),
    Deed("lftp", "clear put z", 1, "521"),
    Deed("lftp", "get x", fetched=True),
)


class User:
    """Somebody with curl, lftp, and a file to store."""

    def __init__(self, lab, secured=False):
        self.lab, self.server, self.secured = lab, lab.server, secured
        host, port = lab.target(self.server)
        self.login = f"{self.server.user}:{self.server.password}"
        self.url = f"ftp://{host}:{port}"
        self.stored = os.path.join(lab.folder, "to-store")
        self.fetched = os.path.join(lab.folder, "fetched")
        with open(self.stored, "wb") as out:
            out.write(os.urandom(SIZE))

    def prepare(self):
        """The server's folder as every policy finds it."""
        os.makedirs(self.server.path("secret"), exist_ok=True)
        os.chmod(self.server.path("secret"), 0o777)
        for name in self.files():
            path = self.server.path(name)
            if os.path.isdir(path):
                os.rmdir(path)
            else:
                os.unlink(path)
        self.lab.put_file("x", SIZE)
        self.lab.put_file("secret/x", SIZE)

    def files(self):
        """{name: SHA-256} of what the server has; of a folder None."""
        found, top = {}, self.server.path("")
        for folder, folders, names in os.walk(top):
            for name in folders:
                if name != "secret":
                    found[os.path.relpath(os.path.join(folder, name), top)] = None
            for name in names:
                path = os.path.join(folder, name)
                found[os.path.relpath(path, top)] = sha256(path)
        return found

    def curl(self, does):
        words = does.split(" ", 1)
        options = []
        if words[0] == "active":
            options, words = ["-P", "-"], words[1].split(" ", 1)
        clear = words[0] == "clear"
        if clear:
            words = words[1].split(" ", 1)
        if self.secured:
            options += ["-k", *(["--ftp-ssl-control", "-m", "3"] if clear else ["--ssl-reqd"])]
        what = words[0]
        if what == "get":
            options += ["-o", self.fetched, f"{self.url}/pub/{words[1]}"]
        elif what in ("put", "append"):
            options += [*(["--append"] if what == "append" else []), "-T", self.stored,
                        f"{self.url}/pub/{words[1]}"]
        elif what == "quote":
            options += ["-Q", words[1], "-o", "/dev/null", f"{self.url}/pub/"]
        else:
            options += ["-o", "/dev/null", f"{self.url}/pub/"]
        return self.lab.topology.run("client", ["curl", "-sSv", "-m", str(STEP_LIMIT), "--user", self.login,
                                                *options], check=False)

    def lftp(self, does):
        clear = does.startswith("clear ")
        what, _, rest = does.removeprefix("clear ").partition(" ")
        command = {"get": f"get pub/{rest} -o {self.fetched}", "put": f"put {self.stored} -o pub/{rest}"}.get(
            what, does)
        script = f"""
set cmd:fail-exit yes
set net:timeout {STEP_LIMIT}
set net:max-retries 1
set net:reconnect-interval-base 0
set xfer:clobber yes
set ftp:ssl-allow {"yes" if self.secured else "no"}
set ftp:ssl-force {"yes" if self.secured else "no"}
set ftp:ssl-protect-data {"no" if clear else "yes"}
set ftp:ssl-protect-list {"no" if clear else "yes"}
set ssl:verify-certificate no
open -u {self.login.replace(":", ",")} {self.url}
{command}
bye
"""
        env = dict(os.environ, HOME=self.lab.folder, LC_ALL="C", TERM="dumb")
        return self.lab.topology.run("client", ["lftp", "--norc", "-d", "-f", "/dev/stdin"],
                                     stdin=script.encode(), check=False, env=env)

    def does(self, deed):
        if os.path.exists(self.fetched):
            os.unlink(self.fetched)
        before = self.files()
        code, text = getattr(self, deed.client)(deed.does)
        told = f"{deed.client}, {deed.does}: exit code {code}\n{text[-3000:]}"
        if code != deed.code and not (deed.code == ANY and code):
            raise Failed(f"not {deed.code}: {told}")
        if deed.words not in text:
            raise Failed(f"the user does not see {deed.words!r}: {told}")
        wanted = {name: content for name, content in before.items() if name not in deed.gone}
        after = self.files()
        for name in deed.new:
            wanted[name] = before["x"] if deed.gone else None if deed.does.startswith("mkdir") else sha256(self.stored)
        if after != wanted:
            raise Failed(f"the server has {sorted(after)}, not {sorted(wanted)}, or others of these names: {told}")
        if deed.fetched != (os.path.exists(self.fetched) and sha256(self.fetched) == before["x"]):
            raise Failed(f"fetched should be {deed.fetched}: {told}")


def sha256(path):
    with open(path, "rb") as content:
        return hashlib.sha256(content.read()).hexdigest()


@scenario("curl and lftp before rules", *PLACES)
def rules(binary, folder, setting):
    with Lab(folder, binary, setting, ("proftpd",)) as lab:
        user = User(lab)
        for policy, deeds in DEEDS:
            if lab.gateway.reload(policies={"default": policy}) != "applied":
                raise Failed(f"{policy} is not taken")
            user.prepare()
            # The rules are asked alike on both paths; what is carried is not.
            for deed in deeds:
                if setting.path == "kernel" or deed.fetched or deed.new:
                    user.does(deed)


@scenario("curl and lftp where data has to be private")
def private(binary, folder):
    with TerminatingLab(folder, binary, DIRECT, ("proftpd",), policy={"data_protection": "private"},
                        server_options={"strict": False}) as lab:
        user = User(lab, secured=True)
        user.prepare()
        for deed in PRIVATE:
            user.does(deed)
