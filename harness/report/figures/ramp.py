"""Connections that come in steps and go again, over and over: the target's memory at each number of them, cycle by cycle."""

from __future__ import annotations

import pandas as pd
from matplotlib.ticker import FuncFormatter, MaxNLocator

from harness import words
from harness.analysis.ramp import Plateau, RampStudy
from harness.report.figures.drawing import HALF, Drawing, End, drawn, end_labels, label, limit_line, room_right, thousands, x_label
from harness.report.figures.times import Times, lines
from harness.report.svg import MUTED, ONE, TWO, panels

__all__ = ["ramp_memory", "ramp_time"]


def ramp_time(study: RampStudy, line: pd.DataFrame, target: pd.DataFrame, times: Times) -> Drawing | None:
    """Open sockets (columns t, open) over the memory of the target (columns t, rss)."""
    read = target.dropna(subset=["t", "rss"])
    if not len(line) or not study.plateaus:
        return None
    quiet = Times(times.origin, times.says, times.first, times.last, times.steady, tuple(m for m in times.marks if m.bad), times.strip)
    figure, axes = lines(quiet, [1.3, 1.3] if len(read) else [1.6], gap=0.24)
    at = line["t"].to_numpy(dtype=float) - times.origin
    axes[0].plot(at, line["open"], color=ONE, linewidth=1.8)
    axes[0].set_ylim(0.0, study.asked * 1.25)
    axes[0].yaxis.set_major_formatter(FuncFormatter(thousands))
    axes[0].yaxis.set_major_locator(MaxNLocator(nbins=4))
    limit_line(axes[0], float(study.asked), f"asked {study.asked:,}", colour=MUTED)
    label(axes[0], float(at[-1]), float(line["open"].iloc[-1]), "open sockets", ONE)
    if len(read):
        t, rss = read["t"].to_numpy(dtype=float) - times.origin, read["rss"].to_numpy(dtype=float) / 1e6
        axes[1].plot(t, rss, color=TWO, linewidth=1.6)
        axes[1].yaxis.set_major_locator(MaxNLocator(nbins=4))
        axes[1].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g} MB"))
        label(axes[1], float(t[-1]), float(rss[-1]), "memory", TWO)
    rows = [
        (str(p.cycle + 1), words.count(p.asked), words.count(p.open), words.size(p.rss), words.count(p.descriptors)) for p in study.plateaus
    ]
    columns = ("cycle", "asked", "open", "target's memory", "target's descriptors")
    says = f"{len(study.peaks)} cycles; the rows are the settled half of each plateau. {times.context}"
    return drawn(figure, "ramp-time", "Connections that come and go, and the memory", says, columns, rows, wide=True)


def ramp_memory(study: RampStudy) -> Drawing | None:
    """Memory with all connections open, and with none, after more and more have come and gone."""
    groups = [
        ("all open", ONE, [p for p in study.plateaus if p.asked == study.asked and p.rss is not None]),
        ("none open", TWO, [p for p in study.plateaus if p.asked == 0 and p.rss is not None]),
    ]
    if any(len(points) < 2 for _, _, points in groups):
        return None
    figure, (axes,) = panels(HALF, [2.6])
    ends = []
    for name, colour, points in groups:
        x, y = [p.came for p in points], [_megabytes(p) for p in points]
        axes.plot(x, y, color=colour, linewidth=1.4, marker="o", markersize=4.5)
        ends.append(End(y[-1], name, colour))
    last = max(p.came for _, _, points in groups for p in points)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g} MB"))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.xaxis.set_major_formatter(FuncFormatter(thousands))
    x_label(axes, "connections that have come and gone")
    room_right(axes, 0.0, float(last), share=0.2)
    end_labels(axes, float(last), ends)
    says = "Lines that are level from the second point on leave nothing behind."
    if study.leak is not None:
        says += f" Each leaves {words.size(study.leak.each)} ({words.size(study.leak.low)} to {words.size(study.leak.high)})."
    rows = [(name, words.count(p.came), words.size(p.rss)) for name, _, points in groups for p in points]
    return drawn(figure, "ramp-leak", "What those who left leave behind", says, ("connections", "come and gone", "memory"), rows)


def _megabytes(plateau: Plateau) -> float:
    return (plateau.rss or 0.0) / 1e6
