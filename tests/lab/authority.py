"""Keys and certificates of the lab, made with openssl: those of servers, of clients, and bad ones.

Servers bear certificates of the lab's `Authority`, which ftpgate is told to trust. Clients trust the
local CA alone, which `ftpgate ca init` has made.
"""

import os
import ssl

from process import call

# Under RFC 2606's domain for examples; the first label is the server's name.
DOMAIN = "ftp.example"

_P256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def certificate(folder, stem="", subject="/CN=lab", extensions=(), key_type=_P256):
    """Makes a key and a certificate signed by itself. Returns the paths (chain, key).

    As openssl does it unless told otherwise, the certificate says CA:TRUE.
    """
    chain, key = (os.path.join(folder, f"{stem}{kind}.pem") for kind in ("certificate", "key"))
    call(["openssl", "req", "-x509", *key_type, "-subj", subject, "-keyout", key, "-out", chain,
          *(word for extension in extensions for word in ("-addext", extension))])
    return chain, key


def alternative_names(names):
    """The extension for DNS names and addresses."""
    return "subjectAltName=" + ",".join(
        f"{'IP' if ':' in name or name.replace('.', '').isdigit() else 'DNS'}:{name}" for name in names)


class Authority:
    """A CA with a root certificate alone. `roots` is the path of that."""

    def __init__(self, folder, name="the servers' CA"):
        os.makedirs(folder, exist_ok=True)
        self.folder = folder
        self.roots, self.key = certificate(folder, "root-", f"/O=lab/CN={name}",
                                           ["keyUsage=critical,keyCertSign,cRLSign"])

    def issue(self, folder, names, stem="", subject=None, purpose="serverAuth", dates=None,
              key_type=_P256):
        """A key and a certificate for these names. Returns the paths (chain, key).

        `dates`: (from, to) as YYYYMMDDHHMMSSZ instead of a month from now on.
        """
        chain, key = (os.path.join(folder, f"{stem}{kind}.pem") for kind in ("certificate", "key"))
        request, extensions = chain + ".request", chain + ".extensions"
        call(["openssl", "req", "-new", *key_type, "-subj", subject or f"/O=lab/CN={names[0]}",
              "-keyout", key, "-out", request])
        with open(extensions, "w", encoding="ascii") as out:
            out.write(f"basicConstraints=critical,CA:FALSE\nextendedKeyUsage={purpose}\n")
            if names:
                out.write(alternative_names(names) + "\n")
        if dates:
            self._sign_by_dates(request, extensions, chain, dates)
        else:
            call(["openssl", "x509", "-req", "-in", request, "-CA", self.roots, "-CAkey", self.key,
                  "-set_serial", f"0x{os.urandom(8).hex()}", "-days", "30", "-extfile", extensions,
                  "-out", chain])
        return chain, key

    def _sign_by_dates(self, request, extensions, chain, dates):
        # Only `openssl ca` can be told both dates, and it wants a database.
        database = chain + ".database"
        for name, text in (("", ""), (".attr", "unique_subject = no\n")):
            with open(database + name, "w", encoding="ascii") as out:
                out.write(text)
        settings = chain + ".cnf"
        with open(settings, "w", encoding="ascii") as out:
            out.write(f"[ca]\ndefault_ca = lab\n[lab]\ndatabase = {database}\nrand_serial = yes\n"
                      f"default_md = sha256\nnew_certs_dir = {os.path.dirname(chain)}\n"
                      "policy = any\n[any]\nO = optional\nCN = supplied\n")
        call(["openssl", "ca", "-batch", "-notext", "-config", settings, "-in", request, "-out", chain,
              "-cert", self.roots, "-keyfile", self.key, "-extfile", extensions,
              "-startdate", dates[0], "-enddate", dates[1]])


def server_dns(server):
    """The name of a server of the lab in its certificate."""
    return f"{server.name}.{DOMAIN}"


def fingerprint(chain):
    """SHA-256 of a certificate in hex with colons."""
    text = call(["openssl", "x509", "-in", chain, "-noout", "-fingerprint", "-sha256"])[1]
    return text.strip().partition("=")[2]


def not_after(chain):
    """When a certificate expires, in seconds since 1970."""
    text = call(["openssl", "x509", "-in", chain, "-noout", "-enddate"])[1]
    return ssl.cert_time_to_seconds(text.strip().partition("=")[2])


def local_ca(binary, folder):
    """The gateway's local CA. Returns (path of its certificate, the value of `tls.ca`)."""
    directory = os.path.join(folder, "local-ca")
    call([binary, "ca", "init", "--dir", directory])
    pair = {"certificate": os.path.join(directory, "ca.crt"), "key": os.path.join(directory, "ca.key")}
    return pair["certificate"], pair
