"""The bench's own corner of the machine: namespaces, links, processes that cannot outlive the run.

`enclose` moves the run into mount and PID namespaces of its own. Whatever the run mounts, names
or starts exists only in there, so the kernel takes all of it away when the run ends, however it ends. Each contender gets a
`Line`: client, gateway and server as three network namespaces, with the same addresses in every line, so
that no contender pays for another one's rules.

Not here: what runs in a gateway (`contenders.py`), what is measured (`measure.py`).
"""

import contextlib
import ctypes
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request
from pathlib import Path

CLIENT = "192.0.2.2"
GATEWAY_CLIENT_SIDE = "192.0.2.1"
GATEWAY_SERVER_SIDE = "198.51.100.1"
SERVER = "198.51.100.2"

_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000
_CLONE_NEWPID = 0x20000000
_PR_SET_PDEATHSIG = 1
# Ahead of what else the machine does; the same for client, server and every contender.
_NICENESS = -10
_libc = ctypes.CDLL(None, use_errno=True)


class BenchError(Exception):
    """Something of the bench, not of a contender's speed, went wrong."""


def enclose(run, seconds, niceness=_NICENESS):
    """Calls `run(scratch)` inside fresh mount and PID namespaces and returns its exit code.

    `scratch` is a folder on a tmpfs. After `seconds` the run is interrupted, and a little later ended by the kernel.
    """
    scratch = Path(tempfile.mkdtemp(prefix="ftpgate-beside-"))
    _checked(_libc.unshare(_CLONE_NEWPID), "unshare (needs root)")
    child = os.fork()
    if child == 0:
        os._exit(_as_process_1(run, scratch, seconds, niceness))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(child, number))
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(seconds + 20)
    _, status = os.waitpid(child, 0)
    # The tmpfs went with its namespace: only the empty mount point is left.
    scratch.rmdir()
    return os.waitstatus_to_exitcode(status)


def _as_process_1(run, scratch, seconds, niceness):
    """Starts the run and reaps, as process 1 must: a server's children end after their parents."""
    child = os.fork()
    if child == 0:
        os._exit(_as_run(run, scratch, seconds, niceness))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(child, number))
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")
    while True:
        pid, status = os.wait()
        if pid == child:
            return max(os.waitstatus_to_exitcode(status), 0) or int(status != 0)


def _as_run(run, scratch, seconds, niceness):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGALRM, _interrupt)
    signal.alarm(seconds)
    try:
        # Only from here on: the parents stay outside, so that nothing keeps the mounts when this process ends.
        _checked(_libc.unshare(_CLONE_NEWNS), "unshare")
        _be_as_nice_as(niceness)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        for command in (
            ["mount", "--make-rprivate", "/"],
            ["mount", "-t", "proc", "proc", "/proc"],
            ["mount", "-t", "tmpfs", "-o", "mode=0755", "beside", str(scratch)],
        ):
            subprocess.run(command, check=True)
        return run(scratch)
    except (BenchError, TimeoutError, subprocess.CalledProcessError) as error:
        print(f"bench: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
    except Exception:  # told here: this process does not return to the interpreter
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 1


def _be_as_nice_as(niceness):
    """Where the scheduler groups by session (sched(7), autogroup), niceness counts only inside the group."""
    os.setpriority(os.PRIO_PROCESS, 0, niceness)
    os.setsid()
    try:
        Path("/proc/self/autogroup").write_text(str(niceness), encoding="ascii")
    except OSError:
        pass  # a kernel without it


def _interrupt(number, _frame):
    what = "time is up" if number == signal.SIGALRM else "ended from outside"
    raise TimeoutError(what)


def _checked(result, what):
    if result != 0:
        raise BenchError(f"{what}: {os.strerror(ctypes.get_errno())}")


class Namespace:
    """One network namespace, held by a bind mount in the scratch folder."""

    def __init__(self, path):
        self.path = path
        path.touch()
        subprocess.run(["unshare", f"--net={path}", "ip", "link", "set", "lo", "up"], check=True)

    def command(self, words):
        """The command that runs `words` in here; nsenter replaces itself, so the process id stays."""
        return ["nsenter", f"--net={self.path}", *map(str, words)]

    def run(self, words, text=None, timeout=20):
        """Runs to the end; raises with what it said on failure. Returns standard output."""
        done = subprocess.run(
            self.command(words), input=text, text=True, capture_output=True, timeout=timeout
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            raise BenchError(f"{' '.join(map(str, words[:3]))} …: {said}")
        return done.stdout

    def call(self, function, *arguments):
        """Calls a Python function whose sockets are then in here: setns(2) moves a single thread."""
        answer = {}

        def body():
            try:
                with open(self.path, "rb") as handle:
                    _checked(_libc.setns(handle.fileno(), _CLONE_NEWNET), "setns")
                answer["value"] = function(*arguments)
            except Exception as error:  # handed to the caller's thread
                answer["error"] = error

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        if "error" in answer:
            raise answer["error"]
        return answer["value"]


class Line:
    """client – gateway – server. The server has no route back to the client's network."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.processes = []
        self.client = Namespace(folder / "client.net")
        self.gateway = Namespace(folder / "gateway.net")
        self.server = Namespace(folder / "server.net")
        self.gateway.run(["ip", "-batch", "-"], text=f"""
link add client0 type veth peer name eth0 netns {self.client.path}
link add server0 type veth peer name eth0 netns {self.server.path}
address add {GATEWAY_CLIENT_SIDE}/24 dev client0
address add {GATEWAY_SERVER_SIDE}/24 dev server0
link set client0 up
link set server0 up
""")
        self.client.run(["ip", "-batch", "-"], text=f"""
address add {CLIENT}/24 dev eth0
link set eth0 up
route add default via {GATEWAY_CLIENT_SIDE}
""")
        self.server.run(["ip", "-batch", "-"], text=f"""
address add {SERVER}/24 dev eth0
link set eth0 up
""")
        self.sysctl("net.ipv4.ip_forward", 1)

    def sysctl(self, key, value):
        """Sets a sysctl of the gateway's network namespace."""
        path = "/proc/sys/" + key.replace(".", "/")
        self.gateway.run(["sh", "-c", f"echo {value} > {path}"])

    def start(self, namespace, words, name):
        """Starts a process that stays; what it says goes to `NAME.log` in the line's folder."""
        with open(self.folder / f"{name}.log", "wb") as log:
            process = subprocess.Popen(
                namespace.command(words), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def log(self, name, lines=15):
        """The end of what a started process said."""
        path = self.folder / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])

    def stop(self):
        """Ends what `start` started, the last first."""
        for process in reversed(self.processes):
            process.terminate()
        for process in reversed(self.processes):
            try:
                process.wait(timeout=3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()


def wait_for_greeting(namespace, address, process, implicit=False, seconds=15):
    """Waits until an FTP greeting comes from `address`, or the process behind it ends, or the time is up."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def greeted():
        with contextlib.ExitStack() as stack:
            control = stack.enter_context(socket.create_connection((address, 21), timeout=1))
            if implicit:
                control = stack.enter_context(context.wrap_socket(control))
            return control.recv(4) == b"220 " or control.recv(1024).startswith(b"220")

    _wait_for(lambda: namespace.call(greeted), process, seconds, f"no FTP greeting from {address}")


def wait_for_http(namespace, url, process, seconds=15):
    """Waits until `url` answers 200."""
    _wait_for(lambda: namespace.call(fetch, url) is not None, process, seconds, f"no answer from {url}")


def fetch(url):
    """The body that `url` answers with; raises OSError otherwise. No proxy settings are looked at."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=2) as answer:
        return answer.read().decode()


def _wait_for(ready, process, seconds, complaint):
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        if process is not None and process.poll() is not None:
            raise BenchError(f"ended with code {process.returncode}")
        try:
            if ready():
                return
        except OSError as error:
            last = error
        time.sleep(0.05)
    raise BenchError(f"{complaint} within {seconds} s ({last})")
