"""A comparison of runs on a terminal: the word first, then each figure with its interval and the noise between runs."""

from __future__ import annotations

from harness import words
from harness.analysis.compare import Comparison, Row

__all__ = ["compare_text"]

_WIDTHS = (10, 10, 30, 11, 10)


def compare_text(comparison: Comparison) -> str:
    """Some ten lines."""
    base, new = comparison.runs
    lines = [f"{comparison.word}: {comparison.scenario}, {new} run{'s' if new > 1 else ''} against {base}", ""]
    width = max((len(row.name) for row in comparison.rows), default=8)
    names = ("base", "new", "difference, 95 % confidence", "noise, base", "noise, new")
    head = "  ".join(f"{name:>{room}}" for name, room in zip(names, _WIDTHS, strict=True))
    lines.append(f"  {'figure':<{width}}  {head}  answer")
    lines += [_line(row, width) for row in comparison.rows]
    if min(base, new) < 2:
        lines += ["", "  One run a side: the interval knows the noise inside the runs, not that between them. For an answer about"]
        lines += ["  two builds give repeats: roadmap-harness compare BASE,BASE,BASE NEW,NEW,NEW"]
    return "\n".join(lines) + "\n"


def _line(row: Row, width: int) -> str:
    interval = words.MISSING if row.low is None or row.high is None else f"{_in_unit(row.low, row.unit)} to {_in_unit(row.high, row.unit)}"
    cells = (_in_unit(row.base, row.unit), _in_unit(row.new, row.unit), interval, *(words.percent(share) for share in row.spread))
    shown = "  ".join(f"{cell:>{room}}" for cell, room in zip(cells, _WIDTHS, strict=True))
    return f"  {row.name:<{width}}  {shown}  {row.answer}"


def _in_unit(value: float | None, unit: str) -> str:
    if value is None:
        return words.MISSING
    return {"s": words.time, "bytes": words.size}[unit](value) if unit in ("s", "bytes") else f"{value:.3f}"
