"""Seeded faults: named defects of this server, each breaking one clause of the contract, to prove that its check notices.

`--fault NAME` switches one on. They are for testing the tester and never for a server that people use. A fault changes one
thing and nothing else; what breaks with it is written beside it, with the reason. Without `--fault` nothing here is imported.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType

from server_under_test.errors import StartError
from server_under_test.faults.assembly import Assembly
from server_under_test.faults.room import Fault
from server_under_test.parts import Parts

__all__ = ["UNFAULTABLE", "Fault", "faulty_parts", "load_faults"]

_MODULES = (
    "handshake",
    "limits",
    "heartbeat",
    "closing",
    "frames",
    "votes",
    "batching",
    "edits",
    "features",
    "errors",
    "subscriptions",
    "rate",
    "session",
    "performance",
)

UNFAULTABLE: Mapping[str, str] = MappingProxyType({})
"""MUST and SHOULD clauses that no fault of a server could break, with the reason; clients' own clauses (CLI) apart."""


@cache
def load_faults() -> Mapping[str, Fault]:
    """All faults by name, in the order of the contract's sections."""
    faults: dict[str, Fault] = {}
    for module in _MODULES:
        for fault in import_module(f"{__name__}.{module}").ROOM.faults:
            if fault.name in faults:
                raise RuntimeError(f"two faults are called {fault.name}: rename the one in {module}.py")
            faults[fault.name] = fault
    return MappingProxyType(faults)


def faulty_parts(names: Iterable[str]) -> Parts:
    """The classes of a server with these faults. Raises StartError, listing what there is, for a name that is not a fault."""
    faults = load_faults()
    assembly = Assembly()
    for name in names:
        if name not in faults:
            near = difflib.get_close_matches(name, faults, n=3)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            raise StartError(f"there is no fault {name!r}: {hint}There are {', '.join(faults)}")
        faults[name].apply(assembly)
    return assembly.parts()
