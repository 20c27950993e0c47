"""Bytes a connection: the slope of the target's resident memory over its open connections while the fleet came in.

Only the ramp counts: later the same memory also carries backlogs and votes. A slope needs no idle reading and is not fooled by what
the process had before; its confidence interval is widened for the correlation of one reading with the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.analysis.connections import open_at
from harness.analysis.run import Run

__all__ = ["LEAST_SPAN", "Memory", "Slope", "memory_figures", "slope_of", "student"]

LEAST_SPAN = 50
"""Fewer connections than this between the least and the most, and the allocator's steps drown the slope."""

_LEAST_SAMPLES = 8
_Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Slope:
    """A least-squares line: bytes a connection with its 95 % confidence interval, and the bytes at no connections.

    `mean` and `spread` (of the connections) and `error` (of the line at its middle, bytes) draw the interval of the line.
    """

    slope: float
    low: float
    high: float
    intercept: float
    n: int
    mean: float
    slope_error: float
    error: float
    quantile: float


@dataclass(frozen=True, slots=True)
class Memory:
    """The samples (connections, bytes) of the ramp and the line through them; `line` is None where they cannot bear one, and `why`
    says so. `samples` counts all readings of the target, in the ramp or not."""

    samples: int
    points: tuple[tuple[float, float], ...]
    line: Slope | None
    why: str


def memory_figures(run: Run) -> Memory:
    """Join the target's readings with the open connections by time, over the ramp only."""
    start, end = run.phases.ramp_started, run.phases.ramp_done
    readings = run.target.dropna(subset=["t", "rss"])
    if not len(readings):
        return Memory(0, (), None, "the target's process was not read")
    if start is None or end is None:
        return Memory(len(readings), (), None, "the ramp of connections did not complete")
    ramp = readings[(readings["t"] >= start) & (readings["t"] <= end)]
    times = ramp["t"].to_numpy(dtype=float)
    x, y = open_at(run, times), ramp["rss"].to_numpy(dtype=float)
    points = tuple((float(a), float(b)) for a, b in zip(x, y, strict=True))
    if len(x) < _LEAST_SAMPLES:
        return Memory(len(readings), points, None, f"{len(x)} readings during the ramp are too few (at least {_LEAST_SAMPLES})")
    if np.ptp(x) < LEAST_SPAN:
        why = f"the ramp spans {np.ptp(x):.0f} connections, too few to tell them from noise (at least {LEAST_SPAN})"
        return Memory(len(readings), points, None, why)
    return Memory(len(readings), points, slope_of(x, y), "")


def slope_of(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Slope:
    """Ordinary least squares with a 95 % interval; x needs at least 3 samples that are not all alike.

    Readings a quarter of a second apart are not independent: the variance is inflated by (1 + r) / (1 - r), r being the lag-1
    autocorrelation of the residuals (Bayley and Hammersley's effective sample size for a first-order process).
    """
    n = len(x)
    mean = float(x.mean())
    away = x - mean
    spread = float(away @ away)
    slope = float(away @ y) / spread
    intercept = float(y.mean()) - slope * mean
    residuals = y - (intercept + slope * x)
    squares = float(residuals @ residuals)
    r = float(residuals[:-1] @ residuals[1:]) / squares if squares > 0 else 0.0
    r = min(max(r, 0.0), 0.98)
    effective = max(3.0, n * (1.0 - r) / (1.0 + r))
    variance = squares / (n - 2) * (n / effective)
    slope_error, error = math.sqrt(variance / spread), math.sqrt(variance / n)
    reach = student(max(1.0, effective - 2.0))
    return Slope(slope, slope - reach * slope_error, slope + reach * slope_error, intercept, n, mean, slope_error, error, reach)


def student(freedom: float) -> float:
    """The two-sided 95 % point of Student's t: exact for 1 and 2 degrees, else Cornish and Fisher's expansion (Abramowitz and Stegun
    26.7.5), within 1 % from 3 degrees up."""
    if freedom < 2.0:
        return 12.706
    if freedom < 3.0:
        return 4.303
    z = _Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom ** (power + 1) for power, term in enumerate(terms))
