"""A hostile client and a hostile server against the real binary: every row of the list of cases.

Each check is named after the row that it holds (`case 8: …`). `case` registers one on loopback, where
ftpgate has no privilege and relays; `gate.py` is what such a script talks through. A check takes the
path of the binary and a folder of its own, as a scenario does; `ALL` is a list of (name, test).
"""

import importlib
import os
import pkgutil

from adversary.gate import Gate

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


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"adversary.{_module.name}")
