"""What the page says of a conformance run below its troubles: matrix, clauses, what was not tested or only recorded, readings.

Everything here is picked and put into words; the numbers and verdicts are the gate's own and are not judged again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from markupsafe import Markup

from harness import words
from harness.report.gate_clauses import gate_sections
from harness.report.gate_file import Gate, Reading
from harness.report.gate_words import GLYPHS, SHOWN, Room, cut, mark
from harness.report.shell import template
from harness.verdict import Verdict
from schemas import load_readings

__all__ = ["gate_body"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A reading that mattered, with its question and what else would have been permitted."""

    id: str
    key: str
    question: str
    reading: str
    source: str
    meaning: str
    others: str


def gate_body(gate: Gate, room: Room) -> Markup:
    """Matrix, clauses, what could not be tested, what was recorded, readings."""
    return Markup(  # noqa: S704 - rendered with escaping
        template("gate.html.j2").render(
            sections=gate_sections(gate, room),
            glyphs=[(str(verdict).replace("_", " ").lower(), str(verdict).lower(), GLYPHS[verdict]) for verdict in SHOWN],
            levels=_levels(gate),
            verdicts=[str(verdict).replace("_", " ") for verdict in SHOWN],
            groups=_groups(gate, room),
            recorded=[(each.id, cut(each.reason, room.text)) for each in gate.selected if each.verdict is Verdict.INFO],
            readings=[_asked(each) for each in gate.readings],
            tested=gate.coverage[0],
            selected=gate.coverage[1],
            whole=len(gate.clauses),
            words=words,
        )
    )


def _levels(gate: Gate) -> list[tuple[str, list[int], int]]:
    rows = []
    for level in ("MUST", "SHOULD", "INFO", "NOT_TESTABLE"):
        within = [each for each in gate.selected if each.level == level]
        if within:
            counted = Counter(each.verdict for each in within)
            rows.append((level.replace("_", " "), [counted[verdict] for verdict in SHOWN], len(within)))
    return rows


def _groups(gate: Gate, room: Room) -> list[tuple[str, str, list[str]]]:
    """What was selected and not tested, and what was left out: (how, why, ids)."""
    by: dict[tuple[int, str, str], list[str]] = {}
    for each in gate.clauses:
        if each.verdict is Verdict.NOT_TESTABLE or each.verdict is None:
            place = 0 if each.verdict else 1 if each.selected else 2
            by.setdefault((place, mark(each), cut(each.reason, room.text)), []).append(each.id)
    return [(how, why, ids) for (_, how, why), ids in sorted(by.items(), key=lambda item: (item[0][0], -len(item[1])))]


def _asked(reading: Reading) -> Asked:
    known = load_readings().get(reading.ambiguity)
    others = [f"{name}: {said}" for name, said in known.permitted.items() if name != reading.reading] if known else []
    return Asked(
        id=reading.ambiguity,
        key=reading.key,
        question=known.question if known else "",
        reading=reading.reading,
        source=reading.source,
        meaning=reading.meaning,
        others="; ".join(others),
    )
