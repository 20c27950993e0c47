"""The figures of capacity: each step's connections with the latency and losses that came with them, and whether we were fit to say so.

A step begins when its last viewer should have joined, a little later to let the handshakes settle, and ends when the next one begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.analysis.latency import JUDGED
from harness.analysis.run import Run, merged
from harness.analysis.validity import Fitness
from schemas import load_contract

__all__ = ["CapacityStep", "CapacityStudy", "capacity_study"]

_SETTLING = 2.0
_LEAST = 2.0  # seconds of a step, or it says nothing


@dataclass(frozen=True, slots=True)
class CapacityStep:
    """asked: connections that there should be; open: the fewest that there were; frames: a second, all sockets together. unfit: why the
    generator was not fit in this step, empty when it was. held: the limit of the latency was kept, everybody was in and nothing lost."""

    asked: int
    open: int
    seconds: float
    n: int
    p50: float | None
    p99: float | None
    lost: int
    frames: float
    host_cpu: float | None
    target_cpu: float | None
    unfit: str
    held: bool


@dataclass(frozen=True, slots=True)
class CapacityStudy:
    """The steps in order. knee: connections of the last step that was held, all before it being held too; 0 when the first was not."""

    rate: float
    steps: tuple[CapacityStep, ...]

    @property
    def knee(self) -> int:
        """See the class."""
        found = 0
        for step in self.steps:
            if not step.held:
                break
            found = step.asked
        return found

    @property
    def broken(self) -> CapacityStep | None:
        """The first step that was not held; None when all were."""
        return next((step for step in self.steps if not step.held), None)


def capacity_study(run: Run) -> CapacityStudy:
    """Read each step."""
    events = run.named("step")
    end = run.phases.judged_until
    begin = run.phases.steady_from
    if end is None or begin is None or not events:
        return CapacityStudy(run.parameters.rate, ())
    pace = float((run.header.get("parameters") or {}).get("spawn_rate") or 1.0)
    starts = [max(begin, event.t + float(event.detail["count"]) / pace) + _SETTLING for event in events]
    ends = [*(event.t for event in events[1:]), end]
    steps = [
        _step(run, int(event.detail["viewers"]), start, until)
        for event, start, until in zip(events, starts, ends, strict=True)
        if until - start >= _LEAST
    ]
    return CapacityStudy(run.parameters.rate, tuple(steps))


def _step(run: Run, asked: int, start: float, until: float) -> CapacityStep:
    limit = load_contract().benchmark.latency
    seconds = run.seconds[(run.seconds["t"] - 1.0 >= start) & (run.seconds["t"] <= until)]
    latency, lag = merged(seconds["latency"]), merged(seconds["lag"]).quantile(JUDGED)
    p50, p99 = (None if us is None else us / 1e6 for us in latency.quantiles((0.5, JUDGED)))
    rows = run.broadcasts[(run.broadcasts["due"] >= start) & (run.broadcasts["due"] < until)]
    casts = run.casts[(run.casts["due"] >= start) & (run.casts["due"] < until)]
    slip = (casts["called"] - casts["due"]).dropna()
    lost = int(rows["lost"].sum())
    held_open = int(seconds.groupby(np.floor(seconds["t"]))["open"].sum().min()) if len(seconds) else 0
    unfit = _unfit(None if lag is None else lag / 1e6, float(slip.quantile(JUDGED)) if len(slip) else None, Fitness.of(limit))
    read = run.target.dropna(subset=["t", "cpu"])
    read = read[(read["t"] >= start) & (read["t"] <= until)]
    span = float(read["t"].max() - read["t"].min()) if len(read) > 1 else 0.0
    cpu = float(read["cpu"].max() - read["cpu"].min()) / span if span > 0 else None
    host = seconds["host_cpu"].dropna()
    frames = float(seconds["frames"].sum()) / max(1, seconds["t"].map(np.floor).nunique())
    held = not unfit and p99 is not None and p99 < limit and lost == 0 and held_open >= asked
    return CapacityStep(asked, held_open, until - start, latency.count, p50, p99, lost, frames,
                        float(host.mean()) if len(host) else None, cpu, unfit, held)  # fmt: skip


def _unfit(lag: float | None, slip: float | None, fitness: Fitness) -> str:
    if lag is None or slip is None:
        return "nothing was read"
    if lag > fitness.lag_p99:
        return f"it read {lag * 1e3:.0f} ms late (p99)"
    if slip > fitness.slip_p99:
        return f"it cast {slip * 1e3:.0f} ms late (p99)"
    return ""
