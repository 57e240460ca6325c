#!/usr/bin/env python3
"""Measures what many sessions cost: memory, processor time, and whether anything grows.

    benches/load/run.py [--quick] [--works idle,intercept,together,short] [--short N] [--ftpgate FILE] [--peers FILE]

Needs root (namespaces). benches/load/README.md says what is measured and how to read it.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "beside"))

import growth
import held
import peers
import plot
import together
import world

# Of the gateway: those it keeps for data connections, its own, and those of the sessions ahead of the first figure and
# of the transfers.
_SPARE_DESCRIPTORS = 700
_WORKS = ("idle", "intercept", "together", "short")
_IMAGES = peers.CRATE / "docs" / "images"
# The run is ended behind this: a million sessions on a busy machine, and all that comes before.
_SECONDS_MOST = 6 * 3600


def main():
    options = _options()
    try:
        if not (options.ftpgate and options.peers):
            built = peers.build(with_ftpgate=True)
            options.ftpgate = options.ftpgate or Path(built["ftpgate"])
            options.peers = options.peers or Path(built["load_peers"])
    except (world.BenchError, OSError) as error:
        print(f"load: {error}", file=sys.stderr)
        return 1
    return world.enclose(lambda scratch: _run(options, scratch), _SECONDS_MOST, options.nice)


def _options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--works", type=lambda text: text.split(","), default=list(_WORKS), help=", ".join(_WORKS))
    parser.add_argument("--short", type=int, default=1_000_000, help="short sessions in all")
    parser.add_argument("--nice", type=int, default=0, help="of all processes of the run")
    parser.add_argument("--ftpgate", type=Path, help="a ready binary, instead of building one")
    parser.add_argument("--peers", type=Path, help="a ready load_peers, instead of building one")
    parser.add_argument("--images", action="store_true", help=f"draw the pictures of {_IMAGES.relative_to(peers.CRATE)}")
    parser.add_argument("--json", type=Path, help="default target/load/DATE.json")
    options = parser.parse_args()
    if unknown := set(options.works) - set(_WORKS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    options.json = options.json or peers.CRATE / "target" / "load" / time.strftime("%Y-%m-%dT%H%M%S.json")
    return options


def _run(options, scratch):
    part = 10 if options.quick else 1
    # Each session has two descriptors in the gateway.
    most = (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_DESCRIPTORS) // 2
    steps = [min(count // part, most) for count in (100, 300, 1000, 3000, 10_000)]
    if steps[-1] < 10_000 // part:
        print(f"load: this process may have no more descriptors than for {most} sessions of one gateway")
    found = {"machine": _machine(options), "load_before": os.getloadavg()}
    if "idle" in options.works:
        found["idle"] = held.clear(scratch / "idle", options, steps)
    if "intercept" in options.works:
        steps = [count // part for count in (100, 300, 1000, 2000)]
        for version in ("1.3", "1.2"):
            found[f"intercept {version}"] = held.intercepted(scratch / f"tls{version}", options, steps, version)
    if "together" in options.works:
        found["together"] = together.together(scratch / "together", options, most, part)
    if "short" in options.works:
        # Each pinhole of the kernel path is an element; on the relay path there are none.
        in_kernel = options.short // part // 10
        found["short relay"] = growth.short(scratch / "relay", options, "relay", options.short // part - in_kernel)
        found["short kernel"] = growth.short(scratch / "kernel", options, "kernel", in_kernel)
    found["load_after"] = os.getloadavg()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=1))
    print(f"\nall figures: {options.json}")
    if options.images:
        plot.draw(found, _IMAGES)
    return 0


def _machine(options):
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=peers.CRATE, text=True, capture_output=True)
    return {
        "kernel": platform.release(), "processors": os.cpu_count(), "commit": commit.stdout.strip(),
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "date": time.strftime("%Y-%m-%d"),
        "binary": os.path.getsize(options.ftpgate),
    }


if __name__ == "__main__":
    sys.exit(main())
