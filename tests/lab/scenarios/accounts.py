"""What must be true of ftpgate after any run of cells: its metrics, its log, its processes."""

import os

from cells import CELL_BYTES
from clients import CLIENTS
from process import Failed, wait_until
from servers import PASSWORD

# Every metric of the contract to which clear sessions give a value.
METRICS = {
    "build_info", "sessions_active", "sessions_total", "session_seconds", "commands_total",
    "refusals_total", "rewrites_total", "pinholes_open", "pinholes_total", "pinhole_open_seconds",
    "ports_free", "data_connections_active", "data_connections_total", "data_bytes_total",
    "control_protection", "server_connect_seconds",
}

NET_ADMIN = 1 << 12
# CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: the lab's folders are root's.
FILES = 1 << 1 | 1 << 2


def account(lab, cells, passed):
    """`cells` were run through the lab's gateway, of which `passed` are well."""
    gateway, path = lab.gateway, lab.setting.path
    if children := gateway.children():
        raise Failed(f"ftpgate has child processes: {children}")
    # One refusal, so that its counter exists.
    server = next(iter(lab.servers.values()))
    ftp = lab.ftp(server=server, family=4)
    ftp.ask("LPSV", "502")
    ftp.quit()

    wait_until(lambda: gateway.metrics().sum("sessions_active") == 0, "sessions_active is not 0")
    wait_until(lambda: gateway.metrics().sum("data_connections_active") == 0,
               "data_connections_active is not 0", timeout=10)
    metrics = gateway.metrics()
    if lacking := sorted(name for name in METRICS if f"ftpgate_{name}" not in metrics.declared):
        raise Failed(f"/metrics lacks {', '.join(lacking)}")
    if metrics.sum("pinholes_open") != 0:
        raise Failed("pinholes_open is not 0")
    # Taken out a moment after the last session; far sooner than their timeout of 30 s.
    wait_until(lambda: not lab.open_elements(), "elements are left in the table")

    # Upload, download and listing each; clients may list once more on their own account.
    steps = sum(3 if CLIENTS[cell.talk.client].uploads else 2 for cell in passed)
    used = metrics.sum("pinholes_total", path=path, outcome="used")
    ended = metrics.sum("data_connections_total", path=path)
    if len(passed) == len(cells):
        if used < steps:
            raise Failed(f"{used:g} pinholes used, but {steps} transfers made")
        if ended != used:
            raise Failed(f"{ended:g} data connections for {used:g} used pinholes")
    for direction, count in (("download", len(passed)),
                             ("upload", sum(CLIENTS[cell.talk.client].uploads for cell in passed))):
        carried = metrics.sum("data_bytes_total", path=path, direction=direction)
        if not count * CELL_BYTES <= carried <= (count + 1) * 4 * CELL_BYTES + 1e6:
            raise Failed(f"{carried:g} bytes of {direction} for {count} files of {CELL_BYTES}")
    if metrics.sum("rewrites_total") == 0 and (lab.setting.source == "gateway"
                                               or lab.setting.capture == "direct"):
        raise Failed("nothing was rewritten")
    _is_confined(gateway)
    _log_keeps_secrets(gateway)
    if (code := gateway.stop()) != 0:
        raise Failed(f"exit code {code} after SIGTERM")


def _is_confined(gateway):
    """Every thread: another user, the firewall's capability and at most those for files of root's, two filters."""
    tasks = f"/proc/{gateway.process.pid}/task"
    for task in os.listdir(tasks):
        with open(f"{tasks}/{task}/status", encoding="ascii") as text:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in text)
        capabilities = int(status["CapEff"], 16)
        if "0" in status["Uid"].split() or not capabilities & NET_ADMIN \
                or capabilities & ~(NET_ADMIN | FILES) or int(status["CapBnd"], 16) \
                or int(status["CapAmb"], 16) or status["NoNewPrivs"] != "1" or status["Seccomp"] != "2":
            raise Failed(f"a thread is not confined: {status}")
    # What a call that is not on the list fails with.
    if "Function not implemented" in gateway.read_log():
        raise Failed("a system call is missing")


def _log_keeps_secrets(gateway):
    log = gateway.read_log()
    if not log:
        raise Failed("the log is empty")
    for secret in (PASSWORD, "lab@example.org"):
        if secret in log:
            raise Failed("the log holds a password")
