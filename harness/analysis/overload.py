"""The figures of overload: frames a second to each socket, votes merged, what viewers show in the end, and whether anything grows.

Times are seconds, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.memory import Slope, slope_of
from harness.analysis.run import Run
from harness.analysis.slow import latency_by_second
from schemas import load_contract

__all__ = ["Counts", "OverloadStudy", "frames_by_second", "overload_study"]

_WINDOW = 5  # seconds over which frames are averaged: a second of ours and one of the target's do not begin together
_LEAST = 8


@dataclass(frozen=True, slots=True)
class Counts:
    """Pairs of a viewer and a feature: how many were compared with the true count, how many showed another, or none."""

    pairs: int
    wrong: int
    unseen: int
    examples: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class OverloadStudy:
    """cap: broadcasts a second that the target allows itself. most: frames a second to a socket in the fullest five seconds; mean: in the
    whole steady phase. growth: the line of the target's memory over the later half of it (bytes a second), waiting: that of
    the median latency over all of it (seconds a second); None where too little was read. span: seconds of that later half."""

    cap: float
    most: float | None
    mean: float | None
    counts: Counts | None
    growth: Slope | None
    span: float
    waiting: Slope | None


def overload_study(run: Run) -> OverloadStudy:
    """Read the steady phase."""
    limits = run.header.get("limits") or {}
    cap = float(limits.get("broadcasts_per_second") or load_contract().limits.broadcasts_per_second)
    start, end = run.phases.steady_from, run.phases.judged_until
    if start is None or end is None:
        return OverloadStudy(cap, None, None, None, None, 0.0, None)
    frames = frames_by_second(run)
    inside = frames[(frames["t"] - frames["length"] >= start) & (frames["t"] <= end + 0.5)]
    rates = inside["frames"].to_numpy(dtype=float)
    window = min(_WINDOW, len(rates))
    means = np.convolve(rates, np.full(window, 1 / window), "valid") if window else np.empty(0)
    half = (start + end) / 2
    read = run.target.dropna(subset=["t", "rss"])
    late = read[(read["t"] >= half) & (read["t"] <= end)]
    line = latency_by_second(run)
    line = line[line["at"] < end - (run.phases.epoch or end)]  # what comes after the last vote only waits for the end
    return OverloadStudy(
        cap=cap,
        most=float(means.max()) if len(means) else None,
        mean=float(rates.mean()) if len(rates) else None,
        counts=_counts(run),
        growth=_line(late["t"].to_numpy(dtype=float), late["rss"].to_numpy(dtype=float)),
        span=end - half,
        waiting=_line(line["at"].to_numpy(dtype=float), line["p50"].to_numpy(dtype=float)),
    )


def frames_by_second(run: Run) -> pd.DataFrame:
    """Votes' frames a second to one socket, on average over the sockets of all workers: columns t (end of the second), length, frames."""
    rows = []
    before: dict[int, float] = {}
    for record in run.records("second"):
        worker, t = int(record["worker"]), float(record["t"])
        length = t - before.get(worker, t - 1.0)
        before[worker] = t
        if length > 0 and record["open"]:
            rows.append(
                (np.floor(t), t, length, (record.get("types") or {}).get("VOTE_UPDATE", 0) / length / record["open"], record["open"])
            )
    frame = pd.DataFrame(rows, columns=["slot", "t", "length", "each", "open"], dtype=float)
    frame["weighted"] = frame["each"] * frame["open"]
    seconds = frame.groupby("slot", as_index=False).agg({"t": "max", "length": "max", "weighted": "sum", "open": "sum"})
    return pd.DataFrame({"t": seconds["t"], "length": seconds["length"], "frames": seconds["weighted"] / seconds["open"]})


def _counts(run: Run) -> Counts | None:
    records = run.records("counts")
    if not records:
        return None
    examples = tuple(example for record in records for example in record.get("examples") or ())
    pairs, wrong, unseen = (sum(int(record.get(name) or 0) for record in records) for name in ("pairs", "wrong", "unseen"))
    return Counts(pairs, wrong, unseen, examples)


def _line(x: np.ndarray, y: np.ndarray) -> Slope | None:
    return slope_of(x - x[0], y) if len(x) >= _LEAST and np.ptp(x) > 0 else None
