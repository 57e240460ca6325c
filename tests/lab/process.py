"""Child processes that always end: each is started in its own process group and ended by its id."""

import atexit
import os
import signal
import subprocess
import threading
import time

_running = set()
_lock = threading.Lock()


class Failed(Exception):
    """Something in the lab did not do what it should; the text says what."""


class Process:
    """A daemon of the lab: started at once, its output goes to a file, ended by `stop`."""

    def __init__(self, argv, log, namespace=None, env=None, cwd=None, pass_fds=()):
        if namespace:
            argv = ["ip", "netns", "exec", namespace, *argv]
        self.log = log
        self._out = open(log, "ab")
        self.popen = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._out,
            env=env, cwd=cwd, pass_fds=pass_fds, start_new_session=True)
        with _lock:
            _running.add(self)

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def kill(self):
        """SIGKILL, for the process alone: what a crash looks like."""
        self.popen.kill()
        self.popen.wait(10)

    def stop(self, grace=5.0):
        """SIGTERM, then SIGKILL to the process group. Returns the exit code."""
        with _lock:
            _running.discard(self)
        if self.alive():
            self.popen.terminate()
            try:
                self.popen.wait(grace)
            except subprocess.TimeoutExpired:
                pass
        # Servers fork a process a session; the group holds them all. The leader is not reaped
        # before this when it still runs, so that the group's number cannot belong to another.
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        code = self.popen.wait(10)
        self._out.close()
        return code

    def tail(self, lines=30):
        with open(self.log, "rb") as text:
            return text.read().decode("utf-8", "replace").splitlines()[-lines:]


def stop_all():
    """Ends every process that still runs: also on failure and Ctrl-C."""
    with _lock:
        left = list(_running)
    for process in left:
        process.stop(grace=1.0)


atexit.register(stop_all)


def call(argv, timeout=60, stdin=None, check=True, env=None, cwd=None):
    """Runs one command to its end. Returns (exit code, output with errors mixed in)."""
    popen = subprocess.Popen(
        argv, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, cwd=cwd, start_new_session=True)
    try:
        out, _ = popen.communicate(stdin, timeout)
    except subprocess.TimeoutExpired:
        os.killpg(popen.pid, signal.SIGKILL)
        out, _ = popen.communicate()
        text = out.decode("utf-8", "replace")
        raise Failed(f"{argv[0]}: still running after {timeout} s\n{text}") from None
    text = out.decode("utf-8", "replace")
    if check and popen.returncode != 0:
        raise Failed(f"{' '.join(argv)}: exit code {popen.returncode}\n{text}")
    return popen.returncode, text


def wait_until(condition, what, timeout=5.0, step=0.02):
    """Waits for `condition()` to be true and returns its value; raises `Failed` when it never is."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed(f"waited {timeout:g} s in vain: {what}")
        time.sleep(step)
