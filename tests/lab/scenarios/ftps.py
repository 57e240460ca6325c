"""FTPS without its end at the gateway: what passes unread, what is refused, and what the owner is told."""

import os

from cells import Setting
from lab import Failed, Lab
from process import wait_until
from scenarios import scenario

SETTINGS = (Setting("tproxy", "gateway", "kernel"), Setting("direct", "gateway", "relay"))

# Seconds for a client whose data connection leads nowhere.
IN_VAIN = 3


def curl(lab, folder, *options):
    """Fetches `file` with curl. Returns (exit code, dialogue, what arrived)."""
    host, port = lab.target(lab.server)
    fetched = os.path.join(folder, "fetched")
    if os.path.exists(fetched):
        os.unlink(fetched)
    code, text = lab.topology.run(
        "client", ["curl", "-sSvk", "-m", str(IN_VAIN), *options, "-o", fetched, "--user",
                   f"{lab.server.user}:{lab.server.password}", f"ftp://{host}:{port}/pub/file"],
        check=False)
    if not os.path.exists(fetched):
        return code, text, None
    with open(fetched, "rb") as got:
        return code, text, got.read()


@scenario("FTPS passes unread and opens nothing", *SETTINGS)
def passthrough(binary, folder, setting):
    with Lab(folder, binary, setting, servers=("pure-ftpd",)) as lab:
        lab.put_file("file", 5000)
        code, text, _ = curl(lab, folder, "--ssl-reqd", "--head")
        if code != 0 or "213 5000" not in text:
            raise Failed(f"curl's session without a transfer: exit code {code}\n{text}")
        for mode in ((), ("--disable-epsv",)):
            code, text, got = curl(lab, folder, "--ssl-reqd", *mode)
            if code == 0 or got:
                raise Failed(f"a data connection came through that nobody opened\n{text}")
        wait_until(lambda: lab.gateway.metrics().sum("sessions_active") == 0, "a session stays")
        metrics = lab.gateway.metrics()
        if opened := metrics.sum("pinholes_total") + metrics.sum("pinholes_open"):
            raise Failed(f"{opened:g} pinholes for what cannot be read")
        told = [line for line in lab.gateway.read_log().splitlines()
                if "the control connection is encrypted" in line and "INFO" in line]
        if len(told) != 3:
            raise Failed(f"{len(told)} lines of log tell of 3 secured sessions")


@scenario("FTPS refused by the gateway", *SETTINGS)
def refused_tls(binary, folder, setting):
    with Lab(folder, binary, setting, servers=("pure-ftpd",), tls={"mode": "refuse"}) as lab:
        lab.put_file("file", 5000)
        code, text, got = curl(lab, folder, "--ssl")
        if code != 0 or len(got or b"") != 5000:
            raise Failed(f"curl --ssl: exit code {code}\n{text}")
        code, text, _ = curl(lab, folder, "--ssl-reqd")
        # CURLE_USE_SSL_FAILED
        if code != 64:
            raise Failed(f"curl --ssl-reqd: exit code {code}, not 64\n{text}")
        if not lab.gateway.metrics().sum("refusals_total", reason="auth_refused"):
            raise Failed("the refusal is not counted")
