"""Every figure of a run that can be named: what thresholds are written about and what two runs are compared by.

A name is a family and a figure, such as latency.p99. A figure that the run does not have is None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.analysis.latency import Quantiles
from harness.figure_names import COUNTS, QUANTILES, TIMES
from harness.thresholds import Metric

if TYPE_CHECKING:
    from harness.analysis.summary import Summary

__all__ = ["Metric", "metrics_of"]


def metrics_of(summary: Summary) -> Mapping[str, Metric]:
    """By name. What a scenario measures by itself is there as benchmark.ID."""
    found: dict[str, Metric] = {}
    figures, made, fleet, health = summary.latency, summary.throughput, summary.connections, summary.health
    times = (figures.headline, figures.stamped, figures.spread, figures.api, health.slip, health.lag)
    for family, quantiles in zip(TIMES, times, strict=True):
        found |= _quantiles(family, quantiles)
    account = made.whole
    for name in COUNTS["delivery"]:
        found[f"delivery.{name}"] = Metric(getattr(account, name), "count", account.expected)
    found["delivery.ratio"] = Metric(account.ratio, "ratio", account.expected)
    for name in COUNTS["votes"]:
        found[f"votes.{name}"] = Metric(getattr(made, name), "count", made.planned)
    found["broadcasts.rate"] = Metric(made.rate, "per second", made.distinct)
    for name in COUNTS["frames"]:
        found[f"frames.{name}"] = Metric(getattr(made, "frames" if name == "total" else name), "count", made.frames)
    tried = fleet.opened + fleet.refused
    for name in COUNTS["connections"]:
        found[f"connections.{name}"] = Metric(getattr(fleet, name), "count", tried)
    line = summary.memory.line
    for name, field in (("each", "slope"), ("low", "low"), ("high", "high")):
        found[f"memory.{name}"] = Metric(None if line is None else getattr(line, field), "bytes", line.n if line else 0)
    found["generator.cpu"] = Metric(health.cpu, "per second", health.seconds)
    for benchmark in summary.benchmarks:
        found[f"benchmark.{benchmark.id}"] = Metric(benchmark.measured, benchmark.unit, benchmark.samples)
    return found


def _quantiles(family: str, quantiles: Quantiles) -> dict[str, Metric]:
    found = {f"{family}.{name}": Metric(getattr(quantiles, name), "s", quantiles.n) for name in QUANTILES}
    return {**found, f"{family}.n": Metric(quantiles.n, "count", quantiles.n)}
