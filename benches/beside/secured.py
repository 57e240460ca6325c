"""TLS on both sides of a gateway: the certificate, and what each contender's configuration says of it.

TLS 1.3 for all, one suite for all: the client offers no other, and the server takes no other. All verify the
server's certificate.
"""

import subprocess

from world import GATEWAY_CLIENT_SIDE, SERVER, BenchError

CIPHERS = ("TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256")


def make_certificate(folder):
    """One for server and gateways, ECDSA P-256 as ftpgate's leaves are: `tls.crt`, `tls.key`, `tls.pem` with both."""
    addresses = f"subjectAltName=IP:{SERVER},IP:{GATEWAY_CLIENT_SIDE}"
    _run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
          "-subj", "/CN=beside", "-addext", addresses, "-keyout", folder / "tls.key", "-out", folder / "tls.crt"])
    (folder / "tls.pem").write_text((folder / "tls.crt").read_text() + (folder / "tls.key").read_text())


def only(folder, cipher):
    """The words in front of a program that is to take no other suite (config(5ssl))."""
    (folder / "openssl.cnf").write_text(f"""
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = tls
[tls]
MinProtocol = TLSv1.3
Ciphersuites = {cipher}
""")
    return ["env", f"OPENSSL_CONF={folder / 'openssl.cnf'}"]


def vsftpd(folder, start):
    """Reuse is not required: HAProxy's connections to it know nothing of one another."""
    return f"""
ssl_enable=YES
allow_anon_ssl=YES
implicit_ssl={"YES" if start == "implicit" else "NO"}
require_ssl_reuse=NO
rsa_cert_file={folder / "tls.crt"}
rsa_private_key_file={folder / "tls.key"}
"""


def haproxy(folder):
    """What stands behind `bind` and behind `server`."""
    return f"ssl crt {folder / 'tls.pem'}", f"ssl verify required ca-file {folder / 'tls.crt'}"


def mod_proxy(folder):
    return f"""
TLSEngine on
TLSRequired on
TLSProtocol TLSv1.3
TLSECCertificateFile {folder / "tls.crt"}
TLSECCertificateKeyFile {folder / "tls.key"}
ProxyTLSEngine on
ProxyTLSProtocol TLSv1.3
ProxyTLSCACertificateFile {folder / "tls.crt"}
ProxyTLSVerifyServer on
"""


def ftpgate(folder, program):
    """What the listener says, and what stands beside the listeners.

    The measuring client uses a ticket once, so that it needs one with each data connection.
    """
    _run([program, "ca", "init", "--dir", folder / "ca"])
    listener = ", tls: { mode: intercept, client_reuse: require }"
    return listener, f"""
tls:
  ca: {{ certificate: ca/ca.crt, key: ca/ca.key }}
  server: {{ roots: tls.crt }}
"""


def _run(words):
    done = subprocess.run(list(map(str, words)), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(map(str, words[:3]))} …: {done.stdout.strip()}")
