"""The figures of slow_readers: what the others noticed, what the server's memory did, and what became of each that stopped reading.

Everything is compared with the stretch of the same run before they stopped. Times are seconds, sizes bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analysis.latency import JUDGED
from harness.analysis.run import Record, Run, merged
from harness.analysis.shift import Shift, shift_of
from harness.measure.histogram import Histogram
from schemas import load_contract

__all__ = ["Growth", "SlowReader", "SlowStudy", "latency_by_second", "slow_study"]

_SETTLING = 1.0  # seconds after they stop that belong to neither stretch


@dataclass(frozen=True, slots=True)
class SlowReader:
    """One of them. after: from its last read until it was cut off, or until it was last seen (`cut` False); known: whether that moment was
    seen, or only that it had come when reading began again. written: what it should have been sent meanwhile; queued: how much of
    that the server's kernel held at most, where it could be looked at."""

    viewer: str
    model: str
    cut: bool
    known: bool
    after: float
    how: str
    code: int
    written: int
    queued: int

    @property
    def held(self) -> int:
        """What was left to the server itself to keep."""
        return max(0, self.written - self.queued)


@dataclass(frozen=True, slots=True)
class Growth:
    """The server's resident memory: its level before, the highest second after, and how far the seconds before lay apart (two standard
    deviations)."""

    before: float
    highest: float
    noise: float
    samples: int

    @property
    def grown(self) -> float:
        return self.highest - self.before


@dataclass(frozen=True, slots=True)
class SlowStudy:
    """calm and slow: (from, until) of the two stretches, None when nobody came to stop reading. stream: bytes a second to each socket."""

    calm: tuple[float, float] | None
    slow: tuple[float, float] | None
    p50: Shift | None
    p99: Shift | None
    memory: Growth | None
    readers: tuple[SlowReader, ...]
    stream: float
    silent_limit: float
    backlog: int

    def of(self, model: str) -> tuple[SlowReader, ...]:
        """The readers of one model."""
        return tuple(reader for reader in self.readers if reader.model == model)


def slow_study(run: Run) -> SlowStudy:
    """Read the two stretches and the fate of each."""
    contract = load_contract().limits
    limits, asked = run.header.get("limits") or {}, run.header.get("parameters") or {}
    silent = float(limits.get("heartbeat_interval", contract.heartbeat_interval)) + float(
        limits.get("heartbeat_timeout", contract.heartbeat_timeout)
    )
    stopped = next((event.t for event in run.named("readers_stopped")), None)
    start, end = run.phases.steady_from, run.phases.judged_until
    calm = slow = None
    if stopped is not None and start is not None and end is not None and end > stopped > start:
        calm, slow = (start, stopped), (min(stopped + _SETTLING, end), end)
    sent = run.seconds[["bytes", "frames"]].sum()
    frame = float(sent["bytes"] / sent["frames"]) if sent["frames"] else 0.0
    first = np.sort(run.broadcasts["first"].dropna().to_numpy(dtype=float))
    readers = tuple(_reader(record, first, frame, end) for record in run.records("slow"))
    before, after = _seconds(run, calm), _seconds(run, slow)
    return SlowStudy(
        calm=calm,
        slow=slow,
        p50=shift_of(before, after, 0.5),
        p99=shift_of(before, after, JUDGED),
        memory=_memory(run, calm, slow),
        readers=readers,
        stream=frame * int(np.count_nonzero(first > slow[0])) / (slow[1] - slow[0]) if slow and slow[1] > slow[0] else 0.0,
        silent_limit=silent,
        backlog=int(asked.get("backlog") or contract.backlog_bytes),
    )


def _reader(record: Record, first: np.ndarray, frame: float, end: float | None) -> SlowReader:
    stopped, cut = float(record["stopped"]), record.get("cut")
    until = float(cut) if cut is not None else (end or stopped)
    known = cut is not None and (end is None or float(cut) <= end + _SETTLING)
    if not known and end is not None:
        until = end
    written = frame * int(np.count_nonzero((first > stopped) & (first <= until)))
    return SlowReader(
        viewer=str(record.get("viewer", "")),
        model=str(record.get("model", "")),
        cut=cut is not None,
        known=known,
        after=max(0.0, until - stopped),
        how=str(record.get("how") or ""),
        code=int(record.get("code") or 0),
        written=round(written),
        queued=int(record.get("queued") or 0),
    )


def _seconds(run: Run, stretch: tuple[float, float] | None) -> list[Histogram]:
    """One histogram of the headline latency for each whole second of a stretch, of all workers together."""
    if stretch is None:
        return []
    inside = run.seconds[(run.seconds["t"] - 1.0 >= stretch[0]) & (run.seconds["t"] <= stretch[1] + 0.5)]
    return [merged(group["latency"]) for _, group in inside.groupby(np.floor(inside["t"]))]


def latency_by_second(run: Run) -> pd.DataFrame:
    """The headline in seconds by second of arrival: columns at (seconds since the first vote was due), n, p50, p99."""
    rows = []
    if run.phases.epoch is not None:
        # A record speaks of the second that ends at its t; workers end theirs at different instants of the same second.
        for at, group in run.seconds.groupby(np.floor(run.seconds["t"] - run.phases.epoch - 0.5)):
            histogram = merged(group["latency"])
            p50, p99 = histogram.quantiles((0.5, JUDGED))
            if p50 is not None and p99 is not None:
                rows.append((float(str(at)), histogram.count, p50 / 1e6, p99 / 1e6))
    return pd.DataFrame(rows, columns=["at", "n", "p50", "p99"], dtype=float)


def _memory(run: Run, calm: tuple[float, float] | None, slow: tuple[float, float] | None) -> Growth | None:
    readings = run.target.dropna(subset=["t", "rss"])
    if calm is None or slow is None or not len(readings):
        return None
    seconds = readings.groupby(np.floor(readings["t"]))["rss"].median()
    at = seconds.index.to_numpy(dtype=float)
    values = seconds.to_numpy(dtype=float)
    # The later half: the server has settled by then.
    before = values[(at >= (calm[0] + calm[1]) / 2) & (at + 1.0 <= calm[1])]
    after = values[(at >= slow[0]) & (at <= slow[1])]
    if not len(before) or not len(after):
        return None
    noise = 2.0 * float(before.std(ddof=1)) if len(before) > 1 else 0.0
    return Growth(float(before.mean()), float(after.max()), noise, len(before) + len(after))
