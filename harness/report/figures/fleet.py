"""The sockets and the target's process over the run, and what a socket costs it in memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from harness import words
from harness.analysis.memory import Memory
from harness.report.figures.drawing import (
    HALF,
    Drawing,
    End,
    chunks,
    drawn,
    end_labels,
    label,
    limit_line,
    room_right,
    seconds_of,
    thousands,
    worst,
    x_label,
)
from harness.report.figures.times import Times, lines
from harness.report.svg import LIMIT, MUTED, ONE, TWO, panels

__all__ = ["connections", "memory"]

_ROWS = 60


def connections(line: pd.DataFrame, target: pd.DataFrame, times: Times, asked: int) -> Drawing | None:
    """Open sockets (columns t, open) and, where the target's process was read (columns t, rss, cpu), its memory and its CPU."""
    if not len(line):
        return None
    read = target.dropna(subset=["t", "rss"]) if len(target) else target
    figure, axes = lines(times, [1.5, 0.9, 0.9] if len(read) else [1.9], gap=0.24)
    at, count = line["t"].to_numpy(dtype=float) - times.origin, line["open"].to_numpy(dtype=float)
    axes[0].plot(at, count, color=ONE, linewidth=2.0, marker="o" if len(at) < 3 else None, markersize=3)
    axes[0].set_ylim(0.0, max(float(count.max()), float(asked), 1.0) * 1.25)
    axes[0].yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes[0].yaxis.set_major_formatter(FuncFormatter(thousands))
    limit_line(axes[0], float(asked), f"asked {asked:,}", colour=MUTED)
    label(axes[0], float(at[-1]), float(count[-1]), "open sockets", ONE)
    says = f"At most {words.count(float(count.max()))} connections were open at once."
    frame = pd.DataFrame({"at": at, "open": count, "rss": np.nan, "cpu": np.nan})
    if len(read):
        says += _process(axes[1], axes[2], read, times, frame)
    rows = [
        (
            seconds_of(chunk),
            words.count(float(chunk["open"].min())),
            words.count(float(chunk["open"].max())),
            words.size(worst(chunk["rss"])),
            words.percent(worst(chunk["cpu"])),
        )
        for chunk in chunks(frame)
    ]
    columns = ("second", "fewest open", "most open", "target's memory", "target's CPU, of a core")
    title = "Connections and the target's process" if len(read) else "Open connections"
    return drawn(figure, "connections", title, f"{says} {times.context}", columns, rows, wide=True)


def _process(above: Axes, below: Axes, read: pd.DataFrame, times: Times, frame: pd.DataFrame) -> str:
    t, rss = read["t"].to_numpy(dtype=float) - times.origin, read["rss"].to_numpy(dtype=float)
    above.plot(t, rss / 1e6, color=TWO, linewidth=1.6)
    above.set_ylim(0.0, max(float(rss.max()) / 1e6, 1e-3) * 1.25)
    above.yaxis.set_major_locator(MaxNLocator(nbins=3))
    above.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f} MB"))
    label(above, float(t[-1]), float(rss[-1]) / 1e6, "memory", TWO)
    frame["rss"] = np.interp(frame["at"], t, rss)
    says = f" The target's memory went from {words.size(float(rss[0]))} to {words.size(float(rss.max()))} at most"
    used = read.dropna(subset=["cpu"])
    slot = np.floor(used["t"] - times.origin)
    spent = used.groupby(slot)["cpu"].max().diff().dropna()
    below.set_ylim(0.0, 1.0)
    if len(spent):
        seconds = spent.index.to_numpy(dtype=float)
        cores = spent.to_numpy(dtype=float) / np.maximum(np.diff(np.append(seconds[0] - 1.0, seconds)), 1.0)
        below.plot(seconds + 0.5, cores * 100, color=TWO, linewidth=1.6)
        below.set_ylim(0.0, max(float(cores.max()) * 100, 1.0) * 1.25)
        label(below, float(seconds[-1]) + 0.5, float(cores[-1]) * 100, "CPU, of a core", TWO)
        frame["cpu"] = np.interp(frame["at"], seconds, cores)
        says += f", and it used at most {words.percent(float(cores.max()))} of a core"
    below.yaxis.set_major_locator(MaxNLocator(nbins=3))
    below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
    return f"{says}."


def memory(figures: Memory, limit: float) -> Drawing | None:
    """Resident memory over connections during the ramp, with the fitted line and its 95 % interval."""
    if len(figures.points) < 2:
        return None
    x, y = (np.array(column) for column in zip(*figures.points, strict=True))
    figure, (axes,) = panels(HALF, [2.7])
    axes.plot(x, y / 1e6, linestyle="none", marker="o", markersize=3.5, color=ONE, alpha=0.75, markeredgewidth=0)
    line = figures.line
    says = figures.why[:1].upper() + figures.why[1:] + "."
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    top = float(y.max()) / 1e6
    if line is not None:
        grid = np.linspace(x.min(), x.max(), 40)
        fitted = line.intercept + line.slope * grid
        error = line.quantile * np.sqrt(line.error**2 + (line.slope_error * (grid - line.mean)) ** 2)
        axes.fill_between(grid, (fitted - error) / 1e6, (fitted + error) / 1e6, color=TWO, alpha=0.25, linewidth=0)
        axes.plot(grid, fitted / 1e6, color=TWO, linewidth=1.6)
        allowed = line.intercept + limit * grid
        axes.plot(grid, allowed / 1e6, color=LIMIT, linewidth=1.0, linestyle=(0, (4, 3)))
        room_right(axes, float(x.min()), float(x.max()), share=0.24)
        top = max(top, float(allowed[-1]) / 1e6)
        low = min(float(y.min()), float(fitted.min())) / 1e6
        axes.set_ylim(low - 0.06 * (top - low), top + 0.06 * (top - low))
        end_labels(axes, float(grid[-1]), [End(float(fitted[-1]) / 1e6, f"{line.slope / 1e3:.2g} KB each", TWO),
                                           End(float(allowed[-1]) / 1e6, f"{limit / 1e3:g} KB each", LIMIT)])  # fmt: skip
        says = (
            f"Each connection adds {words.size(line.slope)} (95\u202f% confidence {words.size(line.low)} to {words.size(line.high)}), "
            f"by {line.n} readings while the fleet came in."
        )
    axes.xaxis.set_major_formatter(FuncFormatter(thousands))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g} MB"))
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in MaxNLocator(nbins=6).tick_values(0, float(x.max())) if tick <= x.max()]))
    x_label(axes, "open connections")
    ordered = sorted(figures.points)
    rows = [(words.count(round(a)), words.size(b)) for a, b in ordered[:: max(1, len(ordered) // _ROWS)]]
    return drawn(figure, "memory", "Resident memory of the target", says, ("connections", "resident memory"), rows)
