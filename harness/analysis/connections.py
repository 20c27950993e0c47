"""The fleet of sockets: how many were asked for, opened and refused, how many held to the end, and who closed the others.

A close counts as unexpected when the server made it while the fleet was meant to stay; what closes after the drain does not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.analysis.run import Run

__all__ = ["Connections", "connection_figures", "open_at", "open_over_time"]


@dataclass(frozen=True, slots=True)
class Connections:
    """Counts of sockets. `asked`: those that there should be, or, where viewers come and go, all that were to come. `held`:
    opened and never lost to the server; `own_closes`: closed early by the generator itself; `excused`:
    those that stopped reading, which the target is to cut off; `codes`: unexpected closes by close code (1006: the connection ended
    without a Close frame, 0: not recorded)."""

    asked: int
    opened: int
    refused: int
    peak: int
    held: int
    unexpected: int
    own_closes: int
    excused: int
    codes: Mapping[int, int]
    reasons: Mapping[int, str]


def connection_figures(run: Run) -> Connections:
    """Count the fleet from its ramp until it was sent home."""
    until = run.phases.fleet_until
    early = run.closed[run.closed["t"] <= until]
    by_server = early[early["by"] == "server"]
    own = int((early["by"] == "client").sum())
    opened = int(run.seconds["opened"].fillna(0.0).sum())
    timeline = open_over_time(run)
    peak = int(timeline["open"].max()) if len(timeline) else 0
    fleet = _complete(run, run.phases.ramp_done or run.phases.last, until)
    leave = bool(run.named("sockets"))  # viewers come and go by plan
    held = opened - len(by_server) if leave else min(opened - len(by_server), peak)
    if len(fleet) and not leave:
        # Sockets can vanish without a record of their close; what was open at the worst moment is the most that was held.
        held = min(held, int(fleet.min()) + own)
    codes = by_server["code"].fillna(0.0).astype(int)
    return Connections(
        asked=run.sockets,
        opened=opened,
        refused=int(run.seconds["refused"].fillna(0.0).sum()),
        peak=peak,
        held=max(0, held),
        unexpected=len(by_server),
        own_closes=own,
        excused=run.journal.count("slow"),
        codes={int(code): int(count) for code, count in codes.value_counts().sort_index().items()},  # type: ignore[call-overload]
        reasons={
            int(code): str(reason)
            for code, reason in reversed(list(zip(codes, by_server["reason"], strict=True)))
            if isinstance(reason, str) and reason
        },
    )


def open_over_time(run: Run) -> pd.DataFrame:
    """Columns t, open: the sockets open in all workers together, at the time of each `second` record."""
    total = _by_worker(run).ffill().fillna(0.0).sum(axis=1)
    return pd.DataFrame({"t": total.index.to_numpy(dtype=float), "open": total.to_numpy(dtype=float)})


def _by_worker(run: Run) -> pd.DataFrame:
    return run.seconds.pivot_table(index="t", columns="worker", values="open", aggfunc="last")


def _complete(run: Run, start: float, end: float) -> pd.Series:
    """The sockets open between two times, from when every worker has reported since the first of them: what a worker said
    before the ramp was over must not stand for what it held after."""
    wide = _by_worker(run)
    wide = wide[(wide.index >= start) & (wide.index <= end)]
    return wide.ffill().dropna().sum(axis=1)


def open_at(run: Run, times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The sockets open at these times, interpolated between the records of each worker; none before the ramp began."""
    total = np.zeros(len(times))
    for _, group in run.seconds.groupby("worker"):
        t, count = group["t"].to_numpy(dtype=float), group["open"].to_numpy(dtype=float)
        start = run.phases.ramp_started
        if start is not None and start < t[0]:
            t, count = np.concatenate(([start], t)), np.concatenate(([0.0], count))
        total += np.interp(times, t, count, left=0.0)
    return total
