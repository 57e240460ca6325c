"""Headless Chromium, steered over its debugging pipe: what a page shows, as a reader's browser shows it.

The protocol is JSON between NUL bytes on the descriptors 3 (in) and 4 (out), so that no port is open.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

from process import Failed, wait_until

# Without the flags on the network Chromium looks for updates and for Google's hosts.
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--disable-dev-shm-usage", "--remote-debugging-pipe"]
ANSWER_LIMIT = 20


class Browser:
    """One page in a browser inside a namespace. Use as a context manager."""

    def __init__(self, topology, namespace):
        self.profile = tempfile.mkdtemp(prefix="ftpgate-browser-")
        self._last = 0
        self._buffer = b""
        self._session = None
        self.complaints = []
        inward, self._out = os.pipe()
        self._in, outward = os.pipe()
        # The shell places the descriptors, since Python closes those that it has not opened itself.
        argv = ["bash", "-c", f'exec "$@" 3<&{inward} 4>&{outward}', "bash",
                "ip", "netns", "exec", topology.ns[namespace],
                "chromium", *ARGUMENTS, f"--user-data-dir={self.profile}", "about:blank"]
        self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL, pass_fds=(inward, outward),
                                      start_new_session=True)
        os.close(inward)
        os.close(outward)

    def __enter__(self):
        try:
            target = self._ask("Target.createTarget", url="about:blank")["targetId"]
            self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log"):
                self._ask(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(10)
        os.close(self._out)
        os.close(self._in)
        shutil.rmtree(self.profile, ignore_errors=True)

    def _ask(self, method, **parameters):
        """Sends one command and returns its result. Complaints of the page are kept meanwhile."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + ANSWER_LIMIT
        while True:
            answer = self._receive(deadline, method)
            if answer.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.complaints.append(json.dumps(answer["params"]))
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise Failed(f"{method}: {answer['error']}")
                return answer["result"]

    def _receive(self, deadline, method):
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._in], [], [], left)[0]:
                raise Failed(f"{method}: the browser does not answer")
            piece = os.read(self._in, 1 << 16)
            if not piece:
                raise Failed(f"{method}: the browser has ended (is chromium installed?)")
            self._buffer += piece
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def resize(self, width, height, phone=False):
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=2 if phone else 1, mobile=phone)

    def open(self, url):
        self._ask("Page.navigate", url=url)
        wait_until(lambda: self.run("document.readyState") == "complete", f"{url} does not load", 15)

    def run(self, expression):
        """The value of an expression in the page."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise Failed(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def text(self, selector):
        """What a reader sees of the first element that fits."""
        return self.run(f"document.querySelector({json.dumps(selector)}).innerText")

    def picture(self, path):
        """The visible part of the page as a PNG file."""
        with open(path, "wb") as out:
            out.write(base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"]))
