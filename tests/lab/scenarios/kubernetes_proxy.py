"""The overlay for balancers that send PROXY headers, acted out with HAProxy in the balancer's place."""

import os

import manifests
from cells import Talk, converse
from cluster import ADDRESS, BALANCER, CLIENTS, Cluster
from lab import Failed
from process import Process, wait_until
from scenarios import scenario
from scenarios.kubernetes_sidecar import NAME, served_by, started
from servers import CACHE

HAPROXY = f"{CACHE}/haproxy/usr/sbin/haproxy"


def configuration(built, pod):
    """A listener for each port of the Service; the pod is dialled from the balancer's network."""
    lines = ["defaults", "  mode tcp", "  timeout connect 5s", "  timeout client 30s", "  timeout server 30s"]
    for port in built.one("Service", "ftp")["spec"]["ports"]:
        target = pod.number(port.get("targetPort", port["port"]))
        lines += [f"listen port{port['port']}", f"  bind {ADDRESS}:{port['port']}",
                  f"  server pod {pod.address}:{target} send-proxy-v2 source {BALANCER}"]
    return "\n".join(lines) + "\n"


@scenario("proxy-protocol: a balancer hides its clients, and ftpgate sees them")
def introduced(binary, folder):
    built = manifests.build("proxy-protocol")
    with Cluster(folder, {NAME: ADDRESS}) as cluster:
        pod = started(cluster, "ftp-a", built, binary)
        cluster.plug_balancer()
        path = os.path.join(folder, "haproxy.cfg")
        with open(path, "w", encoding="ascii") as out:
            out.write(configuration(built, pod))
        balancer = Process([HAPROXY, "-db", "-f", path], os.path.join(folder, "haproxy.log"),
                           cluster.ns["balancer"])
        try:
            wait_until(lambda: _answers(cluster), "HAProxy does not listen")
            for number, (client, mode) in enumerate((client, mode) for client in ("curl", "lftp")
                                                    for mode in ("PASV", "EPSV")):
                converse(cluster, served_by(pod), Talk("vsftpd", client, mode, 4),
                         os.path.join(folder, f"cell{number}"), ADDRESS, 21)
        finally:
            balancer.stop()
        if f'"client":"{CLIENTS["client"]}:' not in pod.log() or f'"client":"{BALANCER}' in pod.log():
            raise Failed("ftpgate takes the balancer for the client")


def _answers(cluster):
    try:
        with cluster.connect("client", (ADDRESS, 21)) as sock:
            return sock.recv(3) == b"220"
    except OSError:
        return False
