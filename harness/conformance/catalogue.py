"""The tie between a check and its clause: the decorator, what each need asks of a profile, and which checks a run selects.

Level, tier, needs and readings come from clauses.toml alone; a check says only which clause it judges and how long it waits.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import pytest

from harness.errors import UsageError
from harness.target.model import Target
from schemas import Clause, Level, Limits, Tier, load_clauses, load_sections

__all__ = ["FAST_SECONDS", "HOOKS_OF", "Alone", "Selection", "Waits", "clause", "clauses_of", "release_key", "requirement_sets"]

FAST_SECONDS = 5.0
"""A check that waits longer than this by itself is left out of the fast profile."""

Alone = Literal["", "load", "stop"]
Waits = Callable[[Limits], float]
_F = TypeVar("_F", bound=Callable[..., Any])

HOOKS_OF: dict[str, tuple[str, ...]] = {
    "V": ("vote", "unvote"),
    "AF": ("create", "update", "delete"),
    "RD": ("read",),
    "RV": ("revoke",),
    "RL": ("change_role",),
    "SH": ("stop",),
}
"""The hooks of a profile that each need of a clause asks for; the needs that are not here are not hooks."""


def _no_wait(_: Limits) -> float:
    return 0.0


def clause(
    id_: str,
    *,
    waits: Waits = _no_wait,
    alone: Alone = "",
    idle: bool = False,
    hooks: Sequence[str] = (),
) -> Callable[[_F], _F]:
    """Mark a check function as judging the clause `id_` of clauses.toml.

    waits: seconds that the check waits by design, from the target's (scaled) limits; it decides about the fast profile, about
    the time after which the check is given up, and starts the longest first. alone: "load" runs it by itself when all others
    have ended (idle ones excepted); "stop" does so at the very end, for checks that stop the server. idle: after its start it
    only waits, so that load checks may run meanwhile. hooks: hooks it needs beyond the clause's own needs.

    Raises UsageError for an id that is not in the catalogue.
    """
    if id_ not in load_clauses():
        raise UsageError(f"there is no clause {id_!r}", "@clause", "add it to schemas/clauses.toml first")

    def mark(function: _F) -> _F:
        decorated: _F = pytest.mark.clause(id_, waits=waits, alone=alone, idle=idle, hooks=tuple(hooks))(function)
        return decorated

    return mark


def clauses_of(target: Target) -> Mapping[str, Clause]:
    """The catalogue, with the levels that the target's profile gives in place of its own (A00)."""
    return {id_: replace(each, level=target.levels.get(id_, each.level)) for id_, each in load_clauses().items()}


def release_key(name: str) -> tuple[int, ...]:
    """Requirement sets in their order: "1" < "1.2" < "2". Raises UsageError for what is none."""
    try:
        return tuple(int(part) for part in name.split("."))
    except ValueError:
        raise UsageError(f"{name!r} is no set of requirements", "--requirements", f"there are {', '.join(requirement_sets())}") from None


def requirement_sets() -> list[str]:
    """Every set that the catalogue has, in order."""
    return sorted({each.since for each in load_clauses().values()}, key=lambda name: tuple(int(part) for part in name.split(".")))


@dataclass(frozen=True, slots=True)
class Selection:
    """Which clauses a run judges; an empty tuple selects all. `requirements` pins the set: later clauses are left out."""

    clauses: tuple[str, ...] = ()
    """Ids or globs such as "HB-*"."""
    sections: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    profile: Literal["fast", "full"] = "full"
    requirements: str = ""

    def __post_init__(self) -> None:
        known = load_clauses()
        for pattern in self.clauses:
            if not fnmatch.filter(known, pattern.upper()):
                raise UsageError(f"no clause is called {pattern!r}", "--clause", "give an id such as HB-05, or a pattern such as 'HB-*'")
        allowed: tuple[tuple[str, Sequence[str], Iterable[str]], ...] = (
            ("--section", self.sections, load_sections()),
            ("--tier", self.tiers, Tier),
            ("--level", self.levels, Level),
            ("--profile", (self.profile,), ("fast", "full")),
        )
        for option, given, names in allowed:
            listed = [str(name) for name in names]
            for each in given:
                if each not in listed:
                    raise UsageError(f"there is no {each!r}", option, f"allowed: {', '.join(listed)}")
        if self.requirements:
            release_key(self.requirements)

    def why_not(self, each: Clause) -> str | None:
        """Why this clause is not selected, in words; None when it is."""
        if self.requirements and release_key(each.since) > release_key(self.requirements):
            return f"it came with requirements {each.since}, and {self.requirements} is pinned"
        wanted = (
            not self.clauses or any(fnmatch.fnmatchcase(each.id, pattern.upper()) for pattern in self.clauses),
            not self.sections or each.section.key in self.sections,
            not self.tiers or each.tier in self.tiers,
            not self.levels or each.level in self.levels,
        )
        return None if all(wanted) else "it was not asked for"

    def arguments(self) -> list[str]:
        """The same selection as command-line options of the pytest plugin."""
        words = [f"--profile={self.profile}"]
        for option, values in (("clause", self.clauses), ("section", self.sections), ("tier", self.tiers), ("level", self.levels)):
            words += [f"--{option}={value}" for value in values]
        return [*words, *([f"--requirements={self.requirements}"] if self.requirements else [])]
