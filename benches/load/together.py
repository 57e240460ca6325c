"""Ten thousand sessions in the clear and two thousand intercepted ones at the same time, with transfers beside them.

A session has two descriptors in its gateway. Where the hard limit of a process is too small for all of them, they
are spread evenly over as many gateways as it takes, each a process and a line of its own on the same machine.
"""

import contextlib
import dataclasses
import math

import secured
import world
from gateway import CLEAR_PORT, INTERCEPT_PORT, Gateway, Peers, start_server
from held import sources

_CLEAR = 10_000
_INTERCEPTED = 2000
_VERSION = "1.3"
_WARM_UP = 100
_NOOPS = 1000
_FILE_BYTES = 1 << 20
_FETCHERS = 4
_FETCH_SECONDS = 20


@dataclasses.dataclass
class _Part:
    """One gateway with all that talks through it."""

    gateway: Gateway
    clear: Peers
    secure: Peers
    fetcher: Peers
    base: int = 0


def together(folder, options, most, part):
    """Figures of all gateways together. `most` sessions fit into one of them; only one of `part` sessions is made."""
    clear, intercepted = _CLEAR // part, _INTERCEPTED // part
    count = math.ceil((clear + intercepted) / most)
    each_clear, each_intercepted = math.ceil(clear / count), math.ceil(intercepted / count)
    print(f"\n### at the same time: {each_clear * count} in the clear, {each_intercepted * count} intercepted "
          f"(TLS {_VERSION}), gateways: {count}")
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        parts = [_begin(stack, folder / f"gateway{number}", options) for number in range(count)]
        for one in parts:
            one.clear.ask("hold", each_clear + _WARM_UP)
            one.secure.ask("hold", each_intercepted + _WARM_UP)
        resident = sum(one.gateway.settled() for one in parts)
        active = sum(one.gateway.metrics()["ftpgate_sessions_active"] for one in parts)
        quiet = [(one.clear.ask("noop", _NOOPS), one.secure.ask("noop", _NOOPS)) for one in parts]
        for one in parts:
            one.fetcher.tell("fetch", _FILE_BYTES, _FETCHERS, _FETCH_SECONDS)
        meanwhile = [(one.clear.ask("noop", _NOOPS), one.secure.ask("noop", _NOOPS)) for one in parts]
        fetched = [one.fetcher.answer() for one in parts]
        after = sum(one.gateway.metrics()["ftpgate_sessions_active"] for one in parts)
    found = {
        "gateways": count, "clear": each_clear * count, "intercepted": each_intercepted * count,
        "active": active, "active_after_transfers": after,
        "resident": resident, "grown": resident - sum(one.base for one in parts),
        "megabytes_per_s": sum(answer["bytes"] / answer["seconds"] for answer in fetched) / 1e6,
        "noop_us": _worst(quiet, "median_us"), "noop_p99_us": _worst(quiet, "p99_us"),
        "noop_us_meanwhile": _worst(meanwhile, "median_us"), "noop_p99_us_meanwhile": _worst(meanwhile, "p99_us"),
    }
    print(f"sessions that the gateways count: {active:.0f}, and {after:.0f} behind the transfers")
    print(f"memory of all gateways: {resident / 2**20:.1f} MiB, of it {found['grown'] / 2**20:.1f} for these sessions")
    print(f"transfers: {found['megabytes_per_s']:.0f} MB/s, {sum(answer['files'] for answer in fetched)} files of 1 MiB")
    print(f"NOOP in the slowest of {2 * count} groups: {found['noop_us']:.0f} µs (p99 {found['noop_p99_us']:.0f}), with "
          f"transfers {found['noop_us_meanwhile']:.0f} µs (p99 {found['noop_p99_us_meanwhile']:.0f})")
    return found


def _begin(stack, folder, options):
    line = world.Line(folder)
    stack.callback(line.stop)
    addresses = sources(line)
    secured.make_certificate(folder)
    start_server(line, options.peers, _VERSION)
    gateway = Gateway(line, options.ftpgate, intercept=True)
    clients = []
    for port, version in ((CLEAR_PORT, "none"), (INTERCEPT_PORT, _VERSION), (CLEAR_PORT, "none")):
        client = Peers(line, options.peers, port, addresses, f"tls={version}")
        stack.callback(client.stop)
        clients.append(client)
    begun = _Part(gateway, *clients)
    # What is made once, at the first sessions and the first transfers, is no session's cost.
    begun.clear.ask("hold", _WARM_UP)
    begun.secure.ask("hold", _WARM_UP)
    begun.fetcher.ask("fetch", _FILE_BYTES, _FETCHERS, 1)
    begun.base = gateway.settled()
    return begun


def _worst(pairs, figure):
    return max(answer[figure] for pair in pairs for answer in pair)
