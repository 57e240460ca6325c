"""Sessions that are logged in and idle: what each of them costs while transfers run beside them."""

import contextlib
import time

import secured
import world
from gateway import CLEAR_PORT, INTERCEPT_PORT, Gateway, Peers, start_server

# Ahead of the first figure: what is made once, at the first session and the first transfer, is no session's cost.
_WARM_UP = 100
# The processor time of idle sessions is taken over so many seconds.
_IDLE_SECONDS = 10
_NOOPS = 1000
# Transfers beside the idle sessions.
_FILE_BYTES = 1 << 20
_FETCHERS = 4
_FETCH_SECONDS = 5
# More than one source address, as real clients have.
_ADDRESSES = 10


def sources(line):
    """Gives the client's end more addresses; returns the option that names them."""
    addresses = [f"192.0.2.{2 + number}" for number in range(_ADDRESSES)]
    for address in addresses[1:]:
        line.client.run(["ip", "address", "add", f"{address}/24", "dev", "eth0"])
    for namespace in (line.client, line.gateway, line.server):
        # More ports, taken again at once: else a run would wait for ports that nobody uses.
        namespace.run(["sh", "-c", "echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range; "
                       "echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse; echo 4096 > /proc/sys/net/core/somaxconn"])
    return "from=" + ",".join(addresses)


def clear(folder, options, steps):
    """Figures of idle sessions without TLS, for each number of them."""
    print("\n### idle, clear")
    return _held(folder, options, steps, None)


def intercepted(folder, options, steps, version):
    """The same of sessions whose TLS of this version ends at the gateway on both sides."""
    print(f"\n### idle, intercepted, TLS {version}")
    return _held(folder, options, steps, version)


def _held(folder, options, steps, version):
    line = world.Line(folder)
    found = []
    with contextlib.ExitStack() as stack:
        stack.callback(line.stop)
        addresses = sources(line)
        if version:
            secured.make_certificate(folder)
        start_server(line, options.peers, version)
        gateway = Gateway(line, options.ftpgate, intercept=version is not None)
        port = INTERCEPT_PORT if version else CLEAR_PORT
        holder = Peers(line, options.peers, port, addresses, f"tls={version or 'none'}")
        stack.callback(holder.stop)
        fetcher = Peers(line, options.peers, CLEAR_PORT, addresses)
        stack.callback(fetcher.stop)
        # The holder's first sessions, and the fetcher's, are not among those that are counted.
        holder.ask("hold", _WARM_UP)
        holder.ask("noop", _WARM_UP)
        fetcher.ask("fetch", _FILE_BYTES, _FETCHERS, 1)
        gateway.metrics()
        base, descriptors = gateway.settled(), gateway.descriptors()
        print(f"{'sessions':>9} {'KiB each':>9} {'ms to begin':>12} {'idle ms/s':>10} {'NOOP µs':>8} {'p99':>6} "
              f"{'with transfers':>14} {'MB/s':>6} {'scrape ms':>10}")
        for count in steps:
            row = _step(gateway, holder, fetcher, count, base)
            row["descriptors_each"] = (gateway.descriptors() - descriptors) / count
            found.append(row)
            print(f"{count:9} {row['bytes_each'] / 1024:9.2f} {row['begin_ms']:12.3f} {row['idle_ms_per_s']:10.2f} "
                  f"{row['noop_us']:8.0f} {row['noop_p99_us']:6.0f} {row['noop_us_meanwhile']:14.0f} "
                  f"{row['megabytes_per_s']:6.0f} {row['scrape_ms']:10.1f}", flush=True)
    return found


def _step(gateway, holder, fetcher, count, base):
    before = gateway.processor()
    begun = holder.ask("hold", count + _WARM_UP)
    begin = (gateway.processor() - before) / max(begun["begun"], 1)
    resident = gateway.settled()
    before = gateway.processor()
    time.sleep(_IDLE_SECONDS)
    idle = (gateway.processor() - before) / _IDLE_SECONDS
    quiet = holder.ask("noop", _NOOPS)
    before = gateway.processor()
    fetcher.tell("fetch", _FILE_BYTES, _FETCHERS, _FETCH_SECONDS)
    meanwhile = holder.ask("noop", _NOOPS)
    fetched = fetcher.answer()
    return {
        "sessions": count,
        "bytes_each": (resident - base) / count,
        "begin_ms": begin * 1e3,
        "begun_per_s": begun["begun"] / begun["seconds"],
        "idle_ms_per_s": idle * 1e3,
        "noop_us": quiet["median_us"],
        "noop_p99_us": quiet["p99_us"],
        "noop_us_meanwhile": meanwhile["median_us"],
        "noop_p99_us_meanwhile": meanwhile["p99_us"],
        "megabytes_per_s": fetched["bytes"] / fetched["seconds"] / 1e6,
        "scrape_ms": gateway.scrape_seconds() * 1e3,
        "resident_after_transfers": gateway.settled(),
    }
