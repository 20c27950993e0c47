"""The first screen of the page, whatever kind of run it is: one verdict, the reason in a sentence, the facts, the tiles.

A folder with a gate's result and a load run's journal has one head: the verdict is the worse of the two, and each says its sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.verdict import Verdict

__all__ = ["Head", "Tile", "joined"]

_WORST_FIRST = ("FAIL", "UNREACHABLE", "INVALID", "UNTESTED", "PASS")


@dataclass(frozen=True, slots=True)
class Tile:
    """One of the numbers that a reader looks for first."""

    label: str
    value: str
    against: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Head:
    """`kind` names the run in a word, `verdict` is one of PASS, FAIL, UNREACHABLE, INVALID, UNTESTED, and `word` is how it is put;
    `quiet` is what has to be known before any number is read, `todo` the first thing to do (each may be empty); `exit_code` is that of
    the command."""

    kind: str
    verdict: str
    word: str
    exit_code: int
    target: str
    run: str
    moment: str
    sentences: tuple[str, ...]
    quiet: str
    todo: str
    facts: tuple[tuple[str, str], ...]
    tiles: tuple[Tile, ...]


def joined(heads: Sequence[Head]) -> Head:
    """One head of one or several; the first one names target, run and date. A tile or a fact that an earlier one has is not repeated."""
    if len(heads) == 1:
        return heads[0]
    worst = min(heads, key=lambda head: _WORST_FIRST.index(head.verdict))
    facts: dict[str, str] = {}
    for head in heads:
        for name, value in head.facts:
            if facts.setdefault(name, value) != value:
                facts[f"{name}, {head.kind}"] = value
    first = heads[0]
    return Head(
        kind=" and ".join(head.kind for head in heads),
        verdict=worst.verdict,
        word=worst.word,
        exit_code=worst.exit_code,
        target=first.target,
        run=first.run,
        moment=first.moment,
        sentences=tuple(f"{head.kind[:1].upper()}{head.kind[1:]} {head.word}: {text}" for head in heads for text in head.sentences),
        quiet=" ".join(head.quiet for head in heads if head.quiet),
        todo=worst.todo,
        facts=tuple(facts.items()),
        # Of the gate its summary is enough where the load's numbers stand beside it.
        tiles=tuple(tile for head in heads for tile in (head.tiles[:1] if head.kind == "conformance" else head.tiles)),
    )
