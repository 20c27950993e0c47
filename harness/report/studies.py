"""What the page says of a load run that only its scenario has: the section after the benchmarks, and the numbers of the first screen.

A scenario without an entry has no section, and its first five benchmarks as its first numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from markupsafe import Markup

from harness import words
from harness.analysis.summary import Assessment
from harness.report import figures
from harness.report.capacity_part import capacity_part
from harness.report.head import Tile
from harness.report.mixed_part import mixed_part
from harness.report.overload_part import overload_part
from harness.report.ramp_part import ramp_part
from harness.report.shell import template
from harness.report.slow_part import slow_part
from harness.report.soak_part import soak_part

__all__ = ["PARTS", "study_part", "study_tiles"]

Part = Callable[[Assessment, figures.Times], Mapping[str, object]]

PARTS: Mapping[str, tuple[str, Part]] = {
    "capacity": ("capacity.html.j2", capacity_part),
    "mixed": ("mixed.html.j2", mixed_part),
    "overload": ("overload.html.j2", overload_part),
    "ramp": ("ramp.html.j2", ramp_part),
    "slow_readers": ("slow.html.j2", slow_part),
    "soak": ("soak.html.j2", soak_part),
}
"""By scenario: the template of the section, and what fills it."""

TILES: Mapping[str, tuple[str, ...]] = {
    "mixed": ("mixed_latency", "delivery", "mixed_visits", "mixed_filter", "mixed_role"),
    "overload": ("overload_cap", "overload_counts", "latency", "overload_backlog", "overload_memory"),
    "ramp": ("ramp_connections", "ramp_memory", "ramp_leak", "ramp_descriptors", "ramp_handshakes"),
    "slow_readers": ("slow_silent", "slow_answering", "slow_latency", "slow_memory", "latency"),
    "soak": ("latency", "soak_latency", "soak_memory", "soak_descriptors", "delivery"),
}
_TILES = 5


def _name(assessment: Assessment) -> str:
    return assessment.summary.scenario.replace("-", "_")


def study_part(assessment: Assessment, times: figures.Times) -> Markup:
    """The scenario's own section; empty where it has none, or where the run ended before there was anything to say."""
    if assessment.summary.study is None or _name(assessment) not in PARTS:
        return Markup()
    file, part = PARTS[_name(assessment)]
    filled = part(assessment, times)
    return Markup(template(file).render(study=assessment.summary.study, words=words, **filled))  # noqa: S704 - with escaping


def study_tiles(assessment: Assessment) -> tuple[Tile, ...]:
    """The first numbers of a scenario that is not the contract's own load test."""
    by = {benchmark.id: benchmark for benchmark in assessment.summary.benchmarks}
    chosen = [name for name in TILES.get(_name(assessment), tuple(by)) if name in by][:_TILES]
    return tuple(Tile(by[name].title, words.measured(by[name]), f"limit {words.limit(by[name])}", by[name].verdict) for name in chosen)
