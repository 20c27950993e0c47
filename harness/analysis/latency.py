"""How long from vote to broadcast: the headline figure, the contract's own, and what lies between and around them.

The headline is arrived - due, from the plan of an open-loop schedule, so a stall of the generator or the target is paid for by
every vote that had to wait (no coordinated omission). Everything here is in seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.analysis.run import Run, merged
from harness.measure.histogram import Histogram

__all__ = ["JUDGED", "LatencyFigures", "Quantiles", "interval_of", "latency_figures", "of_histogram", "of_values"]

JUDGED = 0.99
"""The quantile that is held against the contract's limit under load (ambiguity A13; the maximum is printed beside it)."""

_Z = 1.959963984540054
_MICRO = 1e-6
_CURVE_POINTS = 160


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Seconds, and the number of samples behind them; every field but `n` is None when there are none."""

    n: int
    p50: float | None
    p90: float | None
    p99: float | None
    p999: float | None
    max: float | None


@dataclass(frozen=True, slots=True)
class LatencyFigures:
    """`headline` arrived - due, one sample a delivery; `interval` the 95 % confidence interval of its p99.

    The deliveries of one broadcast share its fate, so the interval counts broadcasts (`clusters`) and not deliveries as the
    independent observations: wider, and honest. `stamped` is the contract's own metric, stamped - called, one sample a broadcast;
    `stamped_min` shows whether the two clocks can be one. `spread` is last - first arrival of one broadcast; `api` how long
    the vote's own answer took; `curve` pairs of (quantile, seconds) of the headline.
    """

    headline: Quantiles
    interval: tuple[float, float] | None
    clusters: int
    stamped: Quantiles
    stamped_min: float | None
    spread: Quantiles
    api: Quantiles
    curve: tuple[tuple[float, float], ...]


def latency_figures(run: Run) -> LatencyFigures:
    """Every latency of the steady phase."""
    histogram = merged(run.seconds["latency"])
    steady = run.broadcasts[run.broadcasts["steady"]]
    clusters = int((steady["delivered"] > 0).sum())
    stamped = (steady["stamped"] - steady["called"]).dropna().to_numpy(dtype=float)
    casts = run.steady_casts()
    answered = casts[casts["status"] > 0]
    return LatencyFigures(
        headline=of_histogram(histogram),
        interval=interval_of(histogram, JUDGED, clusters),
        clusters=clusters,
        stamped=of_values(stamped),
        stamped_min=float(stamped.min()) if len(stamped) else None,
        spread=of_values((steady["last"] - steady["first"]).to_numpy(dtype=float)),
        api=of_values((answered["answered"] - answered["called"]).to_numpy(dtype=float)),
        curve=tuple((share, us * _MICRO) for share, us in histogram.curve(_CURVE_POINTS)),
    )


def of_values(values: np.ndarray) -> Quantiles:
    """Quantiles of plain samples; each is a sample that was seen, never one between two. NaN is no sample."""
    values = values[~np.isnan(values)]
    if not len(values):
        return Quantiles(0, None, None, None, None, None)
    p50, p90, p99, p999 = (float(x) for x in np.quantile(values, (0.5, 0.9, 0.99, 0.999), method="inverted_cdf"))
    return Quantiles(len(values), p50, p90, p99, p999, float(values.max()))


def of_histogram(histogram: Histogram) -> Quantiles:
    """Quantiles of a histogram of microseconds."""
    return Quantiles(histogram.count, *(_seconds(us) for us in histogram.quantiles((0.5, 0.9, 0.99, 0.999, 1.0))))


def _seconds(us: float | None) -> float | None:
    return None if us is None else us * _MICRO


def interval_of(histogram: Histogram, q: float, clusters: int) -> tuple[float, float] | None:
    """The 95 % interval of a quantile, seconds: the order statistics around `q`
    that a binomial of `clusters` trials allows; past the last sample, the maximum."""
    if not histogram.count or not clusters:
        return None
    half = _Z * math.sqrt(q * (1.0 - q) / clusters)
    low, high = (_seconds(us) for us in histogram.quantiles((max(0.0, q - half), min(1.0, q + half))))
    return None if low is None or high is None else (low, high)
