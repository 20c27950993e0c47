"""How fit the instrument was, in figures: schedule slip, generator lag, stalls of its loop, and the host's CPU.

These are readings; validity.py holds them against thresholds. Only the judged part of the steady phase counts. Times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analysis.latency import Quantiles, of_values
from harness.analysis.run import Run, merged
from harness.measure.histogram import Histogram

__all__ = ["Health", "health_figures", "health_timeline"]

_MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class Health:
    """slip: called - due, one sample a cast (in a run without casts: started - planned, one a connection). lag: seen - arrived, one
    a read. stall: the longest time that a worker's loop was away. busy_share: the share of the seconds in which the host was busier
    than `busy_above`. cpu: the workers' CPU seconds per second, all together. clock_steps: seconds that the clock jumped, one entry
    a jump."""

    slip: Quantiles
    lag: Quantiles
    stall: float | None
    busy_share: float | None
    host_cpu: float | None
    cpu: float | None
    seconds: int
    clock_steps: tuple[float, ...]


def health_figures(run: Run, busy_above: float) -> Health:
    """Read the steady phase. `busy_above`: share of the host's cores, 0 to 1."""
    seconds = run.steady_seconds()
    casts = run.steady_casts()
    lag = merged(seconds["lag"])
    slots = seconds.groupby(np.floor(seconds["t"]))
    host = slots["host_cpu"].max().dropna()
    cpu = slots["cpu"].sum(min_count=1).dropna()
    stalls = seconds["loop_stall"].dropna()
    return Health(
        slip=of_values((casts["called"] - casts["due"]).to_numpy(dtype=float)) if run.casts_votes else _of(merged(seconds["slip"])),
        lag=_of(lag),
        stall=float(stalls.max()) if len(stalls) else None,
        busy_share=float((host > busy_above).mean()) if len(host) else None,
        host_cpu=float(host.mean()) if len(host) else None,
        cpu=float(cpu.mean()) if len(cpu) else None,
        seconds=len(slots),
        clock_steps=tuple(float(event.detail.get("seconds") or 0.0) for event in run.named("clock_step")),
    )


def health_timeline(run: Run) -> pd.DataFrame:
    """By second: columns at (seconds since the first cast was due, or since the start where none was), slip (worst), lag (p99), host_cpu,
    stall."""
    columns = ["at", "slip", "lag", "host_cpu", "stall"]
    epoch = run.phases.started if run.phases.epoch is None else run.phases.epoch
    slips = (run.casts["called"] - run.casts["due"]).groupby(np.floor(run.casts["due"] - epoch)).max()
    rows = []
    for at, group in run.seconds.groupby(np.floor(run.seconds["t"] - epoch - 0.5)):
        second = float(str(at))
        lag = _seconds(merged(group["lag"]).quantile(0.99))
        rows.append((second, slips.get(second), lag, group["host_cpu"].max(), group["loop_stall"].max()))
    return pd.DataFrame(rows, columns=columns).astype(float)


def _of(histogram: Histogram) -> Quantiles:
    return Quantiles(histogram.count, *(_seconds(us) for us in histogram.quantiles((0.5, 0.9, 0.99, 0.999, 1.0))))


def _seconds(us: float | None) -> float | None:
    return None if us is None else us * _MICRO
