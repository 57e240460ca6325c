"""The manifests of deploy/kubernetes by themselves: they build, fit Kubernetes' schemas, and fit together."""

import os

import manifests
from lab import Failed
from manifest_checks import findings
from process import call
from scenarios import scenario

# The oldest that knows `preStop.sleep` without a feature gate, and the newest that there are schemas of.
VERSIONS = ("1.30.0", "1.37.0")



@scenario("the manifests build, fit Kubernetes' schemas, and fit together", *manifests.OVERLAYS)
def sound(binary, folder, overlay):
    built = manifests.build(overlay, VERSIONS)
    wrong = built.problems + findings(built)
    if wrong:
        raise Failed("\n".join(wrong))
    os.makedirs(folder)
    path = os.path.join(folder, "ftpgate.yaml")
    with open(path, "w", encoding="utf-8") as out:
        out.write(built.config_text)
    code, text = call([binary, "check", "--config", path], check=False)
    if code != 0:
        raise Failed(f"ftpgate check: {text}")


@scenario("ports.sh writes what the Service of the base has")
def ports(binary, folder):
    del binary, folder
    with open(os.path.join(manifests.FOLDER, "base", "service.yaml"), encoding="utf-8") as text:
        service = text.read()
    written = call([os.path.join(manifests.FOLDER, "ports.sh"), "50000", "50019"])[1]
    if not service.endswith(written) or len(written.splitlines()) != 20:
        raise Failed(f"the Service does not end in {written}")


@scenario("the monitor of Prometheus' operator finds the pods", "sidecar", "replicas", "gateway")
def monitor(binary, folder, overlay):
    del binary
    os.makedirs(folder)
    deployed = os.path.relpath(manifests.FOLDER, folder)
    with open(os.path.join(folder, "kustomization.yaml"), "w", encoding="utf-8") as out:
        out.write("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
                  f"resources: [{deployed}/overlays/{overlay}]\n"
                  f"components: [{deployed}/components/prometheus-operator]\n")
    built = manifests.build(folder, VERSIONS)
    asked = built.one("PodMonitor", "ftpgate")["spec"]
    wanted = asked["selector"]["matchExpressions"][0]
    if built.pod["metadata"]["labels"].get(wanted["key"]) not in wanted["values"]:
        raise Failed(f"{wanted} does not select {built.pod['metadata']['labels']}")
    ports = {port["name"] for port in built.container()["ports"]}
    if asked["podMetricsEndpoints"][0]["port"] not in ports:
        raise Failed(f"there is no port of that name: {ports}")




# What is done to sound manifests, and the check that has to notice.
MUTATIONS = (
    ("sidecar", "service_ports", lambda built: built.one("Service", "ftp")["spec"]["ports"].pop()),
    ("sidecar", "service_ports", lambda built: built.one("Service", "ftp")["spec"]["ports"][3].update(
        targetPort=50000)),
    ("sidecar", "service_ports", lambda built: built.one("Service", "ftp")["spec"]["ports"][0].update(
        targetPort="control")),
    ("sidecar", "service_ports", lambda built: built.config["data"].update(ports="50000-50020")),
    ("sidecar", "network", lambda built: built.config["data"].update(ports="50000-50020")),
    ("sidecar", "shared_addresses", lambda built: built.one("Service", "ftp")["spec"].update(
        externalTrafficPolicy="Cluster")),
    ("sidecar", "advertised", lambda built: built.config["listeners"][0].update(
        advertise={"client": "203.0.113.99"})),
    ("sidecar", "slices", lambda built: built.workload["spec"].update(replicas=2)),
    ("sidecar", "grace", lambda built: built.pod["spec"].update(terminationGracePeriodSeconds=300)),
    ("sidecar", "probes", lambda built: built.config["telemetry"].update(listen="0.0.0.0:9122")),
    ("sidecar", "probes", lambda built: built.config["telemetry"].update(listen="127.0.0.1:9121")),
    ("sidecar", "container_ports", lambda built: built.config["listeners"][0].update(listen="0.0.0.0:2122")),
    ("sidecar", "order_of_ends", lambda built: built.pod["spec"]["containers"].append(
        built.pod["spec"]["initContainers"].pop())),
    ("sidecar", "unprivileged", lambda built: built.container("server")["securityContext"].update(
        capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]})),
    ("sidecar", "mounts", lambda built: built.pod["spec"]["volumes"].pop()),
    ("sidecar", "images", lambda built: built.container().update(image="ftpgate")),
    ("sidecar-offload", "mounts", lambda built: built.config["tls"]["certificate"].update(key="/etc/tls.key")),
    ("sidecar-offload", "network", lambda built: built.one("NetworkPolicy", "ftp")["spec"]["ingress"][0][
        "ports"].pop()),
    ("replicas", "slices", lambda built: built.config["data"].update(slices=2)),
    ("replicas", "service_ports", lambda built: built.config["data"].update(slices=2)),
    ("replicas", "service_ports", lambda built: built.one("Service", "ftp-data-2")["spec"]["selector"].update(
        {"statefulset.kubernetes.io/pod-name": "ftpgate-1"})),
    ("replicas", "shared_addresses", lambda built: built.one("Service", "ftp-data-0")["spec"].pop(
        "publishNotReadyAddresses")),
    ("replicas", "shared_addresses", lambda built: built.one("Service", "ftp-data-0")["metadata"][
        "annotations"].pop("metallb.io/allow-shared-ip")),
    ("replicas", "grace", lambda built: built.container()["lifecycle"]["preStop"]["sleep"].update(seconds=30)),
    ("gateway", "grace", lambda built: built.config["limits"].update(drain_timeout="5m")),
)


@scenario("manifests that do not fit together are noticed")
def noticed(binary, folder):
    del binary, folder
    for number, (overlay, check, change) in enumerate(MUTATIONS):
        built = manifests.build(overlay)
        change(built)
        if not any(line.startswith(f"{check}: ") for line in findings(built)):
            raise Failed(f"change {number} of {overlay}: {check} does not notice; others: {findings(built)}")
    text = b"apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 21, tagetPort: 2121}]}\n"
    if len(manifests.parse(text, VERSIONS).problems) != len(VERSIONS):
        raise Failed("a field that Kubernetes does not know is not noticed")
