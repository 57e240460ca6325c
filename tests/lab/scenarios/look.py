"""`deploy/compose.yaml` acted out: what it starts, from the files that it mounts, in one namespace.

The gateway runs in its container; the FTP server and Prometheus are the lab's own, started with the
commands that stand there. Grafana cannot be had: what it is told is only held against its provisioning.
"""

import contextlib
import json
import os
import re
import shutil
import urllib.parse
import urllib.request

from bundle import TOP, Container, image
from lab import Failed, Lab
from process import Process, call, wait_until
from scenarios import scenario
from scenarios.monitoring import PROMETHEUS, RULES
from servers import CACHE, NOBODY

DEPLOY = os.path.join(TOP, "deploy")
COMPOSE = os.path.join(DEPLOY, "compose.yaml")
PYTHON = f"{CACHE}/venv/bin/python"

# All of them are one network, as in a pod.
HOME = "gateway"
ADDRESS = "127.0.0.1"
# Two of prometheus.yml's intervals.
SCRAPED = 30

READ = "import json, sys, ruamel.yaml as yaml; json.dump(yaml.YAML(typ='safe').load(sys.stdin), sys.stdout)"


def services():
    """The services of compose.yaml, which must be valid. Volumes become {path inside: path outside}."""
    call([f"{CACHE}/venv/bin/check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE])
    with open(COMPOSE, "rb") as text:
        found = json.loads(call([PYTHON, "-c", READ], stdin=text.read())[1])["services"]
    for name, service in found.items():
        volumes = [volume.split(":") for volume in service.get("volumes", ())]
        service["mounts"] = {inside: os.path.normpath(os.path.join(DEPLOY, outside))
                             for outside, inside, how in volumes if how == "ro"}
        missing = [path for path in service["mounts"].values() if not os.path.exists(path)]
        held = service["read_only"] is True and service["cap_drop"] == ["ALL"]
        if missing or len(service["mounts"]) != len(volumes) or not held:
            raise Failed(f"{name}: {missing} of {volumes}")
        if name != HOME and service["network_mode"] != f"service:{HOME}":
            raise Failed(f"{name} has a network of its own")
    build = found[HOME]["build"]
    if not os.path.exists(os.path.join(DEPLOY, build["context"], build["dockerfile"])):
        raise Failed(f"there is no {build}")
    return found


class Look:
    """The processes of compose.yaml in the namespace of a lab without servers."""

    def __init__(self, lab, found):
        self.lab = lab
        self.found = found
        self.rooms = os.path.join(lab.folder, "rooms")

    def outside(self, name, word):
        """A word of a command with the path that it names as it is here."""
        for inside, path in self.found[name]["mounts"].items():
            word = word.replace(inside + "/", path + "/")
        for inside in self.found[name]["tmpfs"]:
            room = os.path.join(self.rooms, name)
            os.makedirs(room, exist_ok=True)
            os.chown(room, NOBODY, NOBODY)
            word = re.sub(f"(?<==){re.escape(inside)}$", room, word)
        return word

    def start(self, name, program, words):
        """Starts it as nobody, with no right."""
        argv = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs",
                "--bounding-set=-all", program, *(self.outside(name, word) for word in words)]
        process = Process(argv, os.path.join(self.lab.folder, f"{name}.log"), self.lab.topology.ns[HOME])
        self.lab.processes.append(process)

    def healthy(self, name, run):
        """Waits for the health check of a service; `run` runs its command and returns (code, output)."""
        kind, *command = self.found[name]["healthcheck"]["test"]
        if kind != "CMD":
            raise Failed(f"{name}: the health check wants a shell")
        wait_until(lambda: run(command)[0] == 0, f"{name} is not healthy", timeout=10, step=0.2)

    def here(self, command):
        """Runs a command in the namespace."""
        program = PYTHON if command[0] == "python" else command[0]
        return self.lab.topology.run(HOME, [program, *command[1:]], check=False)

    def curl(self, *words):
        """curl in the namespace, as the head of compose.yaml has it."""
        return self.lab.topology.run(HOME, ["curl", "-sS", "-m", "10", "--user", "look:look", *words])[1]

    def prometheus(self, path, **words):
        url = f"http://{ADDRESS}:9090/api/v1/{path}?{urllib.parse.urlencode(words)}"
        with self.lab.topology.inside(HOME), urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)["data"]


@scenario("compose.yaml acted out: a transfer, the scrape, the alerts, the health checks")
def look(binary, folder):
    del binary
    with Lab(folder, servers=()) as lab, contextlib.ExitStack() as stack:
        found = services()
        published(found)
        provisioned(found["grafana"])
        gateway = found[HOME]
        acted = Look(lab, found)
        container = stack.enter_context(Container(
            image(folder), folder, lab.topology.ns[HOME], mounts=gateway["mounts"], tmpfs=gateway["tmpfs"]))
        python, *words = found["server"]["command"]
        if python != "python":
            raise Failed(f"what is {python}?")
        acted.start("server", PYTHON, words)
        acted.start("prometheus", PROMETHEUS, found["prometheus"]["command"])
        acted.healthy(HOME, lambda command: container.exec(*command))
        acted.healthy("server", acted.here)
        acted.healthy("prometheus", acted.here)
        url = f"ftp://{ADDRESS}:2121/"
        acted.curl("-T", __file__, url)
        with open(__file__, encoding="utf-8") as text:
            if acted.curl(url + os.path.basename(__file__)) != text.read():
                raise Failed("what was stored comes back otherwise")
        wait_until(lambda: scraped(acted), "Prometheus does not see the gateway", timeout=SCRAPED, step=0.5)
        alerts = [rule["name"] for group in acted.prometheus("rules")["groups"] for rule in group["rules"]]
        with open(os.path.join(RULES, "alerts.yml"), encoding="utf-8") as text:
            if len(alerts) != text.read().count("- alert:"):
                raise Failed(f"alerts that are loaded: {alerts}")
        shutil.rmtree(acted.rooms)


def scraped(acted):
    found = acted.prometheus("query", query='up{job="ftpgate"}')["result"]
    return [series["value"][1] for series in found] == ["1"]


def published(found):
    """On this machine alone, and the data ports are those of the gateway's file."""
    ports = [port.rpartition(":") for port in found[HOME]["ports"]]
    with open(found[HOME]["mounts"]["/etc/ftpgate/ftpgate.yaml"], encoding="utf-8") as text:
        pool = re.search(r"(?m)^  ports: (\S+)", text.read())[1]
    if not all(outside == f"{ADDRESS}:{inside}" for outside, _, inside in ports) \
            or {inside for *_, inside in ports} != {"2121", pool, "9090", "3000"}:
        raise Failed(f"published: {ports}, data.ports {pool}")


def provisioned(grafana):
    """Grafana is told every variable that its provisioning names, and the folders are there."""
    told, wanted = grafana["environment"], set()
    provisioning = grafana["mounts"][told["GF_PATHS_PROVISIONING"]]
    for folder, _, files in os.walk(provisioning):
        for name in files:
            with open(os.path.join(folder, name), encoding="utf-8") as text:
                wanted |= set(re.findall(r"\$\{(\w+)\}", text.read()))
    if not wanted or wanted - set(told) or not {"dashboards", "datasources"} <= set(os.listdir(provisioning)):
        raise Failed(f"Grafana is told {sorted(told)} and asked for {sorted(wanted)}")
    if "ftpgate.json" not in os.listdir(grafana["mounts"][told["FTPGATE_DASHBOARDS"]]):
        raise Failed("there is no dashboard")
