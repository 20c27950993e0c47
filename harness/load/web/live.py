"""What a run's records say so far: series by the second, totals, and the benchmarks as they stand.

Pure: records in, a view out; time comes with the records. The sums of all workers' records of one second are one point, so a master
shows what a single process shows. Memory is bounded: the oldest seconds go, the totals stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from harness.load.web.standing import Standing, Totals, standings
from harness.measure.histogram import Histogram
from schemas import Contract

__all__ = ["Live", "Phase", "View"]

Phase = Literal["waiting", "connecting", "casting", "draining", "ended"]

_KEPT = 900  # seconds of series
_LATE = 5  # seconds for which a worker's record of a second may come after another's
_COLUMNS = ("deliveries", "broadcasts", "lost", "open", "p50", "p99", "max", "lag_p99", "slip_p99", "host_cpu", "rss")
_EVENTS = 100
_FINDINGS = 20
_PHASES: Mapping[str, Phase] = {
    "ramp_started": "connecting",
    "cast_started": "casting",
    "measure_started": "casting",
    "cast_ended": "draining",
}
_QUIET = frozenset({"ramp_started", "ramp_done", "cast_started", "cast_ended", "drained", "measure_started", "measure_ended"})


_Row = dict[str, float | None]
"""One second of all workers, in the units of the page."""


@dataclass(slots=True)
class _Second:
    """A second whose records still come; the percentiles are of its own deliveries."""

    open: dict[int, int] = field(default_factory=dict)
    latency: Histogram = field(default_factory=Histogram)
    lag: Histogram = field(default_factory=Histogram)
    slip: Histogram = field(default_factory=Histogram)

    def row(self) -> _Row:
        return {
            "open": sum(self.open.values()),
            "p50": _ms(self.latency, 0.5),
            "p99": _ms(self.latency, 0.99),
            "max": _ms(self.latency, 1.0),
            "lag_p99": _ms(self.lag, 0.99),
            "slip_p99": _ms(self.slip, 0.99),
        }


@dataclass(frozen=True, slots=True)
class View:
    """What the page shows. Times are seconds since the run's start, latencies milliseconds, memory bytes."""

    phase: Phase
    run: str
    scenario: str
    target: str
    elapsed: float
    remaining: float | None
    reason: str | None
    series: dict[str, list[float | None]]
    standings: tuple[Standing, ...]
    events: tuple[tuple[float, str, str], ...]
    findings: tuple[tuple[str, int, str], ...]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Live:
    """One run as far as its records were seen."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._header: dict[str, Any] = {}
        self._rows: dict[int, _Row] = {}
        self._recent: dict[int, _Second] = {}
        self._events: list[tuple[float, str, str]] = []
        self._findings: list[tuple[str, int, str]] = []
        self._phase: Phase = "waiting"
        self._until: float | None = None
        self._started = self._now = 0.0
        self._reason: str | None = None
        self._totals = Totals()

    # -- what comes in

    def see(self, record: Mapping[str, Any]) -> None:
        """One record, as it goes into the journal. Kinds that say nothing here are passed over."""
        handle = getattr(self, f"_see_{record.get('kind')}", None)
        self._now = max(self._now, float(record.get("t", self._now) or 0.0))
        if handle is not None:
            handle(record)

    def _see_header(self, record: Mapping[str, Any]) -> None:
        self._header = dict(record)
        self._started = self._now = float(record["started"])

    def _see_event(self, record: Mapping[str, Any]) -> None:
        name, detail = str(record["name"]), record.get("detail") or {}
        self._phase = _PHASES.get(name, self._phase)
        if name == "cast_started":
            self._until = float(detail["steady_until"])
            self._totals.steady = (float(detail["steady_from"]), float(detail["steady_until"]))
        if name not in _QUIET:
            text = str(detail.get("text") or detail.get("reason") or "")
            self._events = [*self._events, (float(record["t"]) - self._started, name, text)][-_EVENTS:]

    def _see_footer(self, record: Mapping[str, Any]) -> None:
        self._phase, self._reason, self._until = "ended", str(record["reason"]), None
        self._now = max(self._now, float(record["ended"]))

    def _see_second(self, record: Mapping[str, Any]) -> None:
        key, totals = int(record["t"]), self._totals
        row, second = self._row(key), self._recent.setdefault(key, _Second())
        row["deliveries"] = (row.get("deliveries") or 0) + record["frames"]
        row["host_cpu"] = 100 * record["host_cpu"] if record.get("host_cpu") is not None else None
        latency = Histogram.decode(record["latency"])
        second.open[record["worker"]] = totals.open[record["worker"]] = record["open"]
        second.latency.merge(latency)
        second.lag.merge(Histogram.decode(record["lag"]))
        second.slip.merge(Histogram.decode(record["slip"]))
        row.update(second.row())
        totals.latency.merge(latency)
        totals.frames += record["frames"]
        totals.invalid += record["invalid"]
        totals.refused += record["refused"]
        for old in [each for each in self._recent if each < key - _LATE]:
            del self._recent[old]  # its row stays; its histograms are large

    def _see_broadcasts(self, record: Mapping[str, Any]) -> None:
        totals = self._totals
        for key in ("expected", "delivered", "lost", "duplicated", "reordered", "misdirected"):
            setattr(totals, key, getattr(totals, key) + sum(record[key]))
        counts = record["worker"] == min(totals.open, default=0)  # each worker sees each broadcast: those of one are counted
        for first, lost in zip(record["first"], record["lost"], strict=True):
            if first is not None:
                row = self._row(int(first))
                row["broadcasts"] = (row.get("broadcasts") or 0) + counts
                row["lost"] = (row.get("lost") or 0) + lost

    def _see_closed(self, record: Mapping[str, Any]) -> None:
        self._totals.closes += 1

    def _see_unmatched(self, record: Mapping[str, Any]) -> None:
        self._totals.unmatched += record["frames"]

    def _see_target(self, record: Mapping[str, Any]) -> None:
        self._row(int(record["t"]))["rss"] = record["rss"]

    def _see_finding(self, record: Mapping[str, Any]) -> None:
        self._findings = [*self._findings, (str(record["what"]), int(record["total"]), str(record["detail"]))][-_FINDINGS:]

    def _row(self, key: int) -> _Row:
        if key not in self._rows:
            self._rows[key] = {}
            while len(self._rows) > _KEPT:
                del self._rows[min(self._rows)]
        return self._rows[key]

    # -- what goes out

    def view(self) -> View:
        """Everything that is known, for showing."""
        remaining = None if self._until is None else max(0.0, self._until - self._now)
        return View(
            phase=self._phase,
            run=str(self._header.get("run", "")),
            scenario=str(self._header.get("scenario", "")),
            target=str((self._header.get("target") or {}).get("ws_url", "")),
            elapsed=max(0.0, self._now - self._started),
            remaining=remaining,
            reason=self._reason,
            series=self._series(),
            standings=standings(self._totals, self._contract, self._header) if self._header else (),
            events=tuple(self._events),
            findings=tuple(self._findings),
        )

    def _series(self) -> dict[str, list[float | None]]:
        keys = [key for key in sorted(self._rows) if "open" in self._rows[key]]  # others hold the target's memory alone
        columns = {name: [self._rows[key].get(name) for key in keys] for name in _COLUMNS}
        return {"t": [max(0.0, key - self._started) for key in keys], **columns}


def _ms(histogram: Histogram, quantile: float) -> float | None:
    value = histogram.quantile(quantile)
    return None if value is None else value / 1e3
