"""The manifests of `deploy/kubernetes` as kustomize builds them, and the few questions that are asked of them."""

import copy
import functools
import json
import os
import subprocess
from dataclasses import dataclass

from process import Failed
from servers import CACHE

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDER = os.path.join(TOP, "deploy", "kubernetes")
OVERLAYS = tuple(sorted(os.listdir(os.path.join(FOLDER, "overlays"))))

KUBECTL = os.path.join(CACHE, "kubectl", "kubectl")
if not os.path.exists(KUBECTL):
    KUBECTL = "kubectl"
PYTHON = os.path.join(CACHE, "venv-kubernetes", "bin", "python")
SCHEMAS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kubernetes_schemas.py")

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


@dataclass
class Manifests:
    """What an overlay amounts to. Tests may change `documents` and `configs` in place."""

    documents: list
    configs: dict      # of ftpgate, by the name of the ConfigMap
    problems: list     # what the schemas say

    def all(self, *kinds):
        return [document for document in self.documents if document["kind"] in kinds]

    def one(self, kind, name):
        found = [document for document in self.all(kind) if document["metadata"]["name"] == name]
        if len(found) != 1:
            raise Failed(f"{len(found)} of the kind {kind} are called {name}")
        return found[0]

    @property
    def workload(self):
        """The one document that makes pods."""
        found = self.all(*WORKLOADS)
        if len(found) != 1:
            raise Failed(f"{len(found)} documents make pods")
        return found[0]

    @property
    def pod(self):
        """The template of its pods."""
        return self.workload["spec"]["template"]

    def container(self, name="ftpgate"):
        spec = self.pod["spec"]
        return next(found for found in spec["containers"] + spec.get("initContainers", [])
                    if found["name"] == name)

    @property
    def config_name(self):
        """The ConfigMap that the pods mount at /etc/ftpgate."""
        mount = next(mount for mount in self.container()["volumeMounts"]
                     if mount["mountPath"] == "/etc/ftpgate")
        volume = next(volume for volume in self.pod["spec"]["volumes"] if volume["name"] == mount["name"])
        return volume["configMap"]["name"]

    @property
    def config(self):
        """What ftpgate is told, as a dictionary."""
        return self.configs[self.config_name]

    @property
    def config_text(self):
        return self.one("ConfigMap", self.config_name)["data"]["ftpgate.yaml"]


def build(overlay, versions=()):
    """What `kubectl kustomize` makes of an overlay (a name, or a folder), held against these versions."""
    return parse(_text(os.path.join(FOLDER, "overlays", overlay)), versions)


def parse(text, versions=()):
    return Manifests(**copy.deepcopy(_read(text, versions)))


@functools.cache
def _text(folder):
    built = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, timeout=60, check=False)
    # What it warns of will be an error in a later version.
    if built.returncode or built.stderr:
        raise Failed(f"kubectl kustomize {folder}: {built.stderr.decode()}")
    return built.stdout


@functools.cache
def _read(text, versions):
    read = subprocess.run([PYTHON, SCHEMAS, *versions], input=text, capture_output=True, timeout=120,
                          check=False)
    if read.returncode:
        raise Failed(f"the manifests cannot be read: {read.stderr.decode()}")
    return json.loads(read.stdout)


def span(text):
    """A range of ports A-B as (first, last)."""
    first, last = text.split("-")
    return int(first), int(last)


def slice_of(config, ordinal):
    """The data ports of the replica with this number: those of the whole range without slices."""
    first, last = span(config["data"]["ports"])
    slices = config["data"].get("slices", 1)
    size = (last - first + 1) // slices
    return range(first + ordinal * size, first + (ordinal + 1) * size) if slices > 1 else range(first, last + 1)


def seconds(text):
    """A time of the configuration in seconds."""
    for unit, factor in (("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600)):
        if text.endswith(unit) and text[:-len(unit)].isdigit():
            return int(text[:-len(unit)]) * factor
    raise Failed(f"{text} is no time")
