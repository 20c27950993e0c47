"""What all drawings share: the value that the page shows, limits, labels at the ends of series, axes of time on a logarithmic scale.

Series are labelled where they end instead of in a legend, so that no reading hangs on telling colours apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from harness import words
from harness.report.svg import LIMIT, MUTED, inline

__all__ = [
    "HALF",
    "SMALL",
    "WIDE",
    "Drawing",
    "End",
    "apart",
    "chunks",
    "drawn",
    "end_labels",
    "label",
    "limit_line",
    "log_time",
    "plain",
    "room_right",
    "seconds_of",
    "thousands",
    "worst",
    "x_label",
]

HALF, WIDE = 6.4, 12.8
"""Inches: a drawing beside another one, and one as wide as the page."""
SMALL = 9.5
"""Points of the letters."""
_ROWS = 60
_LINE = 11.5  # points between two labels under each other
_BARE = dict.fromkeys(range(0x2000, 0x2030), " ")


@dataclass(frozen=True, slots=True)
class Drawing:
    """`svg` is our own markup and trusted; everything else is text. `says` is what it shows in a sentence with the numbers that matter,
    `rows` hold the rest under `columns`. `wide`: over the whole width of the page."""

    name: str
    title: str
    says: str
    svg: Markup
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    wide: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """The end of a series: its last value in the units of the axis, its name and its colour."""

    value: float
    text: str
    colour: str


def drawn(
    figure: Figure,
    name: str,
    title: str,
    says: str,
    columns: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    *,
    wide: bool = False,
) -> Drawing:
    """The figure as a Drawing. `name` (letters and dashes) is its id on the page."""
    return Drawing(name, title, says, Markup(inline(figure, name)), columns, tuple(rows), wide)  # noqa: S704 - matplotlib escapes its texts


def log_time(axes: Axes, values: npt.NDArray[np.float64], limit: float) -> None:
    """A logarithmic axis of seconds from the least of the values up to what is over the greatest of them and the limit."""
    seen = values[np.isfinite(values) & (values > 0)]
    low = (float(seen.min()) if len(seen) else limit / 1e3) / 1.4
    high = max(float(seen.max()) if len(seen) else limit, limit) * 1.7
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    steps = (1.0,) if high / low > 300 else (1.0, 3.0)
    ticks = [step * 10.0**power for power in range(-6, 5) for step in steps]
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(words.time(value))))


def limit_line(axes: Axes, value: float, text: str, colour: str = LIMIT, dy: float = 3.5, *, right: bool = False) -> None:
    """A dashed rule at `value` with its text at the left (or the right) end, `dy` points over it, or under it where that is negative."""
    axes.axhline(value, color=colour, linewidth=1.0, linestyle=(0, (4, 3)))
    place, dx, across = (1.0, -3, "right") if right else (0.0, 3, "left")
    axes.annotate(text, (place, value), xycoords=("axes fraction", "data"), xytext=(dx, dy), textcoords="offset points",
                  color=colour, fontsize=SMALL, ha=across, va="bottom" if dy > 0 else "top", parse_math=False)  # fmt: skip


def label(axes: Axes, x: float, y: float, text: str, colour: str, dx: float = 5, dy: float = 0, ha: str = "left") -> None:
    """A text beside a point; `dx` and `dy` in points."""
    axes.annotate(text, (x, y), xytext=(dx, dy), textcoords="offset points", color=colour, fontsize=SMALL, ha=ha, va="center",
                  parse_math=False)  # fmt: skip


def end_labels(axes: Axes, x: float, ends: Sequence[End]) -> None:
    """Name the series at their last points, moved apart where they would cover each other. The limits of the axes have to stand."""
    points = 72.0 / axes.figure.dpi
    low, high = axes.get_ylim()
    shown = [end for end in ends if math.isfinite(end.value)]
    wanted = [float(axes.transData.transform((x, min(max(end.value, low), high)))[1]) * points for end in shown]
    order = sorted(range(len(shown)), key=lambda index: -wanted[index])
    places = apart([wanted[index] for index in order], _LINE)
    for index, place in zip(order, places, strict=True):
        label(axes, x, min(max(shown[index].value, low), high), shown[index].text, shown[index].colour, dy=place - wanted[index])


def apart(wanted: Sequence[float], gap: float) -> list[float]:
    """Of places that fall, the nearest ones (least squares) in which neighbours are at least `gap` apart."""
    groups: list[tuple[float, int]] = []
    for index, place in enumerate(wanted):
        total, count = place + index * gap, 1
        while groups and groups[-1][0] / groups[-1][1] < total / count:
            before, many = groups.pop()
            total, count = total + before, count + many
        groups.append((total, count))
    levelled = [total / count for total, count in groups for _ in range(count)]
    return [place - index * gap for index, place in enumerate(levelled)]


def room_right(axes: Axes, first: float, last: float, share: float = 0.13) -> None:
    """Leave a share of the width free for labels at the ends."""
    width = max(last - first, 1.0)
    axes.set_xlim(first - 0.02 * width, last + share * width)


def x_label(axes: Axes, text: str) -> None:
    """What the horizontal axis counts, at its left end."""
    axes.set_xlabel(text, color=MUTED, fontsize=SMALL, loc="left")


def thousands(value: float, _: object = None) -> str:
    """A number of an axis, in groups of three."""
    return f"{value:,.0f}"


def chunks(line: pd.DataFrame) -> list[pd.DataFrame]:
    """At most so many rows of neighbours as a table can bear; each second on its own while they are few."""
    step = max(1, math.ceil(len(line) / _ROWS))
    return [line.iloc[start : start + step] for start in range(0, len(line), step)]


def seconds_of(chunk: pd.DataFrame) -> str:
    """Which seconds a chunk (column `at`) covers."""
    first, last = float(chunk["at"].iloc[0]), float(chunk["at"].iloc[-1])
    return f"{first:.0f}" if len(chunk) == 1 else f"{first:.0f} to {last:.0f}"


def worst(values: pd.Series) -> float | None:
    """The greatest value that is there."""
    top = float(values.max())
    return None if math.isnan(top) else top


def plain(text: str) -> str:
    """The text with ordinary spaces: those of typography are missing from many typefaces."""
    return text.translate(_BARE)
