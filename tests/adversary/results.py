"""Which checks hold which row, and the table of `docs/threat-model.md`, written from a run."""

import fnmatch
import os
import re

from adversary.rows import ROWS
from process import Failed

BEGIN = "<!-- begin: written by tests/lab/run.py --cases --write-docs -->"
END = "<!-- end -->"
DOCS = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "threat-model.md")
LOOPBACK = "loopback"
BREAK = "<br>"

_CASE = re.compile(r"case (\d+): (.*)")
_SETTING = re.compile(r"(.*?)/((?:tproxy|redirect|direct)/(?:gateway|client)/(?:kernel|relay))")


def checks_of(row, names):
    """The names of a row's checks among `names`."""
    own = [name for name in names if (found := _CASE.match(name)) and int(found[1]) == row.number]
    return own + [name for name in names if name not in own
                  and any(fnmatch.fnmatchcase(name, pattern) for pattern in row.also)]


def of_any_row(name):
    """True for a check of some row."""
    return any(checks_of(row, [name]) for row in ROWS)


def complaints(names):
    """What is missing or superfluous: rows without a check, patterns and numbers that fit nothing."""
    numbers = [row.number for row in ROWS]
    if numbers != list(range(1, 49)):
        yield f"the rows are {numbers}"
    for row in ROWS:
        if not checks_of(row, names):
            yield f"case {row.number} has no check"
        for pattern in row.also:
            if not fnmatch.filter(names, pattern):
                yield f"case {row.number}: no scenario is called {pattern!r}"
    for name in names:
        if (found := _CASE.match(name)) and int(found[1]) not in numbers:
            yield f"{name!r} is of no row"


def overall(names):
    """The checks of the list as a whole, as (name, test). `names`: of all that there is."""
    def complete(_binary, _folder):
        _none(complaints(names))

    def documented(_binary, _folder):
        _none(stale(names))
    return [("cases: each has a check, and each check its case", complete),
            ("cases: docs/threat-model.md names them all", documented)]


def _none(found):
    if found := list(found):
        raise Failed("; ".join(found))


def shown(name):
    """(what is tried, on which path) of a check's name."""
    path = LOOPBACK if _CASE.match(name) else "lab"
    if found := _SETTING.match(name):
        name, path = found[1], found[2]
    elif path == "lab":
        name, _, path = name.partition("/")
        path = path or "lab"
    found = _CASE.match(name)
    return (found[2] if found else name), path


def table(results):
    """The rows as Markdown, the same for every order of the run. `results`: {name: passed}, of all checks."""
    yield "| case | what is sent | what holds | promised | checks | passed |"
    yield "|---|---|---|---|---|---|"
    for row in ROWS:
        names = checks_of(row, sorted(results))
        passed = sum(results[name] for name in names)
        cell = BREAK.join(f"{text} ({', '.join(paths)})" for text, paths in _by_text(names).items())
        cell = cell.replace("|", "\\|")
        yield (f"| {row.number} | {row.what} | {row.holds} | {row.promised} | {cell} "
               f"| {passed} of {len(names)} |")


def _by_text(names):
    """{what is tried: its paths}; of many cells their number alone."""
    found = {}
    for name in names:
        if name.startswith("ccc/"):
            found.setdefault("cells `ccc/scripted/*`", []).append(name)
            continue
        text, path = shown(name)
        if path not in found.setdefault(text, []):
            found[text].append(path)
    return {text: paths if not text.startswith("cells") else [str(len(paths))]
            for text, paths in found.items()}


def write_docs(results, path=DOCS):
    """Replaces what stands between the markers."""
    with open(path, encoding="utf-8") as text:
        before, _, rest = text.read().partition(BEGIN)
    after = rest.partition(END)[2]
    with open(path, "w", encoding="utf-8") as out:
        out.write("\n".join([before + BEGIN, "", *table(results), "", END + after]))


def stale(names, path=DOCS):
    """Rows that the table leaves out, and checks that it names although there are none. A new check need
    not stand there until the table is written again."""
    with open(path, encoding="utf-8") as text:
        written = text.read().partition(BEGIN)[2].partition(END)[0]
    rows = {}
    for line in written.splitlines():
        cells = line.replace("\\|", "&").split("|")
        if len(cells) == 8 and cells[1].strip().isdigit():
            rows[int(cells[1])] = cells[5].strip().split(BREAK)
    for row in ROWS:
        there = {f"{text} ({path})".replace("|", "&") for text, paths in _by_text(checks_of(row, names)).items()
                 for path in paths}
        for check in rows.get(row.number, [f"case {row.number} ()"]):
            text, _, paths = check.rpartition(" (")
            if text.startswith("cells"):
                continue
            for path in paths.rstrip(")").split(", "):
                if f"{text} ({path})" not in there:
                    yield f"there is no {text!r} on {path}, which case {row.number} names"
