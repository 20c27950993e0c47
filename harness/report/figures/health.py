"""The instrument itself, second by second, each figure beside what it may be at most."""

from __future__ import annotations

import pandas as pd
from matplotlib.ticker import FuncFormatter, MaxNLocator

from harness import words
from harness.analysis.validity import Fitness
from harness.report.figures.drawing import SMALL, Drawing, chunks, drawn, label, limit_line, plain, seconds_of, worst
from harness.report.figures.times import Times, lines
from harness.report.svg import MUTED, ONE

__all__ = ["health"]


def health(line: pd.DataFrame, times: Times, fitness: Fitness) -> Drawing | None:
    """Slip, lag, stalls and the host's CPU."""
    if not len(line):
        return None
    at = line["at"].to_numpy(dtype=float)
    panels = (
        ("slip", "slip", 1e3, fitness.slip_max, "worst"),
        ("lag", "lag", 1e3, fitness.lag_p99, "p99"),
        ("stall", "stall", 1e3, fitness.stall, "longest"),
        ("host_cpu", "host CPU", 1e2, fitness.busy_above, ""),
    )
    figure, rows = lines(times, [0.72] * len(panels), gap=0.2)
    above = []
    for axes, (column, name, scale, allowed, kind) in zip(rows, panels, strict=True):
        values = line[column].to_numpy(dtype=float) * scale
        axes.plot(at + 0.5, values, color=ONE, linewidth=1.4, marker="o" if len(at) < 3 else None, markersize=3)
        top = max(worst(line[column]) or 0.0, 1e-6) * scale
        text = f"allowed {allowed * scale:g}{' ms' if scale == 1e3 else ' %'}"
        near = column == "host_cpu" or top > 0.4 * allowed * scale
        axes.set_ylim(0.0, max(top, allowed * scale if near else 0.0) * 1.35)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=2))
        unit = " ms" if scale == 1e3 else " %"
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _, unit=unit: f"{value:g}{unit}"))
        if near:
            limit_line(axes, allowed * scale, text)
        else:
            above.append(name)
            axes.annotate(f"{text}: far above", (0.0, 1.0), xycoords="axes fraction", xytext=(3, -1), textcoords="offset points",
                          va="top", color=MUTED, fontsize=SMALL)  # fmt: skip
        label(axes, float(at[-1]) + 1.0, float(values[-1]) if values[-1] == values[-1] else top / 2, f"{name}, {kind}".rstrip(", "), ONE)
    tops = {name: words.time(worst(line[name])) for name in ("slip", "lag", "stall")}
    says = (
        f"Worst schedule slip {tops['slip']}, worst lag {tops['lag']}, longest stall {tops['stall']}, host CPU at most "
        f"{words.percent(worst(line['host_cpu']))}. {times.context}"
    )
    table = [
        (seconds_of(c), *(words.time(worst(c[name])) for name in ("slip", "lag", "stall")), words.percent(worst(c["host_cpu"])))
        for c in chunks(line)
    ]
    columns = ("second", "slip, worst", "lag, p99", "stall", "host CPU")
    return drawn(figure, "health", "The generator by second", plain(says), columns, table, wide=True)
