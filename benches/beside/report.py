"""From samples to tables: medians, ratios against the named peers, targets met or missed.

A ratio is the median over the rounds of the quotient within a round: the machine's speed drifts by more than what is
to be told apart, and the two halves of a round's quotient are taken seconds apart.
"""

from dataclasses import dataclass
from statistics import median

from contenders import TITLES


@dataclass(frozen=True)
class Target:
    """`contender` against `peer` in `work`: at least `bound` times it, or at most where less is better."""

    work: str
    contender: str
    peer: str
    bound: float


# A transparent contender is held against the transparent peers, one that is dialled against the dialled ones.
TARGETS = [
    Target("file", "kernel", "nat", 0.98),
    Target("file", "kernel", "alg", 1.0),
    Target("file", "relay-direct", "haproxy", 1.0),
    Target("file", "relay-direct", "mod_proxy", 1.0),
    Target("file", "relay-direct", "squid", 2.0),
    Target("file", "relay", "haproxy", 1.0),
    Target("file", "relay", "mod_proxy", 1.0),
    Target("file", "relay", "squid", 2.0),
    Target("small", "kernel", "alg", 0.8),
    Target("small", "kernel", "haproxy", 1.0),
    Target("small", "kernel-direct", "haproxy", 1.0),
    Target("small", "relay-direct", "haproxy", 1.0),
    Target("small", "relay-direct", "mod_proxy", 1.0),
    Target("small", "relay", "haproxy", 1.0),
    Target("small", "relay", "mod_proxy", 1.0),
    Target("noop", "kernel-direct", "haproxy", 1.0),
    Target("noop", "kernel", "haproxy", 1.0),
    Target("sessions", "kernel-direct", "haproxy", 1.0),
    Target("sessions", "kernel-direct", "squid", 1.0),
    Target("sessions", "kernel-direct", "mod_proxy", 15.0),
    Target("sessions", "kernel", "haproxy", 1.0),
    Target("sessions", "kernel", "squid", 1.0),
    Target("sessions", "kernel", "mod_proxy", 15.0),
    Target("file", "intercept", "mod_proxy-tls", 1.5),
    Target("file", "intercept", "haproxy-tls", 1.0),
    Target("small", "intercept", "mod_proxy-tls", 1.0),
    Target("sessions", "intercept", "mod_proxy-tls", 5.0),
]

# Request to acknowledgement of one pinhole, in seconds.
PINHOLE_MEDIAN = 20e-6

# Data handshakes of `intercept` that resume, and its bytes for an idle session.
RESUMED_SHARE = 0.95
IDLE_BYTES = 64 * 1024


def paired_ratio(contender, peer, work):
    """Median of the quotients of the rounds that both have; None without one."""
    ours, theirs = contender.samples.get(work, {}), peer.samples.get(work, {})
    quotients = [ours[n].value / theirs[n].value for n in ours.keys() & theirs.keys() if theirs[n].value]
    return median(quotients) if quotients else None


def work_table(work, contenders):
    """Lines of a Markdown table: what each contender reached."""
    rows = [["contender", f"median {work.unit}", "min", "max", f"gateway's {work.cost_unit}"]]
    for contender in contenders:
        samples = list(contender.samples.get(work.name, {}).values())
        if not samples:
            rows.append([contender.title, "–", "–", "–", "–"])
            continue
        values = [sample.value for sample in samples]
        costs = [sample.cost for sample in samples if sample.cost is not None]
        rows.append([contender.title, *(f"{number:.4g}" if number < 1e4 else f"{number:.0f}" for number in
                    (median(values), min(values), max(values))),
                     f"{median(costs):.3g}" if costs else "–"])
    return [f"### {work.title} ({work.unit}; {'more' if work.more_is_better else 'less'} is better)", "", *_markdown(rows)]


def target_results(works, contenders):
    """Each target with its ratio: a list of (target, ratio or None, met or None)."""
    by_name = {contender.name: contender for contender in contenders}
    names = {work.name: work for work in works}
    results = []
    for target in TARGETS:
        if target.work not in names or not {target.contender, target.peer} <= by_name.keys():
            continue
        ratio = paired_ratio(by_name[target.contender], by_name[target.peer], target.work)
        met = None
        if ratio is not None:
            met = ratio >= target.bound if names[target.work].more_is_better else ratio <= target.bound
        results.append((target, ratio, met))
    return results


def target_table(works, results):
    """Lines of a Markdown table: each target, met or missed."""
    titles = {work.name: work for work in works}
    rows = [["work", "contender", "against", "ratio", "target", ""]]
    for target, ratio, met in results:
        work = titles[target.work]
        sign = "≥" if work.more_is_better else "≤"
        verdict = "not measured" if met is None else "met" if met else "**missed**"
        rows.append([work.title, TITLES[target.contender], TITLES[target.peer],
                     "–" if ratio is None else f"{ratio:.2f}", f"{sign} {target.bound:g}", verdict])
    return _markdown(rows)


def pinhole_lines(figures):
    """What ftpgate's own histogram says of each contender: (title, count, median seconds or None, children)."""
    rows = [["contender", "pinholes opened", "median open", "target", "child processes"]]
    for title, count, middle, children in figures:
        told = "–" if middle is None else f"{middle * 1e6:.1f} µs"
        verdict = "" if middle is None else "met" if middle < PINHOLE_MEDIAN else "**missed**"
        rows.append([title, f"{count:.0f}", told, f"< {PINHOLE_MEDIAN * 1e6:.0f} µs {verdict}".strip(), children])
    return _markdown(rows)


def resumed_lines(figures):
    """What ftpgate counted of its data handshakes: (title, {side: share or None})."""
    rows = [["contender", "side", "resumed", "target"]]
    for title, shares in figures:
        for side, share in shares.items():
            verdict = "–" if share is None else "met" if share >= RESUMED_SHARE else "**missed**"
            rows.append([title, side, "–" if share is None else f"{share:.2%}", f"≥ {RESUMED_SHARE:.0%} {verdict}"])
    return _markdown(rows)


def idle_lines(figures):
    """What idle sessions cost: (title, whether it is ftpgate, bytes a session)."""
    rows = [["contender", "KiB for an idle session", "target"]]
    for title, has_target, size in figures:
        verdict = "met" if size <= IDLE_BYTES else "**missed**"
        rows.append([title, f"{size / 1024:.1f}", f"≤ {IDLE_BYTES >> 10} {verdict}" if has_target else ""])
    return _markdown(rows)


def _markdown(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
