"""The list of cases: what is sent, and what is promised of it. `docs/threat-model.md` shows it with results.

A row's checks are those registered under its number, and the scenarios of the lab that `also` names, by
shell patterns on their names.
"""

from dataclasses import dataclass

PROMISED = "yes"


@dataclass(frozen=True)
class Row:
    """`promised`: `yes`, or what is held back, in some words."""

    number: int
    what: str
    holds: str
    also: tuple = ()
    promised: str = PROMISED


ROWS = [
    Row(1, "227 or 229 that nobody asked for", "text; never a pinhole"),
    Row(2, "227 inside an error text or a listing, cut into segments so that one begins with it",
        "only the first line of a reply, at a reply boundary, with PASV pending"),
    Row(3, "PORT inside HTTP, IRC, SIP or STUN sent to the control port (NAT slipstreaming)",
        "closed at the first line; the server greets first"),
    Row(4, "lines smuggled in an argument; data commands before the login",
        "a line is a command; 530 before the login",
        promised="a login smuggled whole, to a server that plays along, is a login; what it opens leads to its own client"),
    Row(5, "PORT from the server, 227 from the client", "closed"),
    Row(6, "PORT and EPRT naming a third address (bounce)",
        "501 or 504; the server sees nothing, unless the policy's `fxp` allows that address",
        also=("fxp: from server to server/*",)),
    Row(7, "port 0 and ports below 1024", "504; 425 for replies"),
    Row(8, "malformed addresses and ports", "501; 425 for replies"),
    Row(9, "227 naming another host (SSRF)", "the server's observed address is used; `strict`: 425"),
    Row(10, "a stranger at the data port, a second connection, a late one",
        "the exact peer, once, in time, at a port that cannot be foretold",
        also=("a stranger at each open pinhole/*", "a second connection from the rightful peer/*",
              "an unused pinhole is gone after its timeout/*", "faults: the clock steps by years/*"),
        promised="peers that share an address (NAT) are one peer"),
    Row(11, "the server refuses PORT or PASV", "nothing open afterwards",
        also=("nothing is open after the server refuses/*",)),
    Row(12, "PASV twice, PORT after PASV, EPSV after PORT", "the newest wins, the older is withdrawn"),
    Row(13, "pipelined commands", "replies matched in order"),
    Row(14, "lines cut at every byte", "the same result"),
    Row(15, "several replies in one segment; multi-line replies cut anywhere", "the same result"),
    Row(16, "multi-line 227 with lines that look like codes", "the final line counts; one rewrite for all"),
    Row(17, "227 and 229 in other words and delimiters", "understood; only the numbers change"),
    Row(18, "229 with address, port 0, port too great", "RFC 2428, or 425"),
    Row(19, "EPRT: delimiters, families, scoped and mapped addresses", "accepted, or 522 with the right list",
        promised="a delimiter that occurs in the fields, as `.` with IPv4 and digits do, can be read in two ways: 501"),
    Row(20, "EPSV ALL, then PORT, PASV, EPRT", "refused"),
    Row(21, "LF alone, bare CR, NUL", "LF ends a line; NUL and bare CR: 500 and closed"),
    Row(22, "lines, replies, records and hellos without end", "bounded memory; 500 or 421, and closed"),
    Row(23, "Telnet negotiation, IAC in a verb, ABOR as urgent data",
        "answered here, not relayed; ABOR works", also=("ABOR in mid-transfer/*",)),
    Row(24, "replies without a code, with code 600, 8-bit text", "not a boundary; never a pinhole"),
    Row(25, "bytes behind AUTH in the same segment", "TLS ends here: 421 and closed; TLS passes: never read as commands"),
    Row(26, "clear text where a hello is due", "never read; closed"),
    Row(27, "AUTH refused, twice, after the login", "the state stays true"),
    Row(28, "AUTH stripped or answered by somebody in between", "no silent downgrade; `tls.required` holds",
        promised="without `tls.required` a stripped AUTH is the client's to notice, as without a gateway"),
    Row(29, "another protocol inside TLS, wrong names, old versions (ALPACA)", "refused, closed after a few words"),
    Row(30, "CCC with close_notify from both, one or neither", "the ALG resumes in all",
        also=("ccc/scripted/*",)),
    Row(31, "CCC refused", "protection unchanged"),
    Row(32, "close_notify and a command in one segment, records cut anywhere", "no byte lost or read too early",
        also=("ccc/scripted/*",)),
    Row(33, "a late TLS alert in clear text", "swallowed within a bound"),
    Row(34, "clear text at a record boundary before any login", "reported; the same policy; `tls.required`: closed"),
    Row(35, "PROT, PBSZ and AUTH after CCC", "the server's answer counts, or 503 and 534"),
    Row(36, "REIN, HOST, REIN during a transfer", "TLS and transfer state reset, or refused"),
    Row(37, "a data connection without reuse, or with another session's ticket", "522 or 425 where required",
        also=("client_reuse require:*", "who gets through the blind ports/*"),
        promised="where TLS passes, the server alone can require it"),
    Row(38, "200 transfers to a server that demands reuse", "each resumes",
        also=("case 38: *", "faults: the clock steps by years/*")),
    Row(39, "data ended without close_notify", "an abnormal end for the other side; reported",
        promised="where TLS passes, truncation is the peers' to notice"),
    Row(40, "SSCN and CPSV", "roles tracked, or 502 and not in FEAT"),
    Row(41, "implicit TLS on the wrong side or at the wrong time", "a clear error, never a deadlock"),
    Row(42, "what follows a rewritten line", "byte for byte"),
    Row(43, "the pool is empty, a set is full, netlink refuses", "425 or 421; earlier sessions unharmed",
        also=("active transfers at once from a server's one data port/*", "faults: case 43: *",
              "faults: netlink does not answer/*")),
    Row(44, "a long transfer, the control connection idle", "kept alive",
        also=("the control connection idles through a long transfer/*",)),
    Row(45, "a peer vanishes at every step", "timeouts end it, all is released",
        also=("the end of the session withdraws its pinhole/*", "faults: case 45: a peer vanishes at every*",
              "faults: a thousand half-open sessions", "faults: a thousand SYNs without an end")),
    Row(46, "half-close, reset, nothing, ABOR in mid-transfer", "the truth is passed on",
        also=("half-close is kept/*", "a reset is passed on as a reset/*", "empty file/*",
              "ABOR in mid-transfer/*")),
    Row(47, "kill -9, restarts", "nothing open; the kernel's transfers go on; the table replaced",
        also=("kill -9 does not harm a kernel-path transfer/*", "a restart beside a running transfer/*",
              "faults: case 47: *", "a left-over table is replaced", "the blind ports die with the gateway/*")),
    Row(48, "the way leads back to the gateway", "detected, closed", also=("loop: *",),
        promised="a circle through other gateways is bounded by `sessions_per_client`, not detected"),
]
