"""Tests beyond the cells, each named and counted: `ALL` is a list of (name, test).

A test takes the path of the binary and a folder of its own. They register themselves with
`scenario`, once for every value of their parameters.
"""

ALL = []


def scenario(name, *parameters):
    """Registers a test. With `parameters` it is registered once for each, named `name/parameter`."""
    def register(function):
        for parameter in parameters or (None,):
            label = name if parameter is None else f"{name}/{_label(parameter)}"

            def test(binary, folder, parameter=parameter):
                if parameter is None:
                    function(binary, folder)
                else:
                    function(binary, folder, parameter)
            ALL.append((label, test))
        return function
    return register


def _label(parameter):
    return " ".join(map(str, parameter)) if isinstance(parameter, tuple) else str(parameter)


from scenarios.accounts import account  # noqa: E402,F401
from scenarios import (  # noqa: E402,F401
    audit, blind_ports, ccc, clearing, commands, container, control, ftps, handover, identities,
    implicit, lifecycle, look, monitoring, observe, pinholes, relay, reload, reuse, status_page,
    transfers, verification)
