"""What one process saw, as journal records: sums of each interval, settled broadcasts, and what went wrong, by name.

The station tells it what happened; the member takes the records away. The format of the journal is written here, once, for the load side.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.load.digest import Invalid
from harness.measure.health import HealthSampler
from harness.measure.histogram import Histogram
from harness.measure.ledger import Finding, Settled
from harness.net.fleet import Closed
from harness.net.reads import Batch

__all__ = ["Deliveries", "Evidence", "Latency"]

_NAMED = 50  # viewers named in one finding
_FINDINGS = 200  # findings named in one run; the sums of `broadcasts` go on
_REASON = 120


@dataclass(slots=True)
class Latency:
    """Latencies as they come; a second's worth added at once would hold the reading up. Sums in ms."""

    histogram: Histogram = field(default_factory=Histogram)
    total: float = 0.0
    least: float = math.inf
    most: float = 0.0

    def add(self, ns: np.ndarray) -> None:
        if len(ns):
            self.histogram.record(ns / 1e3)
            self.total += float(ns.sum()) / 1e6
            self.least, self.most = min(self.least, float(ns.min()) / 1e6), max(self.most, float(ns.max()) / 1e6)


@dataclass(frozen=True, slots=True)
class Deliveries:
    """What Locust's own statistics are fed with: of the deliveries since the last tick how many by message type, their latencies where
    they have one, and the bytes of all."""

    latency: Mapping[str, Latency]
    counts: Mapping[str, int]
    bytes: int


@dataclass(slots=True)
class _Interval:
    """Sums since the last `second`; `slips` in us, `latency` by message type, `broken` by message number."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("opened", "refused", "closed"), 0))
    frames: int = 0
    bytes: int = 0
    reads: int = 0
    shared: int = 0
    parsed: int = 0
    invalid: int = 0
    unmatched: int = 0
    types: dict[str, int] = field(default_factory=dict)
    latency: dict[str, Latency] = field(default_factory=dict)
    slips: list[float] = field(default_factory=list)
    lag: Histogram = field(default_factory=Histogram)
    broken: dict[int, tuple[Invalid, set[int]]] = field(default_factory=dict)


class Evidence:
    """The records of process number `worker`."""

    def __init__(self, worker: int) -> None:
        self._worker = worker
        self._records: list[dict[str, Any]] = []
        self._interval = _Interval()
        self._named = 0
        self._handshakes: list[tuple[int, float, float, float, bool]] = []
        self._health = HealthSampler(time.monotonic())
        self.opened = self.refused = self.frames = self.unmatched = 0
        self.by_type = False  # whether the latency of each message type is written too

    def record(self, kind: str, **values: Any) -> None:
        """Write a record of any kind; its worker is filled in."""
        self._records.append({"kind": kind, "worker": self._worker, **values})

    def viewer(self, slot: int) -> str:
        """The name of a slot's viewer."""
        return f"w{self._worker}-{slot}"

    def take(self) -> list[dict[str, Any]]:
        """Records since the last call, in order."""
        records, self._records = self._records, []
        return records

    # -- sockets and casts

    def on_opened(self) -> None:
        self.opened += 1
        self._interval.counts["opened"] += 1

    def on_refused(self) -> None:
        self.refused += 1
        self._interval.counts["refused"] += 1

    def on_closed(self, end: Closed) -> None:
        """The end of a socket; one that we ended ourselves is only counted."""
        self._interval.counts["closed"] += 1
        if end.by == "server":
            reason = end.reason[:_REASON]
            self.record("closed", t=end.at / 1e9, viewer=self.viewer(end.slot), code=end.code, reason=reason, by=end.by)

    def on_cast(self, slip: float) -> None:
        """A vote was cast, or a connection begun, `slip` microseconds after it was due."""
        self._interval.slips.append(slip)

    def on_handshake(self, step: int, due: float, began: float, done: float, opened: bool) -> None:
        """A connection of a scenario that studies them: planned, begun and done or refused (seconds since the epoch)."""
        self._handshakes.append((step, due, began, done, opened))

    # -- deliveries

    def on_batch(
        self, batch: Batch, latency: Mapping[str, np.ndarray], types: Mapping[str, int], *, invalid: int, unmatched: int
    ) -> None:  # fmt: skip
        """What one fold read; `latency` in ns, of the steady phase, by message type."""
        interval = self._interval
        interval.frames += len(batch.message)
        interval.bytes += batch.bytes
        interval.reads += batch.reads
        interval.shared += batch.shared
        interval.parsed += batch.parsed
        interval.invalid += invalid
        interval.unmatched += unmatched
        for name, values in latency.items():
            interval.latency.setdefault(name, Latency()).add(values)
        interval.lag.record(batch.lag / 1e3)
        for name, count in types.items():
            interval.types[name] = interval.types.get(name, 0) + count

    def on_broken(self, found: Sequence[Invalid], batch: Batch) -> None:
        """Payloads that break the schema, and the slots on which they arrive in this interval."""
        for invalid in found:
            self._interval.broken.setdefault(invalid.message, (invalid, set()))
        for message, (_, slots) in self._interval.broken.items():
            slots.update(batch.slot[batch.message == message].tolist())

    def name_broken(self) -> None:
        """Write down the broken payloads; to be called before messages are numbered anew."""
        for invalid, slots in self._interval.broken.values():
            self._finding("invalid", None, sorted(slots), len(slots), f"{invalid.text}: {invalid.example}")
        self._interval.broken.clear()

    def on_violation(self, slot: int, text: str) -> None:
        """A socket whose framing broke."""
        self._interval.invalid += 1
        self._finding("invalid", None, [slot], 1, text)

    def on_settled(self, settled: Sequence[Settled], findings: Sequence[Finding]) -> None:
        """Closed books of broadcasts."""
        carried = [row for row in settled if row.into is not None]
        if carried:
            self.record("coalesced", n=[row.n for row in carried], into=[row.into for row in carried])
        rows = [row for row in settled if row.into is None]
        if rows:
            seconds = {key: [_seconds(getattr(row, key)) for row in rows] for key in ("stamped", "first", "last")}
            counts = ["n", "expected", "delivered", "lost", "duplicated", "reordered", "misdirected"]
            counts += ["carried"] if any(row.carried for row in rows) else []
            self.record("broadcasts", **{key: [getattr(row, key) for row in rows] for key in counts}, **seconds)
        for finding in findings:
            self._finding(finding.what, finding.n, finding.slots, finding.total, "")

    def _finding(self, what: str, n: int | None, slots: Sequence[int], total: int, detail: str) -> None:
        self._named += 1
        if self._named <= _FINDINGS:
            viewers = [self.viewer(slot) for slot in slots[:_NAMED]]
            self.record("finding", t=time.time(), what=what, n=n, viewers=viewers, total=total, detail=detail)

    # -- the interval

    def second(self, *, open_now: int, stamped: bool, stall: float, unmatched_example: str) -> Deliveries:
        """Close the interval: write its record, and return what Locust is to be told."""
        self.name_broken()
        if self._handshakes:
            columns = zip(*self._handshakes, strict=True)
            self.record("handshakes", **dict(zip(("step", "due", "began", "done", "opened"), map(list, columns), strict=True)))
            self._handshakes.clear()
        interval, self._interval = self._interval, _Interval()
        health, now = self._health.sample(time.monotonic()), time.time()
        self.frames += interval.frames
        self.unmatched += interval.unmatched
        if interval.unmatched:
            self.record("unmatched", t=now, frames=interval.unmatched, example=unmatched_example)
        typed = {name: each.histogram for name, each in interval.latency.items()}
        by_type = {"latency_types": {name: each.encode() for name, each in typed.items()}} if self.by_type else {}
        self.record(
            "second",
            t=now,
            open=open_now,
            **interval.counts,
            frames=interval.frames,
            bytes=interval.bytes,
            reads=interval.reads,
            shared_reads=interval.shared,
            parsed=interval.parsed,
            stamped=stamped,
            types=interval.types,
            invalid=interval.invalid,
            latency=_together(list(typed.values())).encode(),
            **by_type,
            lag=interval.lag.encode(),
            slip=_histogram(np.array(interval.slips, np.float64)).encode(),
            cpu=health.cpu,
            host_cpu=health.host_cpu,
            loop_stall=stall,
        )
        return Deliveries(interval.latency, interval.types, interval.bytes)


def _histogram(microseconds: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.record(microseconds)
    return histogram


def _together(histograms: Sequence[Histogram]) -> Histogram:
    if len(histograms) == 1:
        return histograms[0]
    total = Histogram()
    for histogram in histograms:
        total.merge(histogram)
    return total


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9
