"""A day in the life on the axis of time: how many are there, who comes and goes, and what happens."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, MaxNLocator

from harness import words
from harness.analysis.mixed import MixedStudy
from harness.report.figures.drawing import Drawing, End, chunks, drawn, end_labels, label, seconds_of, thousands
from harness.report.figures.times import Times, lines
from harness.report.svg import MUTED, ONE, THREE, TWO

__all__ = ["day"]

_BARS = 120  # at most, over the width
_TYPES = ("VOTE_UPDATE", "FEATURE_UPDATE", "FEATURE_CREATED", "FEATURE_DELETED")


def day(study: MixedStudy, steps: pd.DataFrame, deeds: pd.DataFrame, there: pd.DataFrame, times: Times) -> Drawing | None:
    """`steps` and `deeds` by the second (see `harness.analysis.mixed`); `there`: columns t (since 1970), open."""
    if not len(steps) or not len(deeds):
        return None
    figure, axes = lines(times, [1.2, 1.1, 1.1], gap=0.3)
    there = there[there["t"] - times.origin <= deeds["at"].iloc[-1] + 1.0]  # afterwards everybody is sent home
    at = there["t"].to_numpy(dtype=float) - times.origin
    axes[0].plot(at, there["open"], color=ONE, linewidth=1.7)
    looking = steps["looking"].cumsum()
    axes[0].plot(steps["at"] + 0.5, looking, color=TWO, linewidth=1.3)
    axes[0].set_ylim(0.0, max(float(there["open"].max()), 1.0) * 1.2)
    end_labels(
        axes[0],
        float(at[-1]),
        [End(float(there["open"].iloc[-1]), "are there", ONE), End(float(looking.iloc[-1]), "in a detail", TWO)],
    )
    width = max(1, int(np.ceil((steps["at"].iloc[-1] - steps["at"].iloc[0] + 1) / _BARS)))
    bars = steps.groupby(np.floor(steps["at"] / width) * width)[["come", "refused", "go", "vanish"]].sum()
    middle = bars.index.to_numpy(dtype=float) + width / 2
    axes[1].bar(middle, bars["come"], width=0.86 * width, color=ONE, linewidth=0)
    axes[1].bar(middle, -(bars["go"] + bars["vanish"]), width=0.86 * width, color=TWO, linewidth=0)
    axes[1].axhline(0.0, color=MUTED, linewidth=0.8)
    # Those who are there when the day begins come all at once: beside them nobody else would be seen.
    later = bars["come"][bars.index >= 0.0]
    most = max(float(later.max()) if len(later) else 0.0, float((bars["go"] + bars["vanish"]).max()), 1.0) * 1.25
    axes[1].set_ylim(-most, most)
    label(axes[1], float(middle[-1]), most * 0.5, "come", ONE, dx=12)
    label(axes[1], float(middle[-1]), -most * 0.5, "leave", TWO, dx=12)
    votes, edits = deeds["VOTE_UPDATE"], deeds[list(_TYPES[1:])].sum(axis=1)
    axes[2].bar(deeds["at"] + 0.5, votes, width=0.86, color=ONE, linewidth=0)
    edited = deeds["at"][edits > 0] + 0.5
    axes[2].plot(edited, np.zeros(len(edited)), marker="^", markersize=5, linestyle="none", color=THREE, clip_on=False, zorder=4)
    axes[2].set_ylim(0.0, max(float(votes.max()), 1.0) * 1.2)
    label(axes[2], float(deeds["at"].iloc[-1]) + 1.0, float(votes.max()) * 0.75, "votes a second", ONE)
    label(axes[2], float(deeds["at"].iloc[-1]) + 1.0, float(votes.max()) * 0.1, "edits", THREE)
    for each in axes:
        each.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
        each.yaxis.set_major_formatter(FuncFormatter(lambda value, _: thousands(abs(value))))
    seen = study.visits
    says = (
        f"{words.count(seen.come)} came, {words.count(seen.go + seen.vanish)} left in mid-day, {words.count(seen.vanish)} of them without "
        f"a word; they looked at single features {words.count(seen.view)} times. {times.context}"
    )
    table = deeds.merge(steps, on="at", how="outer").sort_values("at").fillna(0.0)
    columns = ("come", "go", "vanish", "view", "back", *_TYPES)
    rows = [(seconds_of(chunk), *(words.count(float(chunk[name].sum())) for name in columns)) for chunk in chunks(table)]
    titles = ("second", "came", "left", "vanished", "into a detail", "back", "votes", "updates", "created", "deleted")
    return drawn(figure, "day", "The day", says, titles, rows, wide=True)
