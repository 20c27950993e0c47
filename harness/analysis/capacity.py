"""The figures of capacity: each step's connections and rate, the latency and losses that came with them, and whether we were fit to tell.

A step begins when its last viewer should have joined, a little later to let the handshakes settle, and ends when the next one begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.analysis.latency import JUDGED
from harness.analysis.run import Event, Run, merged
from harness.analysis.validity import Fitness
from schemas import load_contract

__all__ = ["CapacityStep", "CapacityStudy", "Search", "capacity_study"]

_SETTLING = 2.0
_LEAST = 2.0  # seconds of a step, or it says nothing
_FEW = 0.01  # of the votes of a step: fewer that are merged or fail are an accident, not the end of what can be held


@dataclass(frozen=True, slots=True)
class CapacityStep:
    """asked: connections that there should be; open: the fewest that there were; rate: votes a second; frames: a second, all sockets.
    merged, failed: votes that had no broadcast of their own, and those answered with a server error. unfit: why the generator was not fit
    in this step, empty when it was. held: the limit of the latency was kept, everybody was in, nothing lost and next to nothing merged."""

    asked: int
    open: int
    rate: float
    seconds: float
    n: int
    p50: float | None
    p99: float | None
    lost: int
    merged: int
    failed: int
    votes: int
    frames: float
    host_cpu: float | None
    target_cpu: float | None
    unfit: str
    held: bool

    @property
    def spoilt(self) -> bool:
        """Whether too many votes had no broadcast of their own, or were not taken."""
        return self.merged + self.failed > _FEW * self.votes


@dataclass(frozen=True, slots=True)
class Search:
    """The steps of one search, in order."""

    steps: tuple[CapacityStep, ...]

    @property
    def knee(self) -> CapacityStep | None:
        """The last step that was held, all before it being held too; None when the first was not."""
        held = None
        for step in self.steps:
            if not step.held:
                break
            held = step
        return held

    @property
    def broken(self) -> CapacityStep | None:
        """The first step that was not held; None when all were."""
        return next((step for step in self.steps if not step.held), None)


@dataclass(frozen=True, slots=True)
class CapacityStudy:
    """connections: more and more of them at one rate; rates: a higher and higher one at one number of connections."""

    connections: Search
    rates: Search


def capacity_study(run: Run) -> CapacityStudy:
    """Read each step."""
    events = run.named("step", "rest", "rate_step")
    begin, end = run.phases.steady_from, run.phases.judged_until
    if begin is None or end is None:
        return CapacityStudy(Search(()), Search(()))
    asked = run.header.get("parameters") or {}
    pace = float(asked.get("spawn_rate") or 1.0)
    ends = [*(event.t for event in events[1:]), end]

    def steps(name: str, since: Sequence[float], rate: Sequence[float]) -> Search:
        found = []
        for event, until, start, each in zip(events, ends, since, rate, strict=True):
            first = max(begin, start) + _SETTLING
            if event.name == name and until - first >= _LEAST:
                found.append(_step(run, int(event.detail["viewers"]), each, first, until))
        return Search(tuple(found))

    since = [event.t + _joining(event) / pace for event in events]
    rates = [float(event.detail.get("rate") or asked.get("rate") or 0.0) for event in events]
    return CapacityStudy(steps("step", since, rates), steps("rate_step", since, rates))


def _joining(event: Event) -> float:
    return float(event.detail.get("count") or 0.0)


def _step(run: Run, asked: int, rate: float, start: float, until: float) -> CapacityStep:
    limit = load_contract().benchmark.latency
    seconds = run.seconds[(run.seconds["t"] - 1.0 >= start) & (run.seconds["t"] <= until)]
    latency, lag = merged(seconds["latency"]), merged(seconds["lag"]).quantile(JUDGED)
    p50, p99 = (None if us is None else us / 1e6 for us in latency.quantiles((0.5, JUDGED)))
    rows = run.broadcasts[(run.broadcasts["due"] >= start) & (run.broadcasts["due"] < until)]
    casts = run.casts[(run.casts["due"] >= start) & (run.casts["due"] < until)]
    slip = (casts["called"] - casts["due"]).dropna()
    lost, failed = int(rows["lost"].sum()), int((casts["status"] >= 500).sum())
    elsewhere = rows.loc[rows["carried"] > rows["expected"] / 2, "n"]  # most of those who were owed it had it only from a later one
    carried = int((casts["n"].isin(elsewhere) | casts["n"].astype(int).isin(run.coalesced)).sum())
    held_open = int(seconds.groupby(np.floor(seconds["t"]))["open"].sum().min()) if len(seconds) else 0
    host = seconds["host_cpu"].dropna()
    host_cpu = float(host.mean()) if len(host) else None
    unfit = _unfit(None if lag is None else lag / 1e6, float(slip.quantile(JUDGED)) if len(slip) else None, host_cpu, Fitness.of(limit))
    read = run.target.dropna(subset=["t", "cpu"])
    read = read[(read["t"] >= start) & (read["t"] <= until)]
    span = float(read["t"].max() - read["t"].min()) if len(read) > 1 else 0.0
    cpu = float(read["cpu"].max() - read["cpu"].min()) / span if span > 0 else None
    frames = float(seconds["frames"].sum()) / max(1, seconds["t"].map(np.floor).nunique())
    step = CapacityStep(asked, held_open, rate, until - start, latency.count, p50, p99, lost, carried, failed, len(casts), frames,
                        host_cpu, cpu, unfit, held=False)  # fmt: skip
    in_time = p99 is not None and p99 < limit
    return replace(step, held=in_time and not unfit and not lost and not step.spoilt and held_open >= asked)


def _unfit(lag: float | None, slip: float | None, host_cpu: float | None, fitness: Fitness) -> str:
    if lag is None or slip is None:
        return "nothing was read"
    if lag > fitness.lag_p99:
        return f"it read {lag * 1e3:.0f} ms late (p99)"
    if slip > fitness.slip_p99:
        return f"it cast {slip * 1e3:.0f} ms late (p99)"
    if host_cpu is not None and host_cpu > fitness.busy_above and lag > fitness.busy_lag:
        return f"its host was out of CPU, and it read {lag * 1e3:.0f} ms late (p99)"
    return ""
