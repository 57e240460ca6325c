"""A pod: a network namespace of its own, and the containers of a template as processes in it.

A container here is what can be had without a runtime: the manifest's command, arguments, user, groups and
capabilities; the host's files as a read-only root; the volumes mounted where the manifest has them, owned
as the kubelet leaves them; the pod's name as host name. The image is the host with two programs put where
the images have them.
"""

import os
import shlex
import signal
import stat
import time
import urllib.error
import urllib.request

from process import Failed, Process, wait_until
from servers import CACHE

# Where the images have their programs, and whose they are here: None is ftpgate under test.
PROGRAMS = {"ftpgate": ("/usr/bin/ftpgate", None),
            "server": ("/usr/sbin/vsftpd", f"{CACHE}/vsftpd/usr/sbin/vsftpd")}

ROOT = """set -e
mount -t tmpfs none {work}
mkdir {work}/upper {work}/scratch {work}/root
mount -t overlay overlay -o lowerdir=/,upperdir={work}/upper,workdir={work}/scratch {work}/root
hostname {name}
{mounts}
mount --rbind /proc {work}/root/proc
mount --rbind /dev {work}/root/dev
mount -o remount,ro {work}/root
exec chroot {work}/root {argv}
"""


class Pod:
    """Started from a template of a workload; `cluster` gives it its namespace and address."""

    def __init__(self, cluster, name, labels, built, binary, secrets):
        self.cluster = cluster
        self.name = name
        self.labels = labels
        self.built = built
        self.binary = binary
        self.spec = built.pod["spec"]
        self.folder = os.path.join(cluster.folder, name)
        self.terminating = False
        self.ready = False
        # On the node's network it has the node's own namespace.
        hosted = self.spec.get("hostNetwork", False)
        self.place, self.address = ("node", cluster.node) if hosted else (name, cluster.plug_pod(name))
        self.volumes = {volume["name"]: self._volume(volume, secrets) for volume in self.spec["volumes"]}
        self.processes = {}

    def __str__(self):
        return self.name

    def _volume(self, volume, secrets):
        """The folder that the kubelet mounts, with its owner and modes."""
        path = os.path.join(self.folder, volume["name"])
        os.makedirs(path)
        group = self.spec["securityContext"].get("fsGroup", 0)
        if "emptyDir" in volume:
            os.chown(path, 0, group)
            os.chmod(path, 0o2777)
        else:
            files = (self.built.one("ConfigMap", volume["configMap"]["name"])["data"]
                     if "configMap" in volume else secrets[volume["secret"]["secretName"]])
            mode = volume.get("secret", {}).get("defaultMode", 0o644)
            project(path, files, mode | 0o440 if group else mode, group)
        return path

    def start(self):
        """The sidecars first, one after the other, then the rest. Waits until the pod is ready."""
        for container in self.spec.get("initContainers", []) + self.spec["containers"]:
            self.processes[container["name"]] = self._run(container)
        wait_until(lambda: self.probe("readinessProbe"), f"{self.name} is not ready", timeout=20)
        self.ready = True
        return self

    def _run(self, container):
        name, pod = container["name"], self.spec["securityContext"]
        inside, outside = PROGRAMS[name]
        held = container["securityContext"]
        user = held.get("runAsUser", pod.get("runAsUser", 0))
        group = pod.get("runAsGroup", 0)
        added = [f"+{word.lower()}" for word in held["capabilities"].get("add", [])]
        argv = ["setpriv", f"--reuid={user}", f"--regid={group}", f"--groups={pod.get('fsGroup', group)}",
                f"--bounding-set={','.join(['-all', *added])}", "--inh-caps=-all", "--no-new-privs",
                *container.get("command", [inside]), *container["args"]]
        work = os.path.join(self.folder, f"root-{name}")
        os.makedirs(work)
        mounts = [(mount["mountPath"], self.volumes[mount["name"]], "ro" if mount.get("readOnly") else "rw")
                  for mount in container["volumeMounts"]]
        files = [(inside, outside or self.binary, "ro"), ("/etc/hosts", self.cluster.hosts, "ro")]
        lines = [f"mkdir -p {work}/root{path}" for path, _, _ in mounts]
        lines += [f"mkdir -p {work}/root{os.path.dirname(path)}; touch {work}/root{path}" for path, _, _ in files]
        lines += [f"mount --bind {shlex.quote(source)} {work}/root{path}; "
                  f"mount -o remount,bind,{access} {work}/root{path}" for path, source, access in mounts + files]
        script = ROOT.format(work=work, name=self.name, mounts="\n".join(lines), argv=shlex.join(argv))
        return Process(["unshare", "--mount", "--uts", "sh", "-c", script],
                       os.path.join(self.folder, f"{name}.log"), self.cluster.ns[self.place])

    def get(self, path, port=None):
        """An HTTP request as the kubelet makes it: from the node, to the pod's address."""
        number = self.number("telemetry") if port is None else port
        with self.cluster.inside("node"):
            try:
                with urllib.request.urlopen(f"http://{self.address}:{number}{path}", timeout=3) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

    def number(self, port):
        """A port of ftpgate's container by name, or any other as it is."""
        declared = {known["name"]: known["containerPort"] for known in self.built.container()["ports"]}
        return declared.get(port, port)

    def probe(self, name):
        """The answer of one probe: True is success."""
        asked = self.built.container()[name]["httpGet"]
        if not self.processes["ftpgate"].alive():
            raise Failed("ftpgate has ended\n" + "\n".join(self.processes["ftpgate"].tail()))
        try:
            return self.get(asked["path"], self.number(asked["port"]))[0] == 200
        except OSError:
            return False

    def delete(self):
        """What a deletion does first: the pod is terminating, and the nodes hear of it in their own time."""
        self.terminating = True

    def stop_gateway(self):
        """SIGTERM to the container that is no sidecar, as after its preStop."""
        os.kill(self.processes["ftpgate"].pid, signal.SIGTERM)

    def finish(self, timeout):
        """Waits for the end of ftpgate, then ends the sidecars in turn. Returns ftpgate's exit code."""
        gateway = self.processes["ftpgate"]
        wait_until(lambda: not gateway.alive(), f"{self.name}: ftpgate does not end", timeout=timeout)
        for name in reversed([container["name"] for container in self.spec.get("initContainers", [])]):
            if not self.processes[name].alive():
                raise Failed(f"{self.name}: {name} was gone before ftpgate")
            self.processes[name].stop()
        return gateway.stop()

    def log(self):
        with open(self.processes["ftpgate"].log, encoding="utf-8", errors="replace") as text:
            return text.read()

    def close(self):
        for process in self.processes.values():
            process.stop(grace=0.5)


def project(path, files, mode, group):
    """Files as the kubelet writes them: links to a link to a folder, which is swapped in one step."""
    folder = f"..{time.time_ns()}"
    os.makedirs(os.path.join(path, folder))
    for name, text in files.items():
        file = os.path.join(path, folder, name)
        with open(file, "w", encoding="utf-8") as out:
            out.write(text)
        os.chown(file, 0, group)
        os.chmod(file, mode & (stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO))
        if not os.path.lexists(os.path.join(path, name)):
            os.symlink(os.path.join("..data", name), os.path.join(path, name))
    os.symlink(folder, os.path.join(path, "..data_tmp"))
    os.replace(os.path.join(path, "..data_tmp"), os.path.join(path, "..data"))
