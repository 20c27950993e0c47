"""The evidence of a run as files that any notebook reads: Parquet of every broadcast, cast and second, and HdrHistogram logs.

Times are seconds since the epoch, histograms microseconds. Nothing here is an analysis; whoever wants to redo ours begins from these.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from harness.analysis.run import Run, load_run
from harness.measure.histogram import Histogram

__all__ = ["FOLDER", "export"]

FOLDER = "data"
"""Its place in a run folder."""

_HISTOGRAMS = ("latency", "lag", "slip")
_BROADCASTS = ("n", "due", "called", "stamped", "first", "last", "expected", "delivered", "lost", "duplicated", "reordered", "misdirected")
_CASTS = ("n", "due", "called", "answered", "status", "count")


def export(folder: Path) -> tuple[Path, ...]:
    """Write the data of a run folder into its folder `data`, and answer the files. Raises HarnessError where there is no journal."""
    run = load_run(folder)
    place = Path(folder) / FOLDER
    place.mkdir(exist_ok=True)
    tables = {
        "broadcasts": _of_casts(run, run.broadcasts, _BROADCASTS),
        "casts": _of_casts(run, run.casts, _CASTS),
        "seconds": _seconds(run),
        "target": run.target,
        "closed": run.closed.astype({"viewer": "string", "reason": "string", "by": "string"}),
    }
    written = []
    for name, table in tables.items():
        path = place / f"{name}.parquet"
        table.to_parquet(path, index=False)
        written.append(path)
    for name in _HISTOGRAMS:
        path = place / f"{name}.hlog"
        path.write_text("".join(_log(run, name)), "ascii")
        written.append(path)
    return tuple(written)


def _of_casts(run: Run, frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """With `n` as a number, and `into`: the cast whose broadcast carried this one, where there is one."""
    numbers = frame["n"].astype("int64")
    into = pd.array([run.coalesced.get(int(n)) for n in numbers], dtype="Int64")
    return frame[[*columns, "steady"]].assign(n=numbers, into=into)


def _seconds(run: Run) -> pd.DataFrame:
    """The histograms of each second as their quantiles; whole they are in the logs."""
    table = run.seconds.drop(columns=list(_HISTOGRAMS))
    for name in _HISTOGRAMS:
        decoded = [_decoded(text) for text in run.seconds[name]]
        for quantile, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
            table[f"{name}_{quantile}_us"] = pd.array([histogram.quantile(share) for histogram in decoded], dtype="Float64")
        table[f"{name}_n"] = [histogram.count for histogram in decoded]
    return table


def _log(run: Run, name: str) -> Iterator[str]:
    """Lines of a HdrHistogram log, version 1.2: begin, length, maximum, payload."""
    yield f"#[Histogram log format version 1.2]\n#[{name} of run {run.header.get('run', '')}, microseconds]\n"
    yield '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
    for t, worker, text in zip(run.seconds["t"], run.seconds["worker"], run.seconds[name], strict=True):
        histogram = _decoded(text)
        if histogram.count:
            yield f"Tag=worker{int(worker)},{t - 1.0:.3f},1.000,{histogram.max or 0.0:.3f},{text}\n"


def _decoded(text: object) -> Histogram:
    return Histogram.decode(text) if isinstance(text, str) and text else Histogram()
