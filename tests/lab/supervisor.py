"""Acts as systemd does for a service with sockets and a descriptor store: binds the sockets, starts
ftpgate with them (sd_listen_fds(3)), hears what it tells (sd_notify(3)), keeps what it stores, and
starts it again with all of it.

Not here: what must hold meanwhile (`scenarios/handover.py`).
"""

import fcntl
import os
import signal
import socket
import sys
import threading
import time

from gateway import Gateway
from process import Failed, Process, wait_until

# linux/in.h; IPv6 has a number of its own.
IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75
# Where sd_listen_fds(3) begins to count, and where no descriptor of an exec stands in the way.
FIRST, OUT_OF_THE_WAY = 3, 1000
# A service manager's limit of descriptors kept (FileDescriptorStoreMax).
KEPT = 4


class SupervisedGateway(Gateway):
    """Takes the place of a `Gateway` that has ended: the same configuration, another way to start.

    `addresses` are the (host, port) that are bound for it. `keeps`: whether it may store descriptors.
    """

    def __init__(self, gateway, addresses, transparent, keeps=True):
        super().__init__(gateway.topology, gateway.binary, gateway.folder, gateway.settings)
        self.plain = gateway
        self.keeps = keeps
        self.stored = {}               # name: descriptors
        self.told = []                 # the assignments of each message, in order
        with self.topology.inside("gateway"):
            self.sockets = [_listening(address, transparent) for address in addresses]
        self._path = os.path.join(self.folder, "notify")
        self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ear.bind(self._path)
        self._thread = threading.Thread(target=self._hear, daemon=True)
        self._thread.start()

    def start(self):
        """Starts the process with all that is there; returns when it has told that it is ready."""
        self.told = []
        named = [("ftpgate", sock.fileno()) for sock in self.sockets]
        named += [(name, fd) for name, fds in self.stored.items() for fd in fds]
        env = dict(os.environ, RUST_BACKTRACE="1", NOTIFY_SOCKET=self._path,
                   LISTEN_FDS=str(len(named)), LISTEN_FDNAMES=":".join(name for name, _ in named))
        if self.keeps:
            env["FDSTORE"] = str(KEPT)
        fds = [fd for _, fd in named]
        argv = [sys.executable, os.path.abspath(__file__), ",".join(map(str, fds)),
                "ip", "netns", "exec", self.topology.ns["gateway"],
                self.binary, "run", "--config", self.config]
        self.process = Process(argv, self.log, env=env, pass_fds=fds)
        def ready():
            if not self.process.alive():
                raise Failed("ftpgate ended at once\n" + "\n".join(self.process.tail()))
            return self.has_told("READY=1")
        wait_until(ready, "READY=1 has not come", timeout=10)
        return self

    def has_told(self, assignment):
        return any(assignment in message for message in self.told)

    def end(self, how=signal.SIGTERM, timeout=30):
        """Ends the process, keeps everything else. Returns when it told that it would end, or for
        SIGKILL when that was sent, as `time.monotonic`."""
        process, self.process = self.process, None
        os.kill(process.pid, how)
        moment = time.monotonic()
        if how == signal.SIGTERM:
            wait_until(lambda: self.has_told("STOPPING=1"), "STOPPING=1 has not come")
            moment = time.monotonic()
        code = process.popen.wait(timeout)
        process.stop()
        if code != (0 if how == signal.SIGTERM else -how):
            raise Failed(f"the exit code after {how.name} is {code}")
        return moment

    def forget(self):
        """Closes what is stored, as systemd does at the end of a service."""
        for fds in self.stored.values():
            for fd in fds:
                os.close(fd)
        self.stored = {}

    def stop(self):
        """The end of the service and of its sockets."""
        if self.process:
            self.end()
        self.forget()
        for sock in self.sockets:
            sock.close()
        self.sockets = []
        self._ear.close()

    def _hear(self):
        while True:
            try:
                message, fds, _, _ = socket.recv_fds(self._ear, 4096, 16)
            except OSError:
                return
            told = message.decode().split()
            name = next((word.removeprefix("FDNAME=") for word in told if word.startswith("FDNAME=")),
                        "stored")
            if "FDSTOREREMOVE=1" in told:
                for fd in self.stored.pop(name, []):
                    os.close(fd)
            if "FDSTORE=1" in told and self.keeps and "FDPOLL=0" in told:
                self.stored.setdefault(name, []).extend(fds)
            else:
                for fd in fds:
                    os.close(fd)
            self.told.append(told)


def _listening(address, transparent):
    host, port = address
    six = ":" in host
    sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if six:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if transparent:
        level, option = ((socket.IPPROTO_IPV6, IPV6_TRANSPARENT) if six
                         else (socket.IPPROTO_IP, IP_TRANSPARENT))
        sock.setsockopt(level, option, 1)
    sock.bind((host, port))
    sock.listen(1024)
    return sock


def _become(fds, argv):
    """What stands between fork and exec: descriptors from 3 on, and the id of this very process."""
    aside = [fcntl.fcntl(fd, fcntl.F_DUPFD, OUT_OF_THE_WAY) for fd in fds]
    for number, fd in enumerate(aside, FIRST):
        os.dup2(fd, number)
    os.closerange(FIRST + len(fds), OUT_OF_THE_WAY + len(fds) + 64)
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    _become([int(fd) for fd in sys.argv[1].split(",") if fd], sys.argv[2:])
