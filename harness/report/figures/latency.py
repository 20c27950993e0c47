"""Latency in three pictures: by share of the deliveries, by moment of the run, and from the first viewer of a broadcast to the last."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from harness import words
from harness.analysis.heat import LatencyGrid
from harness.analysis.latency import LatencyFigures, of_values
from harness.report.figures.drawing import (
    HALF,
    SMALL,
    Drawing,
    End,
    chunks,
    drawn,
    end_labels,
    label,
    limit_line,
    log_time,
    plain,
    seconds_of,
    worst,
    x_label,
)
from harness.report.figures.times import Times, lines
from harness.report.svg import HEAT, INK, MUTED, ONE, PAPER, TWO, panels

__all__ = ["fan_out", "heat", "percentiles"]

_HIGH = 2.7
_NINES = [(0.0, "0"), (math.log10(2), "50"), (1.0, "90"), (2.0, "99"), (3.0, "99.9"), (4.0, "99.99"), (5.0, "99.999")]
_SHARES = (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)
_STEPS = (0.0, 0.001, 0.01, 0.05, 0.2)
"""A cell of the heat map has the level of the last of these shares (of its column's deliveries) that it is over."""

Floats = npt.NDArray[np.float64]


def percentiles(figures: LatencyFigures, limit: float) -> Drawing | None:
    """The headline latency over the share of deliveries, in nines."""
    if len(figures.curve) < 2:
        return None
    shares = np.array([share for share, _ in figures.curve])
    values = np.array([value for _, value in figures.curve])
    figure, (axes,) = panels(HALF, [_HIGH])
    nines = -np.log10(1.0 - shares)
    axes.fill_between(nines, values, 1e-9, color=ONE, alpha=0.1, linewidth=0)
    axes.plot(nines, values, color=ONE, linewidth=2.0, solid_capstyle="round")
    shown = [(at, text) for at, text in _NINES if at <= nines[-1] + 0.05]
    axes.set_xlim(0.0, max(nines[-1] * 1.03, 1.0))
    axes.set_xticks([at for at, _ in shown], [text for _, text in shown])
    x_label(axes, "per cent of the deliveries, in nines")
    log_time(axes, values, limit)
    # The text stands where the curve is not: a curve that crosses the limit is over it at the right.
    crossed = float(values[-1]) > limit
    limit_line(axes, limit, f"limit {plain(words.time(limit))}, for 99 %", dy=-3.5 if crossed else 3.5, right=crossed)
    p99 = figures.headline.p99
    if p99 is not None and nines[-1] >= 2.0:
        axes.plot([2.0, 2.0], [axes.get_ylim()[0], p99], color=ONE, linewidth=0.9, linestyle=(0, (1, 2)))
        axes.plot([2.0], [p99], marker="o", markersize=5, color=ONE)
        label(axes, 2.0, p99, f"p99 {plain(words.time(p99))}", ONE, dx=-7, dy=9, ha="right")
    picks = [share for share in _SHARES if share <= shares[-1] + 1e-12]
    places = [int(np.searchsorted(shares, share - 1e-12).clip(0, len(values) - 1)) for share in picks]
    rows = [(f"{share * 100:.6g}\u202f%", words.time(float(values[place]))) for share, place in zip(picks, places, strict=True)]
    rows.append(("100\u202f%", words.time(figures.headline.max)))
    head = figures.headline
    says = f"Half of the deliveries within {words.time(head.p50)}, 99\u202f% within {words.time(p99)}, all within {words.time(head.max)}."
    return drawn(figure, "percentiles", "Latency by share of deliveries", says, ("share", "latency at most"), rows)


def heat(grid: LatencyGrid | None, times: Times, limit: float) -> Drawing | None:
    """Where the deliveries of each second lie, with median and p99 over it."""
    if grid is None:
        return None
    figure, (axes,) = lines(times, [2.9])
    shares = grid.counts / np.maximum(grid.counts.sum(axis=0), 1)
    levels = np.searchsorted(_STEPS, shares, "left")
    for level, colour in enumerate(HEAT, 1):
        path = _cells(levels == level, grid)
        if path is not None:
            axes.add_patch(PathPatch(path, facecolor=colour, linewidth=0))
    gaps = np.flatnonzero(grid.begin[1:] > grid.end[:-1] + 1e-6) + 1
    middle = np.insert((grid.begin + grid.end) / 2, gaps, np.nan)
    for column, colour in (("p99", TWO), ("p50", INK)):
        values = np.insert(grid.lines[column].to_numpy(dtype=float), gaps, np.nan)
        # A rim of the page's colour, for the cells under a line are dark in the light and light in the dark.
        axes.plot(middle, values, color=PAPER, linewidth=3.6, alpha=0.8)
        axes.plot(middle, values, color=colour, linewidth=1.5, marker="o" if len(values) < 3 else None, markersize=3)
    log_time(axes, np.append(grid.edges[:1], grid.lines["max"].to_numpy(dtype=float)), limit)
    limit_line(axes, limit, f"limit {plain(words.time(limit))}")
    last = grid.lines.iloc[-1]
    end_labels(axes, float(grid.end[-1]), [End(float(last["p99"]), "p99", TWO), End(float(last["p50"]), "median", INK)])
    _key(figure)
    top = grid.lines.iloc[int(grid.lines["p99"].to_numpy(dtype=float).argmax())]
    says = (
        f"The worst second had a p99 of {words.time(float(top['p99']))}, {float(top['at']):.0f} s after the first vote was due; "
        f"the slowest delivery of all took {words.time(float(grid.lines['max'].max()))}. {times.context}"
    )
    rows = [
        (
            seconds_of(chunk),
            words.count(float(chunk["n"].sum())),
            words.time(float(chunk["p50"].median())),
            words.time(worst(chunk["p99"])),
            words.time(worst(chunk["max"])),
        )
        for chunk in chunks(grid.lines)
    ]
    columns = ("second", "deliveries", "median", "worst p99", "max")
    return drawn(figure, "heat", "Latency over time", says, columns, rows, wide=True)


def _cells(chosen: npt.NDArray[np.bool_], grid: LatencyGrid) -> Path | None:
    """One path of all chosen cells; neighbours in a column are one rectangle, so that a page stays small."""
    corners = []
    for column in range(chosen.shape[1]):
        rows = np.flatnonzero(np.diff(np.concatenate(([False], chosen[:, column], [False])).astype(int)))
        left, right = grid.begin[column], grid.end[column]
        for bottom, top in zip(grid.edges[rows[::2]], grid.edges[rows[1::2]], strict=True):
            corners += [(left, bottom), (left, top), (right, top), (right, bottom), (left, bottom)]
    if not corners:
        return None
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * (len(corners) // 5)
    return Path(corners, codes)


def _key(figure: Figure) -> None:
    """The levels, at the right under the drawing."""
    width, height = (float(size) for size in figure.get_size_inches())
    texts = ["under 0.1 %", "0.1", "1", "5", "20 % and more"]
    lengths = [0.82, 0.32, 0.25, 0.25, 1.0]
    begin, at = width - 0.95 - sum(lengths) - 5 * 0.2, 0.13
    figure.text((begin - 0.1) / width, at / height, "of a second's deliveries", color=MUTED, fontsize=SMALL, ha="right", va="center")
    for colour, text, long in zip(HEAT, texts, lengths, strict=True):
        place = (begin / width, (at - 0.06) / height)
        figure.add_artist(Rectangle(place, 0.13 / width, 0.12 / height, facecolor=colour, linewidth=0, transform=figure.transFigure))
        figure.text((begin + 0.17) / width, at / height, text, color=MUTED, fontsize=SMALL, ha="left", va="center")
        begin += 0.2 + long


def fan_out(reached: pd.DataFrame) -> Drawing | None:
    """From the first viewer of a broadcast to the last, over the share of the broadcasts."""
    if len(reached) < 2:
        return None
    figure, (axes,) = panels(HALF, [_HIGH])
    share = np.linspace(0.0, 1.0, 160)
    least = 1e-6  # an arrival before its vote was due (clocks of two hosts) has no place on a logarithmic axis
    first, last = (np.maximum(np.quantile(reached[name], share, method="inverted_cdf"), least) for name in ("first", "last"))
    axes.fill_betweenx(share, first, last, color=ONE, alpha=0.14, linewidth=0)
    axes.plot(first, share, color=ONE, linewidth=1.8)
    axes.plot(last, share, color=TWO, linewidth=1.8)
    low, high = float(first[0]), float(last[-1])
    axes.set_xscale("log")
    axes.set_xlim(low / 1.35, max(high, low * 2) * 1.35)
    axes.set_ylim(0.0, 1.04)
    axes.yaxis.set_major_locator(FixedLocator([0.0, 0.25, 0.5, 0.75, 1.0]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.0f} %"))
    _time_ticks(axes)
    axes.grid(axis="x", which="major", color=axes.yaxis.get_gridlines()[0].get_color(), linewidth=0.6)
    # Where the two lie furthest apart there is room beside both.
    place = int(np.argmax(np.log(last[20:140] / first[20:140]))) + 20
    label(axes, float(first[place]), float(share[place]), "first viewer", ONE, dx=-6, ha="right")
    label(axes, float(last[place]), float(share[place]), "last viewer", TWO, dx=7)
    x_label(axes, "time since the vote was due, by share of the broadcasts")
    spread = of_values(reached["spread"].to_numpy(dtype=float))
    one, other = (of_values(reached[name].to_numpy(dtype=float)) for name in ("first", "last"))
    says = (
        f"Half of the {words.count(spread.n)} broadcasts went from their first viewer to their last within {words.time(spread.p50)}, "
        f"99\u202f% within {words.time(spread.p99)}."
    )
    rows = [
        (name, *(words.time(getattr(each, key)) for each in (one, other, spread)))
        for name, key in (("50\u202f%", "p50"), ("90\u202f%", "p90"), ("99\u202f%", "p99"), ("99.9\u202f%", "p999"), ("100\u202f%", "max"))
    ]
    columns = ("share of broadcasts", "first viewer within", "last viewer within", "first to last within")
    return drawn(figure, "fan-out", "Fan-out of a broadcast", says, columns, rows)


def _time_ticks(axes: Axes) -> None:
    low, high = axes.get_xlim()
    for steps in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        ticks = [step * 10.0**power for power in range(-6, 5) for step in steps if low <= step * 10.0**power <= high]
        if len(ticks) <= 7:
            break
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(words.time(value))))
