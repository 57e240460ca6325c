#!/usr/bin/env python3
"""Runs the lab: cells, scenarios and the adversarial suite against a built ftpgate.

    run.py [--binary target/debug/ftpgate] [--only PATTERN]… [--list] [--write-docs] [--jobs N]
           [--full] [--peers] [--cases]

A PATTERN is a shell pattern on the whole name or any part of it. Exit code 1 if anything failed.
"""

import argparse
import collections
import fnmatch
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import ccc_cells
import ccc_scripted
import process
import scenarios
import termination_cells
import termination_run
from cells import SERVERS, converse, covering_set, reason
from lab import Lab
from report import FAIL, OK, SKIP, Report
from servers import installed

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.append(os.path.dirname(HERE))

import adversary  # noqa: E402  It lies beside the lab.
from adversary import results as case_results  # noqa: E402

LOG_LINES = 40

# How many sets of namespaces exist at a time, and how many cells run in one of them. The lab waits more than it
# computes: on two processors three at a time take six tenths of the time of two.
SETS = 3
CELLS = 2


def main():
    args = parse()
    wanted = Selection(args.only, args.cases)
    everything = {
        "cells": covering_set(),
        "secured": ccc_cells.covering_set(),
        "scripted": ccc_scripted.covering_set(),
        "ended": termination_cells.covering_set(args.full),
    }
    tests = scenarios.ALL + scenarios.LONG * args.full + adversary.ALL
    names = [str(cell) for cells in everything.values() for cell in cells] + [name for name, _ in tests]
    tests += case_results.overall(names)
    cells, secured, scripted, ended = ([cell for cell in group if wanted(str(cell))]
                                       for group in everything.values())
    tests = [(name, test) for name, test in tests if wanted(name)]
    if args.list:
        for name in [*map(str, cells + secured + scripted + ended), *(name for name, _ in tests)]:
            print(name)
        return 0
    missing = installed()
    if missing or os.geteuid() != 0:
        print(f"run.py: needs root and tests/lab/setup.sh; missing: {', '.join(missing) or 'root'}",
              file=sys.stderr)
        return 2
    # An end by SIGTERM shall clean up like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = Report()
    folder = tempfile.mkdtemp(prefix="ftpgate-lab-")
    os.chmod(folder, 0o755)
    start = time.monotonic()
    try:
        run = Run(args, report, folder)
        ccc = ccc_cells.CccRun(args.binary, folder, report, secured)
        by_hand = ccc_scripted.ScriptedRun(args.binary, folder, report, scripted)
        termination = termination_run.TerminationRun(args.binary, folder, report, ended)
        # What waits for a measurement comes long after it.
        jobs = ccc.measure_jobs() + termination.measure_jobs()
        if not args.peers:
            jobs += (run.cell_jobs(cells) + by_hand.jobs() + run.test_jobs(tests)
                     + termination.jobs() + ccc.jobs())
        with ThreadPoolExecutor(args.jobs) as pool:
            try:
                for done in [pool.submit(job) for job in jobs]:
                    done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        process.stop_all()
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"\nthe lab took {time.monotonic() - start:.0f} s")
    if args.peers:
        print("\n".join(termination.told()))
    tables = {"ccc": ccc_cells.table(ccc, by_hand), "termination": termination_run.table(termination)}
    code = report.finish(tables)
    if args.write_docs and not (args.only or args.peers):
        if not args.cases:
            report.write_docs(os.path.join(TOP, "docs", "interop.md"), tables)
        case_results.write_docs({name: state == OK for name, state, _ in report.results})
    return code


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=os.path.join(TOP, "target/debug/ftpgate"))
    parser.add_argument("--only", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--write-docs", action="store_true",
                        help="write docs/interop.md and the table of docs/threat-model.md")
    parser.add_argument("--cases", action="store_true", help="only what holds the list of cases")
    parser.add_argument("--full", action="store_true", help="every cell in which TLS ends, long storms of faults: an hour")
    parser.add_argument("--peers", action="store_true", help="only what peers do without ftpgate")
    parser.add_argument("--keep", action="store_true", help="keep the logs of the run")
    parser.add_argument("--jobs", type=int, default=SETS, help="sets of namespaces at a time")
    return parser.parse_args()


class Selection:
    """Which names are wanted."""

    def __init__(self, patterns, cases=False):
        self.patterns = patterns
        self.cases = cases

    def __call__(self, name):
        if self.cases and not (name.startswith("cases: ") or case_results.of_any_row(name)):
            return False
        return not self.patterns or any(fnmatch.fnmatch(name, f"*{pattern}*")
                                        for pattern in self.patterns)


class Run:
    """Turns cells and tests into jobs that need nothing but to be called."""

    def __init__(self, args, report, folder):
        self.args = args
        self.report = report
        self.folder = folder
        self._plain_lock = threading.Lock()
        self._plain = {}           # talk: reason why the peers cannot, or None

    def cell_jobs(self, cells):
        by_setting = collections.defaultdict(list)
        for cell in cells:
            by_setting[cell.setting].append(cell)
        jobs = [lambda s=setting, c=group: self._setting(s, c) for setting, group in by_setting.items()]
        return [lambda: self._measure_peers({cell.talk for cell in cells})] * bool(cells) + jobs

    def _measure_peers(self, talks):
        """Plain routing first: what two peers cannot do by themselves is not the gateway's."""
        with self._plain_lock, Lab(os.path.join(self.folder, "plain"), servers=SERVERS) as lab:
            ordered = sorted(talks, key=str)
            def thrice(pair):
                # A failure that does not last says nothing about what the peers can do.
                number, talk = pair
                errors = [self._try(lab, f"{number}-1", talk)]
                while errors[-1] and len(errors) < 3:
                    errors.append(self._try(lab, f"{number}-{len(errors) + 1}", talk))
                return errors[-1]
            with ThreadPoolExecutor(CELLS) as pool:
                outcomes = pool.map(thrice, enumerate(ordered))
                self._plain = {talk: error and reason(error)
                               for talk, error in zip(ordered, outcomes, strict=True)}

    @staticmethod
    def _try(lab, number, talk):
        try:
            host, port = lab.target(lab.servers[talk.server], talk.family)
            converse(lab.topology, lab.servers[talk.server], talk,
                     os.path.join(lab.folder, f"cell{number}"), host, port)
        except Exception as error:  # a cell's failure is a result, whatever it is
            return error
        return None

    def _setting(self, setting, cells):
        name = str(setting).replace("/", "-")
        try:
            with Lab(os.path.join(self.folder, name), self.args.binary, setting, SERVERS) as lab:
                def one(pair):
                    number, cell = pair
                    self._cell(cell, lab, self._try(lab, number, cell.talk))
                with ThreadPoolExecutor(CELLS) as pool:
                    list(pool.map(one, enumerate(cells)))
                passed = [cell for cell in cells if (str(cell), OK, "") in self.report.results]
                self._test(f"account/{setting}", lambda: self._account(lab, cells, passed))
        except Exception as error:  # one setting that cannot start must not hide the others
            for cell in cells:
                self.report.add_cell(cell, FAIL, reason(error))
            print("".join(traceback.format_exception(error)), flush=True)

    @staticmethod
    def _account(lab, cells, passed):
        try:
            scenarios.account(lab, cells, passed)
        except Exception as error:
            error.logs = [lab.gateway.log]
            raise

    def _cell(self, cell, lab, error):
        if error is None:
            self.report.add_cell(cell, OK)
            return
        with self._plain_lock:
            cannot = self._plain.get(cell.talk)
        if cannot:
            self.report.add_cell(cell, SKIP, cannot)
            return
        log = lab.gateway.read_log().splitlines()[-LOG_LINES:]
        details = "\n".join([getattr(error, "dialogue", ""), "--- log of ftpgate", *log])
        self.report.add_cell(cell, FAIL, reason(error), details)

    def test_jobs(self, tests):
        return [lambda n=name, t=test: self._test(
            n, lambda: t(self.args.binary, os.path.join(self.folder, _file_name(n))))
            for name, test in tests]

    def _test(self, name, test):
        try:
            test()
        except Exception as error:  # likewise: any failure is a result
            details = "".join(traceback.format_exception(error)) + "\n".join(logs_of(error))
            self.report.add(name, FAIL, reason(error), details)
        else:
            self.report.add(name, OK)


def _file_name(name):
    """A folder's name: some servers take a comma or a colon in a path for the end of it."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name)


def logs_of(error):
    """The end of ftpgate's log and the dialogue, which a test leaves in its exception."""
    for path in getattr(error, "logs", []):
        if os.path.exists(path):
            with open(path, encoding="utf-8", errors="replace") as text:
                lines = text.read().splitlines()
            yield f"--- {os.path.basename(path)}"
            yield from lines[-LOG_LINES:]
    yield from getattr(error, "notes", [])


if __name__ == "__main__":
    sys.exit(main())
