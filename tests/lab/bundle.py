"""Containers without an engine: the image of `deploy/container`, run by runc in a namespace of the lab.

What Docker or the kubelet writes into an OCI bundle is written here, and no less strict: the image's user,
no capability but those asked for, a read-only root, no-new-privileges, the default seccomp profile of
Podman, a limit of memory. Containers that are given the same namespace share it like those of a pod.

Not here: any network but the topology's.
"""

import contextlib
import hashlib
import itertools
import json
import os
import platform
import tarfile
import threading

from process import Failed, Process, call, wait_until

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, "deploy", "container", "build.sh")
SECCOMP = "/usr/share/containers/seccomp.json"

# What the image is told to be of: the lab has no need of git.
IDENTITY = {"VERSION": "0.0.0-lab", "REVISION": "0123456789abcdef", "SOURCE_DATE_EPOCH": "1700000000"}

# Minutes, where everything has to be compiled.
BUILD_SECONDS = 900

# Of each container, in bytes: some times what a gateway with a handful of sessions takes.
MEMORY = 128 << 20

# As Docker mounts a --tmpfs.
TMPFS = ("nosuid", "nodev", "noexec", "mode=1777")

_lock = threading.Lock()
_serial = itertools.count(1)


def build(archive):
    """Builds the image with the dev profile. Returns the digest of its manifest."""
    # What is stripped afterwards need not be made.
    quick = {"PROFILE": "dev", "CARGO_PROFILE_DEV_DEBUG": "0"}
    text = call([BUILD, archive], timeout=BUILD_SECONDS, env=os.environ | IDENTITY | quick)[1]
    return text.split()[-1]


class Image:
    """An OCI archive, unpacked: `root` is the file system, `config` what the image says about itself."""

    def __init__(self, archive, folder):
        self.archive = archive
        self.root = os.path.join(folder, "root")
        with tarfile.open(archive) as self._tar:
            entry, = self._json("index.json")["manifests"]
            self.digest = entry["digest"]
            self.manifest = self._blob(entry)
            description = self._blob(self.manifest["config"])
            self.config = description["config"]
            self.created = description["created"]
            for layer in self.manifest["layers"]:
                with tarfile.open(fileobj=self._tar.extractfile(_path(layer))) as files:
                    self.files = {member.name: member for member in files}
                    files.extractall(self.root, numeric_owner=True)

    def _json(self, name):
        return json.load(self._tar.extractfile(name))

    def _blob(self, entry):
        text = self._tar.extractfile(_path(entry)).read()
        if f"sha256:{hashlib.sha256(text).hexdigest()}" != entry["digest"]:
            raise Failed(f"{entry['digest']} is something else")
        return json.loads(text)

    @property
    def size(self):
        """Of what is sent over the network, in bytes."""
        return sum(layer["size"] for layer in self.manifest["layers"])


def _path(entry):
    return "blobs/" + entry["digest"].replace(":", "/")


def image(folder):
    """The image of this checkout, built once a run. `folder` is that of any test of the run."""
    home = os.path.join(os.path.dirname(folder), "image")
    with _lock:
        if home not in _images:
            os.makedirs(home, exist_ok=True)
            archive = os.path.join(home, "ftpgate.tar")
            build(archive)
            _images[home] = Image(archive, home)
        return _images[home]


_images = {}


class Container:
    """A process of the image in a namespace of the network; use as a context manager.

    `args` take the place of the image's command, `user` that of its user (`UID:GID`). `mounts` are read-only
    files and folders {path inside: path outside}, `tmpfs` paths that may be written. Its log is `log`.
    """

    def __init__(self, image, folder, namespace, args=None, user=None, capabilities=(), mounts=(),
                 tmpfs=(), read_only=True):
        self.id = f"fglab{os.getpid()}c{next(_serial)}"
        self.folder = os.path.join(folder, self.id)
        self.state = os.path.join(self.folder, "state")
        self.log = os.path.join(self.folder, "log")
        self.process = None
        os.makedirs(self.folder)
        call(["runc", "spec"], cwd=self.folder)
        path = os.path.join(self.folder, "config.json")
        with open(path, encoding="utf-8") as text:
            spec = json.load(text)
        uid, gid = map(int, (user or image.config["User"]).split(":"))
        spec["process"] |= {
            "terminal": False, "user": {"uid": uid, "gid": gid}, "cwd": "/",
            "args": image.config["Entrypoint"] + list(args or image.config["Cmd"]),
            "env": image.config.get("Env", []), "noNewPrivileges": True,
            "capabilities": {kind: list(capabilities) for kind in ("bounding", "effective", "permitted")}}
        spec["root"] = {"path": image.root, "readonly": read_only}
        spec["mounts"] = [mount for mount in spec["mounts"] if mount["type"] != "cgroup"]
        spec["mounts"] += [{"destination": inside, "source": outside, "type": "bind",
                            "options": ["rbind", "ro", "nosuid", "nodev"]}
                           for inside, outside in dict(mounts).items()]
        spec["mounts"] += [{"destination": inside, "source": "tmpfs", "type": "tmpfs",
                            "options": list(TMPFS)} for inside in tmpfs]
        spec["linux"]["seccomp"] = seccomp(capabilities)
        spec["linux"]["resources"]["memory"] = {"limit": MEMORY}
        for entry in spec["linux"]["namespaces"]:
            if entry["type"] == "network":
                entry["path"] = f"/run/netns/{namespace}"
        with open(path, "w", encoding="utf-8") as out:
            json.dump(spec, out)

    def _runc(self, *words):
        return ["runc", "--root", self.state, *words]

    def start(self):
        """Returns when the process runs, which says nothing of what it does."""
        pidfile = os.path.join(self.folder, "pid")
        self.process = Process(
            self._runc("run", "--bundle", self.folder, "--pid-file", pidfile, self.id), self.log)
        wait_until(lambda: not self.process.alive() or os.path.exists(pidfile) and os.path.getsize(pidfile),
                   f"{self.id} does not start")
        return self

    @property
    def pid(self):
        """Of the process inside, as it is seen from outside."""
        with open(os.path.join(self.folder, "pid"), encoding="ascii") as text:
            return int(text.read())

    def exec(self, *args):
        """Runs a command in it, as a health check does. Returns (exit code, output)."""
        return call(self._runc("exec", self.id, *args), check=False)

    def signal(self, name):
        call(self._runc("kill", self.id, name))

    def wait(self, timeout):
        """Waits for its end. Returns the exit code."""
        return self.process.popen.wait(timeout)

    def __enter__(self):
        return self.start()

    def __exit__(self, _, error, __):
        if error is not None:
            error.logs = [*getattr(error, "logs", []), self.log]
        self.close()

    def close(self):
        """SIGKILL for what is left of it. Safe to call again."""
        with contextlib.suppress(Failed):
            call(self._runc("delete", "--force", self.id))
        if self.process:
            self.process.stop()


def seccomp(capabilities):
    """The profile of Podman (and Docker) for these capabilities, in the form of the runtime."""
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    arch = f"SCMP_ARCH_{platform.machine().upper()}"
    with open(SECCOMP, encoding="utf-8") as text:
        profile = json.load(text)

    def applies(rule):
        wanted, unwanted = rule["includes"], rule["excludes"]
        return (set(wanted.get("caps", ())) <= set(capabilities)
                and not set(unwanted.get("caps", ())) & set(capabilities)
                and names[platform.machine()] in wanted.get("arches", [names[platform.machine()]]))

    architectures = [[entry["architecture"], *entry["subArchitectures"]]
                     for entry in profile["archMap"] if entry["architecture"] == arch]
    return {"defaultAction": profile["defaultAction"], "defaultErrnoRet": profile["defaultErrnoRet"],
            "architectures": architectures[0],
            "syscalls": [{key: rule[key] for key in ("names", "action", "args", "errnoRet") if rule.get(key)}
                         for rule in profile["syscalls"] if applies(rule)]}
