"""Latency over the number of connections at one rate: where the curve bends, and where the search ended."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import FuncFormatter

from harness.analysis.capacity import CapacityStudy
from harness.report import words
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

__all__ = ["capacity"]


def capacity(study: CapacityStudy) -> Drawing | None:
    """p50 and p99 of each step; a step in which the generator was not fit is hollow."""
    steps = [step for step in study.steps if step.p50 is not None and step.p99 is not None]
    if len(steps) < 2:
        return None
    figure, (axes,) = panels(WIDE, [2.6])
    x = np.array([step.asked for step in steps], dtype=float)
    limit = load_contract().benchmark.latency
    series = {"p99": np.array([step.p99 for step in steps], dtype=float), "p50": np.array([step.p50 for step in steps], dtype=float)}
    for (name, values), colour in zip(series.items(), (ONE, TWO), strict=True):
        axes.plot(x, values, color=colour, linewidth=1.8, label=name)
        for step, value in zip(steps, values, strict=True):
            axes.plot([step.asked], [value], marker="o", markersize=6, color=colour, markerfacecolor="none" if step.unfit else colour)
    log_time(axes, np.concatenate(list(series.values())), limit)
    limit_line(axes, limit, f"limit {limit:g} s", dy=-3.5)
    if study.knee:
        axes.axvline(study.knee, color=MUTED, linewidth=1.0, linestyle=(0, (1, 2)))
        label(axes, study.knee, limit, f"knee {study.knee:,}", MUTED, dy=8)
    if study.broken is not None:
        axes.axvline(study.broken.asked, color=LIMIT, linewidth=0.8)
    axes.xaxis.set_major_formatter(FuncFormatter(thousands))
    x_label(axes, f"connections, at {study.rate:g} broadcasts a second; hollow: the generator was not fit")
    room_right(axes, float(x[0]), float(x[-1]))
    end_labels(axes, float(x[-1]), [End(float(values[-1]), name, c) for (name, values), c in zip(series.items(), (ONE, TWO), strict=True)])
    rows = [
        (words.count(s.asked), words.time(s.p50), words.time(s.p99), words.count(s.lost), "held" if s.held else "not held") for s in steps
    ]
    says = f"The last step that kept every limit had {words.count(study.knee)} connections."
    return drawn(figure, "capacity-knee", "Latency over connections", says, ("connections", "p50", "p99", "lost", ""), rows, wide=True)
