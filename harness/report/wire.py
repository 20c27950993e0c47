"""Wire logs within a budget: every frame of the evidence costs bytes of the page, and the page has to stay small.

The rule: what is left out is counted and said. Failures are served before the rest, and within a check the last frames of each
connection, and its own before those that other checks caused, are kept before the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import escape

from harness import words
from harness.report.gate_file import Frame

__all__ = ["Log", "Row", "cost", "demand", "logs", "shares"]

_ROW = 170  # bytes of markup around a frame
_KINDS = {-2: "handshake", -1: "end of TCP", 0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
_FROM = {"in": "target", "out": "harness"}


@dataclass(frozen=True, slots=True)
class Row:
    """One frame: when, how long after the one before it on its connection, from whom ("target", "harness" or ""), what it said."""

    at: str
    gap: str
    sender: str
    kind: str
    text: str
    own: bool


@dataclass(frozen=True, slots=True)
class Log:
    """The frames of one connection in their order; `left_out` of them are not shown."""

    connection: str
    rows: tuple[Row, ...]
    left_out: int


def cost(frame: Frame, text_limit: int) -> int:
    """About how many bytes of the page a frame takes; never less than it does."""
    return _ROW + len(str(escape(words.visible(frame.text[:text_limit]))).encode())


def demand(frames: Iterable[Frame], text_limit: int) -> int:
    """What a check would like to have: the cost of its frames, taken as plain text, which is ten times quicker to find out."""
    return sum(_ROW + len(escape(frame.text[:text_limit])) for frame in frames)


def shares(demands: Sequence[Sequence[int]], budget: int) -> list[list[int]]:
    """Divide `budget` bytes: the first group is served before the second, and within a group nobody gets more than an equal share
    of what is there unless all others have what they ask for."""
    result = []
    for group in demands:
        given = [0] * len(group)
        left = budget
        waiting = sorted(range(len(group)), key=lambda index: group[index])
        for position, index in enumerate(waiting):
            given[index] = min(group[index], left // (len(waiting) - position))
            left -= given[index]
        budget = left
        result.append(given)
    return result


def logs(frames: Iterable[Frame], allowance: int, text_limit: int) -> tuple[Log, ...]:
    """The wire log of a check, one part a connection, in at most `allowance` bytes."""
    by: dict[str, list[Frame]] = {}
    for frame in frames:
        by.setdefault(frame.connection, []).append(frame)
    kept = _kept(by, allowance, text_limit)
    return tuple(Log(name, _rows(entries, kept[name], text_limit), len(entries) - len(kept[name])) for name, entries in by.items())


def _kept(by: dict[str, list[Frame]], allowance: int, text_limit: int) -> dict[str, set[int]]:
    kept: dict[str, set[int]] = {name: set() for name in by}
    places = [(not entries[index].own, len(entries) - index, name, index) for name, entries in by.items() for index in range(len(entries))]
    for _, _, name, index in sorted(places):
        price = cost(by[name][index], text_limit)
        if price > allowance:
            break
        allowance -= price
        kept[name].add(index)
    return kept


def _rows(entries: list[Frame], kept: set[int], text_limit: int) -> tuple[Row, ...]:
    rows = []
    for index in sorted(kept):
        frame = entries[index]
        gap = f"+{frame.at - entries[index - 1].at:.3f}" if index else ""
        text = frame.text if len(frame.text) <= text_limit else frame.text[:text_limit] + "…"
        kind = _KINDS.get(frame.opcode, f"opcode {frame.opcode}")
        rows.append(Row(f"{frame.at:.3f}", gap, _FROM.get(frame.direction, ""), kind, text, frame.own))
    return tuple(rows)
