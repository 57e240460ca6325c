"""A hostile client and a hostile server against the real binary: every row of the list of cases.

Each check is named after the row that it holds (`case 8: …`). `case` registers one on loopback, where
ftpgate has no privilege and relays; `gate.py` is what such a script talks through. `in_lab` registers one
in the lab's namespaces, with nftables. A check takes the path of the binary and a folder of its own, as
a scenario does; `ALL` is a list of (name, test). `rows.py` is the list itself.
"""

import importlib
import os
import pkgutil

from adversary.gate import Gate
from scenarios.pinholes import lab_of

ALL = []


def case(number, text):
    """Registers a check: `case(8, "an octet over 255")`; the function gets a `Gate` factory."""
    def register(function):
        def test(binary, folder):
            os.makedirs(folder)
            gates = []

            def gate(**options):
                gates.append(Gate(binary, os.path.join(folder, str(len(gates))), **options))
                return gates[-1]
            try:
                function(gate)
            except Exception as error:
                error.logs = [g.log for g in gates]
                raise
            finally:
                for each in gates:
                    each.close()
        ALL.append((f"case {number}: {text}", test))
        return function
    return register


def in_lab(number, text, *settings, **options):
    """Registers a check in namespaces, once for each setting; the function gets a `ScriptedLab`, which
    `options` go to."""
    def register(function):
        for setting in settings:
            def test(binary, folder, setting=setting):
                with lab_of(folder, binary, setting, **options) as lab:
                    function(lab)
            ALL.append((f"case {number}: {text}/{setting}", test))
        return function
    return register


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"adversary.{_module.name}")
