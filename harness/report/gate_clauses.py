"""The clauses of a conformance run by section: a sign for the matrix, and all of the evidence for whoever opens one."""

from __future__ import annotations

from dataclasses import dataclass

from harness.report.gate_file import Check, Clause, Gate
from harness.report.gate_words import GLYPHS, SHOWN, Room, cut, kept, mark, rank, tone
from harness.report.wire import Log, demand, logs, shares
from harness.verdict import Verdict
from schemas import load_hooks, load_readings, load_tiers

__all__ = ["Section", "gate_sections"]


@dataclass(frozen=True, slots=True)
class Chip:
    """A clause in the matrix. `tone` is a verdict in small letters, "none" (no verdict) or "out" (not selected)."""

    id: str
    number: str
    tone: str
    glyph: str
    says: str


@dataclass(frozen=True, slots=True)
class Proof:
    """One check of a clause, with its wire log."""

    name: str
    verdict: Verdict
    when: str
    expected: str
    observed: str
    reason: str
    seen: str
    logs: tuple[Log, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A clause as its `details` tells it."""

    id: str
    tone: str
    mark: str
    level: str
    statement: str
    reason: str
    known: str
    rests_on: str
    tier: str
    needs: str
    since: str
    readings: tuple[tuple[str, str], ...]
    command: str
    proofs: tuple[Proof, ...]
    proofs_left: int


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the contract: `kept` of `judged`, its chips and its clauses; `selected` is how many of them were."""

    key: str
    title: str
    kept: int
    judged: int
    selected: int
    chips: tuple[Chip, ...]
    entries: tuple[Entry, ...]


def gate_sections(gate: Gate, room: Room) -> list[Section]:
    """Sections and clauses in the order of the contract, each clause once."""
    allowed = _allowances(gate, room)
    by: dict[str, list[Clause]] = {}
    for each in gate.clauses:
        by.setdefault(each.section, []).append(each)
    sections = []
    for key, clauses in by.items():
        held, judged = kept(each for each in clauses if each.selected)
        chips = tuple(_chip(each) for each in clauses)
        entries = tuple(_entry(each, gate, allowed, room) for each in clauses)
        sections.append(Section(key, clauses[0].section_title, held, judged, sum(each.selected for each in clauses), chips, entries))
    return sections


def _allowances(gate: Gate, room: Room) -> dict[int, int]:
    """Bytes of wire log by the identity of the check, failures first."""
    ranked: list[list[Check]] = [[] for _ in range(6)]
    for each in gate.clauses:
        ranked[rank(each)] += _in_order(each)[: room.checks]
    demands = [[demand(check.frames, room.frame) for check in checks] for checks in ranked]
    given = shares(demands, room.wire)
    return {id(check): share for checks, part in zip(ranked, given, strict=True) for check, share in zip(checks, part, strict=True)}


def _in_order(each: Clause) -> list[Check]:
    return sorted(each.checks, key=lambda check: SHOWN.index(check.verdict))


def _chip(each: Clause) -> Chip:
    glyph = GLYPHS[each.verdict] if each.verdict else "·" if each.selected else ""
    return Chip(each.id, each.id.rpartition("-")[2], tone(each), glyph, f"{each.id}: {mark(each)}")


def _entry(each: Clause, gate: Gate, allowed: dict[int, int], room: Room) -> Entry:
    hooks, tiers = load_hooks(), {str(tier): said for tier, said in load_tiers().items()}
    shown = _in_order(each)[: room.checks]
    judged_by_reason = any(each.reason in (check.reason, check.observed) for check in shown)
    return Entry(
        id=each.id,
        tone=tone(each),
        mark=mark(each),
        level=each.level.replace("_", " "),
        statement=cut(each.statement, room.text),
        reason="" if judged_by_reason and not each.stale else cut(each.reason, room.text),
        known=cut(f"until {each.known.expires}: {each.known.reason}", room.text) if each.known else "",
        rests_on=", ".join(each.lines) or "nothing: the contract is silent, and we look all the same",
        tier=f"{each.tier}, {tiers[each.tier]}" if each.tier in tiers else each.tier,
        needs="; ".join(hooks.get(need, need) for need in each.needs),
        since=each.since,
        readings=_taken(each, gate),
        command=each.command,
        proofs=tuple(_proof(check, allowed.get(id(check), 0), room) for check in shown),
        proofs_left=len(each.checks) - len(shown),
    )


def _taken(each: Clause, gate: Gate) -> tuple[tuple[str, str], ...]:
    """Of each ambiguity that bears on the clause: its question, and which reading was taken."""
    by_id = {reading.ambiguity: reading for reading in gate.readings}
    known = load_readings()
    told = {key: value for check in each.checks for key, value in check.readings.items()}
    rows = []
    for id_ in each.ambiguities:
        question = f"{id_}: {known[id_].question}" if id_ in known else id_
        key = known[id_].key if id_ in known else ""
        held = by_id.get(id_)
        if key in told and held and told[key].partition(" ")[0] == held.reading:
            rows.append((question, f"{key} = {held.reading} ({held.source}): {held.meaning}"))
        elif key in told:
            rows.append((question, f"{key} = {told[key]}"))
        else:
            rows.append((question, "no check of this clause had to ask" if each.checks else "not asked in this run"))
    return tuple(rows)


def _proof(check: Check, allowance: int, room: Room) -> Proof:
    seen = f"{check.seen:,} frames or events stand behind this verdict." if check.seen and str(check.seen) not in check.reason else ""
    observer = check.check == "observer"
    return Proof(
        name="the observer of all frames of the run" if observer else check.check.rpartition("/")[2].removeprefix("::"),
        verdict=check.verdict,
        when="" if observer else f"{check.duration:.2f} s, begun {check.started:.1f} s into the run",
        expected=cut(check.expected, room.text),
        observed=cut(check.observed, room.text),
        reason=cut("" if check.reason == check.observed else check.reason + (f" (hook {check.hook})" if check.hook else ""), room.text),
        seen=seen,
        logs=logs(check.frames, allowance, room.frame),
    )
