"""Tests beyond the cells, each named and counted: `ALL` is a list of (name, test).

A test takes the path of the binary and a folder of its own. They register themselves with
`scenario`, once for every value of their parameters.
"""

import importlib
import pkgutil

ALL = []

# Likewise, those that only `run.py --full` runs: they take minutes.
LONG = []


def scenario(name, *parameters, full=False):
    """Registers a test. With `parameters` it is registered once for each, named `name/parameter`.

    `full`: it is one of those that take minutes.
    """
    def register(function):
        for parameter in parameters or (None,):
            label = name if parameter is None else f"{name}/{_label(parameter)}"

            def test(binary, folder, parameter=parameter):
                if parameter is None:
                    function(binary, folder)
                else:
                    function(binary, folder, parameter)
            (LONG if full else ALL).append((label, test))
        return function
    return register


def _label(parameter):
    return " ".join(map(str, parameter)) if isinstance(parameter, tuple) else str(parameter)


from scenarios.accounts import account  # noqa: E402,F401

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"scenarios.{_module.name}")
