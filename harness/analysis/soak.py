"""The figures of soak: latency, memory and descriptors as slopes over the steady phase, each with its interval.

Readings of one minute share what the host was doing then, and a slope over hours is decided by hours: they are averaged in blocks
before the line is drawn, and its interval counts what correlation is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.analysis.memory import Slope, slope_of
from harness.analysis.run import Run
from harness.analysis.slow import latency_by_second

__all__ = ["DAY", "Drift", "SoakStudy", "soak_study"]

DAY = 86_400.0
"""Seconds."""
_BLOCKS = 60  # of the steady phase, at most
_LEAST = 8


@dataclass(frozen=True, slots=True)
class Drift:
    """A line over time: `slope.slope` a second; level: where it begins, in the unit of the figure."""

    slope: Slope
    level: float

    def after(self, seconds: float) -> tuple[float, float, float]:
        """What is added in that time: the estimate, and the ends of its 95 % interval."""
        return self.slope.slope * seconds, self.slope.low * seconds, self.slope.high * seconds


@dataclass(frozen=True, slots=True)
class SoakStudy:
    """None where too little was read. seconds: of the steady phase."""

    seconds: float
    p50: Drift | None
    p99: Drift | None
    memory: Drift | None
    descriptors: Drift | None


def soak_study(run: Run) -> SoakStudy:
    """Read the steady phase."""
    start, end = run.phases.steady_from, run.phases.judged_until
    if start is None or end is None or run.phases.epoch is None:
        return SoakStudy(0.0, None, None, None, None)
    line = latency_by_second(run)
    at = line["at"].to_numpy(dtype=float) + run.phases.epoch
    steady = (at >= start) & (at + 1.0 <= end)
    read = run.target[(run.target["t"] >= start) & (run.target["t"] <= end)]
    length = end - start

    def drift(t: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> Drift | None:
        known = ~np.isnan(values)
        return _drift(t[known] - start, values[known], length)

    readings = read["t"].to_numpy(dtype=float)
    return SoakStudy(
        seconds=length,
        p50=drift(at[steady], line["p50"].to_numpy(dtype=float)[steady]),
        p99=drift(at[steady], line["p99"].to_numpy(dtype=float)[steady]),
        memory=drift(readings, read["rss"].to_numpy(dtype=float)),
        descriptors=drift(readings, read["descriptors"].to_numpy(dtype=float)),
    )


def _drift(t: npt.NDArray[np.float64], values: npt.NDArray[np.float64], length: float) -> Drift | None:
    if len(t) < _LEAST or length <= 0:
        return None
    block = np.floor(t / length * min(_BLOCKS, len(t))).astype(int)
    names = np.unique(block)
    if len(names) < _LEAST:
        return None
    x = np.array([t[block == name].mean() for name in names])
    y = np.array([values[block == name].mean() for name in names])
    slope = slope_of(x, y)
    return Drift(slope, slope.intercept)
