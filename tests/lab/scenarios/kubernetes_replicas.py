"""Several gateways behind one address, acted out from the manifests: slices, a Service for each pod, drain."""

import contextlib
import hashlib
import os
import random
from concurrent.futures import ThreadPoolExecutor

import manifests
from cluster import NODE, Cluster
from gateway import Metrics
from lab import Failed, ftplib
from process import Process, wait_until
from scenarios import scenario
from scenarios.kubernetes_sidecar import MIB, SlowFetch, check_privileges, put_file, session
from servers import CACHE

SESSIONS = 30

# The pod of the server behind the gateways: root in its own image, and no sidecar.
VSFTPD = ["listen=YES", "background=NO", "seccomp_sandbox=NO", "anonymous_enable=YES", "no_anon_password=YES",
          "ftp_username=daemon", "write_enable=YES", "anon_upload_enable=YES", "xferlog_enable=NO"]


@contextlib.contextmanager
def replicas(binary, folder):
    """A cluster with the StatefulSet and a server. Yields (cluster, built, pods, the server's folder)."""
    built = manifests.build("replicas")
    with Cluster(folder) as cluster:
        home = os.path.join(folder, "served")
        os.makedirs(os.path.join(home, "pub"))
        os.chmod(os.path.join(home, "pub"), 0o777)
        cluster.resolve(ftp__server=cluster.plug_pod("server"))
        empty = os.path.join(folder, "empty")
        os.makedirs(empty)
        server = Process([f"{CACHE}/vsftpd/usr/sbin/vsftpd",
                          *(f"-o{option}" for option in [*VSFTPD, f"anon_root={home}", f"secure_chroot_dir={empty}"])],
                         os.path.join(folder, "server.log"), cluster.ns["server"])
        try:
            pods = [replica(cluster, built, binary, ordinal)
                    for ordinal in range(built.workload["spec"]["replicas"])]
            cluster.sync(built)
            yield cluster, built, pods, home
        finally:
            server.stop()


def replica(cluster, built, binary, ordinal):
    """The pod of the StatefulSet with this number, with the label that the cluster gives it."""
    name = f"{built.workload['metadata']['name']}-{ordinal}"
    pod = cluster.pod(name, built, binary, **{"statefulset.kubernetes.io/pod-name": name})
    return pod.start()


def counted(pod):
    """(sessions, data connections that completed) of a replica."""
    metrics = Metrics(pod.get("/metrics")[1])
    return metrics.sum("sessions_total"), metrics.sum("data_connections_total", outcome="completed")


def whole_session(cluster, number, digests):
    """Lists and fetches in a session of one of the modes. Raises unless all of it is right."""
    mode = ("PASV", "EPSV")[number % 2]
    ftp = session(cluster, mode, ("client", "client2")[number // 2 % 2])
    name = random.choice(sorted(digests))
    if name not in ftp.nlst():
        raise Failed(f"session {number}: {name} is not listed")
    size, digest = ftp.fetch_digest(name)
    if digest != digests[name]:
        raise Failed(f"session {number}: {name} came with {size} bytes")
    ftp.quit()


@scenario("replicas: every data connection arrives at the replica that has the session")
def sliced(binary, folder):
    with replicas(binary, folder) as (cluster, built, pods, home):
        digests = {f"file{number}": put_file(home, f"file{number}", 64 * 1024) for number in range(4)}
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: whole_session(cluster, number, digests), range(SESSIONS)))
        wait_until(lambda: sum(counted(pod)[0] for pod in pods) == SESSIONS, "some session does not end")
        figures = {str(pod): counted(pod) for pod in pods}
        if any(transfers != 2 * sessions or not sessions for sessions, transfers in figures.values()):
            raise Failed(f"(sessions, data connections): {figures}")
        for pod in pods:
            check_privileges(pod)
            if f'"client":"{NODE}:' not in pod.log():
                raise Failed("with the policy Cluster clients should bear the node's address")
        # The ranges in the log are the slices of the manifests.
        for ordinal, pod in enumerate(pods):
            ports = manifests.slice_of(built.config, ordinal)
            if f"{ports[0]}-{ports[-1]}" not in pod.log():
                raise Failed(f"{pod} does not serve {ports}: {pod.log()}")


def begun(pod):
    """How many sessions of the replica have begun: those that have ended, and those that are there."""
    metrics = Metrics(pod.get("/metrics")[1])
    return metrics.sum("sessions_total") + metrics.sum("sessions_active")


def session_at(cluster, wanted):
    """A session at this replica: dialled until kube-proxy chooses it."""
    for _ in range(60):
        before = begun(wanted)
        ftp = session(cluster)
        if begun(wanted) > before:
            return ftp
        ftp.quit()
    raise Failed(f"no session of 60 reached {wanted}")


@scenario("replicas: one is replaced while transfers run, and none is lost")
def replaced(binary, folder):
    with replicas(binary, folder) as (cluster, built, pods, home):
        digests = {"big": put_file(home, "big", 8 * MIB), "small": put_file(home, "small", 64 * 1024)}
        leaving = pods[1]
        busy, idle, late = (session_at(cluster, leaving) for _ in range(3))
        under_way = SlowFetch(busy, "big")
        # The pod is being deleted: newcomers go elsewhere, its own data connections still come.
        leaving.delete()
        cluster.sync(built)
        before = begun(leaving)
        small = {"small": digests["small"]}
        for number in range(6):
            whole_session(cluster, number, small)
        if begun(leaving) != before:
            raise Failed("newcomers reach the replica that is being deleted")
        if idle.fetch_digest("small")[1] != digests["small"]:
            raise Failed("a session at the replica that is being deleted cannot fetch during preStop")
        # A transfer that is announced now, and dialled when the pod is not ready any more.
        host, port = ftplib.parse227(late.ask("PASV", "227"))
        late.putcmd("RETR small")
        leaving.stop_gateway()
        idle.expect("421")
        wait_until(lambda: not leaving.probe("readinessProbe"), "the pod that drains says that it is ready")
        leaving.ready = False
        cluster.sync(built)
        with cluster.connect("client", (host, port)) as data:
            received = b"".join(iter(lambda: data.recv(65536), b""))
        late.expect("150")
        late.expect("226")
        if hashlib.sha256(received).hexdigest() != digests["small"]:
            raise Failed(f"the transfer announced before the drain brings {len(received)} bytes")
        for number in range(6):
            whole_session(cluster, number, small)
        under_way.must_bring(digests["big"])
        if leaving.finish(timeout=10) != 0:
            raise Failed("ftpgate does not end well")
        cluster.remove(leaving)
        cluster.sync(built)
        whole_session(cluster, 0, small)
        # Its successor has the same name, and so the same slice.
        successor = replica(cluster, built, binary, 1)
        cluster.sync(built)
        ftp = session_at(cluster, successor)
        if ftp.fetch_digest("small")[1] != digests["small"]:
            raise Failed("the successor does not serve its slice")
        ftp.quit()
