"""The program's own commands: without a file, on a bare machine, with a bad configuration."""

import json
import os
import shutil
import socket

from lab import Failed
from ports import free_block
from process import Process, call, wait_until
from scenarios import scenario
from scripted import PATIENCE, Peers, comma, host_port

# Root without its rights: files are still to be read, but no capability is left.
WEAK = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
HERE = "127.0.0.1"


@scenario("run --listen --server, without a file and without a right")
def no_file(binary, folder):
    os.makedirs(folder)
    port = free_block()[0]
    with socket.create_server((HERE, 0)) as listener, socket.create_server((HERE, 0)) as theirs:
        process = Process([*WEAK, binary, "run", "--listen", f"{HERE}:{port}", "--server",
                           f"{HERE}:{listener.getsockname()[1]}"], os.path.join(folder, "ftpgate.log"))

        def connect():
            return wait_until(lambda: _try(port), "nobody listens", timeout=10)
        try:
            with Peers(connect, listener, login=True) as peers:
                peers.ask("PASV")
                peers.server.send(f"227 ok ({comma(HERE, theirs.getsockname()[1])})")
                address = host_port(peers.client.line())
                peers.exchange("RETR x", "150 here")
                near = peers.data("client", socket.create_connection(address, PATIENCE))
                far = peers.accept(theirs, "server")
                far.send(b"contents")
                far.close()
                if near.read_to_end() != b"contents":
                    raise Failed("the contents differ")
        finally:
            code = process.stop()
    if code != 0:
        raise Failed(f"exit code {code} after SIGTERM")


def _try(port):
    try:
        return socket.create_connection((HERE, port), 1)
    except OSError:
        return None


@scenario("the demo", "root", "ordinary user")
def demo(binary, folder, who):
    os.makedirs(folder)
    # A copy where anybody may read it: the checkout may be closed to others.
    copy = shutil.copy(binary, os.path.join(folder, "ftpgate"))
    os.chmod(copy, 0o755)
    before = sorted(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else []
    _, text = call([*(NOBODY if who != "root" else []), copy, "demo"], timeout=60, cwd="/")
    if "227" not in text:
        raise Failed(f"the demo shows no 227: {text}")
    after = sorted(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else []
    # Other tests of the lab come and go with namespaces of their own.
    if left := [name for name in after if name not in before and not name.startswith("fglab")]:
        raise Failed(f"the demo leaves {left}")


@scenario("clear errors for bad configurations")
def bad_config(binary, folder):
    os.makedirs(folder)
    own, telemetry, *_ = free_block()
    listener = {"name": "a", "listen": f"{HERE}:{own}", "capture": "direct", "server": "127.0.0.1:9"}
    good = {"listeners": [listener], "firewall": {"backend": "none"},
            "telemetry": {"listen": f"{HERE}:{telemetry}"}}
    with socket.create_server((HERE, 0)) as taken:
        port = taken.getsockname()[1]
        busy = good | {"listeners": [listener | {"listen": f"{HERE}:{port}"}]}
        firewall = good | {"firewall": {"backend": "nftables"}, "data": {"path": "kernel"}}
        for name, settings, before, code, words in (
                ("unknown key", good | {"listenrs": []}, [], 2, ["listenrs"]),
                ("range upside down", good | {"data": {"ports": "50999-50000"}}, [], 2, ["ports"]),
                ("two at once", good | {"nonsense": 1, "data": {"ports": "2-1"}}, [], 2,
                 ["nonsense", "ports"]),
                # In passthrough one TLS connection spans both sides.
                ("TLS that starts in two ways",
                 good | {"listeners": [listener | {"tls": {"client_start": "implicit"}}]}, [], 2,
                 ["server_start"]),
                ("blind ports within the pool", good | {"firewall": {"backend": "nftables"}, "data": {
                    "ports": "50000-50999", "blind_ports": "50999-51000"}}, [], 2, ["blind_ports"]),
                ("blind ports without a firewall", good | {"data": {"blind_ports": "60000-60100"}},
                 [], 2, ["blind_ports", "firewall"]),
                ("listener that cannot bind", busy, [], 1, [str(port)]),
                ("no capability", firewall, WEAK, 1, ["CAP_NET_ADMIN"])):
            path = os.path.join(folder, "bad.yaml")
            with open(path, "w", encoding="utf-8") as out:
                json.dump(settings, out)
            got, text = call([*before, binary, "run", "--config", path], timeout=10, check=False)
            if got != code:
                raise Failed(f"{name}: exit code {got}, not {code}: {text}")
            for word in words:
                if word not in text:
                    raise Failed(f"{name}: the message does not name {word}: {text}")
