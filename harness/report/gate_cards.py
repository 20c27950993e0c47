"""The troubles of a conformance run, worst first: what was expected, what was seen, and the command that shows it again."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from harness.report.gate_file import Clause, Gate
from harness.report.gate_words import Room, cut, mark, rank
from harness.report.shell import template
from harness.verdict import Verdict

__all__ = ["gate_troubles"]


@dataclass(frozen=True, slots=True)
class Card:
    """A broken clause, or clauses that are open for one reason, as the first screen tells it."""

    tone: str
    mark: str
    ids: tuple[str, ...]
    level: str
    title: str
    expected: str
    observed: str
    note: str
    reading: str
    command: str


def gate_troubles(gate: Gate, room: Room) -> Markup:
    """What is broken or open, worst first; empty where nothing is."""
    cards = _cards(gate, room)
    problems = [cut(problem, room.text) for problem in gate.problems[:20]]
    if not cards and not problems:
        return Markup("")
    return Markup(template("gate_troubles.html.j2").render(cards=cards, problems=problems))  # noqa: S704 - rendered with escaping


def _cards(gate: Gate, room: Room) -> list[Card]:
    told = sorted((each for each in gate.selected if rank(each) < 4), key=rank)
    cards = [_card(each, room) for each in told]
    open_: dict[str, list[Clause]] = {}
    for each in gate.selected:
        if each.verdict is Verdict.INCONCLUSIVE:
            open_.setdefault(each.reason, []).append(each)
    for reason, clauses in sorted(open_.items(), key=lambda item: not any(each.level == "MUST" for each in item[1])):
        levels = " and ".join(level for level in ("MUST", "SHOULD", "INFO") if any(each.level == level for each in clauses))
        ids = tuple(each.id for each in clauses)
        command = clauses[0].command if len(clauses) == 1 else ""
        cards.append(Card("inconclusive", "INCONCLUSIVE", ids, levels, cut(reason, room.text), "", "", "", "", command))
    return cards


def _card(each: Clause, room: Room) -> Card:
    telling = each.telling
    expected = telling.expected if telling and not each.stale else ""
    observed = telling.observed if telling and not each.stale else ""
    note = each.reason if each.stale or each.reason not in (observed, "") else ""
    if each.known and not each.stale:
        note = f"known until {each.known.expires}: {each.known.reason}"
    readings = telling.readings if telling else {}
    return Card(
        tone="fail" if each.fails else "warn",
        mark=mark(each),
        ids=(each.id,),
        level=each.level,
        title=cut(each.statement, room.text),
        expected=cut(expected, room.text),
        observed=cut(observed, room.text),
        note=cut(note, room.text),
        reading=", ".join(f"{key} = {value}" for key, value in readings.items()),
        command=each.command,
    )
