"""The gateway of deploy/kubernetes on a node, acted out: FTP of pods to servers outside, beside kube-proxy's rules."""

import os

import manifests
from cells import Talk, converse
from clients import MODES
from cluster import CLIENTS as HOSTS, NODE, Cluster
from lab import Failed
from process import Process, wait_until
from scenarios import scenario
from scenarios.kubernetes_replicas import VSFTPD
from scenarios.kubernetes_sidecar import Volume
from servers import CACHE

CAP_NET_ADMIN = 1 << 12

# What the owner of a node with a firewall adds: the two lines of `ftpgate rules`.
NODE_FIREWALL = """
table inet firewall {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iif lo accept
        meta mark 0x2100 accept
        tcp dport 50000-50999 accept
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        ip saddr 10.244.0.0/16 accept
        ct mark 0x2100 accept
    }
}
"""


@scenario("gateway: pods speak FTP with a server outside in every mode, which without it fails in active mode")
def egress(binary, folder):
    built = manifests.build("gateway")
    with Cluster(folder) as cluster:
        home, empty = os.path.join(folder, "served"), os.path.join(folder, "empty")
        os.makedirs(os.path.join(home, "pub"))
        os.makedirs(empty)
        os.chmod(os.path.join(home, "pub"), 0o777)
        log = os.path.join(folder, "server.log")
        server = Process([f"{CACHE}/vsftpd/usr/sbin/vsftpd",
                          *(f"-o{option}" for option in [*VSFTPD, f"anon_root={home}", f"secure_chroot_dir={empty}",
                                                         "port_promiscuous=NO", "log_ftp_protocol=YES"])],
                         log, cluster.ns["client2"])
        cluster.plug_pod("app")
        cluster.sync(manifests.build("sidecar"))
        cluster.nft("node", NODE_FIREWALL)
        served = Volume("vsftpd", 0, home)

        def talk(number, mode):
            converse(cluster, served, Talk("vsftpd", "ftplib", mode, 4), os.path.join(folder, f"cell{number}"),
                     HOSTS["client2"], 21, namespace="app")

        try:
            try:
                talk("without", "PORT")
            except Exception:  # whichever way it fails
                pass
            else:
                raise Failed("active mode works without the gateway")
            pod = cluster.pod("ftpgate-egress", built, binary).start()
            with open(f"/proc/{pod.processes['ftpgate'].pid}/status", encoding="ascii") as text:
                held = dict(line.split(":\t", 1) for line in text.read().splitlines())["CapEff"]
            if int(held, 16) != CAP_NET_ADMIN:
                raise Failed(f"the container holds {held}")
            for number, mode in enumerate(MODES):
                talk(number, mode)
            if f'"client":"{pod.cluster.node}' in pod.log() or "kernel" not in pod.log():
                raise Failed("sessions should be those of pods, and the kernel carry them")
            if NODE != pod.address:
                raise Failed("the gateway is not on the node's network")
            pod.stop_gateway()
            wait_until(lambda: not pod.processes["ftpgate"].alive(), "ftpgate does not end", timeout=10)
        finally:
            server.stop()
