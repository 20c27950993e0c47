"""What the page says of a load run: its first screen, what was missed and what to do, and the measurements with their drawings.

The figures are the analysis' own; here they are only picked and put into words. What came over the wire or from a profile is text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from harness import words
from harness.analysis.connections import open_over_time
from harness.analysis.health import health_timeline
from harness.analysis.heat import latency_grid, reach
from harness.analysis.latency import Quantiles
from harness.analysis.run import Event
from harness.analysis.summary import Assessment
from harness.report import figures
from harness.report.advice import caution, first_step, troubled
from harness.report.head import Head, Tile
from harness.report.origin import origin, surroundings
from harness.report.shell import template
from harness.report.studies import study_part, study_tiles
from harness.verdict import THRESHOLDS, Benchmark, Overall, Verdict
from schemas import load_clauses, load_contract, load_readings

__all__ = ["load_body", "load_head", "load_troubles"]

_FIRST = (Verdict.FAIL, Verdict.WARN, Verdict.INCONCLUSIVE, Verdict.INFO, Verdict.NOT_TESTABLE, Verdict.PASS)
_EVENTS = 300
_NAMED = 3
_EVENT_TITLES = {"gc": "GC: garbage collection of the generator, which reads nothing meanwhile"}


@dataclass(frozen=True, slots=True)
class Told:
    """An event or a reading of the instrument in words."""

    when: str
    what: str
    detail: str


@dataclass(frozen=True, slots=True)
class Gauge:
    """One figure of the instrument's fitness beside what it may be."""

    name: str
    seen: str
    allowed: str
    fit: bool | None


def load_head(assessment: Assessment) -> Head:
    """The first screen."""
    run, summary = assessment.run, assessment.summary
    asked = summary.parameters
    shape = f"{words.count(asked.viewers)} viewers"
    if asked.rate:
        shape += f", {words.count(asked.rate)} votes/s, {words.span(asked.duration)} steady"
    by = {benchmark.id: benchmark for benchmark in summary.benchmarks}
    return Head(
        kind=summary.scenario.replace("_", " "),
        verdict=str(summary.verdict),
        word=_word(summary.verdict, summary.cut_short),
        exit_code=summary.exit_code,
        target=summary.target,
        run=summary.run,
        moment=words.moment(summary.started),
        sentences=(_sentence(assessment),),
        quiet=caution(summary),
        todo=first_step(summary),
        facts=(
            ("Target", summary.url),
            ("Date", words.moment(summary.started)),
            ("Duration", words.span(summary.seconds)),
            ("Load", shape),
            ("Run", summary.run),
            *origin(run.header),
        ),
        tiles=(_tiles(by, summary.connections.asked, summary.throughput.whole.lost) if summary.study is None else study_tiles(assessment)),
    )


def load_troubles(assessment: Assessment) -> Markup:
    """Why nothing is judged, and which benchmarks are missed; empty where there is nothing of either."""
    summary = assessment.summary
    return Markup(template("load_troubles.html.j2").render(reasons=summary.reasons, troubled=troubled(summary), words=words))  # noqa: S704 - with escaping


def load_body(assessment: Assessment) -> Markup:
    """Benchmarks, latency, deliveries, connections, the instrument, events, definitions, readings, environment."""
    run, summary = assessment.run, assessment.summary
    limits = load_contract().benchmark
    health = health_timeline(run)
    times = figures.times_of(run, health, assessment.fitness)
    drawings = {
        "percentiles": figures.percentiles(summary.latency, limits.latency),
        "fan_out": figures.fan_out(reach(run)),
        "heat": figures.heat(latency_grid(run), times, limits.latency),
        "deliveries": figures.deliveries(figures.deliveries_by_second(run, times), times),
        "connections": figures.connections(open_over_time(run), run.target, times, summary.connections.asked),
        "memory": figures.memory(summary.memory, limits.bytes_per_connection),
        "health": figures.health(health, times, assessment.fitness),
    }
    return Markup(  # noqa: S704 - rendered with escaping
        template("load.html.j2").render(
            s=summary,
            benchmarks=sorted(summary.benchmarks, key=lambda b: _FIRST.index(b.verdict)),
            quantiles=_quantiles(assessment),
            drawings=drawings,
            study=study_part(assessment, times),
            gauges=_gauges(assessment),
            events=[_told(event, run.phases.started) for event in run.events[:_EVENTS]],
            events_left=max(0, len(run.events) - _EVENTS),
            readings=_readings(run.header.get("readings") or {}, summary.benchmarks),
            environment=_environment(run.header, run.workers),
            problems=run.problems,
            types=run.types,
            limits=limits,
            words=words,
        )
    )


def _sentence(assessment: Assessment) -> str:
    """The reason for the verdict: what is missed and by how much. How it was seen stands with each of them below."""
    summary, phases = assessment.summary, assessment.run.phases
    if summary.verdict is not Overall.FAIL:
        return summary.sentence
    missed = [b for b in summary.benchmarks if b.verdict is Verdict.FAIL]
    judged = sum(b.verdict in (Verdict.PASS, Verdict.WARN, Verdict.FAIL) for b in summary.benchmarks)
    named = "; ".join(_missed(b) for b in missed[:_NAMED])
    more = f"; and {len(missed) - _NAMED} more" if len(missed) > _NAMED else ""
    after = f" The target went away {phases.loss.t - phases.started:.0f} s into the run: {phases.loss.reason}." if phases.loss else ""
    return f"{len(missed)} of {judged} judged benchmarks missed: {named}{more}.{after}"


def _missed(b: Benchmark) -> str:
    limit = "" if b.section == THRESHOLDS else f", contract {words.limit(b)}"  # a line of one's own has its limit in its title
    return f"{b.title} ({words.measured(b)}{limit})"


def _word(verdict: Overall, cut_short: bool) -> str:
    return f"{verdict}, cut short" if cut_short and verdict is not Overall.PASS else str(verdict)


def _tiles(by: Mapping[str, Benchmark], asked: int, lost: int) -> tuple[Tile, ...]:
    latency, held, rate, delivery, memory = (by[k] for k in ("latency", "connections", "broadcast_rate", "delivery", "memory"))
    owed = f"of {words.count(delivery.samples)} owed" if delivery.samples else "nothing was owed"
    owed = f"{words.count(lost)} lost {owed}" if lost else owed
    fewer = f", {words.count(asked)} asked" if asked < (held.limit or 0) else ""
    return (
        Tile("Vote to broadcast, p99", words.measured(latency), f"limit {words.limit(latency)}", latency.verdict),
        Tile("Connections held", words.measured(held), f"contract {words.limit(held)}{fewer}", held.verdict),
        Tile("Broadcasts a second", words.measured(rate), f"limit {words.limit(rate)}", rate.verdict),
        Tile("Delivered", words.measured(delivery), owed, delivery.verdict),
        Tile("Memory a connection", words.measured(memory), f"contract {words.limit(memory)}", memory.verdict),
    )


def _quantiles(assessment: Assessment) -> list[tuple[str, str, Quantiles]]:
    figures_ = assessment.summary.latency
    health = assessment.summary.health
    return [
        ("Vote due to broadcast arrived", "headline; one sample a delivery", figures_.headline),
        ("API call to message timestamp", "the contract's own; one a broadcast", figures_.stamped),
        ("First to last arrival of a broadcast", "fan-out; one a broadcast", figures_.spread),
        ("API call to its answer", "one a vote", figures_.api),
        ("Vote due to API call", "schedule slip, ours; one a vote", health.slip),
        ("Arrived to read", "generator lag, ours; one a read", health.lag),
    ]


def _gauges(assessment: Assessment) -> list[Gauge]:
    health, fitness = assessment.summary.health, assessment.fitness
    step = max((abs(step) for step in health.clock_steps), default=0.0)
    timed = (
        ("Schedule slip, p99", health.slip.p99, fitness.slip_p99),
        ("Schedule slip, worst", health.slip.max, fitness.slip_max),
        ("Generator lag, p99", health.lag.p99, fitness.lag_p99),
        ("Longest stall of the loop", health.stall, fitness.stall),
        ("Worst clock step", step, fitness.clock_step),
    )
    gauges = [
        Gauge(name, words.time(seen), f"≤ {words.time(allowed)}", None if seen is None else seen <= allowed)
        for name, seen, allowed in timed
    ]
    starved = (health.busy_share or 0.0) > fitness.busy_share and (health.lag.p99 or 0.0) > fitness.busy_lag
    busy = f"≤ {words.percent(fitness.busy_share)} of the seconds, or lag p99 ≤ {words.time(fitness.busy_lag)}"
    name = f"Seconds with the host above {words.percent(fitness.busy_above)} CPU"
    gauges.append(Gauge(name, words.percent(health.busy_share), busy, None if health.busy_share is None else not starved))
    return gauges


def _told(event: Event, started: float) -> Told:
    detail = ", ".join(_said(key, value, started) for key, value in event.detail.items())
    return Told(f"{event.t - started:+.1f} s", _EVENT_TITLES.get(event.name, event.name.replace("_", " ")), detail)


def _said(key: str, value: object, started: float) -> str:
    if key in ("text", "reason"):
        return str(value)
    return f"{key.replace('_', ' ')} {words.time(value) if key == 'pause' and isinstance(value, float) else _moment(value, started)}"


def _moment(value: object, started: float) -> str:
    # A time of the plan says more as the second of the run than as seconds since 1970.
    if isinstance(value, float) and abs(value - started) < 1e6:
        return f"{value - started:+.1f} s"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _readings(given: Mapping[str, Any], benchmarks: Iterable[Benchmark]) -> list[tuple[str, str, str, str]]:
    """(question, reading, declared or default, meaning): what the profile declared, and the defaults of what bears on a benchmark."""
    by_key = {reading.key: reading for reading in load_readings().values()}
    clauses = load_clauses()
    asked = {id_ for b in benchmarks if b.clause in clauses for id_ in clauses[b.clause].readings}
    taken = {reading.key: reading.default for reading in by_key.values() if reading.id in asked}
    rows = []
    for key, value in (taken | {str(key): str(value) for key, value in given.items()}).items():
        reading = by_key.get(key)
        question = f"{reading.id}: {reading.question}" if reading else key
        rows.append(
            (question, f"{key} = {value}", "declared" if key in given else "default", reading.permitted.get(value, "") if reading else "")
        )
    return sorted(rows)


def _environment(header: Mapping[str, Any], workers: int) -> list[tuple[str, str]]:
    rows = [("workers of the generator", str(workers)), *surroundings(header)]
    return [*rows, ("exclusive clock", "yes" if header.get("exclusive_clock") else "no")]
