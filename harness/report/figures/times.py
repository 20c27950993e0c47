"""The axis of time that all time lines of a page share: the same seconds over each other, the steady phase, what happened, the generator.

A reader who sees a peak has to see at once whether something happened then and whether it was the generator's own. So every time line
carries the events as marks and, under it, a strip that says second by second how fit the generator was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.analysis.run import Event, Run
from harness.analysis.validity import Fitness
from harness.report.figures.drawing import SMALL, WIDE, x_label
from harness.report.svg import BAND, GOOD, LIMIT, MUTED, NEAR, panels

__all__ = ["Mark", "Stretch", "Times", "lines", "marks_of", "stretches", "times_of"]

_PHASES = frozenset({"ramp_started", "ramp_done", "sockets", "cast_started", "cast_ended", "drained"})
_BAD = frozenset({"target_lost", "target_exited", "worker_lost", "overload", "clock_step", "problem"})
_GC = "GC"
_TITLES = {"gc": _GC}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
_NEAR = 0.5
_SEAM = 2.0
_LETTER = 5.0  # points that a letter of a label is wide, about
_ROW = 12.0
_ROWS_OF_LABELS = 2
_STRIP = 0.16
_NAMED = 8  # marks that the sentence names
_END_ROOM = 1.0  # inches at the right for labels of the series


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened, in seconds of the axis; `times`: how often, where several of a kind are too close to be told apart."""

    at: float
    text: str
    bad: bool
    times: int = 1


@dataclass(frozen=True, slots=True)
class Stretch:
    """From when to when the generator was at one level: 0 fit, 1 within half of a limit, 2 past one."""

    begin: float
    end: float
    level: int


@dataclass(frozen=True, slots=True)
class Times:
    """`origin` is the moment (seconds since the epoch) that the axis calls 0; the rest is in seconds of the axis."""

    origin: float
    says: str
    first: float
    last: float
    steady: tuple[float, float] | None
    marks: tuple[Mark, ...]
    strip: tuple[Stretch, ...]

    def of(self, t: float) -> float:
        """A moment since the epoch as seconds of the axis."""
        return t - self.origin

    @property
    def context(self) -> str:
        """What every time line shows besides its own: the strip in a sentence, and the marks in another."""
        return f"{self._fitness} {self._marked}".rstrip()

    @property
    def _marked(self) -> str:
        if not self.marks:
            return ""
        named = [f"{mark.text}{f' ×{mark.times}' if mark.times > 1 else ''} at {_whole(mark.at)} s" for mark in self.marks[:_NAMED]]
        more = f" and {len(self.marks) - _NAMED} more, in the table of events" if len(self.marks) > _NAMED else ""
        meant = f" ({_GC}: garbage collection of the generator)" if any(mark.text == _GC for mark in self.marks) else ""
        return f"Marked: {', '.join(named)}{more}{meant}."

    @property
    def _fitness(self) -> str:
        if not self.strip:
            return "The generator was not read."
        late = sum(each.end - each.begin for each in self.strip if each.level == 2)
        near = sum(each.end - each.begin for each in self.strip if each.level == 1)
        if not late and not near:
            return "The generator was fit in every second."
        parts = [f"past one of its limits in {late:.0f} s"] if late else []
        parts += [f"within half of one in {near:.0f} s"] if near else []
        return f"The generator was {' and '.join(parts)}."


def _whole(seconds: float) -> str:
    return f"{seconds:.0f}".replace("-", "−")


def times_of(run: Run, health: pd.DataFrame, fitness: Fitness) -> Times:
    """The axis of a run, with its `health_timeline`: 0 is when the first vote was due, or, where none ever was, the start of the run."""
    phases = run.phases
    origin = phases.started if phases.epoch is None else phases.epoch
    says = "seconds since the start of the run" if phases.epoch is None else "seconds since the first vote was due"
    begin, end = phases.steady_from, phases.judged_until
    steady = None if begin is None or end is None or end <= begin else (begin - origin, end - origin)
    first, last = phases.started - origin, max(phases.last - origin, phases.started - origin + 1.0)
    marks = marks_of(run.events, origin, last - first)
    return Times(origin, says, first, last, steady, marks, stretches(health, fitness))


def marks_of(events: Iterable[Event], origin: float, width: float) -> tuple[Mark, ...]:
    """What happened besides the phases; events of one name that lie within 2 % of the width are one mark."""
    marks: list[Mark] = []
    latest: dict[str, int] = {}
    for event in events:
        if event.name in _PHASES:
            continue
        # A name that is not one of ours came from a file that somebody may have written: it is not put into a drawing.
        text = _TITLES.get(event.name) or (event.name.replace("_", " ") if _NAME.fullmatch(event.name) else "event")
        at = event.t - origin
        index = latest.get(text)
        if index is not None and at - marks[index].at <= 0.02 * width:
            marks[index] = Mark(marks[index].at, text, marks[index].bad, marks[index].times + 1)
        else:
            latest[text] = len(marks)
            marks.append(Mark(at, text, event.name in _BAD))
    return tuple(sorted(marks, key=lambda mark: mark.at))


def stretches(health: pd.DataFrame, fitness: Fitness) -> tuple[Stretch, ...]:
    """The generator's fitness by second, of slip, lag and stall the worst; neighbours of one level are one stretch."""
    if not len(health):
        return ()
    allowed = {"slip": fitness.slip_max, "lag": fitness.lag_p99, "stall": fitness.stall}
    used = np.column_stack([health[name].to_numpy(dtype=float) / limit for name, limit in allowed.items()])
    found: list[Stretch] = []
    at = health["at"].to_numpy(dtype=float)
    # Records come a little more than a second apart, so that now and then a second has none: its neighbour speaks for it.
    ends = np.where(np.diff(at, append=at[-1] + 1.0) <= _SEAM, np.append(at[1:], at[-1] + 1.0), at + 1.0)
    for begin, end, row in zip(at, ends, used, strict=True):
        if np.isnan(row).all():
            continue
        most = float(np.nanmax(row))
        level = 2 if most > 1.0 else 1 if most > _NEAR else 0
        if found and found[-1].level == level and abs(found[-1].end - begin) < 1e-6:
            found[-1] = Stretch(found[-1].begin, float(end), level)
        else:
            found.append(Stretch(float(begin), float(end), level))
    return tuple(found)


def lines(times: Times, heights: Sequence[float], *, gap: float = 0.3) -> tuple[Figure, list[Axes]]:
    """A figure as wide as the page: a panel of each height (inches), with marks and the steady phase, and the generator's strip under
    them. Answers the panels without the strip."""
    labels = _placed(times)
    top = 0.08 + (max((row for _, row, _ in labels), default=-1) + 1) * _ROW / 72
    figure, axes = panels(WIDE, [*heights, _STRIP], top=top, gap=gap, right=_END_ROOM)
    *rows, strip = axes
    width = times.last - times.first
    strip.set_xlim(times.first - 0.005 * width, times.last + 0.005 * width)
    strip.xaxis.set_major_locator(MaxNLocator(nbins=12, steps=[1, 2, 3, 5, 6, 10]))
    for each in rows:
        if times.steady:
            each.axvspan(*times.steady, color=BAND, linewidth=0, zorder=0)
        for mark in times.marks:
            style = (0, (1, 2)) if not mark.bad else "-"
            each.axvline(mark.at, color=LIMIT if mark.bad else MUTED, linewidth=0.9, linestyle=style, zorder=1)
    for mark, row, side in labels:
        rows[0].annotate(
            mark.text if mark.times == 1 else f"{mark.text} ×{mark.times}",
            (mark.at, 1.0), xycoords=("data", "axes fraction"), xytext=(2 if side == "left" else -2, 3 + row * _ROW),
            textcoords="offset points", ha=side, va="bottom", color=LIMIT if mark.bad else MUTED, fontsize=SMALL, parse_math=False,
        )  # fmt: skip
    _strip(strip, times)
    return figure, rows


def _placed(times: Times) -> list[tuple[Mark, int, str]]:
    """Which labels have room above the first panel: (mark, row from below, side). What has none stays a line; the table names it."""
    width = times.last - times.first
    scale = (WIDE - 0.72 - _END_ROOM) * 72 / (1.01 * width)  # points a second
    steady = [Mark(times.steady[0], "steady phase", bad=False)] if times.steady else []
    ends = [float("-inf")] * _ROWS_OF_LABELS
    placed = []
    for mark in sorted([*times.marks, *steady], key=lambda mark: mark.at):
        long = (len(mark.text) + (4 if mark.times > 1 else 0)) * _LETTER + 6
        begin = (mark.at - times.first) * scale
        side = "left" if begin + long < width * scale + _END_ROOM * 72 * 0.8 else "right"
        begin -= long if side == "right" else 0.0
        row = next((row for row in range(_ROWS_OF_LABELS) if ends[row] <= begin), None)
        if row is not None:
            ends[row] = begin + long
            placed.append((mark, row, side))
    return placed


def _strip(axes: Axes, times: Times) -> None:
    axes.set_ylim(0.0, 1.0)
    axes.set_yticks([])
    axes.grid(visible=False)
    for level, (colour, high) in enumerate(((GOOD, 0.3), (NEAR, 0.65), (LIMIT, 1.0))):
        spans = [(each.begin, each.end - each.begin) for each in times.strip if each.level == level]
        if spans:
            axes.broken_barh(spans, (0.0, high), facecolor=colour, linewidth=0)
    axes.annotate("generator", (0.0, 0.5), xycoords="axes fraction", xytext=(-5, 0), textcoords="offset points",
                  ha="right", va="center", color=MUTED, fontsize=SMALL)  # fmt: skip
    x_label(axes, f"{times.says}; the strip is the generator's fitness, taller is worse")
