"""`ftpgate observe`: what it tells of an interface and of a capture agrees with what was done."""

import ftplib
import json
import os
import signal

import capture
from cells import Setting
from lab import Failed, Lab
from process import Process, call, wait_until
from scenarios import scenario
from topology import GATEWAY, HOST

# So many that none is taken twice in a moment: behind a hole only time would tell the two apart.
PASSIVE = "50000-60000"
SIZE = 300_001


class Watch:
    """`ftpgate observe` on an interface of the gateway's, with a recorder beside it."""

    def __init__(self, lab, binary, interface, *options):
        self.lab, self.binary, self.options = lab, binary, options
        base = os.path.join(lab.folder, f"observe-{interface}")
        self.pcap = f"{base}.pcap"
        before = self.sockets()
        self.recorder = capture.Recorder(lab.topology, "gateway", interface, self.pcap)
        self.process = Process([binary, "observe", "--interface", interface, "--json", *options],
                               f"{base}.log", lab.topology.ns["gateway"])
        wait_until(lambda: self.sockets() == before + 2, "observe does not listen", timeout=10)

    def sockets(self):
        return len(self.lab.topology.run("gateway", ["cat", "/proc/net/packet"])[1].splitlines())

    def controls(self):
        return [told for told in self.told() if told["event"] == "control"]

    def told(self):
        with open(self.process.log, encoding="utf-8") as text:
            return [json.loads(line) for line in text if line.endswith("\n")]

    def end(self, sessions):
        """Ends it when it has told so many sessions. Returns (control connections, summary)."""
        try:
            wait_until(lambda: len(self.controls()) >= sessions, f"{sessions} sessions are not told",
                       timeout=20)
        finally:
            self.recorder.stop()
            code = self.process.stop()
        if code != 0:
            raise Failed(f"observe failed: {self.process.tail()}")
        *controls, summary = self.told()
        if summary["event"] != "summary" or len(controls) != sessions:
            raise Failed(f"{sessions} sessions made, told: {self.told()}")
        return controls, summary


def read(binary, path, *options, stdin=None):
    """What `observe --read` tells of a file."""
    code, text = call([binary, "observe", "--read", path, "--json", *options], stdin=stdin)
    *controls, summary = [json.loads(line) for line in text.splitlines()]
    if code != 0 or summary["event"] != "summary":
        raise Failed(f"--read: {text}")
    return controls, summary


def timeless(controls, without=()):
    """In a fixed order and without what the clock says."""
    kept = []
    for control in sorted(controls, key=lambda control: control["client"]):
        control = json.loads(json.dumps(control))
        for key in ("started", "seconds", *without):
            control.pop(key)
        for transfer in control["transfers"]:
            transfer.pop("seconds")
        kept.append(control)
    return kept


def same(what, got, expected, without=()):
    got, expected = timeless(got, without), timeless(expected, without)
    if len(got) != len(expected):
        raise Failed(f"{what} tells {len(got)} sessions instead of {len(expected)}")
    for one, other in zip(got, expected):
        for key, value in other.items():
            expect(f"{what}: {key} of {other['client']}", one[key], value)


def words(control):
    return [found["finding"] for found in control["findings"]]


def expect(what, got, expected):
    if got != expected:
        raise Failed(f"{what}: {got!r} instead of {expected!r}")


def clear_sessions(lab):
    """One session in each mode: fetches a file, stores one, lists. Returns {client's end: mode}."""
    made = {}
    for mode in ("PASV", "EPSV", "PORT", "EPRT"):
        ftp = lab.ftp(mode)
        host, port = ftp.sock.getsockname()
        made[f"{host}:{port}"] = mode
        ftp.fetch_digest("x")
        with lab.topology.inside("client"), open(lab.server.path("x"), "rb") as source:
            ftp.storbinary(f"STOR {mode}", source)
        ftp.retrlines("NLST", lambda _: None)
        ftp.quit()
    return made


def curl(lab, *options):
    server = lab.server
    lab.topology.run("client", [
        "curl", "-sS", "-k", "--ssl-reqd", "-m", "20", "--user", f"{server.user}:{server.password}",
        "-o", os.path.join(lab.folder, "fetched"), *options,
        f"ftp://{server.address(4)}/pub/x"])


def check_clear(control, mode, server):
    passive = mode in ("PASV", "EPSV")
    side = "passive" if passive else "active"
    expect("user", control["user"], server.user)
    expect("server", control["server"], f"{server.address(4)}:21")
    expect("protection", (control["protection"], control["ccc"]), ("clear", None))
    expect("ended", (control["ended"], control["close"], control["gaps"]), ("fin", "quit", 0))
    expect("negotiations", control["negotiations"], {mode: 3})
    expect("outcomes", control["outcomes"], {"completed": 3})
    expect("findings", words(control), ["clear_login"] + ["active_mode"] * (not passive))
    fetch, store, names = control["transfers"]
    expect("commands", [fetch["command"], store["command"], names["command"]],
           ["RETR x", f"STOR {mode}", "NLST"])
    expect("bytes", [(t["upload"], t["download"]) for t in (fetch, store)], [(0, SIZE), (SIZE, 0)])
    expect("ends", [t["closed_by"] for t in (fetch, store)], ["server", "client"])
    for transfer in control["transfers"]:
        expect("transfer", (transfer["mode"], transfer["reply"]), (side, 226))
    # In front of clients only PORT and EPRT have to be replaced.
    expect("rewrites", [r["line"] for r in control["rewrites"]], [] if passive else [mode.lower()] * 3)
    opening = control["openings"][0]
    if passive:
        expect("opening", opening, {"mode": "passive", "peer": HOST["client", 4],
                                    "entry": fetch["listener"]})
    else:
        expect("opening", (opening["peer"], opening["entry"].split(":")[0]),
               (server.address(4), GATEWAY["server", 4]))


@scenario("observe tells what was done")
def told(binary, folder):
    """Passive and active, with FTPS with CCC and without; interface and file say the same."""
    with Lab(folder, servers=("proftpd",), server_options={"tls": True, "passive": PASSIVE}) as lab:
        lab.put_file("x", SIZE)
        external = GATEWAY["server", 4]
        watch = Watch(lab, binary, "c0", "--external", external)
        made = clear_sessions(lab)
        for ccc in (True, False):
            curl(lab, *["--ftp-ssl-ccc", "--ftp-ssl-ccc-mode", "active"] * ccc)
        controls, summary = watch.end(len(made) + 2)
        secured = [control for control in controls if control["client"] not in made]
        for control in controls:
            if control not in secured:
                check_clear(control, made[control["client"]], lab.server)
        cleared, blind = sorted(secured, key=lambda control: control["started"])
        expect("with CCC", (cleared["protection"], cleared["ccc"], words(cleared)),
               ("cleared", "cleared", []))
        expect("with CCC", (cleared["outcomes"], cleared["negotiations"]),
               ({"completed": 1}, {"EPSV": 1}))
        if cleared["download"] <= SIZE:
            raise Failed(f"the file in TLS has {cleared['download']} bytes")
        expect("without CCC", (blind["protection"], blind["ccc"], words(blind), blind["openings"]),
               ("passthrough", "none", ["blind"], []))
        expect("without CCC", (blind["outcomes"], blind["transfers"][0]["line"]),
               ({"completed": 1}, None))
        expect("summary", (summary["control_connections"], summary["clients"], summary["ccc"]),
               (6, 1, {"cleared": 1, "none": 1}))
        check_captures(binary, watch, controls, external)


def check_captures(binary, watch, controls, external):
    """The same sessions from files, whole and worse."""
    options = ("--external", external)
    packets = watch.recorder.packets
    same("the file", read(binary, watch.pcap, *options)[0], controls)
    with open(watch.pcap, "rb") as file:
        whole = file.read()
    same("standard input", read(binary, "-", *options, stdin=whole)[0], controls)
    if "xyzzy" in json.dumps(controls) or b"xyzzy" not in whole:
        raise Failed("the password is told, or is not in the capture")
    edited = os.path.join(watch.lab.folder, "edited.pcap")
    for what, others, without in (
            # Two FINs that cross say nothing of which was first: only the order told.
            ("the file in another order", capture.reordered(packets), ("close",)),
            ("the file with repetitions", capture.repeated(packets), ()),
            ("the file with short packets", capture.cut(packets, 2000), ())):
        capture.write(edited, others)
        same(what, read(binary, edited, *options)[0], controls, without)
    # A reply of each clear session is missing: what came before and after is told all the same.
    left = [packet for packet in packets if not capture.holding(packet[1], b"230 ")]
    capture.write(edited, left)
    lossy, summary = read(binary, edited, *options)
    expect("findings of loss", summary["findings"]["capture_loss"], 4)
    # With the reply the proof of the login went.
    for control in lossy:
        control["findings"] = [f for f in control["findings"] if f["finding"] != "capture_loss"]
    without = [dict(c, findings=[f for f in c["findings"] if f["finding"] != "clear_login"])
               for c in controls]
    same("the file with holes", lossy, without, ("user", "gaps", "lost_bytes"))
    # It begins in the middle of the first session.
    first = next(at for at, packet in enumerate(packets) if capture.holding(packet[1], b"TYPE I"))
    capture.write(edited, packets[first:])
    middle = min(read(binary, edited, *options)[0], key=lambda control: control["started"])
    expect("from the middle", (middle["from_start"], middle["user"], middle["outcomes"]),
           (False, None, {"completed": 3}))
    # And ends in a packet.
    with open(edited, "wb") as out:
        out.write(whole[:-5])
    expect("cut short", read(binary, edited)[1]["cut_short"], True)


@scenario("observe foretells the gateway", Setting("tproxy", "gateway", "kernel"),
          Setting("direct", "gateway", "relay"))
def foretold(binary, folder, setting):
    """What it says on the client's side is what leaves the gateway on the server's."""
    with Lab(folder, binary, setting, servers=("pure-ftpd",),
             server_options={"passive": PASSIVE}) as lab:
        lab.put_file("x", SIZE)
        direct = setting.capture == "direct"
        client_port = lab.target(lab.server)[1]
        near = Watch(lab, binary, "c0", "--external", GATEWAY["server", 4], "--port", str(client_port))
        far = Watch(lab, binary, "s0")
        for mode in ("PORT", "EPRT", "PASV", "EPSV"):
            ftp = lab.ftp(mode)
            ftp.fetch_digest("x")
            ftp.quit()
        before, _ = near.end(4)
        after, _ = far.end(4)
        expect("whom the server sees", {c["client"].split(":")[0] for c in after}, {GATEWAY["server", 4]})
        expect("who dials", {c["client"].split(":")[0] for c in before}, {HOST["client", 4]})
        for near_one, far_one in zip(*(sorted(side, key=lambda c: c["started"]) for side in (before, after))):
            (mode, _), = near_one["negotiations"].items()
            expect(f"{mode} here and there", far_one["negotiations"], near_one["negotiations"])
            expect(mode, (near_one["outcomes"], far_one["outcomes"]), ({"completed": 1},) * 2)
            expect(mode, (near_one["download"], far_one["download"]), (SIZE, SIZE))
            if mode in ("PORT", "EPRT"):
                foretold_line = near_one["rewrites"][0]["to"]
                real = far_one["transfers"][0]["line"]
                expect(f"{mode} but for the port", without_port(real), without_port(foretold_line))
            elif not direct:
                # Clients that dial the server find its own address.
                expect(mode, near_one["transfers"][0]["line"], far_one["transfers"][0]["line"])


def without_port(line):
    """PORT or EPRT without its port."""
    return line.rsplit("|", 2)[0] if "|" in line else line.rsplit(",", 2)[0]


@scenario("observe tells why a transfer fails", "drop", "reject with tcp reset")
def why(binary, folder, verdict):
    """A firewall between the two that does not know FTP."""
    with Lab(folder, servers=("pure-ftpd",), server_options={"passive": PASSIVE}) as lab:
        lab.put_file("x", SIZE)
        lab.topology.nft("gateway", f"""table inet between {{
            chain forwarding {{
                type filter hook forward priority -5; policy accept;
                ip saddr {HOST["client", 4]} tcp dport {PASSIVE} {verdict}
            }}
        }}""")
        watch = Watch(lab, binary, "c0")
        ftp = lab.ftp("EPSV")
        ftp.timeout = 1.5
        try:
            ftp.fetch_digest("x")
            raise Failed("the firewall lets it through")
        except ftplib.all_errors:
            pass
        ftp.close()
        (control,), _ = watch.end(1)
        found = {"drop": "data_unanswered"}.get(verdict, "data_refused")
        expect("findings", words(control), ["clear_login", found])
        if not control["findings"][1]["detail"].startswith("229 "):
            raise Failed(f"the line is not told: {control['findings']}")


@scenario("observe says what it needs")
def needs(binary, folder):
    """No such interface, no right, no capture; Ctrl-C and a time limit end with the summary."""
    os.makedirs(folder, exist_ok=True)

    def says(argv, *expected, code=1, stdin=None):
        got, text = call(argv, stdin=stdin, check=False)
        if got != code or not all(word in text for word in expected):
            raise Failed(f"{argv}: {got} {text}")

    observe = [binary, "observe"]
    says([*observe, "--interface", "no-such"], "no interface", "there are: ", "lo")
    says(["setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw", *observe,
          "--interface", "lo"], "CAP_NET_RAW", "setcap")
    says([*observe, "--read", "-"], "neither a pcap nor a pcapng file", stdin=b"220 hello\r\n")
    says([*observe, "--read", f"{folder}/none"], "No such file")
    says(observe, "--interface", code=2)
    says([*observe, "--read", "-", "--for", "x"], "is not a time", code=2)
    says([*observe, "--interface", "lo", "--for", "200ms", "--json"], '"event":"summary"', code=0)
    for number in (signal.SIGINT, signal.SIGTERM):
        log = os.path.join(folder, f"{number}.log")
        process = Process([*observe, "--interface", "lo"], log)
        wait_until(lambda: catches(process.pid, number), "it does not catch signals")
        os.kill(process.pid, number)
        wait_until(lambda: not process.alive(), "it does not end", timeout=5)
        expect("exit code", process.stop(), 0)
        if "control connections of" not in "\n".join(process.tail()):
            raise Failed(f"no summary: {process.tail()}")


def catches(pid, number):
    """Whether a process has a handler for the signal."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        caught = next(line for line in status if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)
