"""How the deliveries of each moment spread over latency: the counts behind a heat map, and the reach of each broadcast.

Counts come from the journal's histograms, one a second and worker, so every delivery of the steady phase is in them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.analysis.run import Run, merged

__all__ = ["LatencyGrid", "latency_grid", "reach"]

_MOST_COLUMNS = 150
_PER_DECADE = 14
_MICRO = 1e-6

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LatencyGrid:
    """`counts[row, column]`: deliveries that took from `edges[row]` to `edges[row + 1]` seconds and arrived from `begin[column]` to
    `end[column]` (seconds since the first vote was due). `lines`: at (whole seconds), n, p50, p99 and max of each column, seconds."""

    begin: Floats
    end: Floats
    edges: Floats
    counts: npt.NDArray[np.int64]
    lines: pd.DataFrame


def latency_grid(run: Run) -> LatencyGrid | None:
    """The headline latency by second of arrival; seconds are taken together where there are too many to tell apart. None without a
    delivery that was timed."""
    if run.phases.epoch is None or not len(run.seconds):
        return None
    # A record speaks of the second that ends at its t; workers end theirs at different instants of the same second.
    ends = run.seconds["t"] - run.phases.epoch
    slot = np.floor(ends - 0.5)
    step = max(1, math.ceil((slot.max() - slot.min() + 1) / _MOST_COLUMNS))
    columns = [(float(str(at)) * step, float(ends[group.index].mean()), merged(group["latency"]))
               for at, group in run.seconds.groupby(slot // step)]  # fmt: skip
    columns = [column for column in columns if column[2].count]
    if not columns:
        return None
    cells = [histogram.cells() for _, _, histogram in columns]
    low, high = min(values[0] for values, _ in cells), max(values[-1] for values, _ in cells)
    first, last = math.floor(math.log10(low) * _PER_DECADE), math.ceil(math.log10(high) * _PER_DECADE) + 1
    edges = 10.0 ** (np.arange(first, last + 1) / _PER_DECADE)
    counts = np.zeros((len(edges) - 1, len(columns)), dtype=np.int64)
    for index, (values, many) in enumerate(cells):
        rows = np.clip(np.searchsorted(edges, values, "right") - 1, 0, len(edges) - 2)
        np.add.at(counts[:, index], rows, many)
    lines = pd.DataFrame(
        [(at, histogram.count, *histogram.quantiles((0.5, 0.99, 1.0))) for at, _, histogram in columns],
        columns=["at", "n", "p50", "p99", "max"],
        dtype=float,
    )
    lines[["p50", "p99", "max"]] *= _MICRO
    end = np.array([column[1] for column in columns])
    # Records come a little more than a second apart: a column begins where the one before it ended, unless there was none for a while.
    begin = np.concatenate(([end[0] - step], end[:-1]))
    return LatencyGrid(np.where(end - begin > 2.5 * step, end - step, begin), end, edges * _MICRO, counts, lines)


def reach(run: Run) -> pd.DataFrame:
    """Of each broadcast of the steady phase that reached somebody: first, last (seconds from when its vote was due to the first and the
    last viewer's arrival) and spread (the one less the other)."""
    rows = run.broadcasts[run.broadcasts["steady"]]
    frame = pd.DataFrame({"first": rows["first"] - rows["due"], "last": rows["last"] - rows["due"], "spread": rows["last"] - rows["first"]})
    return frame.dropna().reset_index(drop=True)
