"""What was delivered and what went wrong, second by second."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, MaxNLocator

from harness import words
from harness.analysis.run import Run
from harness.report.figures.drawing import SMALL, Drawing, End, chunks, drawn, end_labels, label, seconds_of, thousands
from harness.report.figures.times import Times, lines
from harness.report.svg import LIMIT, MUTED, ONE

__all__ = ["deliveries", "deliveries_by_second"]

_WRONG = ("lost", "duplicated", "reordered", "misdirected")


def deliveries_by_second(run: Run, times: Times) -> pd.DataFrame:
    """Columns at (whole seconds of the axis, by when the vote was due), broadcasts, expected, delivered, lost, duplicated, reordered,
    misdirected."""
    rows = run.broadcasts.dropna(subset=["due"])
    slot = np.floor(rows["due"] - times.origin)
    names = ["expected", "delivered", *_WRONG]
    frame = rows[names].groupby(slot).sum()
    frame.insert(0, "broadcasts", rows.groupby(slot).size())
    frame.index.name = "at"
    return frame.reset_index().astype(float)


def deliveries(line: pd.DataFrame, times: Times) -> Drawing | None:
    """Deliveries owed and made a second, and under them those that were lost, doubled, out of order or astray."""
    if not len(line):
        return None
    wrong = line[list(_WRONG)].sum()
    bad = bool(wrong.sum())
    figure, (rate, faults) = lines(times, [1.7, 0.9 if bad else 0.3], gap=0.24)
    edges = np.append(line["at"].to_numpy(dtype=float), float(line["at"].iloc[-1]) + 1.0)
    made, owed = line["delivered"].to_numpy(dtype=float), line["expected"].to_numpy(dtype=float)
    rate.stairs(made, edges, fill=True, color=ONE, alpha=0.18)
    rate.stairs(made, edges, color=ONE, linewidth=1.5, baseline=None)
    rate.stairs(owed, edges, color=MUTED, linewidth=1.0, linestyle=(0, (1, 1.5)), baseline=None)
    rate.set_ylim(0.0, max(float(owed.max()), float(made.max()), 1.0) * 1.18)
    rate.yaxis.set_major_locator(MaxNLocator(nbins=4))
    rate.yaxis.set_major_formatter(FuncFormatter(thousands))
    end_labels(rate, float(edges[-1]), [End(made[-1], "made a second", ONE), End(owed[-1], "owed", MUTED)])
    if bad:
        count = line[list(_WRONG)].sum(axis=1).to_numpy(dtype=float)
        faults.bar(
            line["at"].to_numpy(dtype=float) + 0.5, count, width=max(1.0, 0.004 * (times.last - times.first)), color=LIMIT, linewidth=0
        )
        faults.set_ylim(0.0, max(float(count.max()), 1.0) * 1.2)
        faults.yaxis.set_major_locator(MaxNLocator(nbins=2, integer=True))
        faults.yaxis.set_major_formatter(FuncFormatter(thousands))
        label(faults, float(edges[-1]), float(count.max()) / 2, "gone wrong", LIMIT)
    else:
        faults.set_ylim(0.0, 1.0)
        faults.set_yticks([])
        faults.annotate("none lost, doubled, out of order or astray", (float(edges[0]), 0.5), color=MUTED, fontsize=SMALL, va="center",
                        xytext=(4, 0), textcoords="offset points")  # fmt: skip
    told = {"lost": "lost", "duplicated": "doubled", "reordered": "out of order", "misdirected": "astray"}
    what = ", ".join(f"{words.count(float(wrong[name]))} {text}" for name, text in told.items() if wrong[name])
    says = (
        f"{words.count(float(made.sum()))} of {words.count(float(owed.sum()))} deliveries were made, "
        f"at most {words.count(float(made.max()))} in a second; {what or 'nothing went wrong'}. {times.context}"
    )
    rows = [
        (seconds_of(chunk), *(words.count(float(chunk[name].sum())) for name in ("broadcasts", "expected", "delivered", *_WRONG)))
        for chunk in chunks(line)
    ]
    columns = ("second due", "broadcasts", "owed", "made", "lost", "doubled", "out of order", "astray")
    return drawn(figure, "deliveries", "Deliveries over time", says, columns, rows, wide=True)
