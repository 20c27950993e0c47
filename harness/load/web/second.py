"""One second of a run as it is gathered from all workers' records, and the point that it makes on the live page."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from harness.measure.histogram import Histogram

__all__ = ["Row", "Second"]

Row = dict[str, float | None]
"""One second of all workers, in the units of the page."""


@dataclass(slots=True)
class Second:
    """A second whose records still come; the percentiles are of its own deliveries.

    stamped: seconds from each vote's call to its message's timestamp; spread: first and last arrival by broadcast.
    """

    open: dict[int, int] = field(default_factory=dict)
    latency: Histogram = field(default_factory=Histogram)
    lag: Histogram = field(default_factory=Histogram)
    slip: Histogram = field(default_factory=Histogram)
    stamped: list[float] = field(default_factory=list)
    spread: dict[int, tuple[float, float]] = field(default_factory=dict)

    def arrived(self, n: int, first: float, last: float) -> None:
        """What one worker saw of a broadcast; of several the widest span counts."""
        began, ended = self.spread.get(n, (first, last))
        self.spread[n] = min(began, first), max(ended, last)

    def row(self) -> Row:
        return {
            "open": sum(self.open.values()),
            "p50": _ms(self.latency, 0.5),
            "p99": _ms(self.latency, 0.99),
            "max": _ms(self.latency, 1.0),
            "lag_p99": _ms(self.lag, 0.99),
            "slip_p99": _ms(self.slip, 0.99),
        }

    def timing(self) -> Row:
        """The definitions of latency that need the vote, or all of a broadcast's arrivals."""
        return {
            "stamped_p99": _p99(self.stamped),
            "spread_p99": _p99([last - first for first, last in self.spread.values()]),
        }


def _ms(histogram: Histogram, quantile: float) -> float | None:
    value = histogram.quantile(quantile)
    return None if value is None else value / 1e3


def _p99(seconds: list[float]) -> float | None:
    """In milliseconds; None of none."""
    ordered = sorted(seconds)
    return 1e3 * ordered[math.ceil(0.99 * len(ordered)) - 1] if ordered else None
