"""What schemas cannot say of the manifests: that their numbers and names belong together.

Each check yields a line for everything that is wrong. `ALL` has them; `findings` asks them all.
"""

from manifests import seconds, slice_of, span

# What a drain needs besides `limits.drain_timeout`: good-byes, and the end of the server.
MARGIN = 10


def findings(manifests):
    return [f"{check.__name__}: {line}" for check in ALL for line in check(manifests)]


def _listeners(config):
    """(name, host, port) of every socket that ftpgate listens on for clients."""
    for listener in config["listeners"]:
        host, _, port = listener["listen"].rpartition(":")
        yield listener["name"], host, int(port)


def _declared(manifests):
    """The ports of ftpgate's container by name."""
    return {port["name"]: port["containerPort"] for port in manifests.container()["ports"]}


def _fronts(manifests):
    """The Services that have clients outside."""
    return [service for service in manifests.all("Service") if service["spec"].get("type") == "LoadBalancer"]


def _replicas(manifests):
    return manifests.workload["spec"].get("replicas", 1)


def _pods(manifests):
    """The labels of each pod, as its workload and the cluster write them."""
    labels = manifests.pod["metadata"]["labels"]
    if manifests.workload["kind"] != "StatefulSet":
        return [labels] * _replicas(manifests)
    name = manifests.workload["metadata"]["name"]
    return [labels | {"statefulset.kubernetes.io/pod-name": f"{name}-{ordinal}"}
            for ordinal in range(_replicas(manifests))]


def container_ports(manifests):
    """What the container declares is what ftpgate listens on."""
    config, declared = manifests.config, _declared(manifests)
    wanted = {port for _, _, port in _listeners(config)} | {int(config["telemetry"]["listen"].rpartition(":")[2])}
    hosted = manifests.pod["spec"].get("hostNetwork", False)
    for port in set(declared.values()) - wanted:
        yield f"containerPort {port} is nothing that ftpgate listens on"
    for port in wanted - set(declared.values()):
        # On the node's network captured connections come to a port that nobody dials.
        if not hosted:
            yield f"ftpgate listens on {port}, which is no containerPort"


def probes(manifests):
    """The kubelet asks where telemetry is served, and what is served there."""
    host, _, port = manifests.config["telemetry"]["listen"].rpartition(":")
    if host in ("127.0.0.1", "[::1]"):
        yield f"telemetry.listen is {host}: the kubelet asks at the pod's address"
    for probe, path in (("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")):
        asked = manifests.container().get(probe, {}).get("httpGet")
        if asked is None:
            yield f"there is no {probe}"
        elif asked["path"] != path or _declared(manifests).get(asked["port"], asked["port"]) != int(port):
            yield f"{probe} asks {asked['port']}{asked['path']} instead of {port}{path}"
    scraped = manifests.pod["metadata"]["annotations"]["prometheus.io/port"]
    if scraped != port:
        yield f"prometheus.io/port is {scraped}, and telemetry.listen {port}"


def service_ports(manifests):
    """Each control port is served; each data port leads, with its number, to the pods that have it."""
    config, declared, pods = manifests.config, _declared(manifests), _pods(manifests)
    fronts = _fronts(manifests)
    if not fronts:
        return
    reached = [set() for _ in pods]
    for service in fronts:
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            name = f"{service['metadata']['name']}: port {port['port']}"
            if isinstance(target, str):
                if target not in declared:
                    yield f"{name}: there is no containerPort {target}"
                    continue
            elif target != port["port"]:
                yield f"{name} leads to {target}: a data port has to keep its number"
            for number, labels in enumerate(pods):
                if service["spec"]["selector"].items() <= labels.items():
                    reached[number].add(declared.get(target, target))
    for number, ports in enumerate(reached):
        wanted = {port for _, _, port in _listeners(config)} | set(slice_of(config, number))
        if ports != wanted:
            yield (f"replica {number}: the Services lead to {_told(ports - wanted)} in vain, "
                   f"and {_told(wanted - ports)} is not reached")


def _told(ports):
    return ",".join(str(port) for port in sorted(ports)[:5]) or "nothing"


def shared_addresses(manifests):
    """Services on one address: the same one, no port twice, and the policy that MetalLB asks for."""
    fronts = _fronts(manifests)
    keys = {service["metadata"].get("annotations", {}).get("metallb.io/allow-shared-ip") for service in fronts}
    if len(fronts) > 1 and (None in keys or len(keys) > 1):
        yield f"the Services name several keys: {keys}"
    ports = [port["port"] for service in fronts for port in service["spec"]["ports"]]
    for port in {port for port in ports if ports.count(port) > 1}:
        yield f"port {port} is there twice"
    for service in fronts:
        policy = service["spec"].get("externalTrafficPolicy")
        if policy != ("Local" if len(fronts) == 1 else "Cluster"):
            yield f"{service['metadata']['name']}: externalTrafficPolicy is {policy}"
        own = service["spec"]["selector"].keys() & {"statefulset.kubernetes.io/pod-name"}
        if own and not service["spec"].get("publishNotReadyAddresses"):
            yield f"{service['metadata']['name']}: a pod that drains is not in it"


def advertised(manifests):
    """What ftpgate calls itself is what the Service gets: a name or an address."""
    known = set()
    for service in _fronts(manifests):
        annotations = service["metadata"].get("annotations", {})
        known |= {annotations.get("external-dns.alpha.kubernetes.io/hostname"),
                  annotations.get("metallb.io/loadBalancerIPs")} - {None}
    for listener in manifests.config["listeners"]:
        told = listener.get("advertise", {}).get("client", "auto")
        if (known or told != "auto") and {told} != known:
            yield f"{listener['name']}: advertises {told}, and the Services have {known}"


def slices(manifests):
    """As many slices as replicas, named by pods that have a number."""
    data = manifests.config["data"]
    first, last = span(data["ports"])
    if _fronts(manifests) and data.get("slices", 1) != _replicas(manifests):
        yield f"data.slices is {data.get('slices', 1)}, and there are {_replicas(manifests)} replicas"
    if (last - first + 1) % data.get("slices", 1):
        yield f"data.ports does not divide by {data['slices']}"
    if data.get("slice") == "hostname" and manifests.workload["kind"] != "StatefulSet":
        yield "data.slice is hostname, and the pods have no number"


def grace(manifests):
    """Kubernetes waits for the drain before it kills."""
    period = manifests.pod["spec"]["terminationGracePeriodSeconds"]
    before = manifests.container().get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    drain = seconds(manifests.config["limits"]["drain_timeout"])
    if period < before + drain + MARGIN:
        yield f"terminationGracePeriodSeconds is {period}, a drain takes up to {before} + {drain} + {MARGIN}"


def order_of_ends(manifests):
    """The server ends after ftpgate: it is a sidecar, and ftpgate is none."""
    spec = manifests.pod["spec"]
    if [container["name"] for container in spec["containers"]] != ["ftpgate"]:
        yield "ftpgate is not the one container that ends first"
    for container in spec.get("initContainers", []):
        if container.get("restartPolicy") != "Always":
            yield f"{container['name']} is no sidecar: the pod would wait for its end"


def network(manifests):
    """NetworkPolicies let in what the Services lead to."""
    labels, allowed = manifests.pod["metadata"]["labels"], set()
    for policy in manifests.all("NetworkPolicy"):
        if policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items():
            for rule in policy["spec"]["ingress"]:
                for port in rule["ports"]:
                    allowed |= set(range(port["port"], port.get("endPort", port["port"]) + 1))
    if not allowed and manifests.pod["spec"].get("hostNetwork"):
        return
    config = manifests.config
    wanted = set(_declared(manifests).values()) | set(range(*span(config["data"]["ports"]))) | {
        span(config["data"]["ports"])[1]}
    if allowed != wanted:
        yield f"lets {_told(allowed - wanted)} in for nothing, and {_told(wanted - allowed)} not at all"


def unprivileged(manifests):
    """What the level `restricted` of Pod Security asks for, where the namespace enforces it."""
    level = manifests.all("Namespace")[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    spec = manifests.pod["spec"]
    for container in spec["containers"] + spec.get("initContainers", []):
        held = container["securityContext"]
        if held.get("capabilities", {}).get("drop") != ["ALL"] or held.get("allowPrivilegeEscalation", True):
            yield f"{container['name']} keeps privileges"
        if not held.get("readOnlyRootFilesystem"):
            yield f"{container['name']} may write to its image"
        if level == "restricted" and held["capabilities"].get("add"):
            yield f"{container['name']} is given privileges"
    pod = spec["securityContext"]
    if pod.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "there is no seccomp profile"
    if level == "restricted" and (not pod.get("runAsNonRoot") or spec.get("hostNetwork")):
        yield "runs as root, or on the node's network"


def mounts(manifests):
    """Volumes exist; no ConfigMap and no Secret is mounted file by file, which would never be renewed."""
    spec = manifests.pod["spec"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for container in spec["containers"] + spec.get("initContainers", []):
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"{container['name']}: there is no volume {mount['name']}"
            if "subPath" in mount:
                yield f"{container['name']}: {mount['mountPath']} is mounted with subPath"
    named = manifests.config_name
    if named not in manifests.configs or named == "ftpgate":
        yield f"the ConfigMap {named} has no hash of its contents in its name, or is not there"
    certificate = manifests.config.get("tls", {}).get("certificate")
    folders = {mount["mountPath"] for mount in manifests.container()["volumeMounts"]}
    for path in (certificate or {}).values():
        if path.rpartition("/")[0] not in folders:
            yield f"{path} is in no volume"


def images(manifests):
    """Every image has a place and a version of the overlay's."""
    spec = manifests.pod["spec"]
    for container in spec["containers"] + spec.get("initContainers", []):
        place, _, version = container["image"].rpartition(":")
        if "/" not in place or version in ("", "latest"):
            yield f"{container['name']}: the image is {container['image']}"


ALL = (container_ports, probes, service_ports, shared_addresses, advertised, slices, grace, order_of_ends,
       network, unprivileged, mounts, images)
