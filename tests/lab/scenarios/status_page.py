"""The status page, in a browser, while sessions are at work."""

import os

from browser import Browser
from cells import Setting
from gateway import TELEMETRY_PORT
from lab import Failed, Lab
from process import wait_until
from scenarios import scenario
from scenarios.lifecycle import LARGE, begin_download

URL = f"http://127.0.0.1:{TELEMETRY_PORT}/"
WIDTH = {"desk": 1200, "phone": 390}


def figure(page, name):
    """The number under this heading."""
    return page.run("Object.fromEntries([...document.querySelectorAll('#figures div')].map("
                    "(d) => [d.children[0].textContent, d.children[1].textContent]))")[name]


def shows(page, selector, *words):
    """Waits until the page shows all of the words, without being loaded again."""
    wait_until(lambda: all(word in page.text(selector) for word in words),
               f"{selector} does not show {words}", timeout=10, step=0.1)


@scenario("the status page shows sessions, pinholes and refusals as they come and go")
def live(binary, folder):
    with Lab(folder, binary, Setting("tproxy", "gateway", "relay")) as lab:
        lab.put_file("large", LARGE)
        with Browser(lab.topology, "gateway") as page:
            page.resize(WIDTH["desk"], 720)
            page.open(URL)
            shows(page, "#state", "ready")
            shows(page, "#sessions", "No sessions.")
            shows(page, "#pinholes", "No pinhole is open.")
            ftp, data, _ = begin_download(lab, "EPSV")
            other = lab.ftp("PASV")
            other.makepasv()
            refused = lab.ftp("PORT")
            refused.ask("PORT 192,0,2,99,200,1", "501")
            client = "{}:{}".format(*ftp.sock.getsockname()[:2])
            shows(page, "#sessions", client, "RETR, passive, relay", "clear", "out-v4")
            shows(page, "#pinholes", "192.0.2.2", "passive", "relay")
            shows(page, "#refusals", "third party address")
            if (found := [figure(page, name) for name in ("sessions", "data connections",
                                                          "pinholes open", "refusals")]) != list("3111"):
                raise Failed(f"sessions, data connections, pinholes, refusals: {found}")
            page.picture(os.path.join(folder, "status-page.png"))
            page.resize(WIDTH["phone"], 844, phone=True)
            if (width := page.run("document.documentElement.scrollWidth")) > WIDTH["phone"]:
                raise Failed(f"a phone has to scroll sideways: {width} px")
            page.picture(os.path.join(folder, "status-page-phone.png"))
            data.close()
            for session in (ftp, other, refused):
                session.close()
            shows(page, "#sessions", "No sessions.")
            lab.gateway.stop()
            shows(page, "#state", "no answer")
            # The last thing seen stays, and says of when it is.
            shows(page, "#refusals", "third party address")
            if faults := [text for text in page.complaints if "ERR_CONNECTION_REFUSED" not in text]:
                raise Failed(f"the browser complains: {faults}")


@scenario("the status page is off with one key, and health and metrics stay")
def off(binary, folder):
    with Lab(folder, binary, telemetry={"page": False}) as lab:
        for path, expected in (("/", 404), ("/status.json", 404), ("/healthz", 200), ("/metrics", 200)):
            if (status := lab.gateway.get(path)[0]) != expected:
                raise Failed(f"{path}: {status}")
