"""Where the programs come from: Debian's packages for the peers, cargo for ftpgate and the measuring client."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from world import BenchError

CRATE = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("FTPGATE_LAB_CACHE", "/var/cache/ftpgate-lab"))
VSFTPD = CACHE / "vsftpd" / "usr" / "sbin" / "vsftpd"
_POLICY = Path("/usr/sbin/policy-rc.d")

# What must be there, and the package that brings it.
_NEEDED = {
    "/usr/sbin/haproxy": "haproxy",
    "/usr/sbin/squid": "squid",
    "/usr/sbin/proftpd": "proftpd-core",
    "/usr/lib/proftpd/mod_tls.so": "proftpd-mod-crypto",
    "/usr/lib/proftpd/mod_proxy.so": "proftpd-mod-proxy",
    "/usr/sbin/nft": "nftables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "openssl": "openssl",
}


def install_missing():
    """Installs what is missing, without letting a package start its service, and unpacks vsftpd.

    Debian's vsftpd conflicts with proftpd-core as a package, so it is unpacked into the lab's cache and run from there.
    """
    missing = [package for path, package in _NEEDED.items() if shutil.which(path) is None
               and not Path(path).exists()]
    if not VSFTPD.exists() and not list(Path("/usr/lib").glob("*/libwrap.so.0")):
        missing.append("libwrap0")
    if missing:
        _apt_install(missing)
    if not VSFTPD.exists():
        folder = CACHE / "vsftpd"
        folder.mkdir(parents=True, exist_ok=True)
        _run(["apt-get", "download", "vsftpd"], cwd=folder)
        package = max(folder.glob("vsftpd_*.deb"))
        _run(["dpkg", "-x", package, folder])


def _apt_install(packages):
    print(f"installing {' '.join(packages)}")
    try:
        # Debian's own switch: with 101 no maintainer script starts a service.
        with open(_POLICY, "x", encoding="ascii") as policy:
            policy.write("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
        ours = True
    except FileExistsError:
        ours = False
    try:
        lock = ["-o", "DPkg::Lock::Timeout=120"]
        _run(["apt-get", "update", "-q", *lock])
        _run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *lock, *packages],
             env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    finally:
        if ours:
            _POLICY.unlink()


def _run(words, **options):
    done = subprocess.run(list(map(str, words)), text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=600, **options)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(map(str, words[:3]))} …:\n{done.stdout[-2000:]}")


def build(with_ftpgate):
    """Builds release binaries; returns {target name: path}. cargo's own messages stay visible."""
    words = ["cargo", "build", "--release", "--message-format=json-render-diagnostics", "--benches"]
    if with_ftpgate:
        words += ["--bin", "ftpgate"]
    done = subprocess.run(words, cwd=CRATE, text=True, stdout=subprocess.PIPE)
    if done.returncode != 0:
        raise BenchError("the build failed")
    messages = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    return {
        message["target"]["name"]: message["executable"]
        for message in messages
        if message.get("reason") == "compiler-artifact" and message.get("executable")
        and message["target"]["kind"] != ["test"]
    }
