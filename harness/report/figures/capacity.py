"""Latency over what is searched, connections or broadcasts a second: where the curve bends, and where the search ended."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.ticker import FuncFormatter

from harness import words
from harness.analysis.capacity import CapacityStep, Search
from harness.report.figures.drawing import (
    WIDE,
    Drawing,
    End,
    drawn,
    end_labels,
    label,
    limit_line,
    log_time,
    room_right,
    thousands,
    x_label,
)
from harness.report.svg import LIMIT, MUTED, ONE, TWO, panels
from schemas import load_contract

__all__ = ["by_connections", "by_rate"]


def by_connections(search: Search) -> Drawing | None:
    """Over the connections, at the rate of the search; None where it was not made."""
    at = f"connections, at {words.count(search.steps[0].rate)} broadcasts a second" if search.steps else ""
    return _knee(search, lambda step: step.asked, ("capacity-knee", "Latency over connections", "connections"), at)


def by_rate(search: Search) -> Drawing | None:
    """Over the rate, at the connections of the search; None where it was not made."""
    at = f"broadcasts a second, to {words.count(search.steps[0].asked)} connections" if search.steps else ""
    return _knee(search, lambda step: step.rate, ("capacity-rate", "Latency over broadcasts a second", "broadcasts a second"), at)


def _knee(search: Search, of: Callable[[CapacityStep], float], name: tuple[str, str, str], axis: str) -> Drawing | None:
    """p50 and p99 of each step; a step in which the generator was not fit is hollow."""
    steps = [step for step in search.steps if step.p50 is not None and step.p99 is not None]
    if len(steps) < 2:
        return None
    figure, (axes,) = panels(WIDE, [2.6])
    x = np.array([of(step) for step in steps], dtype=float)
    limit = load_contract().benchmark.latency
    series = {"p99": np.array([step.p99 for step in steps], dtype=float), "p50": np.array([step.p50 for step in steps], dtype=float)}
    for (quantile, values), colour in zip(series.items(), (ONE, TWO), strict=True):
        axes.plot(x, values, color=colour, linewidth=1.8, label=quantile)
        for step, value in zip(steps, values, strict=True):
            axes.plot([of(step)], [value], marker="o", markersize=6, color=colour, markerfacecolor="none" if step.unfit else colour)
    log_time(axes, np.concatenate(list(series.values())), limit)
    limit_line(axes, limit, f"limit {limit:g} s", dy=-3.5)
    if search.knee is not None:
        axes.axvline(of(search.knee), color=MUTED, linewidth=1.0, linestyle=(0, (1, 2)))
        label(axes, of(search.knee), limit, f"knee {words.count(of(search.knee))}", MUTED, dy=8)
    if search.broken is not None:
        # Beyond this line nothing is known of the target where it is the generator's own.
        axes.axvline(of(search.broken), color=MUTED if search.broken.unfit else LIMIT, linewidth=0.8)
        if search.broken.unfit:
            label(axes, of(search.broken), limit, "the instrument's own limit", MUTED, dy=-26)
    axes.xaxis.set_major_formatter(FuncFormatter(thousands))
    x_label(axes, f"{axis}; hollow: the generator was not fit")
    room_right(axes, float(x[0]), float(x[-1]))
    end_labels(axes, float(x[-1]), [End(float(values[-1]), text, c) for (text, values), c in zip(series.items(), (ONE, TWO), strict=True)])
    rows = [
        (words.count(of(s)), words.time(s.p50), words.time(s.p99), words.count(s.lost), "held" if s.held else "not held") for s in steps
    ]
    says = (
        f"The last step that kept every limit had {words.count(of(search.knee))} {name[2]}." if search.knee else "No step kept every limit."
    )
    return drawn(figure, name[0], name[1], says, (name[2], "p50", "p99", "lost", ""), rows, wide=True)
