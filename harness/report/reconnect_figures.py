"""The drawings of a reconnect study: for each cause and outage the client models side by side, on one scale.

Above, who is back, with what a perfect server would have made of the same clients; below it, the sockets they opened (the herd), on a
logarithmic scale because a wave and a trickle differ by orders of magnitude; at the bottom, the server's accept queue.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from harness import words
from harness.analysis.reconnect.figures import SHARES, CellFigures, share_over_time
from harness.analysis.reconnect.rows import TITLES
from harness.report.figures.drawing import SMALL, WIDE, Drawing, drawn, plain, worst
from harness.report.svg import GRID, INK, LIMIT, MUTED, ONE, THREE, TWO, plain_axes

__all__ = ["comeback", "group_name", "rate"]

_LEFT, _RIGHT, _TOP, _BOTTOM, _GAP, _BETWEEN = 0.78, 0.12, 0.7, 0.52, 0.3, 0.42  # inches
_HEIGHTS = (1.75, 1.35, 0.6)
_BINS = 120  # about
_HIGH = sum(_HEIGHTS) + _GAP * (len(_HEIGHTS) - 1) + _TOP + _BOTTOM
_CAUSES = {
    "graceful": "Server stopped in order, away for {}",
    "killed": "Server killed, away for {}",
    "expired": "Every session ended, for good",
    "silent": "Path silent for {}",
    "full": "Server full for {}",
}


def group_name(cause: str, outage: float | None) -> str:
    """What happened to the clients, for a heading."""
    return _CAUSES.get(cause, cause + " {}").format("ever" if outage is None else f"{outage:g} s")


def rate(value: float | None) -> str:
    """Sockets a second, to three digits."""
    return words.MISSING if value is None else f"{words.count(float(f'{value:.3g}'))}/s"


def comeback(cells: Sequence[CellFigures], latest: float) -> Drawing | None:
    """Cells of one cause and outage, one column each. latest: seconds within which the contract has clients back."""
    if not cells:
        return None
    first = cells[0].cell
    end = _end(cells)
    figure = Figure(figsize=(WIDE, _HIGH))
    figure.patch.set_alpha(0.0)
    width = _round_width(end / _BINS)
    edges = np.arange(0.0, end + width, width)
    most = max((int(np.histogram(cell.attempts, edges)[0].max()) for cell in cells), default=1)
    deepest = max((cell.queue or 0 for cell in cells), default=0)
    for number, cell in enumerate(cells):
        back, herd, queue = _column(figure, number, len(cells), end)
        _outage(back, herd, queue, cell, end)
        _share(back, cell, end, latest)
        _herd(herd, cell, edges, most)
        _queue(queue, cell, deepest)
        _marks(back, herd, cell)
        back.annotate(TITLES.get(cell.cell.model, cell.cell.model), (0.0, 1.0), xycoords="axes fraction", xytext=(0, 31),
                      textcoords="offset points", color=INK, fontsize=11.5, fontweight="bold")  # fmt: skip
        back.annotate(_fate(cell), (0.0, 1.0), xycoords="axes fraction", xytext=(0, 17), textcoords="offset points",
                      color=LIMIT if _trouble(cell) else MUTED, fontsize=SMALL)  # fmt: skip
        if number == 0:
            for axes, text in ((back, "clients back"), (herd, f"sockets opened\nin {plain(words.time(width))}"), (queue, "accept\nqueue")):
                axes.set_ylabel(text, color=MUTED, fontsize=SMALL, labelpad=4)
        else:
            for axes in (back, herd, queue):
                axes.tick_params(axis="y", labelleft=False)
    title = group_name(first.cause, first.outage)
    name = f"comeback-{first.cause}" + ("" if first.outage is None else "-" + f"{first.outage:g}".replace(".", "-"))
    return drawn(figure, name, title, _says(cells), _COLUMNS, [_row(cell) for cell in cells], wide=True)


def _end(cells: Sequence[CellFigures]) -> float:
    ends = [1e-3]
    for cell in cells:
        ends += [float(times[np.isfinite(times)].max()) for times in (cell.back, cell.foretold, cell.attempts) if np.isfinite(times).any()]
        ends.append(cell.cell.healed or 0.0)
    return max(ends) * 1.06


def _column(figure: Figure, number: int, count: int, end: float) -> list[Axes]:
    width = (WIDE - _LEFT - _RIGHT - _BETWEEN * (count - 1)) / count
    left, top = _LEFT + number * (width + _BETWEEN), _HIGH - _TOP
    made: list[Axes] = []
    for height in _HEIGHTS:
        top -= height
        made.append(figure.add_axes((left / WIDE, top / _HIGH, width / WIDE, height / _HIGH)))
        plain_axes(made[-1])
        made[-1].set_xlim(0.0, end)
        made[-1].xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
        made[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} s"))
        top -= _GAP
    for axes in made[:-1]:
        axes.tick_params(axis="x", labelbottom=False)
    made[-1].set_xlabel("since the blow", color=MUTED, fontsize=SMALL, loc="left")
    return made


def _outage(back: Axes, herd: Axes, queue: Axes, cell: CellFigures, end: float) -> None:
    until = end if cell.cell.healed is None else cell.cell.healed
    for axes in (back, herd, queue):
        axes.axvspan(0.0, until, color=GRID, alpha=0.55, linewidth=0, zorder=0)
    if cell.cell.healed is None:
        text = "no way back"
    elif cell.cell.cause == "full":
        text = "full"
    else:
        text = "silent" if cell.cell.cause == "silent" else "server gone"
    if until > 0.2 * end:
        back.annotate(text, (0.0, 1.0), xycoords="axes fraction", xytext=(4, -4), textcoords="offset points", color=MUTED,
                      fontsize=SMALL - 0.5, va="top")  # fmt: skip


def _share(axes: Axes, cell: CellFigures, end: float, latest: float) -> None:
    clients = cell.cell.clients
    for times, colour, width, style in ((cell.foretold, THREE, 1.3, (0, (1.5, 1.5))), (cell.back, ONE, 2.2, "-")):
        at, share = share_over_time(times, clients)
        level = share[-1] if len(share) else 0.0
        axes.step([0.0, *at, end], [0.0, *(share * 100), level * 100], where="post", color=colour, linewidth=width, linestyle=style)
    if latest < end:
        axes.axvline(latest, color=LIMIT, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.annotate(f"contract: {latest:g} s", (latest, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 1),
                      textcoords="offset points", color=LIMIT, fontsize=SMALL - 0.5, ha="center", va="bottom")  # fmt: skip
    axes.set_ylim(0.0, 109.0)
    axes.yaxis.set_major_locator(FixedLocator([0, 50, 100]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))


def _herd(axes: Axes, cell: CellFigures, edges: np.ndarray, most: int) -> None:
    after = cell.cell.attempts[cell.cell.attempts["started"] >= 0.0]
    opened = after["outcome"] == "opened"
    width = edges[1] - edges[0]
    every, _ = np.histogram(after["started"], edges)
    good, _ = np.histogram(after["started"][opened], edges)
    middle = (edges[:-1] + edges[1:]) / 2
    # On a logarithmic axis bars cannot be stacked: what was turned away stands behind, what was let in before it.
    axes.bar(middle[every > 0], every[every > 0], width * 0.92, bottom=0.5, color=TWO, linewidth=0)
    axes.bar(middle[good > 0], good[good > 0], width * 0.92, bottom=0.5, color=ONE, linewidth=0)
    axes.set_yscale("log")
    axes.set_ylim(0.5, max(most, 10) * 4.0)
    axes.yaxis.set_major_locator(FixedLocator([10.0**power for power in range(5) if 10**power <= most * 2]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if len(cell.attempts):
        text = f"{plain(rate(cell.peak))} at the peak, {len(cell.attempts):,} in all"
        axes.annotate(text, (1.0, 1.0), xycoords="axes fraction", xytext=(0, 1), textcoords="offset points", color=MUTED,
                      fontsize=SMALL - 0.5, ha="right", va="bottom")  # fmt: skip


def _queue(axes: Axes, cell: CellFigures, deepest: int) -> None:
    pulses = cell.cell.pulses[cell.cell.pulses["queue"].notna()]
    if len(pulses):
        axes.fill_between(pulses["t"], pulses["queue"], step="post", color=THREE, linewidth=0)
    axes.set_ylim(0.0, max(deepest, 4) * 1.15)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=2, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _marks(back: Axes, herd: Axes, cell: CellFigures) -> None:
    """What happened besides: the generator's own pauses, and clients that fetched the state anew."""
    asked, pauses = cell.cell.resyncs["t"].to_numpy(dtype=float), cell.cell.pauses
    for at, _ in pauses:
        for axes in (back, herd):
            axes.axvline(at, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    if pauses:
        text = "GC" if len(pauses) == 1 else f"GC ×{len(pauses)}"
        back.annotate(text, (pauses[0][0], 0.45), xycoords=("data", "axes fraction"), xytext=(2, 0), textcoords="offset points",
                      color=MUTED, fontsize=SMALL - 0.5)  # fmt: skip
    if len(asked):
        back.plot(asked, np.full(len(asked), 5.0), linestyle="none", marker="|", markersize=6, color=INK, markeredgewidth=1.0)
        right = asked.mean() > 0.5 * back.get_xlim()[1]
        last = asked.max() if right else asked.min()
        back.annotate(f"state fetched anew ×{len(asked)}", (last, 5.0), xytext=(0, 6), textcoords="offset points", color=INK,
                      fontsize=SMALL - 0.5, ha="right" if right else "left", va="bottom")  # fmt: skip


def _round_width(about: float) -> float:
    """1, 2 or 5 times a power of ten, at least `about`."""
    power = 10.0 ** math.floor(math.log10(about))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= about * 0.999)


def _trouble(cell: CellFigures) -> bool:
    return cell.given_up > 0 and cell.cell.healed is not None


def _fate(cell: CellFigures) -> str:
    """What became of this crowd, in a few words."""
    if cell.cell.healed is None and cell.given_up < cell.cell.clients:
        return f"{cell.cell.clients - cell.given_up:,} of {cell.cell.clients:,} still connected"
    if cell.cell.healed is None and len(cell.attempts):
        return f"given up after {plain(words.time(float(cell.attempts.max())))}"
    if not cell.given_up:
        return f"all back after {plain(words.time(cell.to_back[-1]))}" + (f", {cell.leaked:,} sockets leaked" if cell.leaked else "")
    lost = f"{cell.given_up:,} of {cell.cell.clients:,} never back"
    return f"{lost}, {cell.leaked:,} sockets leaked" if cell.leaked else lost


_COLUMNS = (
    "client",
    *(f"{share:.0%} back" for share in SHARES),
    *(f"{share:.0%}, perfect server" for share in SHARES),
    "sockets opened",
    "a second at the peak",
    "turned away after",
    "leaked",
    "never back",
    "of them by own rule",
    "server cores",
    "accept queue",
    "state fetched anew",
    "slowest of these",
    "garbage collections of the generator",
)


def _row(cell: CellFigures) -> tuple[str, ...]:
    return (
        TITLES.get(cell.cell.model, cell.cell.model),
        *(words.time(at) for at in cell.to_back),
        *(words.time(at) for at in cell.foretold_to_back),
        words.count(len(cell.attempts)),
        rate(cell.peak),
        words.count(sum(cell.refusals.values())),
        words.count(cell.leaked),
        words.count(cell.given_up),
        words.count(min(cell.given_up, cell.foretold_given_up)),
        words.MISSING if cell.cpu is None else f"{cell.cpu:.2f}",
        words.count(cell.queue),
        words.count(len(cell.cell.resyncs)),
        words.time(worst(cell.cell.resyncs["seconds"])),
        words.count(len(cell.cell.pauses)),
    )


def _says(cells: Sequence[CellFigures]) -> str:
    text = "; ".join(f"{TITLES.get(cell.cell.model, cell.cell.model)}: {_fate(cell)}" for cell in cells)
    return f"{text[:1].upper()}{text[1:]}.{_also(cells)}"


def _also(cells: Sequence[CellFigures]) -> str:
    """The marks in sentences."""
    resyncs = pd.concat([cell.cell.resyncs for cell in cells])
    pauses = [pause for cell in cells for _, pause in cell.cell.pauses]
    text = ""
    if len(resyncs):
        failed = int((resyncs["ok"] == 0.0).sum())
        text = f" {words.count(len(resyncs))} clients fetched the state anew when they were back, the slowest in "
        text += f"{words.time(worst(resyncs['seconds']))}{f'; {words.count(failed)} of them in vain' if failed else ''}."
    if pauses:
        times = "once, for" if len(pauses) == 1 else f"{words.count(len(pauses))} times, at most for"
        text += f" Garbage collection (GC) of the generator stopped it {times} {words.time(max(pauses))}."
    return text
