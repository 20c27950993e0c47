"""How a server is set up so that a clause can be seen on it: as it is, over TLS, or so small that it is soon full and soon at its cap.

Clauses on capacity and on the rate of all (tier TC) are judged on the small one, where a few sockets fill the house and a few votes a
second reach the cap; all others on a server with the contract's own limits. Durations are scaled alike everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.faults.known import Fault
from schemas import Tier, load_clauses

__all__ = ["PLAIN", "RIGS", "SMALL", "TLS", "Rig", "rigs_for"]

_PEOPLE = ("--users", "30", "--admins", "6", "--sessions", "120", "--features", "12")
_SOCKETS = 40
_BROADCASTS = 20


@dataclass(frozen=True, slots=True)
class Rig:
    """arguments: of the server. clauses: those that are judged on it. capacity: may as many sockets be opened as its limit allows."""

    name: str
    arguments: tuple[str, ...]
    clauses: tuple[str, ...]
    capacity: bool = False
    secure: bool = False


_OF_CAPACITY = tuple(each.id for each in load_clauses().values() if each.tier is Tier.TC and "N2" not in each.needs)
_OTHERS = tuple(each.id for each in load_clauses().values() if each.tier is not Tier.TC and "CL" not in each.needs)

PLAIN = Rig("as it is", _PEOPLE, _OTHERS)
TLS = Rig("over TLS", _PEOPLE, _OTHERS, secure=True)
SMALL = Rig(
    f"{_SOCKETS} sockets, {_BROADCASTS} broadcasts/s",
    (*_PEOPLE, "--connections", str(_SOCKETS), "--broadcasts-per-second", str(_BROADCASTS)),
    _OF_CAPACITY,
    capacity=True,
)
RIGS = (PLAIN, TLS, SMALL)


def rigs_for(fault: Fault, clauses: Sequence[str]) -> tuple[Rig, ...]:
    """What a fault's server must be for each of `clauses` to be seen on it; never two that show the same clauses."""
    usual = TLS if "tls" in fault.needs else PLAIN
    return tuple(rig for rig in (usual, SMALL) if not set(clauses).isdisjoint(rig.clauses))
