"""What came of the cells and scenarios: a line each, and at the end the table and the counts."""

import threading

from cells import SERVERS
from clients import CLIENTS

CCC_TEXT = """
Each row is one pair of peers in one version of TLS; the control connection is secured, comes back in
clear text with CCC after the login, and the data connections stay in TLS (a few cells: PROT C). Counted
are cells that passed, of those tried. `direct` is plain routing: what the peers can do by themselves.
The kernel's helper (`nf_conntrack_ftp`, `nf_nat_ftp`) and ftpgate drop what is forwarded and translate
addresses; of them only what passes directly is asked. `scripted` is a client and a server that do what
z/OS documents, byte for byte; there the first line in clear is the data command, but for the row that
says otherwise. The helper reads a line only where it has seen one end before, so it misses that one.

What the peers cannot do by themselves:

- curl 7.88, active mode with TLS on the data connection: fails, with CCC and without.
- curl's passive CCC (`--ftp-ssl-ccc-mode passive`, its default) with Pure-FTPd: curl sends no
  close_notify, Pure-FTPd waits for one and takes the first line in clear for it, which is lost.
- C-Kermit 10.0 beta: sends CCC and goes on in TLS when it was accepted.
""".strip().splitlines()

TERMINATION_TEXT = """
`intercept`: TLS on both sides; `offload`: TLS to the client, a server that knows none; `originate`: TLS to
the server, a client that knows none. TLS begins by AUTH or at once, on each side by itself, in versions
1.2 and 1.3. The clients trust the local CA alone and check the name that they dial; the servers are at
their defaults (vsftpd and ProFTPD insist on data connections that resume the control connection's
session) and take neither a login nor data in clear. Counted are talks that passed, of those tried;
`directly` is with nobody in between. Of the pairs not all combinations are tried but those of
`tests/lab/termination_cells.py`.

What fails directly for want of session reuse must pass through ftpgate, which resumes on the server's
side whatever the client does. What the peers cannot do at all:

- curl 7.88, active mode with TLS on the data connection.
- C-Kermit 10.0 beta with pyftpdlib over TLS 1.3, now and then: it closes an upload without having read the
  server's tickets, which resets the connection and loses the end of the file. It checks the certificate's
  issuer, not its name.
""".strip().splitlines()

OK, FAIL, SKIP = "ok", "FAIL", "peers cannot"


class Report:
    """Collects results from several threads and prints each as it comes."""

    def __init__(self):
        self._lock = threading.Lock()
        self.results = []          # (name, state, reason)
        self.cells = {}            # (server, client): {state: count}
        self.settings = {}         # setting: {state: count}

    def add(self, name, state, reason="", details=""):
        with self._lock:
            self.results.append((name, state, reason))
            text = f"{state:4} {name}" + (f": {reason}" if reason else "")
            if details:
                text += "\n" + "\n".join("     | " + line for line in details.splitlines())
            print(text, flush=True)

    def add_cell(self, cell, state, reason="", details=""):
        with self._lock:
            for key, table in (((cell.talk.server, cell.talk.client), self.cells),
                               (str(cell.setting), self.settings)):
                counts = table.setdefault(key, {})
                counts[state] = counts.get(state, 0) + 1
        self.add(str(cell), state, reason, details)

    def count(self, state):
        return sum(1 for _, found, _ in self.results if found == state)

    def finish(self, tables):
        """Prints the tables, of which `tables` are those of FTPS, and the counts. Returns the exit
        code."""
        failed = [name for name, state, _ in self.results if state == FAIL]
        if self.cells:
            print()
            print("\n".join(self.matrix()))
        for table in filter(None, tables.values()):
            print()
            print("\n".join(table))
        if failed:
            print("\nFailed:")
            for name in failed:
                print(f"  {name}")
        print(f"\n{self.count(OK)} passed, {len(failed)} failed, {self.count(SKIP)} skipped", flush=True)
        return 1 if failed else 0

    def matrix(self):
        """Servers × clients, cells passed of cells tried, as a Markdown table."""
        yield "| passed / tried | " + " | ".join(CLIENTS) + " |"
        yield "|---|" + "---|" * len(CLIENTS)
        for server in SERVERS:
            row = [_fraction(self.cells.get((server, client), {})) for client in CLIENTS]
            yield f"| {server} | " + " | ".join(row) + " |"

    def write_docs(self, path, tables):
        """`docs/interop.md`: generated, never edited by hand."""
        lines = ["# Interoperability: what was seen to work", "",
                 "Generated by `tests/lab/run.py --write-docs` from a full run of the lab; do not edit.",
                 "What a cell is and how to run one: `tests/lab/README.md`.", "",
                 "Every cell is an upload, a download and a listing through ftpgate in network",
                 "namespaces, contents compared on both ends (wget cannot upload).", "",
                 "## Servers and clients", "", *self.matrix(), "",
                 "## Configurations of the gateway", "",
                 "| capture / source / path | passed / tried |", "|---|---|"]
        lines += [f"| {setting} | {_fraction(counts)} |" for setting, counts in sorted(self.settings.items())]
        lines += ["", "## FTPS with CCC", "", *CCC_TEXT, "", *tables["ccc"]]
        lines += ["", "## TLS that ends at the gateway", "", *TERMINATION_TEXT, "", *tables["termination"]]
        lines += ["", "## Scenarios", "", "| scenario | result |", "|---|---|"]
        cells = {name for name, _, _ in self.results
                 if name.count("/") == 6 or name.startswith(("ccc/", "tls/"))}
        lines += [f"| {name} | {state} |" for name, state, _ in sorted(self.results)
                  if name not in cells]
        total = f"{self.count(OK)} passed, {self.count(FAIL)} failed, {self.count(SKIP)} skipped"
        lines += ["", f"In all: {total}.", ""]
        with open(path, "w", encoding="utf-8") as out:
            out.write("\n".join(lines))


def _fraction(counts):
    if not counts:
        return "–"
    skipped = f" ({counts[SKIP]} peers cannot)" if SKIP in counts else ""
    tried = sum(counts.values()) - counts.get(SKIP, 0)
    return f"{counts.get(OK, 0)}/{tried}{skipped}"
