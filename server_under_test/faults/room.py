"""What a fault is, and the shelf on which each module of faults puts its own.

A fault is a small subclass of one part of the server (rarely two), or a function that is given the assembly. Its name follows
from the name in the code, and its summary is the first line of its docstring: nothing is said twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from schemas import load_clauses
from server_under_test.faults.assembly import Assembly

__all__ = ["Fault", "Need", "Room"]

Need = Literal["tls", "capacity", "load"]
"""What it takes to see a fault at all: a server started with --tls-cert and --tls-key; as many sockets as the limit allows (set
--connections low); broadcasts near the cap (set --broadcasts-per-second low)."""

Code = TypeVar("Code", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Fault:
    """One named defect. `clause` is the one that it breaks.

    `follows` gives the other clauses that break with it, as ids or patterns such as "VOTE-*", each with the reason; "*" means
    that whatever else uses the server at the same time may be hit. They may be seen broken; nothing else may.
    """

    name: str
    clause: str
    summary: str
    follows: Mapping[str, str]
    needs: tuple[Need, ...]
    apply: Callable[[Assembly], None]

    @property
    def also(self) -> tuple[str, ...]:
        """The ids of the clauses in `follows`, in the order of the contract."""
        return tuple(id_ for id_ in load_clauses() if id_ != self.clause and self.reason(id_) is not None)

    def reason(self, clause: str) -> str | None:
        """Why a clause breaks with this fault; None when it must not."""
        section = clause.partition("-")[0]
        for pattern, reason in self.follows.items():
            if fnmatchcase(clause, pattern) and (pattern != "*" or section != "CLI"):
                return reason
        return None


class Room:
    """The faults of one module, in its order."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def fault(
        self, clause: str, follows: Mapping[str, str] | None = None, *, besides: tuple[type, ...] = (), needs: tuple[Need, ...] = ()
    ) -> Callable[[Code], Code]:
        """Register the class or function that follows as a fault of `clause`; `besides` are further classes that it takes."""

        def register(code: Code) -> Code:
            if isinstance(code, type):
                kinds: tuple[type, ...] = (code, *besides)

                def apply(assembly: Assembly) -> None:
                    assembly.over(*kinds)
            else:
                apply = code
            summary = (code.__doc__ or "").strip().partition("\n")[0]
            self.faults.append(Fault(_kebab(code.__name__), clause, summary, MappingProxyType(dict(follows or {})), needs, apply))
            return code

        return register


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_", "-", name).lower()
