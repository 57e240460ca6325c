"""The sidecar of deploy/kubernetes, acted out: its manifests as processes in a pod, kube-proxy's rules in front.

Containers run as the manifests say (see `pods.py`): no capability, a read-only root, the ConfigMap's text.
"""

import contextlib
import hashlib
import os
import ssl
import threading
import time

import manifests
from authority import Authority
from cells import Talk, converse
from clients import CLIENTS
from cluster import ADDRESS, CLIENTS as HOSTS, NODE, Cluster
from lab import Failed, LabFTP, ftplib, refused
from pods import project
from process import wait_until
from scenarios import scenario
from servers import Server
from tls_peers import FTPS_CLIENTS, SecuredTask, check_security

NAME = "ftp.example.com"
MIB = 1 << 20


class Volume(Server):
    """The server of a pod as the clients' drivers need to know it: its folder is the volume `files`."""

    def path(self, name):
        return os.path.join(self.home, "pub", name)


def started(cluster, name, built, binary, secrets=None, **labels):
    """A running pod with a folder `pub` that all may write to."""
    pod = cluster.pod(name, built, binary, secrets, **labels)
    pub = os.path.join(pod.volumes["files"], "pub")
    os.makedirs(pub)
    os.chmod(pub, 0o777)
    return pod.start()


def served_by(pod):
    return Volume("vsftpd", 0, pod.volumes["files"])


def session(cluster, mode="EPSV", namespace="client", port=21):
    """A session at the load balancer's address, logged in, in `pub`."""
    ftp = LabFTP(cluster, namespace, mode)
    with cluster.inside(namespace):
        ftp.connect(ADDRESS, port)
    ftp.login("anonymous", "lab@example.org")
    ftp.cwd("pub")
    ftp.voidcmd("TYPE I")
    return ftp


class SlowFetch:
    """A download that is under way, with pauses, in a thread of its own."""

    def __init__(self, ftp, name, step=MIB // 4, pause=0.1):
        self.outcome = None
        self._ftp, self._name, self._step, self._pause = ftp, name, step, pause
        self._under_way = threading.Event()
        self._thread = threading.Thread(target=self._fetch)
        self._thread.start()
        if not self._under_way.wait(5):
            raise Failed("the transfer does not begin")

    def _fetch(self):
        digest = hashlib.sha256()

        def take(piece):
            digest.update(piece)
            self._under_way.set()
            time.sleep(self._pause)

        try:
            self._ftp.retrbinary(f"RETR {self._name}", take, blocksize=self._step)
            self.outcome = digest.hexdigest()
        except (OSError, EOFError, ftplib.Error) as error:
            self.outcome = error

    def must_bring(self, digest):
        """Waits for its end; `digest` is the file's SHA-256."""
        self._thread.join(20)
        if self.outcome != digest:
            raise Failed(f"the transfer under way: {self.outcome!r}")


def put_file(folder, name, size):
    data = os.urandom(size)
    with open(os.path.join(folder, "pub", name), "wb") as out:
        out.write(data)
    return hashlib.sha256(data).hexdigest()


def check_privileges(pod):
    """Every container runs as the manifests' user, without any capability."""
    for name, process in pod.processes.items():
        with open(f"/proc/{process.pid}/status", encoding="ascii") as text:
            status = dict(line.split(":\t", 1) for line in text.read().splitlines())
        if status["Uid"].split() != ["65532"] * 4 or any(
                int(status[key], 16) for key in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb")):
            raise Failed(f"{name} is privileged: {status}")


@scenario("sidecar: clients behind kube-proxy, in every mode")
def every_mode(binary, folder):
    built = manifests.build("sidecar")
    with Cluster(folder, {NAME: ADDRESS}) as cluster:
        pod = started(cluster, "ftp-a", built, binary)
        cluster.sync(built)
        check_privileges(pod)
        for number, (client, mode) in enumerate((name, mode) for name in ("curl", "lftp")
                                                for mode in CLIENTS[name].modes[4]):
            converse(cluster, served_by(pod), Talk("vsftpd", client, mode, 4),
                     os.path.join(folder, f"cell{number}"), ADDRESS, 21)
        seen = f'"client":"{HOSTS["client"]}:'
        if seen not in pod.log():
            raise Failed("ftpgate does not see the client's own address")
        if not (pod.probe("livenessProbe") and pod.probe("readinessProbe")):
            raise Failed("a probe fails")
        for port in (2120, 2121 + 1):
            if refused(cluster, "node", (pod.address, port)) != "ConnectionRefusedError":
                raise Failed(f"the pod answers at port {port}")
        _active_source(cluster)
        # What `kubectl exec … -- ftpgate sessions` does.
        cluster.run(pod.name, [binary, "sessions", "--socket", os.path.join(pod.volumes["run"], "admin.sock")])


def _active_source(cluster):
    """In active mode the client is dialled from the node's address, not from the one that it dialled."""
    ftp = session(cluster, "PORT")
    with cluster.inside("client"):
        listener = ftp.makeport()
    ftp.putcmd("NLST")
    listener.settimeout(5)
    connection, source = listener.accept()
    if source[0] != NODE:
        raise Failed(f"the data connection comes from {source[0]}")
    connection.close()
    listener.close()
    ftp.close()


@scenario("sidecar: a rollout lets transfers finish and sends newcomers to the new pod")
def rollout(binary, folder):
    built = manifests.build("sidecar")
    with Cluster(folder, {NAME: ADDRESS}) as cluster:
        old = started(cluster, "ftp-old", built, binary)
        cluster.sync(built)
        digest = put_file(old.volumes["files"], "big", 8 * MIB)
        busy, idle = session(cluster), session(cluster)
        under_way = SlowFetch(busy, "big")
        # As the Deployment does it: the new pod first, then the old one goes; nodes and kubelet hear of
        # that in no particular order, and here the kubelet is first.
        new = started(cluster, "ftp-new", built, binary)
        old.delete()
        old.stop_gateway()
        wait_until(lambda: not old.probe("readinessProbe"), "the pod that drains says that it is ready")
        if not old.probe("livenessProbe"):
            raise Failed("the pod that drains would be killed by its liveness probe")
        cluster.sync(built)
        idle.expect("421")
        newcomer = session(cluster)
        newcomer.nlst()
        newcomer.quit()
        if "session started" not in new.log():
            raise Failed("the newcomer is not at the new pod")
        under_way.must_bring(digest)
        code = old.finish(timeout=10)
        if code != 0:
            raise Failed(f"ftpgate ends with {code}")


@scenario("without slices, ClientIP affinity does not bring data connections to their replica")
def affinity(binary, folder):
    """The reason for slices: kube-proxy remembers a client for each port by itself."""
    built = manifests.build("sidecar")
    built.one("Service", "ftp")["spec"]["sessionAffinity"] = "ClientIP"
    with Cluster(folder, {NAME: ADDRESS}) as cluster:
        for number in range(3):
            started(cluster, f"ftp-{number}", built, binary)
        cluster.sync(built)
        lost = 0
        for _ in range(12):
            with contextlib.closing(session(cluster)) as ftp:
                try:
                    ftp.nlst()
                except (OSError, EOFError, ftplib.Error):
                    lost += 1
        if lost == 0:
            raise Failed("no listing of 12 was lost: then replicas need no slices")


@scenario("sidecar-offload: a plain server gets FTPS, and a renewed Secret is shown without a signal")
def offload(binary, folder):
    built = manifests.build("sidecar-offload")
    with Cluster(folder, {NAME: ADDRESS}) as cluster:
        authority = Authority(os.path.join(folder, "authority"))
        pod = started(cluster, "ftp-a", built, binary, {"ftp-tls": _pair(authority, folder, "first-")})
        cluster.sync(built)
        check_privileges(pod)
        if os.stat(os.path.join(pod.volumes["tls"], "tls.key")).st_mode & 0o777 != 0o440:
            raise Failed("the key does not have the mode of a Secret with fsGroup")
        # curl 7.88 does not secure data connections in active mode, with any server.
        pairs = (("curl", "PASV"), ("curl", "EPSV"), ("lftp", "PASV"), ("lftp", "EPSV"), ("lftp", "PORT"))
        cells = [(*pair, implicit) for pair in pairs for implicit in (False, True)]
        for number, (client, mode, implicit) in enumerate(cells):
            task = converse(cluster, served_by(pod), Talk("vsftpd", client, mode, 4),
                            os.path.join(folder, f"cell{number}"), ADDRESS, 990 if implicit else 21,
                            FTPS_CLIENTS, SecuredTask, ccc=False, implicit=implicit, name=NAME,
                            roots=authority.roots)
            check_security(task)
        ftp = LabFTP(cluster, "client", "EPSV")
        with cluster.inside("client"):
            ftp.connect(ADDRESS, 21)
        ftp.ask("USER anonymous", "530")
        ftp.close()
        before = _shown(cluster, authority)
        project(pod.volumes["tls"], _pair(authority, folder, "second-"), 0o440, 65532)
        wait_until(lambda: _shown(cluster, authority) != before, "the renewed certificate is not shown",
                   step=0.2)


def _pair(authority, folder, stem):
    """A Secret of the type kubernetes.io/tls."""
    chain, key = authority.issue(folder, [NAME], stem)
    with open(chain, encoding="ascii") as first, open(key, encoding="ascii") as second:
        return {"tls.crt": first.read(), "tls.key": second.read()}


def _shown(cluster, authority):
    """The certificate that a client of implicit FTPS sees."""
    context = ssl.create_default_context(cafile=authority.roots)
    with (cluster.connect("client", (ADDRESS, 990)) as plain,
          context.wrap_socket(plain, server_hostname=NAME) as tls):
        return tls.getpeercert(binary_form=True)
