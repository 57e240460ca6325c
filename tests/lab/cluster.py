"""A node with pods on it, and clients outside: what a test of the manifests starts from.

    client  192.0.2.2 ─┐
    client2 192.0.2.3 ─┴─ node 192.0.2.1 ── pods 10.244.0.10…
                          203.0.113.7: the load balancer's address, which leads to the node

As on a node: the pods are routed, each behind its own link; kube-proxy's rules (`kube_proxy.py`) lead the
load balancer's address to them; what pods send out is masqueraded. There is one node and no API server: the
test plays those who would tell kube-proxy of pods that come and go (`sync`).
"""

import atexit
import itertools
import os
import shutil

import kube_proxy
from pods import Pod
from process import call
from topology import Topology

ADDRESS = "203.0.113.7"
NODE = "192.0.2.1"
CLIENTS = {"client": "192.0.2.2", "client2": "192.0.2.3"}
# A balancer that carries connections itself: its own host on the clients' side, and whence it dials pods.
BALANCER_HOST, BALANCER = "192.0.2.4", "10.0.0.7"
FIRST_POD = 10

_serial = itertools.count(1)


class Cluster(Topology):
    """Use as a context manager; everything is gone at its end. `names`: what the cluster's DNS says."""

    node = NODE

    def __init__(self, folder, names=None):
        os.makedirs(folder)
        self.folder = folder
        self.prefix = f"fgk8s{os.getpid()}x{next(_serial)}"
        self.ns, self._fds, self.pods, self.services = {}, {}, [], []
        self.hosts = os.path.join(folder, "hosts")
        self.names = {}
        self._numbers = itertools.count(FIRST_POD)
        self.resolve(localhost="127.0.0.1", **(names or {}))
        atexit.register(self.close)
        try:
            self._build_node()
        except BaseException:
            self.close()
            raise

    def _build_node(self):
        self._add("node")
        self._batch("node", ["link add side type bridge", "link set side up", f"addr add {NODE}/24 dev side",
                             # A packet for nobody has to come as far as the rules that reject it.
                             f"route add {ADDRESS}/32 dev side"])
        for name, address in CLIENTS.items():
            self._plug_outside(name, address)
        for setting in ("net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0",
                        "net.ipv4.conf.side.send_redirects=0"):
            self.run("node", ["sysctl", "-qw", setting])
        self.nft("node", f"""
            table ip cni {{
                chain postrouting {{
                    type nat hook postrouting priority srcnat; policy accept;
                    ip saddr {kube_proxy.PODS} ip daddr != {kube_proxy.PODS} masquerade
                }}
            }}""")

    def _plug_outside(self, name, address):
        self._add(name)
        self._batch("node", [f"link add {name} type veth peer name eth0 netns {self.ns[name]}",
                             f"link set {name} master side", f"link set {name} up"])
        self._batch(name, ["link set eth0 up", f"addr add {address}/24 dev eth0",
                           f"route add default via {NODE}"])

    def plug_balancer(self):
        """A host in front, `balancer`, which has the load balancer's address from now on."""
        self._plug_outside("balancer", BALANCER_HOST)
        self._batch("balancer", [f"addr add {ADDRESS}/32 dev lo", f"addr add {BALANCER}/32 dev lo"])
        self._batch("node", [f"route add {BALANCER}/32 via {BALANCER_HOST}"])
        for name in CLIENTS:
            self._batch(name, [f"route add {ADDRESS}/32 via {BALANCER_HOST}"])

    def _add(self, name):
        self.ns[name] = f"{self.prefix}-{name}"
        call(["ip", "netns", "add", self.ns[name]])
        self._fds[name] = os.open(f"/run/netns/{self.ns[name]}", os.O_RDONLY)
        self._batch(name, ["link set lo up"])

    def plug_pod(self, name):
        """A namespace for a pod, with a link to the node. Returns its address."""
        number = next(self._numbers)
        address = f"10.244.0.{number}"
        self._add(name)
        self._batch("node", [f"link add pod{number} type veth peer name eth0 netns {self.ns[name]}",
                             f"link set pod{number} up",
                             # Of the link only, so that nothing is masqueraded as that.
                             f"addr add 169.254.1.1/32 dev pod{number} scope link",
                             f"route add {address}/32 dev pod{number} src {NODE}"])
        self._batch(name, ["link set eth0 up", f"addr add {address}/32 dev eth0",
                           "route add 169.254.1.1/32 dev eth0", "route add default via 169.254.1.1"])
        return address

    def resolve(self, **names):
        """What names mean from now on; `_` stands for a dot, `__` for a hyphen."""
        self.names |= {name.replace("__", "-").replace("_", "."): address for name, address in names.items()}
        with open(self.hosts, "w", encoding="ascii") as out:
            out.writelines(f"{address} {name}\n" for name, address in self.names.items())

    def pod(self, name, built, binary, secrets=None, **labels):
        """A pod of the workload in `built`, which is not started yet."""
        pod = Pod(self, name, built.pod["metadata"]["labels"] | labels, built, binary, secrets or {})
        self.pods.append(pod)
        return pod

    def sync(self, built):
        """kube-proxy hears of all Services and pods as they are now."""
        fronts = [document for document in built.all("Service") if document["spec"].get("type") == "LoadBalancer"]
        self.nft("node", kube_proxy.table([
            kube_proxy.Port(service["metadata"]["name"], ADDRESS, port["port"],
                            tuple((pod.address, pod.number(port.get("targetPort", port["port"])))
                                  for pod in self._endpoints(service)),
                            service["spec"].get("externalTrafficPolicy") == "Local",
                            service["spec"].get("sessionAffinity") == "ClientIP")
            for service in fronts for port in service["spec"]["ports"]]))

    def _endpoints(self, service):
        """The ready pods; with `publishNotReadyAddresses` all; if none is ready, those that terminate and serve."""
        spec = service["spec"]
        chosen = [pod for pod in self.pods if spec["selector"].items() <= pod.labels.items()]
        if spec.get("publishNotReadyAddresses"):
            return chosen
        running = [pod for pod in chosen if pod.ready and not pod.terminating]
        return running or [pod for pod in chosen if pod.ready]

    def remove(self, pod):
        """The pod is gone, and its namespace with it: another may have its name, and gets another address."""
        pod.close()
        self.pods.remove(pod)
        os.close(self._fds.pop(pod.name))
        call(["ip", "netns", "del", self.ns.pop(pod.name)])
        shutil.move(pod.folder, pod.folder + ".gone")

    def __enter__(self):
        return self

    def __exit__(self, _, error, __):
        if error is not None:
            error.logs = [process.log for pod in self.pods for process in pod.processes.values()]
        self.close()

    def close(self):
        for pod in self.pods:
            pod.close()
        super().close()
