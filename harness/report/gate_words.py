"""A gate's verdicts in words, signs and order: the few rules that every part of the conformance page shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from harness.report.gate_file import Clause
from harness.verdict import Verdict

__all__ = ["GLYPHS", "ROOMY", "SHOWN", "Room", "cut", "kept", "mark", "rank", "tone", "verdict_word"]

_NO_TROUBLE = 5
_WORDS = {0: "PASS", 1: "FAIL", 2: "INVALID", 3: "UNREACHABLE", 4: "INVALID"}
SHOWN = (Verdict.FAIL, Verdict.WARN, Verdict.INCONCLUSIVE, Verdict.PASS, Verdict.INFO, Verdict.NOT_TESTABLE)
GLYPHS = {
    Verdict.PASS: "✓",
    Verdict.FAIL: "✕",
    Verdict.WARN: "!",
    Verdict.INFO: "i",
    Verdict.NOT_TESTABLE: "–",
    Verdict.INCONCLUSIVE: "?",
}


@dataclass(frozen=True, slots=True)
class Room:
    """How much the evidence may take: bytes of all wire logs together, characters of one frame, characters of any other text, and
    checks of one clause."""

    wire: int
    frame: int
    text: int
    checks: int


ROOMY = (Room(1_300_000, 2100, 1500, 12), Room(600_000, 600, 400, 6), Room(200_000, 200, 120, 3), Room(0, 0, 60, 1))
"""From as much as one wants to see to as little as a page can do with, for a run that says too much."""


def verdict_word(exit_code: int) -> str:
    """The one word over a gate run."""
    return _WORDS.get(exit_code, "INVALID")


def rank(each: Clause | None) -> int:
    """The place of a clause among the troubles, worst first; None stands for one that is no trouble."""
    if each is None or each.verdict is None:
        return _NO_TROUBLE
    if each.fails:
        return 0 if each.verdict is Verdict.FAIL else 1
    return {Verdict.FAIL: 2, Verdict.WARN: 3, Verdict.INCONCLUSIVE: 4}.get(each.verdict, _NO_TROUBLE)


def kept(clauses: Iterable[Clause]) -> tuple[int, int]:
    """(kept, judged): what was only recorded or could not be looked at counts in neither."""
    verdicts = Counter(each.verdict for each in clauses)
    return verdicts[Verdict.PASS], sum(verdicts[verdict] for verdict in (Verdict.PASS, Verdict.FAIL, Verdict.WARN))


def mark(each: Clause) -> str:
    """The verdict as it is put on the page."""
    if each.verdict is None:
        return "not judged" if each.selected else "not selected"
    text = str(each.verdict).replace("_", " ")
    return f"{text}, stale" if each.stale else f"{text}, known" if each.known and each.verdict is Verdict.FAIL else text


def tone(each: Clause) -> str:
    """The style class: a verdict in small letters, "none" (not judged) or "out" (not selected)."""
    if each.verdict is None:
        return "none" if each.selected else "out"
    if each.stale:
        return "fail"
    return "warn" if each.verdict is Verdict.FAIL and each.known else str(each.verdict).lower()


def cut(text: str, limit: int) -> str:
    """The text, or its beginning and a sign that there is more."""
    return text if len(text) <= limit else text[:limit] + "…"
