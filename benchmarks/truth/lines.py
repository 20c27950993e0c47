"""One quantity of a truth: what was injected, what the run's own figures say, and how far apart the two may be.

The allowance is never chosen to fit: it is what the report itself states as its error (intervals, slip, resolution), or zero for counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Line", "Part", "table", "within"]


@dataclass(frozen=True, slots=True)
class Line:
    """`error` is how far `reported` may be from `injected`, in the same unit, which `what` names; None where more than the difference
    was compared (name by name). `holds`: whether they agree as they must."""

    what: str
    injected: float
    reported: float
    error: float | None
    holds: bool


@dataclass(frozen=True, slots=True)
class Part:
    """All quantities of one run (or two); `faults` says in words what disagrees; `invalid`: the reasons why the run itself would judge
    nothing, which is no lie, but worth knowing."""

    lines: tuple[Line, ...]
    faults: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return all(line.holds for line in self.lines)


def within(what: str, injected: float, reported: float | None, error: float) -> Line:
    """A line that holds when the two are at most `error` apart; a figure that is missing never does."""
    seen = float("nan") if reported is None else reported
    return Line(what, injected, seen, error, abs(seen - injected) <= error)


def table(parts: Sequence[tuple[str, Part]]) -> str:
    """Every line of every part, under one heading."""
    rows = [f"{'':<50} {'injected':>12} {'reported':>12} {'may differ':>11}"]
    for name, part in parts:
        rows.append(f"{name}" + (f"   INVALID: {', '.join(part.invalid)}" if part.invalid else ""))
        for line in part.lines:
            error = "" if line.error is None else _figure(line.error)
            mark = "" if line.holds else "   WRONG"
            rows.append(f"  {line.what:<48} {_figure(line.injected):>12} {_figure(line.reported):>12} {error:>11}{mark}")
        rows += [f"    {fault}" for fault in part.faults[:20]]
    return "\n".join(rows)


def _figure(value: float) -> str:
    if math.isnan(value):
        return "none"
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1e4 else f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"
