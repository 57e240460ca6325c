"""The gateway under load: its configuration, its process, and what is read of it.

Not here: what is done to it (`run.py`).
"""

import json
import os
import subprocess
import time
import urllib.error
from pathlib import Path

import world

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_METRICS = "http://127.0.0.1:9121/metrics"

CLEAR_PORT = 21
INTERCEPT_PORT = 2121

# Every limit is out of the way: what is asked is what sessions cost. A session waits longer than any run takes.
_CONFIG = """
listeners:
  - {{ name: clear, listen: "{gateway}:{clear}", server: "{server}:21" }}
{intercept}
data: {{ path: {path}, ports: 30000-39999 }}
firewall: {{ backend: {backend} }}
limits: {{ sessions: 1000000, sessions_per_client: 1000000, login_timeout: 24h, idle_timeout: 24h }}
telemetry: {{ listen: "127.0.0.1:9121" }}
admin: {{ socket: null }}
{tls}
"""


class Gateway:
    """A running `ftpgate`, alone in the gateway's namespace."""

    def __init__(self, line, program, path="relay", intercept=False, name="gateway"):
        self.line = line
        tls, listener = "", ""
        if intercept:
            listener = (f'  - {{ name: intercept, listen: "{world.GATEWAY_CLIENT_SIDE}:{INTERCEPT_PORT}", '
                        f'server: "{world.SERVER}:21", tls: {{ mode: intercept }} }}')
            tls = "tls:\n  ca: { certificate: ca/ca.crt, key: ca/ca.key }\n  server: { roots: tls.crt }\n"
            if not (line.folder / "ca").exists():
                subprocess.run([program, "ca", "init", "--dir", line.folder / "ca"], check=True,
                               stdout=subprocess.DEVNULL)
        config = line.folder / f"{name}.yaml"
        config.write_text(_CONFIG.format(
            gateway=world.GATEWAY_CLIENT_SIDE, clear=CLEAR_PORT, server=world.SERVER, intercept=listener, path=path,
            backend="none" if path == "relay" else "nftables", tls=tls))
        self.process = line.start(line.gateway, [program, "run", "--config", config], name)
        self.pid = self.process.pid
        world.wait_for_greeting(line.client, world.GATEWAY_CLIENT_SIDE, self.process)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)

    def resident(self):
        """Bytes of memory (VmRSS)."""
        return int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE

    def settled(self, most=20):
        """Bytes of memory, once they no longer change: sessions are told as ended a moment before they are."""
        last = self.resident()
        for _ in range(most):
            time.sleep(0.5)
            now = self.resident()
            if abs(now - last) < 64 * 1024:
                return now
            last = now
        return last

    def processor(self):
        """Seconds of processor time so far, of all threads, in user and kernel mode."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def descriptors(self):
        """Open ones."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def metrics(self):
        """Sums of what `/metrics` says, by name, over all labels."""
        text = self.line.gateway.call(world.fetch, _METRICS)
        sums = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                name = name.partition("{")[0]
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums

    def scrape_seconds(self):
        """How long one scrape takes."""
        started = time.monotonic()
        self.metrics()
        return time.monotonic() - started

    def elements(self):
        """Elements of the sets and maps in the gateway's own table."""
        said = json.loads(self.line.gateway.run(["nft", "-j", "list", "table", "inet", "ftpgate"]))
        kept = [entry.get("set") or entry.get("map") for entry in said["nftables"]]
        return sum(len(one.get("elem", [])) for one in kept if one)


class Peers:
    """One `load_peers client`, told what to do line by line."""

    def __init__(self, line, program, port, *options):
        words = [program, "client", f"{world.GATEWAY_CLIENT_SIDE}:{port}", *options]
        self.process = subprocess.Popen(line.client.command(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)

    def tell(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise world.BenchError("a client has ended: see above")
        return json.loads(line)

    def ask(self, *words):
        self.tell(*words)
        return self.answer()

    def stop(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


def start_server(line, program, version=None):
    """The FTP server; with TLS of this version if one is given."""
    files = [line.folder / "tls.crt", line.folder / "tls.key", version] if version else []
    process = line.start(line.server, [program, "server", f"{world.SERVER}:21", *files], "server")
    time.sleep(0.2)
    return process


def complaint(error):
    """What is told of an error of the bench's own."""
    return error if isinstance(error, (world.BenchError, urllib.error.URLError)) else repr(error)
