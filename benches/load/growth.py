"""Short sessions, very many of them: does anything grow?"""

import contextlib
import time

import world
from gateway import CLEAR_PORT, Gateway, Peers, start_server
from held import sources

# Client processes, and sessions of each at a time.
_CLIENTS = 2
_AT_A_TIME = 16
# Every so many-th session fetches a small file.
_FETCH_EVERY = 5
# Between two looks at the gateway.
_SAMPLES = 20
# The first part is not in the slope: what is made once grows in it.
_WARM_UP_SHARE = 0.2
# What a path is left with: connections that are closed and not forgotten by conntrack yet.
_SETTLE_SECONDS = 60


def short(folder, options, path, count):
    """Runs `count` sessions on this data path; returns what was seen of the gateway on the way."""
    print(f"\n### short sessions, data.path {path}")
    line = world.Line(folder)
    with contextlib.ExitStack() as stack:
        stack.callback(line.stop)
        addresses = sources(line)
        if path == "kernel":
            # Its default of two minutes would fill conntrack's table with what is over.
            for state in ("time_wait", "close", "fin_wait", "last_ack", "close_wait"):
                line.sysctl(f"net.netfilter.nf_conntrack_tcp_timeout_{state}", 1)
        start_server(line, options.peers)
        gateway = Gateway(line, options.ftpgate, path=path)
        clients = [Peers(line, options.peers, CLEAR_PORT, addresses, f"parallel={_AT_A_TIME}") for _ in range(_CLIENTS)]
        for client in clients:
            stack.callback(client.stop)
        started, samples, done, failed = time.monotonic(), [], 0, 0
        print(f"{'sessions':>9} {'per s':>6} {'MiB':>7} {'fds':>5} {'sessions now':>12} {'ports free':>10} "
              f"{'pinholes':>8} {'elements':>8} {'CPU ms each':>11}")
        # What is left over goes ahead of the first look.
        each = count // _SAMPLES // _CLIENTS
        for _ in range(_SAMPLES):
            before = time.monotonic()
            for client in clients:
                client.tell("short", each, _FETCH_EVERY)
            for client in clients:
                failed += _all(client, each)
            done += each * _CLIENTS
            rate = each * _CLIENTS / (time.monotonic() - before)
            samples.append(_look(gateway, done, rate, path))
        end = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < end and not _is_at_rest(samples[-1]):
            time.sleep(5)
            samples[-1] = _look(gateway, done, samples[-1]["per_s"], path)
    seconds = time.monotonic() - started
    slope = _slope(samples)
    print(f"{done} sessions in {seconds:.0f} s, {failed} failed; behind the first {_WARM_UP_SHARE:.0%} memory grew by "
          f"{slope:.3f} bytes a session")
    return {"sessions": done, "failed": failed, "seconds": seconds, "bytes_per_session": slope, "samples": samples}


def _all(client, count):
    """Waits until the client is through; returns how many of its sessions failed."""
    while True:
        told = client.answer()
        if told["done"] >= count:
            return told["failed"]


def _look(gateway, done, rate, path):
    time.sleep(0.5)
    metrics = gateway.metrics()
    sample = {
        "sessions": done, "per_s": rate, "bytes": gateway.resident(), "descriptors": gateway.descriptors(),
        "active": metrics["ftpgate_sessions_active"], "ports_free": metrics["ftpgate_ports_free"],
        "pinholes": metrics["ftpgate_pinholes_open"], "data": metrics["ftpgate_data_connections_active"],
        "elements": gateway.elements() if path == "kernel" else 0, "processor": gateway.processor(),
    }
    print(f"{done:9} {rate:6.0f} {sample['bytes'] / 2**20:7.2f} {sample['descriptors']:5} {sample['active']:12.0f} "
          f"{sample['ports_free']:10.0f} {sample['pinholes']:8.0f} {sample['elements']:8} "
          f"{sample['processor'] / done * 1e3:11.3f}", flush=True)
    return sample


def _is_at_rest(sample):
    return not (sample["active"] or sample["pinholes"] or sample["data"] or sample["elements"])


def _slope(samples):
    """Bytes a session: the line of least squares through the samples behind the warm-up."""
    kept = [(sample["sessions"], sample["bytes"]) for sample in samples]
    kept = kept[int(len(kept) * _WARM_UP_SHARE):]
    middle_x = sum(x for x, _ in kept) / len(kept)
    middle_y = sum(y for _, y in kept) / len(kept)
    spread = sum((x - middle_x) ** 2 for x, _ in kept)
    return sum((x - middle_x) * (y - middle_y) for x, y in kept) / spread if spread else 0.0
