"""What a run's records say so far: series by the second, totals, and the benchmarks as they stand.

Pure: records in, a view out; time comes with the records. The sums of all workers' records of one second are one point, so a master
shows what a single process shows. Memory is bounded: the oldest seconds go, the totals stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from harness.load.reconnect.plan import SHAPE
from harness.load.web.asked import asked, beside, figures
from harness.load.web.second import Row, Second
from harness.load.web.standing import Standing, Totals, standings
from harness.load.web.waves import Wave, Waves
from harness.measure.histogram import Histogram
from harness.thresholds import Thresholds
from schemas import Contract

__all__ = ["Live", "Phase", "View"]

Phase = Literal["waiting", "connecting", "casting", "draining", "away", "coming back", "settled", "ended"]

_KEPT = 900  # seconds of series
_LATE = 5  # seconds for which a worker's record of a second may come after another's
_CASTS = 20_000  # votes whose broadcast is still to come, at most
_COLUMNS = ("deliveries", "broadcasts", "lost", "open", "p50", "p99", "max", "stamped_p99", "spread_p99", "lag_p99", "slip_p99",
            "host_cpu", "rss")  # fmt: skip
_EVENTS = 100
_FINDINGS = 20
_PHASES: Mapping[str, Phase] = {
    "ramp_started": "connecting",
    "cast_started": "casting",
    "measure_started": "casting",
    "cast_ended": "draining",
    "struck": "away",
    "healed": "coming back",
    "settled": "settled",
}
_QUIET = frozenset({*_PHASES, "ramp_done", "drained", "measure_ended"})


@dataclass(frozen=True, slots=True)
class View:
    """What the page shows. Times are seconds since the run's start, latencies milliseconds, memory bytes; `went`: how far a study is."""

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
    went: str
    waves: tuple[Wave, ...]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Live:
    """One run as far as its records were seen. `thresholds`: by which it is judged beside the contract, or in its place."""

    def __init__(self, contract: Contract, thresholds: Thresholds | None = None) -> None:
        self._contract, self._thresholds = contract, thresholds
        self._header: dict[str, Any] = {}
        self._rows: dict[int, Row] = {}
        self._recent: dict[int, Second] = {}
        self._events: list[tuple[float, str, str]] = []
        self._findings: list[tuple[str, int, str]] = []
        self._phase: Phase = "waiting"
        self._until: float | None = None
        self._started = self._now = 0.0
        self._reason: str | None = None
        self._totals = Totals()
        self._called: dict[int, float] = {}
        self._waves: Waves | None = None

    # -- what comes in

    def see(self, record: Mapping[str, Any]) -> None:
        """One record, as it goes into the journal. Kinds that say nothing here are passed over."""
        handle = getattr(self, f"_see_{record.get('kind')}", None)
        t = record.get("t")
        if isinstance(t, int | float):  # some records are columns, with a time a row
            self._now = max(self._now, float(t))
        if handle is not None:
            handle(record)
        if self._waves is not None:
            self._waves.see(record)

    def _see_header(self, record: Mapping[str, Any]) -> None:
        self._header = dict(record)
        self._started = self._now = float(record["started"])
        if record["scenario"] == SHAPE.name:
            scale = float(record["parameters"].get("time_scale", 1.0))
            self._waves = Waves(record.get("cells"), self._contract.benchmark.reconnect_latest * scale)

    def _see_cell(self, _record: Mapping[str, Any]) -> None:
        self._phase = "connecting"

    def _see_casts(self, record: Mapping[str, Any]) -> None:
        self._called.update(zip(record["n"], record["called"], strict=True))
        for old in list(self._called)[: max(0, len(self._called) - _CASTS)]:
            del self._called[old]

    def _see_event(self, record: Mapping[str, Any]) -> None:
        name, detail = str(record["name"]), record.get("detail") or {}
        self._phase = _PHASES.get(name, self._phase)
        if name == "cast_started":
            self._until = float(detail["steady_until"])
            self._totals.steady = (float(detail["steady_from"]), float(detail["steady_until"]))
        if name not in _QUIET:
            text = str(detail.get("text") or detail.get("reason") or "")
            if "pause" in detail:
                text = f"the generator's own, {1e3 * float(detail['pause']):.0f} ms"
            self._events = [*self._events, (float(record["t"]) - self._started, name, text)][-_EVENTS:]

    def _see_footer(self, record: Mapping[str, Any]) -> None:
        self._phase, self._reason, self._until = "ended", str(record["reason"]), None
        self._now = max(self._now, float(record["ended"]))

    def _see_second(self, record: Mapping[str, Any]) -> None:
        key, totals = int(record["t"]), self._totals
        row, second = self._row(key), self._recent.setdefault(key, Second())
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
        self._time(record)

    def _time(self, record: Mapping[str, Any]) -> None:
        """Into the seconds that are still open; what was settled long after it came is not drawn."""
        touched = set()
        for n, stamped, first, last in zip(record["n"], record["stamped"], record["first"], record["last"], strict=True):
            called = self._called.pop(n, None)
            if first is None or first < self._now - _LATE:
                continue
            second = self._recent.setdefault(int(first), Second())
            touched.add(int(first))
            if called is not None and stamped is not None:
                second.stamped.append(stamped - called)
            second.arrived(n, first, last)
        for key in touched:
            self._row(key).update(self._recent[key].timing())

    def _see_closed(self, record: Mapping[str, Any]) -> None:
        self._totals.closes += 1

    def _see_unmatched(self, record: Mapping[str, Any]) -> None:
        self._totals.unmatched += record["frames"]

    def _see_target(self, record: Mapping[str, Any]) -> None:
        self._row(int(record["t"]))["rss"] = record["rss"]

    def _see_finding(self, record: Mapping[str, Any]) -> None:
        self._findings = [*self._findings, (str(record["what"]), int(record["total"]), str(record["detail"]))][-_FINDINGS:]

    def _row(self, key: int) -> Row:
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
            standings=self._standings(),
            events=tuple(self._events),
            findings=tuple(self._findings),
            went=self._waves.went if self._waves is not None else "",
            waves=self._waves.waves() if self._waves is not None else (),
        )

    def _standings(self) -> tuple[Standing, ...]:
        if not self._header:
            return ()
        waves, own = self._waves, self._thresholds
        by_contract = standings(self._totals, self._contract, self._header) if waves is None else waves.standings()
        return by_contract if own is None else (*asked(own, figures(self._totals) if waves is None else {}), *beside(own, by_contract))

    def _series(self) -> dict[str, list[float | None]]:
        keys = [key for key in sorted(self._rows) if "open" in self._rows[key]]  # others hold the target's memory alone
        columns = {name: [self._rows[key].get(name) for key in keys] for name in _COLUMNS}
        return {"t": [max(0.0, key - self._started) for key in keys], **columns}
