#!/usr/bin/env python3
"""Measures ftpgate beside the other ways of getting FTP across a NAT gateway, all in one interleaved run.

    benches/beside/run.py [--quick] [--rounds N] [--only NAME,…] [--works NAME,…] [--profile]

Needs root (namespaces). Installs what it misses with apt. Only the ratios within a run mean anything: absolute
figures move with the machine. benches/README.md says what is measured and how to read it.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path

import contenders
import measure
import peers
import report
import secured
import world
from world import BenchError

# The whole of a default run, building aside, is held under this.
_SECONDS_MOST = 480
_QUICK_SECONDS_MOST = 90
# Sparse: read as zero pages, so it costs no memory, and never ends within a sample.
_LARGE_FILE_BYTES = 64 << 30


def main():
    options = _options()
    if not options.only:
        options.only = list(contenders.TITLES)
    try:
        peers.install_missing()
        binaries = _binaries(options)
    except (BenchError, OSError) as error:
        print(f"beside: {error}", file=sys.stderr)
        return 1
    limit = _QUICK_SECONDS_MOST if options.quick else _SECONDS_MOST
    limit = max(limit, 60 * options.rounds)
    return world.enclose(lambda scratch: _run(options, binaries, scratch), limit)


def _options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2 rounds of short samples, under 90 s")
    parser.add_argument("--rounds", type=int, help="default 5")
    parser.add_argument("--only", type=_names(contenders.TITLES), help=", ".join(contenders.TITLES))
    parser.add_argument("--works", type=_names(work.name for work in measure.WORKS),
                        help=", ".join(work.name for work in measure.WORKS))
    parser.add_argument("--cipher", choices=secured.CIPHERS, default=secured.CIPHERS[0])
    parser.add_argument("--idle", type=int, default=1000, help="idle sessions with TLS; 0: none")
    parser.add_argument("--json", type=Path, help="default target/beside/DATE.json")
    parser.add_argument("--ftpgate", type=Path, help="a ready binary, instead of building one")
    parser.add_argument("--client", type=Path, help="a ready beside_client, instead of building one")
    parser.add_argument("--profile", action="store_true", help="one more round under perf, one report per sample")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.json = options.json or peers.CRATE / "target" / "beside" / time.strftime("%Y-%m-%dT%H%M%S.json")
    return options


def _names(known):
    known = list(known)

    def parse(text):
        names = text.split(",")
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
        return names

    return parse


def _binaries(options):
    """Paths of `ftpgate` (None if no contender needs it), `beside_client` and, if it exists, `pinhole_open`."""
    wanted = any(map(contenders.is_ftpgate, options.only))
    given = {"ftpgate": options.ftpgate, "beside_client": options.client}
    if options.client and (options.ftpgate or not wanted):
        return {name: path and str(path.resolve()) for name, path in given.items()}
    built = peers.build(wanted and not options.ftpgate)
    return {**built, **{name: str(path.resolve()) for name, path in given.items() if path}}


def _run(options, binaries, scratch):
    start = time.monotonic()
    data = scratch / "data"
    data.mkdir()
    with open(data / "big", "wb") as big:
        big.truncate(_LARGE_FILE_BYTES)
    (data / "small").write_bytes(bytes(1024))
    lined_up = [contenders.set_up(name, scratch, binaries.get("ftpgate"), options.cipher) for name in options.only]
    running = [contender for contender in lined_up if not contender.failure]
    for contender in lined_up:
        if contender.failure:
            print(f"beside: {contender.title} does not run: {contender.failure}", file=sys.stderr)
    works = [work for work in measure.WORKS if not options.works or work.name in options.works]
    errors = []
    try:
        for number in range(options.rounds):
            for work in works:
                _round(number, work, running, options, binaries["beside_client"], errors)
            print(f"round {number + 1} of {options.rounds}: {time.monotonic() - start:.0f} s", file=sys.stderr)
        results = report.target_results(works, lined_up)
        pinholes = _pinholes(running)
        resumed = _resumed(running)
        idle = _idle(running, options, binaries["beside_client"], errors)
        _print_tables(works, lined_up, results, pinholes, resumed, idle, errors)
        _pinhole_bench(binaries, scratch)
        if options.profile:
            _profile(running, works, binaries["beside_client"], options.json.parent)
    finally:
        for contender in lined_up:
            contender.line.stop()
    _save(options, works, lined_up, results, pinholes, resumed, idle, errors)
    print(f"\n{time.monotonic() - start:.0f} s; all samples in {options.json}")
    return 1 if errors or len(running) < len(lined_up) else 0


def _round(number, work, running, options, client, errors):
    """One sample of each contender; the first one moves on with every round, so that no place is always the same's."""
    seconds = work.quick_seconds if options.quick else work.seconds
    turn = number % max(len(running), 1)
    for contender in running[turn:] + running[:turn]:
        try:
            sample = measure.take(contender, work, seconds, client)
            contender.samples.setdefault(work.name, {})[number] = sample
        except BenchError as error:
            errors.append(f"{contender.title}, {work.title}, round {number + 1}: {error}")
            print(f"beside: {errors[-1]}", file=sys.stderr)


def _pinholes(running):
    """What ftpgate says of its pinholes, and how many processes it started."""
    figures = []
    for contender in running:
        if not contender.is_ftpgate or contender.process.poll() is not None:
            continue
        text = contender.line.gateway.call(world.fetch, contenders.METRICS)
        buckets = measure.histogram(text, "ftpgate_pinhole_open_seconds")
        alive, waited = measure.child_processes(contender.process)
        children = "none" if not alive and not waited else f"{alive} alive{', more ended' if waited else ''}"
        count = buckets[-1][1] if buckets else 0
        figures.append((contender.title, count, measure.median_of_histogram(buckets), children))
    return figures


def _resumed(running):
    """What ftpgate says of the handshakes on its data connections."""
    figures = []
    for contender in running:
        if contender.is_ftpgate and contender.tls and contender.process.poll() is None:
            text = contender.line.gateway.call(world.fetch, contenders.METRICS)
            shares = {side: measure.resumed_share(text, side) for side in ("client", "server")}
            figures.append((contender.title, shares))
    return figures


def _idle(running, options, client, errors):
    """What a session costs that only waits, of the contenders with TLS."""
    figures = []
    for contender in running:
        # A process for each session takes as long as ten sessions of the others.
        many = options.idle // 10 if contender.name == "mod_proxy-tls" else options.idle
        if not contender.tls or many < 20:
            continue
        try:
            size = measure.memory_of_idle(contender, client, 10, many)
            figures.append((contender.title, contender.is_ftpgate, size))
        except (BenchError, OSError, ValueError, subprocess.TimeoutExpired) as error:
            errors.append(f"{contender.title}, idle sessions: {error}")
            print(f"beside: {errors[-1]}", file=sys.stderr)
    return figures


def _print_tables(works, lined_up, results, pinholes, resumed, idle, errors):
    for work in works:
        print("", *report.work_table(work, lined_up), sep="\n")
    if results:
        print("", "### targets", "", *report.target_table(works, results), sep="\n")
    if pinholes:
        print("", "### pinholes, by ftpgate's own histogram", "", *report.pinhole_lines(pinholes), sep="\n")
    if resumed:
        print("", "### TLS of data connections, by ftpgate's own count", "", *report.resumed_lines(resumed), sep="\n")
    if idle:
        print("", "### memory", "", *report.idle_lines(idle), sep="\n")
    if errors:
        print(f"\n{len(errors)} samples failed, as told above and in the JSON.")
    sys.stdout.flush()


def _pinhole_bench(binaries, scratch):
    """The bench of the firewall module by itself, in a namespace where nothing else happens."""
    if not binaries.get("pinhole_open"):
        return
    alone = world.Namespace(scratch / "alone.net")
    try:
        told = alone.run([binaries["pinhole_open"], "--bench"], timeout=60)
        print("\n### pinholes, by benches/pinhole_open.rs\n", told.strip(), sep="\n")
    except (BenchError, subprocess.TimeoutExpired) as error:
        print(f"\npinhole_open: {error}")


def _profile(running, works, client, folder):
    """Each work once more for ftpgate alone, with the whole machine sampled: the kernel path is the kernel's work."""
    for contender in (contender for contender in running if contender.is_ftpgate):
        for work in works:
            data = folder / f"{contender.name}-{work.name}.perf"
            data.parent.mkdir(parents=True, exist_ok=True)
            perf = subprocess.Popen(["perf", "record", "-q", "-a", "-g", "-F", "499", "-o", str(data), "sleep", "60"],
                                    stdin=subprocess.DEVNULL)
            try:
                time.sleep(0.3)
                measure.take(contender, work, work.seconds, client)
            except BenchError as error:
                print(f"beside: profile of {contender.title}, {work.title}: {error}", file=sys.stderr)
            finally:
                perf.terminate()
                perf.wait()
            print(f"profile: perf report -i {data}")


def _save(options, works, lined_up, results, pinholes, resumed, idle, errors):
    path = options.json
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({
        "taken": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "kernel": platform.release(),
        "cipher": options.cipher,
        "works": {work.name: {"title": work.title, "unit": work.unit, "cost_unit": work.cost_unit} for work in works},
        "contenders": {
            contender.name: {
                "title": contender.title,
                "failure": contender.failure,
                "samples": {
                    work: {n + 1: {"value": s.value, "cost": s.cost, "client": s.raw} for n, s in taken.items()}
                    for work, taken in contender.samples.items()
                },
            }
            for contender in lined_up
        },
        "targets": [
            {"work": t.work, "contender": t.contender, "against": t.peer, "bound": t.bound, "ratio": ratio, "met": met}
            for t, ratio, met in results
        ],
        "pinholes": [
            {"contender": title, "opened": count, "median_seconds": middle, "children": children}
            for title, count, middle, children in pinholes
        ],
        "resumed": [{"contender": title, **shares} for title, shares in resumed],
        "idle": [{"contender": title, "bytes": size} for title, _, size in idle],
        "errors": errors,
    }, indent=1), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
