"""Every figure of a run that can be named: what thresholds are written about and what two runs are compared by.

A name is a family and a figure, such as latency.p99. A figure that the run does not have is None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.analysis.latency import Quantiles
from harness.thresholds import Metric

if TYPE_CHECKING:
    from harness.analysis.summary import Summary

__all__ = ["Metric", "metrics_of"]


def metrics_of(summary: Summary) -> Mapping[str, Metric]:
    """By name. What a scenario measures by itself is there as benchmark.ID."""
    found: dict[str, Metric] = {}
    figures, made, fleet, health = summary.latency, summary.throughput, summary.connections, summary.health
    families = {"latency": figures.headline, "stamped": figures.stamped, "spread": figures.spread, "api": figures.api,
                "slip": health.slip, "lag": health.lag}  # fmt: skip
    for family, quantiles in families.items():
        found |= _quantiles(family, quantiles)
    account = made.whole
    for name in ("expected", "delivered", "lost", "duplicated", "reordered", "misdirected"):
        found[f"delivery.{name}"] = Metric(getattr(account, name), "count", account.expected)
    found["delivery.ratio"] = Metric(account.ratio, "ratio", account.expected)
    for name in ("planned", "called", "accepted", "refused", "failed", "unanswered", "distinct", "coalesced", "silent"):
        found[f"votes.{name}"] = Metric(getattr(made, name), "count", made.planned)
    found["broadcasts.rate"] = Metric(made.rate, "per second", made.distinct)
    for name in ("frames", "invalid", "unmatched"):
        found[f"frames.{'total' if name == 'frames' else name}"] = Metric(getattr(made, name), "count", made.frames)
    tried = fleet.opened + fleet.refused
    for name in ("asked", "opened", "refused", "peak", "held", "unexpected"):
        found[f"connections.{name}"] = Metric(getattr(fleet, name), "count", tried)
    line = summary.memory.line
    for name, field in (("each", "slope"), ("low", "low"), ("high", "high")):
        found[f"memory.{name}"] = Metric(None if line is None else getattr(line, field), "bytes", line.n if line else 0)
    found["generator.cpu"] = Metric(health.cpu, "per second", health.seconds)
    for benchmark in summary.benchmarks:
        found[f"benchmark.{benchmark.id}"] = Metric(benchmark.measured, benchmark.unit, benchmark.samples)
    return found


def _quantiles(family: str, quantiles: Quantiles) -> dict[str, Metric]:
    found = {f"{family}.{name}": Metric(getattr(quantiles, name), "s", quantiles.n) for name in ("p50", "p90", "p99", "p999", "max")}
    return {**found, f"{family}.n": Metric(quantiles.n, "count", quantiles.n)}
