"""The figures of soak: latency, memory and descriptors as slopes over the steady phase, each with its interval.

Readings of one minute share what the host was doing then, and a slope over hours is decided by hours: they are averaged in blocks
before the line is drawn, and its interval counts what correlation is left. What settles in the first third, as pools and caches do, is
no drift; nor is one step of an allocator, however far a day is from the length of the run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.analysis.memory import Slope, slope_of
from harness.analysis.run import Run
from harness.analysis.slow import latency_by_second

__all__ = ["DAY", "Drift", "SoakStudy", "drift_of", "soak_study"]

DAY = 86_400.0
"""Seconds."""
_BLOCKS = 60  # of the steady phase, at most
_LEAST = 8
_LEAST_OF_THIRD = 3
_SETTLING = 0.75  # of the growth of the middle third: what slows down so much in the last may come to rest
_STEP_LATENCY = 0.002  # seconds: a host that changes its pace moves a median by that
_STEP_MEMORY = 131_072.0  # bytes: glibc takes memory in steps of that size, and a runtime in larger ones
_STEP_DESCRIPTORS = 1.0


@dataclass(frozen=True, slots=True)
class Drift:
    """A line over time: `slope.slope` a second; level: where it begins, in the unit of the figure.

    seconds: how long was looked; step: by so much a reading may move while nothing drifts, in the unit of the figure; later: the line
    through the last two thirds alone; pace: the growth of the last third over that of the middle one. None: too little was read.
    """

    slope: Slope
    level: float
    seconds: float
    step: float
    later: Slope | None
    pace: float | None

    def after(self, seconds: float) -> tuple[float, float, float]:
        """What is added in that time: the estimate, and the ends of its 95 % interval, which leaves room for one step at either end."""
        room = self.step / self.seconds
        return self.slope.slope * seconds, (self.slope.low - room) * seconds, (self.slope.high + room) * seconds

    def goes_on(self, least: float) -> bool:
        """Whether it is more than `least` a second in the last two thirds alone, and about as much in the last as in the middle one."""
        return self.later is not None and self.pace is not None and self.later.low > least and self.pace >= _SETTLING


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

    def drift(t: npt.NDArray[np.float64], values: npt.NDArray[np.float64], step: float) -> Drift | None:
        known = ~np.isnan(values)
        return drift_of(t[known] - start, values[known], length, step)

    readings = read["t"].to_numpy(dtype=float)
    return SoakStudy(
        seconds=length,
        p50=drift(at[steady], line["p50"].to_numpy(dtype=float)[steady], _STEP_LATENCY),
        p99=drift(at[steady], line["p99"].to_numpy(dtype=float)[steady], _STEP_LATENCY),
        memory=drift(readings, read["rss"].to_numpy(dtype=float), _STEP_MEMORY),
        descriptors=drift(readings, read["descriptors"].to_numpy(dtype=float), _STEP_DESCRIPTORS),
    )


def drift_of(t: npt.NDArray[np.float64], values: npt.NDArray[np.float64], length: float, step: float) -> Drift | None:
    """The drift of readings at `t` seconds (0 to `length`); None where they are too few. step: see Drift."""
    if len(t) < _LEAST or length <= 0:
        return None
    block = np.floor(t / length * min(_BLOCKS, len(t))).astype(int)
    names = np.unique(block)
    if len(names) < _LEAST:
        return None
    x = np.array([t[block == name].mean() for name in names])
    y = np.array([values[block == name].mean() for name in names])
    slope = slope_of(x, y)
    middle, last = (x >= length / 3) & (x < 2 * length / 3), x >= 2 * length / 3
    if min(np.count_nonzero(middle), np.count_nonzero(last)) < _LEAST_OF_THIRD:
        return Drift(slope, slope.intercept, length, step, None, None)
    before, after = slope_of(x[middle], y[middle]).slope, slope_of(x[last], y[last]).slope
    later = slope_of(x[middle | last], y[middle | last])
    return Drift(slope, slope.intercept, length, step, later, after / before if before > 0 else None)
