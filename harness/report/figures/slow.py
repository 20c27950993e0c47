"""What a server does when some stop reading: the others' latency and its own memory over time, and when each was cut off."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, MaxNLocator

from harness import words
from harness.analysis.slow import SlowStudy
from harness.report.figures.drawing import Drawing, End, chunks, drawn, end_labels, label, limit_line, log_time, seconds_of, worst
from harness.report.figures.times import Times, lines
from harness.report.svg import LIMIT, MUTED, ONE, TWO
from schemas import load_contract

__all__ = ["slow_readers"]


def slow_readers(study: SlowStudy, line: pd.DataFrame, target: pd.DataFrame, times: Times) -> Drawing | None:
    """`line`: the headline latency by second (columns at, p50, p99; at: since the first vote was due). `target`: the process's readings."""
    if study.slow is None or not len(line):
        return None
    read = target.dropna(subset=["t", "rss"])
    figure, axes = lines(times, [1.5, 1.1, 0.8] if len(read) else [1.5, 0.8], gap=0.3)
    at = line["at"].to_numpy(dtype=float)
    limit = load_contract().benchmark.latency
    for name, colour in (("p99", ONE), ("p50", TWO)):
        axes[0].plot(at + 0.5, line[name], color=colour, linewidth=1.6)
    log_time(axes[0], line[["p50", "p99"]].to_numpy(dtype=float), limit)
    limit_line(axes[0], limit, f"limit {limit:g} s", dy=-3.5)
    end_labels(
        axes[0], float(at[-1]) + 0.5, [End(float(line["p99"].iloc[-1]), "others' p99", ONE), End(float(line["p50"].iloc[-1]), "p50", TWO)]
    )
    table = pd.DataFrame({"at": at, "p50": line["p50"], "p99": line["p99"], "rss": np.nan})
    if len(read):
        t, rss = read["t"].to_numpy(dtype=float) - times.origin, read["rss"].to_numpy(dtype=float)
        table["rss"] = np.interp(table["at"], t, rss)
        axes[1].plot(t, rss / 1e6, color=TWO, linewidth=1.6)
        axes[1].yaxis.set_major_locator(MaxNLocator(nbins=3))
        axes[1].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g} MB"))
        if study.memory is not None:
            allowed = (study.memory.before + study.backlog * len(study.readers)) / 1e6
            if allowed < rss.max() / 1e6 * 1.6:
                axes[1].axhline(allowed, color=LIMIT, linewidth=1.0, linestyle=(0, (4, 3)))
        label(axes[1], float(t[-1]), float(rss[-1]) / 1e6, "memory", TWO)
    _still_there(axes[-1], study, times)
    rows = [
        (seconds_of(chunk), words.time(worst(chunk["p50"])), words.time(worst(chunk["p99"])), words.size(worst(chunk["rss"])))
        for chunk in chunks(table)
    ]
    cut = sum(reader.cut for reader in study.readers)
    says = f"{cut} of the {len(study.readers)} that stopped reading were cut off. {times.context}"
    columns = ("second", "others' p50", "others' p99", "target's memory")
    return drawn(figure, "slow-readers", "The others, the memory, and those who do not read", says, columns, rows, wide=True)


def _still_there(axes, study: SlowStudy, times: Times) -> None:  # type: ignore[no-untyped-def]
    """How many of each model are still connected, over time."""
    begin, end = (study.calm[1] if study.calm else study.slow[0]) - times.origin, study.slow[1] - times.origin  # type: ignore[index]
    ends = []
    for model, colour in (("answering", ONE), ("silent", MUTED)):
        readers = study.of(model)
        gone = sorted(begin + reader.after for reader in readers if reader.cut)
        count = [len(readers) - index for index in range(len(gone) + 1)]
        axes.step([begin, *gone, end], [*count, count[-1]], where="post", color=colour, linewidth=1.8)
        ends.append(End(float(count[-1]), f"{model}, still there", colour))
    axes.set_ylim(0, max(len(study.readers) / 2, 1) * 1.3)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    end_labels(axes, end, ends)
