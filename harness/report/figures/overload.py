"""More votes than may be broadcast: what reaches a socket each second, how long votes wait, and the target's memory."""

from __future__ import annotations

import pandas as pd
from matplotlib.ticker import FuncFormatter, MaxNLocator

from harness import words
from harness.analysis.overload import OverloadStudy
from harness.report.figures.drawing import Drawing, End, chunks, drawn, end_labels, label, limit_line, log_time, seconds_of, worst
from harness.report.figures.times import Times, lines
from harness.report.svg import MUTED, ONE, TWO
from schemas import load_contract

__all__ = ["overload"]


def overload(
    study: OverloadStudy, frames: pd.DataFrame, line: pd.DataFrame, target: pd.DataFrame, rate: float, times: Times
) -> Drawing | None:
    """`frames`: columns t, frames (a second to a socket); `line`: at, p50, p99; `target`: t, rss."""
    if not len(frames) or not len(line):
        return None
    read = target.dropna(subset=["t", "rss"])
    figure, axes = lines(times, [1.3, 1.3, 0.8] if len(read) else [1.3, 1.3], gap=0.28)
    at = frames["t"].to_numpy(dtype=float) - times.origin
    axes[0].plot(at, frames["frames"], color=ONE, linewidth=1.6)
    axes[0].set_ylim(0.0, max(float(frames["frames"].max()), study.cap) * 1.35)
    axes[0].yaxis.set_major_locator(MaxNLocator(nbins=4))
    limit_line(axes[0], study.cap, f"cap {study.cap:g}/s; {rate:g} votes/s asked", colour=MUTED)
    label(axes[0], float(at[-1]), float(frames["frames"].iloc[-1]), "frames/s", ONE)
    second = line["at"].to_numpy(dtype=float) + 0.5
    limit = load_contract().benchmark.latency
    for name, colour in (("p99", ONE), ("p50", TWO)):
        axes[1].plot(second, line[name], color=colour, linewidth=1.6)
    log_time(axes[1], line[["p50", "p99"]].to_numpy(dtype=float), limit)
    limit_line(axes[1], limit, f"limit {limit:g} s", dy=-3.5)
    end_labels(axes[1], float(second[-1]), [End(float(line[n].iloc[-1]), n, c) for n, c in (("p99", ONE), ("p50", TWO))])
    if len(read):
        t, rss = read["t"].to_numpy(dtype=float) - times.origin, read["rss"].to_numpy(dtype=float) / 1e6
        axes[2].plot(t, rss, color=TWO, linewidth=1.6)
        axes[2].yaxis.set_major_locator(MaxNLocator(nbins=3))
        axes[2].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g} MB"))
        label(axes[2], float(t[-1]), float(rss[-1]), "memory", TWO)
    rows = [
        (seconds_of(c), words.time(worst(c["p50"])), words.time(worst(c["p99"])), words.count(float(c["n"].sum()))) for c in chunks(line)
    ]
    says = f"{words.count(round(study.mean))} frames a second reached each socket. {times.context}" if study.mean else times.context
    columns = ("second", "p50", "p99", "deliveries timed")
    return drawn(figure, "overload", "Frames, waiting and memory in overload", says, columns, rows, wide=True)
