"""What the page says of a reconnect study: its first screen, what was missed, and the clients side by side, cause by cause.

The figures are the analysis' own; here they are only picked and put into words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from harness import words
from harness.analysis.reconnect.figures import BEHAVED, CellFigures, rules_of
from harness.analysis.reconnect.rows import TITLES
from harness.analysis.reconnect.summary import StudyAssessment
from harness.report.advice import caution, first_step, troubled
from harness.report.figures.drawing import Drawing
from harness.report.head import Head, Tile
from harness.report.origin import origin, surroundings
from harness.report.reconnect_figures import comeback, group_name, rate
from harness.report.shell import template
from harness.verdict import Benchmark, Overall, Verdict
from schemas import load_contract, load_readings

__all__ = ["reconnect_body", "reconnect_head", "reconnect_troubles"]

_FIRST = (Verdict.FAIL, Verdict.WARN, Verdict.INCONCLUSIVE, Verdict.PASS, Verdict.INFO, Verdict.NOT_TESTABLE)


@dataclass(frozen=True, slots=True)
class Box:
    """One client model's outcome in the overview. `tone`: good, mixed or bad."""

    headline: str
    detail: str
    tone: str


@dataclass(frozen=True, slots=True)
class Group:
    """One cause and outage: the outcomes side by side, and the drawing."""

    name: str
    why: str
    boxes: tuple[Box | None, ...]
    drawing: Drawing | None


@dataclass(frozen=True, slots=True)
class Gauge:
    """One figure of the instrument's fitness beside what it may be."""

    name: str
    seen: str
    allowed: str
    fit: bool | None


def reconnect_head(assessment: StudyAssessment) -> Head:
    """The first screen."""
    summary, study = assessment.summary, assessment.study
    asked = study.parameters
    shape = f"{words.count(study.clients)} clients, {len(study.cells)} cells: {', '.join(asked.get('causes') or ())}"
    outages = ", ".join(f"{outage:g} s" for outage in asked.get("outages") or ())
    cut = summary.cut_short and summary.verdict is not Overall.PASS
    return Head(
        kind=summary.scenario,
        verdict=str(summary.verdict),
        word=f"{summary.verdict}, cut short" if cut else str(summary.verdict),
        exit_code=summary.exit_code,
        target=summary.target,
        run=summary.run,
        moment=words.moment(summary.started),
        sentences=(summary.sentence,),
        quiet=caution(summary),
        todo=first_step(summary),
        facts=(
            ("Target", summary.url),
            ("Date", words.moment(summary.started)),
            ("Duration", words.span(summary.seconds)),
            ("Study", f"{shape}; outages of {outages}"),
            ("Run", summary.run),
            *origin(study.header),
        ),
        tiles=_tiles(assessment),
    )


def reconnect_troubles(assessment: StudyAssessment) -> Markup:
    """Why nothing is judged, and which benchmarks are missed; empty where there is nothing of either."""
    summary = assessment.summary
    return Markup(template("load_troubles.html.j2").render(reasons=summary.reasons, troubled=troubled(summary), words=words))  # noqa: S704 - with escaping


def reconnect_body(assessment: StudyAssessment) -> Markup:
    """The overview, the drawings, the benchmarks, the figures of each cell, the instrument, the definitions."""
    evidence, study = assessment.evidence, assessment.study
    limits, rules = load_contract().benchmark, rules_of(study)
    groups = _groups(assessment)
    return Markup(  # noqa: S704 - rendered with escaping
        template("reconnect.html.j2").render(
            benchmarks=sorted(assessment.summary.benchmarks, key=lambda b: _FIRST.index(b.verdict)),
            groups=groups,
            models=[TITLES.get(model, model) for model in _models(assessment)],
            cells=evidence.cells,
            names=[group_name(cell.cell.cause, cell.cell.outage) for cell in evidence.cells],
            titles=TITLES,
            gauges=_gauges(assessment),
            problems=study.problems,
            latest=limits.reconnect_latest * study.scale,
            rules=rules,
            patience=sum(min(rules.reconnect_base * 2**n, rules.reconnect_cap) for n in range(rules.reconnect_attempts)),
            delays=[min(rules.reconnect_base * 2**n, rules.reconnect_cap) for n in range(rules.reconnect_attempts)],
            scale=study.scale,
            readings=_readings(),
            environment=_environment(study.header),
            words=words,
            rate=rate,
        )
    )


def _models(assessment: StudyAssessment) -> list[str]:
    asked = assessment.study.parameters.get("models") or ()
    return [str(model) for model in asked]


def _tiles(assessment: StudyAssessment) -> tuple[Tile, ...]:
    by: dict[str, Benchmark] = {b.id: b for b in assessment.summary.benchmarks}
    time, stranded, part = by["reconnect_time"], by["reconnect_stranded"], by["server_part"]
    cells, clients = assessment.evidence.cells, words.count(assessment.study.clients)
    once, jitter = (max((cell.peak for cell in cells if cell.cell.model == model), default=None) for model in ("contract", "jittered"))
    tiles = [
        Tile("Back after a disconnect", words.measured(time), f"slowest client; contract {words.limit(time)}", time.verdict),
        Tile("Left out by the server", words.measured(stranded), f"of {words.count(stranded.samples)} disconnects", stranded.verdict),
        Tile("The server added, p99", words.measured(part), "to what the clients' own rule takes", part.verdict),
        Tile("The herd at its peak", rate(once), f"formula done once; {rate(jitter)} with jitter", Verdict.INFO),
    ]
    if "sample_lost" in by:
        against = f"of {clients} clients; not the target's doing"
        tiles.append(Tile("Lost by the sample class", words.measured(by["sample_lost"]), against, Verdict.INFO))
    return tuple(tiles)


def _groups(assessment: StudyAssessment) -> list[Group]:
    study, figures = assessment.study, {each.cell.number: each for each in assessment.evidence.cells}
    latest = load_contract().benchmark.reconnect_latest * study.scale
    models = _models(assessment)
    groups: list[Group] = []
    for cause, outage in dict.fromkeys((cell.cause, cell.outage) for cell in study.cells):
        cells = {cell.model: cell for cell in study.cells if (cell.cause, cell.outage) == (cause, outage)}
        seen = {model: figures.get(cell.number) for model, cell in cells.items()}
        boxes = tuple(None if (found := seen.get(model)) is None else _boxed(found, latest, assessment) for model in models)
        why = next((cell.why for cell in cells.values() if cell.why), "")
        drawing = comeback([found for model in models if (found := seen.get(model)) is not None], latest)
        groups.append(Group(group_name(cause, outage), why, boxes, drawing))
    return groups


def _boxed(figures: CellFigures, latest: float, assessment: StudyAssessment) -> Box:
    box = _box(figures, latest)
    if not assessment.evidence.bounds.passed_by(figures.late):
        return box
    return Box(box.headline, f"{box.detail}; the generator was late itself (p99 {words.time(figures.late.p99)})", box.tone)


def _box(figures: CellFigures, latest: float) -> Box:
    cell = figures.cell
    waits = figures.waits[np.isfinite(figures.waits)]
    attempts = f"{words.count(len(figures.attempts))} sockets opened, {rate(figures.peak)} at the peak"
    held = cell.clients - figures.given_up
    if cell.healed is None and held:
        return Box(f"{words.count(held)} of {words.count(cell.clients)} still connected", attempts, "mixed")
    if cell.healed is None:
        return Box(f"given up after {words.time(_last(figures))}", f"{attempts}, all with a dead session", "mixed")
    if figures.given_up == 0:
        slowest = float(waits.max()) if len(waits) else 0.0
        detail = f"half after {words.time(figures.to_back[0])}; {attempts}"
        if figures.leaked:
            detail += f"; {words.count(figures.leaked)} leaked"
        tone = "bad" if figures.leaked else "good" if slowest <= latest else "mixed"
        return Box(f"all back after {words.time(figures.to_back[-1])}", detail, tone)
    own = min(figures.given_up, figures.foretold_given_up)
    reasons = [f"{words.count(own)} had used up their attempts"] if own else []
    if figures.leaked:
        reasons.append(f"{words.count(figures.leaked)} places held by leaked sockets")
    few = figures.given_up <= 0.05 * cell.clients and not figures.leaked
    headline = f"{words.count(figures.given_up)} of {words.count(cell.clients)} never back"
    return Box(headline, "; ".join([*reasons, attempts]), "mixed" if few else "bad")


def _last(figures: CellFigures) -> float | None:
    return float(figures.attempts.max()) if len(figures.attempts) else None


def _gauges(assessment: StudyAssessment) -> list[Gauge]:
    evidence = assessment.evidence
    bounds, cells = evidence.bounds, evidence.cells
    judged = [cell.late for cell in cells if cell.cell.model in BEHAVED] or [cell.late for cell in cells]
    late = [each.p99 for each in judged if each.p99 is not None]
    most = [each.max for each in judged if each.max is not None]
    steps = [abs(float(detail["seconds"])) for detail in evidence.study.named("clock_step")]
    stall = float(evidence.study.generator["stall"].max()) if len(evidence.study.generator) else None
    rows = (
        ("Sockets opened late, p99 of the worst cell that is judged", max(late, default=None), bounds.late_p99),
        ("Sockets opened late, at most", max(most, default=None), bounds.late_max),
        ("Longest stall of the loop", stall, bounds.stall),
        ("Worst clock step", max(steps, default=0.0), bounds.clock_step),
    )
    gauges = [
        Gauge(name, words.time(seen), f"≤ {words.time(allowed)}", None if seen is None else seen <= allowed) for name, seen, allowed in rows
    ]
    made, failed = sum(len(cell.attempts) for cell in cells), sum(cell.own_failures for cell in cells)
    share = failed / made if made else None
    own = Gauge(
        "Sockets that this machine could not open",
        words.percent(share),
        f"≤ {words.percent(bounds.own)}",
        None if share is None else share <= bounds.own,
    )
    return [*gauges, own]


def _readings() -> list[tuple[str, str]]:
    return [(f"{reading.id}: {reading.question}", reading.permitted.get(reading.default, "")) for reading in load_readings().values()
            if reading.id in ("A26", "A27")]  # fmt: skip


def _environment(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [*surroundings(header), ("server", "the study's own" if header.get("own_server") else "the profile's")]
