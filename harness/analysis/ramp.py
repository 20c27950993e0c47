"""The figures of ramp: what a connection costs in memory, what each one leaves behind, and how fast they are let in.

What one costs is the slope of the first cycle: later ones use again what the target's allocator kept. What one leaves behind is read
where the same number of connections is open, after more and more have come and gone. Sizes are bytes, times seconds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.analysis.connections import open_at
from harness.analysis.latency import Quantiles, of_values
from harness.analysis.memory import LEAST_SPAN, Slope, slope_of, student
from harness.analysis.run import Run

__all__ = ["Leak", "Plateau", "RampStudy", "Step", "ramp_study"]

_SETTLED = 0.5  # the share of a plateau that counts, its last
_LEAST_READINGS = 8


@dataclass(frozen=True, slots=True)
class Plateau:
    """Connections held at one number. came: how many had come and gone before; rss and descriptors: the medians of its last half, None
    where the target was not read."""

    cycle: int
    asked: int
    open: int
    begin: float
    until: float
    came: int
    rss: float | None
    descriptors: float | None


@dataclass(frozen=True, slots=True)
class Step:
    """Connections that came together. rate: a second, from the first one due to the last one open; planned: the pace asked for."""

    cycle: int
    count: int
    opened: int
    rate: float | None
    planned: float
    handshake: Quantiles


@dataclass(frozen=True, slots=True)
class Leak:
    """Bytes (or descriptors) left behind by each connection that has come and gone, with the 95 % interval, by `n` plateaus.

    pace: how much of the growth in the first half of the cycles there still is in the last; a leak keeps it near 1, an allocator that
    fills its pools does not. None where nothing grew.
    """

    each: float
    low: float
    high: float
    n: int
    pace: float | None = None


@dataclass(frozen=True, slots=True)
class RampStudy:
    """`cost` is the line through the first cycle's readings, `costs` the slope of each cycle's plateaus; `why` says why there is no cost
    or no leak. peaks: connections open at the top of each cycle."""

    asked: int
    plateaus: tuple[Plateau, ...]
    steps: tuple[Step, ...]
    cost: Slope | None
    costs: tuple[float | None, ...]
    leak: Leak | None
    descriptors: Leak | None
    handshake: Quantiles
    refused: int
    unexpected: int
    why: str

    @property
    def peaks(self) -> tuple[int, ...]:
        """The connections at the top of each cycle."""
        return tuple(plateau.open for plateau in self.plateaus if plateau.asked == self.asked)


def ramp_study(run: Run) -> RampStudy:
    """Read plateaus, steps and the readings of the target's process."""
    asked = run.parameters.viewers
    plateaus = _plateaus(run)
    steps, times = _steps(run)
    cost, why = _cost(run, plateaus, asked)
    floors = [plateau for plateau in plateaus if plateau.asked == 0 and plateau.came]
    tops = [plateau for plateau in plateaus if plateau.asked == asked and plateau.cycle]
    return RampStudy(
        asked=asked,
        plateaus=plateaus,
        steps=steps,
        cost=cost,
        costs=tuple(_slope([p for p in plateaus if p.cycle == cycle and p.asked]) for cycle in sorted({p.cycle for p in plateaus})),
        leak=_leak([[(p.came, p.rss) for p in group] for group in (floors, tops)]),
        descriptors=_leak([[(p.came, p.descriptors) for p in group] for group in (floors, tops)]),
        handshake=of_values(times),
        refused=int(run.seconds["refused"].fillna(0.0).sum()),
        unexpected=int((run.closed["by"] == "server").sum()),
        why=why,
    )


def _plateaus(run: Run) -> tuple[Plateau, ...]:
    found: list[Plateau] = []
    came, top = 0, 0
    for event in run.named("plateau"):
        told = event.detail
        begin, until, asked, held = float(told["begin"]), float(told["until"]), int(told["asked"]), int(told["open"])
        top = max(top, held)
        if asked == 0:
            came, top = came + top, 0
        settled = run.target[(run.target["t"] >= until - _SETTLED * (until - begin)) & (run.target["t"] < until)]
        found.append(Plateau(int(told["cycle"]), asked, held, begin, until, came, _median(settled, "rss"), _median(settled, "descriptors")))
    return tuple(found)


def _median(readings: pd.DataFrame, column: str) -> float | None:
    values = readings[column].dropna()
    return float(values.median()) if len(values) else None


def _steps(run: Run) -> tuple[tuple[Step, ...], npt.NDArray[np.float64]]:
    """Each step, and how long each handshake took."""
    names = ("step", "due", "began", "done", "opened")
    records = run.records("handshakes")
    shakes = pd.DataFrame({name: [value for record in records for value in record[name]] for name in names}).astype(float)
    planned = float((run.header.get("parameters") or {}).get("spawn_rate") or 0.0)
    steps = []
    for event in run.named("step"):
        mine = shakes[shakes["step"] == float(event.detail["number"])]
        opened = mine[mine["opened"] > 0]
        span = float(opened["done"].max() - mine["due"].min()) if len(opened) else 0.0
        times = (opened["done"] - opened["began"]).to_numpy(dtype=float)
        rate = len(opened) / span if span > 0 else None
        steps.append(Step(int(event.detail["cycle"]), int(event.detail["count"]), len(opened), rate, planned, of_values(times)))
    good = shakes[shakes["opened"] > 0]
    return tuple(steps), (good["done"] - good["began"]).to_numpy(dtype=float)


def _cost(run: Run, plateaus: Sequence[Plateau], asked: int) -> tuple[Slope | None, str]:
    """The line through all readings from the first plateau to the first top; and why there is none."""
    readings = run.target.dropna(subset=["t", "rss"])
    top = next((p for p in plateaus if p.asked == asked), None)
    if not len(readings):
        return None, "the target's process was not read"
    if top is None or not plateaus:
        return None, "the first cycle did not reach its top"
    # A reading during the handshakes sees their garbage too: only the settled half of each plateau counts.
    first = [p for p in plateaus if p.until <= top.until]
    rows = [readings[(readings["t"] >= p.until - _SETTLED * (p.until - p.begin)) & (readings["t"] < p.until)] for p in first]
    times = np.concatenate([row["t"].to_numpy(dtype=float) for row in rows])
    rss = np.concatenate([row["rss"].to_numpy(dtype=float) for row in rows])
    if len(times) < _LEAST_READINGS:
        return None, f"{len(times)} readings in the first cycle are too few (at least {_LEAST_READINGS})"
    if asked < LEAST_SPAN:
        return None, f"{asked} connections are too few to tell them from noise (at least {LEAST_SPAN})"
    return slope_of(open_at(run, times), rss), ""


def _slope(plateaus: Sequence[Plateau]) -> float | None:
    points = [(p.open, p.rss) for p in plateaus if p.rss is not None]
    x = np.array([a for a, _ in points], dtype=float)
    if len(x) < 2 or np.ptp(x) == 0:
        return None
    return float(np.polyfit(x, np.array([b for _, b in points], dtype=float), 1)[0])


def _leak(groups: Sequence[Sequence[tuple[int, float | None]]]) -> Leak | None:
    """One slope over connections come and gone, common to several levels (here floor and top), each with an intercept of its own."""
    parts = [[(came, value) for came, value in group if value is not None] for group in groups]
    parts = [part for part in parts if len(part) >= 2]
    n = sum(len(part) for part in parts)
    freedom = n - len(parts) - 1
    if freedom < 1:
        return None
    x = np.concatenate([_centred([came for came, _ in part]) for part in parts])
    y = np.concatenate([_centred([value for _, value in part]) for part in parts])
    spread = float(x @ x)
    if spread <= 0:
        return None
    slope = float(x @ y) / spread
    residuals = y - slope * x
    error = math.sqrt(float(residuals @ residuals) / freedom / spread)
    reach = student(freedom) * error
    return Leak(slope, slope - reach, slope + reach, n, _pace(parts))


def _pace(parts: Sequence[Sequence[tuple[int, float]]]) -> float | None:
    steps = sorted((came, (value - before) / (came - past)) for part in parts for (past, before), (came, value) in itertools.pairwise(part))
    half = len(steps) // 2
    earlier, later = (float(np.mean([each for _, each in some])) for some in (steps[:half], steps[-half:])) if half else (0.0, 0.0)
    return later / earlier if earlier > 0 else None


def _centred(values: Sequence[float]) -> npt.NDArray[np.float64]:
    array: npt.NDArray[np.float64] = np.array(values, dtype=np.float64)
    return array - float(array.mean())
