"""The drawings of the report, each with its numbers as a table for those who do not see it.

Each function is pure: figures of the analysis in, a Drawing out, or None where there is nothing to draw. Series are labelled at
their ends instead of in a legend, so that no reading hangs on telling colours apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from harness.analysis.latency import LatencyFigures
from harness.analysis.memory import Memory
from harness.analysis.run import Phases
from harness.analysis.validity import Fitness
from harness.report import words
from harness.report.svg import LIMIT, MUTED, ONE, THREE, TWO, canvas, inline

__all__ = ["Drawing", "connections", "health", "latency_over_time", "memory", "percentiles"]

_WIDE, _HIGH = 6.4, 3.1
_ROWS = 60
_BARE = dict.fromkeys(range(0x2000, 0x2030), " ")


@dataclass(frozen=True, slots=True)
class Drawing:
    """`svg` is our own markup and trusted; everything else is text. `rows` hold the numbers under `columns`."""

    name: str
    title: str
    says: str
    svg: Markup
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def percentiles(figures: LatencyFigures, limit: float) -> Drawing | None:
    """The headline latency over the share of deliveries, in nines."""
    if len(figures.curve) < 2:
        return None
    shares = np.array([share for share, _ in figures.curve])
    values = np.array([value for _, value in figures.curve])
    figure, (axes,) = canvas(_WIDE, _HIGH)
    nines = -np.log10(1.0 - shares)
    axes.plot(nines, values, color=ONE, linewidth=2.0, solid_capstyle="round")
    ticks = [(0.0, "0"), (math.log10(2), "50"), (1.0, "90"), (2.0, "99"), (3.0, "99.9"), (4.0, "99.99"), (5.0, "99.999")]
    shown = [(at, label) for at, label in ticks if at <= nines[-1] + 0.05]
    axes.set_xlim(0.0, max(nines[-1] * 1.05, 1.0))
    axes.xaxis.set_major_locator(FixedLocator([at for at, _ in shown]))
    axes.set_xticks([at for at, _ in shown], [label for _, label in shown])
    axes.set_xlabel("per cent of deliveries, in nines", color=MUTED, fontsize=9)
    _log_time(axes, values, limit)
    _limit(axes, limit, f"limit {_plain(words.time(limit))}")
    p99 = figures.headline.p99
    if p99 is not None and nines[-1] >= 2.0:
        axes.plot([2.0], [p99], marker="o", markersize=5, color=ONE)
        _label(axes, 2.0, p99, f"p99 {_plain(words.time(p99))}", ONE, dx=-6, dy=8, ha="right")
    picks = [(q, name) for q, name in ((0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %"),
                                       (0.99999, "99.999 %")) if q <= shares[-1] + 1e-12]  # fmt: skip
    rows = tuple((name, words.time(float(values[np.searchsorted(shares, q - 1e-12).clip(0, len(values) - 1)]))) for q, name in picks)
    rows += (("100 %", words.time(figures.headline.max)),)
    says = f"From a median of {words.time(figures.headline.p50)} to {words.time(figures.headline.max)} for the slowest delivery."
    return _drawing(figure, "percentiles", "Latency by share of deliveries", says, ("share", "latency at most"), rows)


def latency_over_time(line: pd.DataFrame, limit: float) -> Drawing | None:
    """Median, p99 and maximum by second."""
    if not len(line):
        return None
    at = line["at"].to_numpy(dtype=float)
    figure, (axes,) = canvas(_WIDE, _HIGH)
    for column, colour, style in (("max", THREE, (0, (1, 1.5))), ("p99", TWO, "-"), ("p50", ONE, "-")):
        values = line[column].to_numpy(dtype=float)
        axes.plot(at, values, color=colour, linewidth=1.6, linestyle=style, marker="o" if len(at) < 3 else None, markersize=3)
    _ends(axes, at[-1], [(float(line[c].iloc[-1]), name, colour) for c, name, colour in
                         (("max", "max", THREE), ("p99", "p99", TWO), ("p50", "median", ONE))], log=True)  # fmt: skip
    _log_time(axes, line[["p50", "p99", "max"]].to_numpy(dtype=float).ravel(), limit)
    _limit(axes, limit, f"limit {_plain(words.time(limit))}")
    _room_right(axes, at[0], at[-1])
    axes.set_xlabel("seconds since the first vote was due, by time of arrival", color=MUTED, fontsize=9)
    worst = line.iloc[int(line["p99"].to_numpy(dtype=float).argmax())]
    says = f"The worst second had a p99 of {words.time(float(worst['p99']))}, {float(worst['at']):.0f} s after the first vote was due."
    rows = [
        (
            _seconds_of(chunk),
            words.count(float(chunk["n"].sum())),
            words.time(float(chunk["p50"].median())),
            words.time(float(chunk["p99"].max())),
            words.time(float(chunk["max"].max())),
        )
        for chunk in _chunks(line)
    ]
    columns = ("second", "deliveries", "median", "worst p99", "max")
    return _drawing(figure, "latency-time", "Latency over time", says, columns, rows)


def connections(line: pd.DataFrame, phases: Phases, asked: int) -> Drawing | None:
    """Open sockets over the whole run, with the phases marked."""
    if not len(line):
        return None
    at, count = line["t"].to_numpy(dtype=float) - phases.started, line["open"].to_numpy(dtype=float)
    figure, (axes,) = canvas(_WIDE, _HIGH)
    axes.plot(at, count, color=ONE, linewidth=2.0, drawstyle="default", marker="o" if len(at) < 3 else None)
    top = max(float(count.max()), float(asked), 1.0)
    axes.set_ylim(0.0, top * 1.18)
    _limit(axes, float(asked), f"asked {asked:,}", colour=MUTED)
    marks = [("steady", phases.steady_from), ("end", phases.steady_until)]
    marks += [("target lost", phases.loss.t)] if phases.loss else []
    for name, t in marks:
        if t is not None and phases.started <= t <= phases.last:
            axes.axvline(t - phases.started, color=LIMIT if name == "target lost" else MUTED, linewidth=0.8, linestyle=(0, (3, 3)))
            side = ("left", 3) if name == "steady" else ("right", -3)
            axes.annotate(
                name, (t - phases.started, 0.0), xytext=(side[1], 4), textcoords="offset points", ha=side[0], color=MUTED, fontsize=8.5
            )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("seconds since the start of the run", color=MUTED, fontsize=9)
    says = f"At most {words.count(float(count.max()))} connections were open at once, {words.count(float(count[-1]))} at the last record."
    frame = pd.DataFrame({"at": at, "open": count})
    rows = [(_seconds_of(c), words.count(float(c["open"].min())), words.count(float(c["open"].max()))) for c in _chunks(frame)]
    return _drawing(figure, "connections", "Open connections", says, ("second", "fewest open", "most open"), rows)


def memory(figures: Memory, limit: float) -> Drawing | None:
    """Resident memory over connections during the ramp, with the fitted line and its 95 % interval."""
    if len(figures.points) < 2:
        return None
    x, y = (np.array(column) for column in zip(*figures.points, strict=True))
    figure, (axes,) = canvas(_WIDE, _HIGH)
    axes.plot(x, y / 1e6, linestyle="none", marker="o", markersize=3.5, color=ONE, alpha=0.75, markeredgewidth=0)
    line = figures.line
    says = figures.why[:1].upper() + figures.why[1:] + "."
    if line is not None:
        grid = np.linspace(x.min(), x.max(), 40)
        fitted = line.intercept + line.slope * grid
        reach = line.quantile * np.sqrt(line.error**2 + (line.slope_error * (grid - line.mean)) ** 2)
        axes.fill_between(grid, (fitted - reach) / 1e6, (fitted + reach) / 1e6, color=TWO, alpha=0.25, linewidth=0)
        axes.plot(grid, fitted / 1e6, color=TWO, linewidth=1.6)
        allowed = line.intercept + limit * grid
        axes.plot(grid, allowed / 1e6, color=LIMIT, linewidth=1.0, linestyle=(0, (4, 3)))
        _ends(axes, grid[-1], [(float(fitted[-1]) / 1e6, f"{line.slope / 1e3:.1f} KB each", TWO),
                               (float(allowed[-1]) / 1e6, f"{limit / 1e3:g} KB each", LIMIT)])  # fmt: skip
        _room_right(axes, float(x.min()), float(x.max()), share=0.2)
        says = (
            f"Each connection adds {words.size(line.slope)} (95\u202f% confidence {words.size(line.low)} to {words.size(line.high)}), "
            f"by {line.n} readings."
        )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f} MB" if np.ptp(y) > 4e6 else f"{value:,.1f} MB"))
    axes.set_xlabel("open connections", color=MUTED, fontsize=9)
    ordered = sorted(figures.points)
    picked = ordered[:: max(1, len(ordered) // _ROWS)]
    rows = [(words.count(round(a)), words.size(b)) for a, b in picked]
    return _drawing(figure, "memory", "Resident memory of the target", says, ("connections", "resident memory"), rows)


def health(line: pd.DataFrame, fitness: Fitness) -> Drawing | None:
    """The instrument itself by second: slip, lag, stalls, CPU of the host; each beside what it may be at most."""
    if not len(line):
        return None
    at = line["at"].to_numpy(dtype=float)
    figure, rows = canvas(_WIDE, 4.6, rows=4)
    panels = (
        ("slip", "schedule slip, worst (ms)", 1e3, fitness.slip_max),
        ("lag", "generator lag, p99 (ms)", 1e3, fitness.lag_p99),
        ("stall", "loop stall (ms)", 1e3, fitness.stall),
        ("host_cpu", "host CPU (%)", 1e2, fitness.busy_above),
    )
    for axes, (column, name, scale, allowed) in zip(rows, panels, strict=True):
        values = line[column].to_numpy(dtype=float) * scale
        seen = values[~np.isnan(values)]
        axes.plot(at, values, color=ONE, linewidth=1.4, marker="o" if len(at) < 3 else None, markersize=3)
        top = max(float(seen.max()) if len(seen) else 0.0, 1e-3)
        near = column == "host_cpu" or top > 0.4 * allowed * scale
        axes.set_ylim(0.0, max(top, allowed * scale if near else 0.0) * 1.25)
        axes.locator_params(axis="y", nbins=3)
        text = f"{name}, allowed {allowed * scale:g}"
        axes.set_title(text, loc="left", fontsize=8.5, color=MUTED, pad=2)
        if near:
            axes.axhline(allowed * scale, color=LIMIT, linewidth=1.0, linestyle=(0, (4, 3)))
    rows[-1].set_xlabel("seconds since the first vote was due", color=MUTED, fontsize=9)
    table = [
        (_seconds_of(c), *(words.time(_worst(c[k])) for k in ("slip", "lag", "stall")), words.percent(_worst(c["host_cpu"])))
        for c in _chunks(line)
    ]
    says = "Where a dashed line is missing, the allowed value lies above the panel."
    return _drawing(figure, "health", "The generator by second", says, ("second", "slip", "lag p99", "stall", "host CPU"), table)


def _drawing(figure: object, name: str, title: str, says: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Drawing:
    return Drawing(name, title, says, Markup(inline(figure, name)), columns, tuple(rows))  # type: ignore[arg-type]  # noqa: S704


def _log_time(axes: Axes, values: np.ndarray, limit: float) -> None:
    seen = values[np.isfinite(values) & (values > 0)]
    low = float(seen.min()) if len(seen) else limit / 1e3
    high = max(float(seen.max()) if len(seen) else limit, limit)
    axes.set_yscale("log")
    axes.set_ylim(low / 1.6, high * 2.2)
    axes.yaxis.set_major_locator(FixedLocator([10.0**power for power in range(-6, 5) if low / 1.6 <= 10.0**power <= high * 2.2]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _plain(words.time(value))))


def _limit(axes: Axes, value: float, text: str, colour: str = LIMIT) -> None:
    axes.axhline(value, color=colour, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.annotate(text, (0.0, value), xycoords=("axes fraction", "data"), xytext=(2, 3), textcoords="offset points",
                  color=colour, fontsize=9)  # fmt: skip


def _label(axes: Axes, x: float, y: float, text: str, colour: str, dx: float = 5, dy: float = 0, ha: str = "left") -> None:
    axes.annotate(text, (x, y), xytext=(dx, dy), textcoords="offset points", color=colour, fontsize=9, ha=ha, va="center")


def _ends(axes: Axes, x: float, ends: Sequence[tuple[float, str, str]], log: bool = False) -> None:
    """Label series at their last point; labels that would cover each other are moved apart."""
    placed: list[float] = []
    for y, text, colour in sorted(ends, key=lambda end: -end[0]):
        wanted = len(placed)
        _label(axes, x, y, text, colour, dy=(len(ends) - 1) / 2 * 9 - 9 * wanted)
        placed.append(math.log10(y) if log and y > 0 else y)


def _room_right(axes: Axes, first: float, last: float, share: float = 0.13) -> None:
    width = max(last - first, 1.0)
    axes.set_xlim(first - 0.02 * width, last + share * width)


def _chunks(line: pd.DataFrame) -> list[pd.DataFrame]:
    """At most so many rows of neighbours as a table can bear; each second on its own while they are few."""
    step = max(1, math.ceil(len(line) / _ROWS))
    return [line.iloc[start : start + step] for start in range(0, len(line), step)]


def _seconds_of(chunk: pd.DataFrame) -> str:
    first, last = float(chunk["at"].iloc[0]), float(chunk["at"].iloc[-1])
    return f"{first:.0f}" if len(chunk) == 1 else f"{first:.0f} to {last:.0f}"


def _worst(values: pd.Series) -> float | None:
    top = float(values.max())
    return None if math.isnan(top) else top


def _plain(text: str) -> str:
    return text.translate(_BARE)
