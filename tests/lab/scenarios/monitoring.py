"""Prometheus and Grafana: every query of the dashboard and every alert asked of a real Prometheus.

A gateway does a little of everything that there is a panel for, while Debian's Prometheus scrapes it
with the configuration and the rules of `grafana/prometheus/`. Then each panel's query is asked as
Grafana asks it, and must have had a value above zero at some time; `AT_ZERO` names those that must
not, and why.
"""

import ftplib
import json
import math
import os
import re
import shutil
import signal
import time
import urllib.error
import urllib.parse
import urllib.request

from gateway import TELEMETRY_PORT
from lab import Failed
from process import Process, call, wait_until
from scenarios import scenario
from servers import CACHE
from terminating import TPROXY, LabSecuredFTP, TerminatingLab
from tls_peers import SecuredFTP
from topology import GATEWAY, HOST, server_address

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
RULES = os.path.join(TOP, "grafana", "prometheus")
DASHBOARD = os.path.join(TOP, "grafana", "dashboards", "ftpgate.json")

PROMETHEUS, PROMTOOL = (f"{CACHE}/prometheus/usr/bin/{name}" for name in ("prometheus", "promtool"))
PROMETHEUS_PORT = 9090
# As `prometheus.yml` names the gateway.
INSTANCE = f"127.0.0.1:{TELEMETRY_PORT}"

# Seconds. The test's interval in place of the 15 s of the configuration.
SCRAPE = 1
# What Grafana makes of $__rate_interval then: four intervals at least.
RATE = 4 * SCRAPE

INTERCEPTED, BLIND = 2300, "60000-60020"

# Panels (and the legend of the query in question) in which nothing may have happened in a run in
# which nothing fails. Their metrics must be there all the same.
AT_ZERO = {
    "Pinholes failed": "the kernel takes every rule",
    "Faults met": "nobody takes rules away, and the disk has room",
}


@scenario("promtool approves of the rules, their tests and the configuration")
def rules(binary, folder):
    del binary
    os.makedirs(folder)
    for command in (["check", "rules", "alerts.yml"], ["check", "config", "prometheus.yml"],
                    ["test", "rules", "alerts.test.yml"]):
        code, text = call([PROMTOOL, *command], cwd=RULES, check=False)
        if code != 0 or "FAILED" in text:
            raise Failed(f"promtool {' '.join(command)}: {text}")


class Prometheus:
    """Debian's Prometheus beside the gateway, with the repository's configuration, asked over HTTP."""

    def __init__(self, lab):
        self.lab = lab
        folder = os.path.join(lab.folder, "prometheus")
        os.makedirs(folder)
        shutil.copy(os.path.join(RULES, "alerts.yml"), folder)
        with open(os.path.join(RULES, "prometheus.yml"), encoding="utf-8") as text:
            written = text.read()
        quicker, count = re.subn(r"(?m)^(  (?:scrape|evaluation)_interval:) 15s$", rf"\1 {SCRAPE}s", written)
        if count != 2 or f'"{INSTANCE}"' not in written:
            raise Failed(f"prometheus.yml is not what this test takes it for: {written}")
        config = os.path.join(folder, "prometheus.yml")
        with open(config, "w", encoding="utf-8") as out:
            out.write(quicker)
        self.log = os.path.join(lab.folder, "prometheus.log")
        self.process = Process(
            [PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{PROMETHEUS_PORT}", "--log.level=warn"],
            self.log, lab.topology.ns["gateway"])
        self.started = time.time()
        lab.processes.append(self.process)
        wait_until(self._ready, "Prometheus is not ready", timeout=15)

    def _ready(self):
        if not self.process.alive():
            raise Failed("Prometheus has ended\n" + "\n".join(self.process.tail()))
        try:
            with (self.lab.topology.inside("gateway"),
                  urllib.request.urlopen(f"http://127.0.0.1:{PROMETHEUS_PORT}/-/ready", timeout=3)):
                return True
        except OSError:
            return False

    def ask(self, path, **words):
        """The `data` of an answer of the HTTP API."""
        url = f"http://127.0.0.1:{PROMETHEUS_PORT}/api/v1/{path}?{urllib.parse.urlencode(words, doseq=True)}"
        with self.lab.topology.inside("gateway"):
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    return json.load(answer)["data"]
            except urllib.error.HTTPError as error:
                raise Failed(f"{words}: {error.read().decode()}") from None

    def value(self, query):
        """The sum of an instant query; 0 if it has no result."""
        return sum(float(series["value"][1]) for series in self.ask("query", query=query)["result"])

    def await_value(self, query, wanted=1, timeout=10):
        """Waits until a query yields as much."""
        wait_until(lambda: self.value(query) >= wanted, f"Prometheus does not see {query} >= {wanted}",
                   timeout=timeout, step=0.1)

    def samples(self, query, instant):
        """The finite values of a query, now or at every second since the start, and its series."""
        if instant:
            found = self.ask("query", query=query)["result"]
            values = [series["value"][1] for series in found]
        else:
            found = self.ask("query_range", query=query, start=self.started, end=time.time(),
                             step=SCRAPE)["result"]
            values = [value for series in found for _, value in series["values"]]
        return [number for number in map(float, values) if math.isfinite(number)]


def substituted(expr, variables):
    """An expression with the dashboard's variables in it, as Grafana puts them there."""
    def one(found):
        return variables[found.group(1) or found.group(2)]
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", one, expr)


def grafanas(values):
    """The choice of these values: an alternative of a regular expression, escaped once for that and
    once for the string of PromQL that it stands in."""
    escaped = [re.sub(r"([$^*{}\[\]'+?.()|])", r"\\\\\1", value) for value in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def panels():
    """(title, legend, expression, instant) for every query of the dashboard."""
    with open(DASHBOARD, encoding="utf-8") as text:
        dashboard = json.load(text)
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["legendFormat"], target["expr"], target["instant"]


@scenario("every panel of the dashboard has data in a real Prometheus, every alert is evaluated")
def dashboard(binary, folder):
    intercepted = {"name": "intercepted", "listen": f"{GATEWAY['client', 4]}:{INTERCEPTED}",
                   "capture": "direct", "server": f"{server_address(0, 4)}:21", "source": "gateway",
                   "policy": "default", "tls": {"mode": "intercept"}}
    with TerminatingLab(folder, binary, TPROXY, ("proftpd",), mode="passthrough",
                        extra_listeners=[intercepted], open_timeout="2s",
                        data={"blind_ports": BLIND},
                        server_options={"strict": False, "passive": BLIND}) as lab:
        prometheus = Prometheus(lab)
        prometheus.await_value("count(ftpgate_build_info)")
        check_exposition(lab)
        Run(lab, prometheus).all()
        ask_panels(prometheus)
        ask_alerts(prometheus)


def check_exposition(lab):
    code, text = call([PROMTOOL, "check", "metrics"], stdin=lab.gateway.get("/metrics")[1].encode(),
                      check=False)
    if code != 0 or text.strip():
        raise Failed(f"promtool check metrics: {text}")


class Run:
    """The scripted run: something for every panel. Prometheus must have seen each of it."""

    def __init__(self, lab, prometheus):
        self.lab = lab
        self.prometheus = prometheus
        lab.put_file("small", 5000)
        lab.put_file("large", 40_000_000)

    def all(self):
        self.clear_sessions()
        self.refusals()
        self.reload()
        self.passthrough()
        self.blind()
        self.intercepted()
        self.lasting()
        self.settle()

    def clear_sessions(self):
        """Passive and active mode on the kernel path, and a pinhole that nobody uses."""
        for mode in ("PASV", "EPSV", "PORT", "EPRT"):
            ftp = self.lab.ftp(mode)
            ftp.fetch_digest("small")
            with open(self.lab.server.path("small"), "rb") as source:
                ftp.storbinary(f"STOR stored-{mode}", source)
            ftp.quit()
            ftp.close()

    def refusals(self):
        ftp = self.lab.ftp()
        other = HOST["stranger", 4].replace(".", ",")
        ftp.ask(f"PORT {other},200,10", "500", "501", "504")
        ftp.close()

    def reload(self):
        """The same configuration once more."""
        os.kill(self.lab.gateway.process.pid, signal.SIGHUP)
        self.prometheus.await_value('ftpgate_config_reloads_total{outcome="applied"}')

    def secured(self, port=None, reuse=True):
        """A session over TLS with the server, logged in: through the gateway, or at its port."""
        server = self.lab.server
        ftp = LabSecuredFTP(self.lab.topology, "EPSV", "1.3", reuse=reuse)
        host, usual = self.lab.target(server)
        with self.lab.topology.inside("client"):
            ftp.connect(GATEWAY["client", 4] if port else host, port or usual)
        ftp.enter(server)
        return ftp

    def passthrough(self):
        """TLS end to end with CCC: back in clear text, a transfer, the end."""
        ftp = self.secured()
        ftp.ccc()
        ftp.fetch("small")
        ftp.quit()
        ftp.close()

    def blind(self):
        """TLS end to end without CCC: a transfer within data.blind_ports."""
        ftp = self.secured()
        ftp.fetch("small")
        ftp.quit()
        ftp.close()

    def intercepted(self):
        """TLS that ends here, in two sessions, and one whose client trusts nobody here."""
        for _ in range(2):
            ftp = self.secured(INTERCEPTED)
            for _ in range(2):
                ftp.fetch("small")
            ftp.quit()
            ftp.close()
        stranger = SecuredFTP([], "EPSV", "1.3", roots=self.lab.authority.roots, name="ftp.example")
        with self.lab.topology.inside("client"):
            stranger.connect(GATEWAY["client", 4], INTERCEPTED)
            try:
                stranger.auth()
            except (OSError, ftplib.Error):
                pass
            else:
                raise Failed("a client took a certificate of an authority that it does not trust")
            finally:
                stranger.close()

    def lasting(self):
        """Everything of which there is a gauge, held until Prometheus has seen it."""
        clear, waiting, passing, ended = (self.lab.ftp("PASV"), self.lab.ftp("PASV"), self.secured(),
                                          self.secured(INTERCEPTED))
        cleared = self.secured()
        cleared.ccc()
        # The state is known by the first line in clear.
        cleared.voidcmd("NOOP")
        waiting.sendcmd("PASV")
        data = [session.transfercmd("RETR large") for session in (clear, ended)]
        for series in ('pinholes_open{path="kernel"}', 'data_connections_active{path="kernel"}',
                       'data_connections_active{path="relay"}',
                       *(f'control_protection{{state="{state}"}}'
                         for state in ("clear", "passthrough", "terminated", "cleared"))):
            self.prometheus.await_value(f"ftpgate_{series}")
        # Nobody comes, so that it expires.
        self.prometheus.await_value('sum(ftpgate_pinholes_total{outcome="expired"})')
        for sock in data:
            sock.settimeout(5)
            while sock.recv(1 << 18):
                pass
            sock.close()
        for session in (clear, ended):
            session.voidresp()
        for session in (clear, waiting, passing, ended, cleared):
            session.quit()
            session.close()

    def settle(self):
        """Prometheus has seen the end of it all, and one scrape more for the rates."""
        self.lab.settled()
        sessions = self.lab.gateway.metrics().sum("sessions_total")
        self.prometheus.await_value("sum(ftpgate_sessions_total)", sessions)
        scraped = self.prometheus.value("timestamp(ftpgate_ready)")
        self.prometheus.await_value("timestamp(ftpgate_ready)", scraped + SCRAPE / 2)


def ask_panels(prometheus):
    """Asks as with everything chosen, and as with one listener of one gateway."""
    listeners = sorted(prometheus.ask("label/listener/values", **{"match[]": "ftpgate_sessions_active"}))
    if len(listeners) != 3:
        raise Failed(f"the variable listener offers {listeners}")
    common = {"__rate_interval": f"{RATE}s", "__range": f"{int(time.time() - prometheus.started) + 1}s",
              "datasource": "prometheus", "instance": grafanas([INSTANCE])}
    everything = common | {"listener": grafanas(listeners)}
    one = common | {"listener": grafanas(["out-v4"])}
    faults, asked = [], 0
    for title, legend, expr, instant in panels():
        where = f"{title} / {legend}"
        values = prometheus.samples(substituted(expr, everything), instant)
        moved = any(value != 0 for value in values)
        if not values:
            faults.append(f"{where}: no data")
        elif moved == (title in AT_ZERO):
            faults.append(f"{where}: {'moved' if moved else 'always 0'}")
        elif "$listener" in expr and not prometheus.samples(substituted(expr, one), instant):
            faults.append(f"{where}: no data of one listener")
        # A selector that matches nothing would hide behind another's data.
        for selector in re.findall(r"(?:ftpgate|process)_\w+(?:\{[^}]*\})?", substituted(expr, everything)):
            if not prometheus.ask("series", **{"match[]": selector}):
                faults.append(f"{where}: there is no {selector}")
        asked += 1
    if faults or asked < 40:
        raise Failed(f"{asked} queries; " + "; ".join(faults))


def ask_alerts(prometheus):
    """Every rule has been evaluated without an error, on series that are there."""
    groups = prometheus.ask("rules")["groups"]
    alerts = [rule for group in groups for rule in group["rules"]]
    with open(os.path.join(RULES, "alerts.yml"), encoding="utf-8") as text:
        written = text.read().count("- alert:")
    faults = [f"{rule['name']}: {rule['health']} {rule.get('lastError', '')}"
              for rule in alerts if rule["health"] != "ok"]
    for rule in alerts:
        for selector in re.findall(r"(?:ftpgate|process)_\w+(?:\{[^}]*\})?|up\{[^}]*\}", rule["query"]):
            if not prometheus.ask("series", **{"match[]": selector}):
                faults.append(f"{rule['name']}: there is no {selector}")
    if faults or len(alerts) != written:
        raise Failed(f"{len(alerts)} alerts of {written}; " + "; ".join(faults))
    # Whatever pends after such a run, nothing is out of order for as long as an alert wants.
    firing = [rule["name"] for rule in alerts if rule["state"] == "firing"]
    if firing:
        raise Failed(f"alerts that fire after a run in good order: {firing}")
