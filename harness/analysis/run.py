"""One run folder as frames: the journal's columns, the evidence of several workers merged, and the phases of the run in time.

Nothing is judged here. Times are seconds since the epoch, latencies inside histograms microseconds. What a worker alone saw of a
broadcast is summed over the workers by the number of its cast.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.merging import Subject, every_so_many, merged_votes, same_subject
from harness.journal import JournalData, read_journal
from harness.measure.histogram import Histogram
from schemas import load_contract

__all__ = ["Event", "Loss", "Parameters", "Phases", "Run", "load_run", "merged"]

Record = Mapping[str, Any]

_CASTS = ("n", "due", "called", "answered", "status", "count")
_COUNTS = ("expected", "delivered", "lost", "duplicated", "reordered", "misdirected", "carried")
_BROADCASTS = ("n", "stamped", "first", "last", *_COUNTS)
_SECONDS = (
    *("t", "worker", "open", "opened", "refused", "closed", "frames", "bytes", "reads", "shared_reads", "parsed", "invalid"),
    *("latency", "lag", "slip", "cpu", "host_cpu", "loop_stall"),
)
_TARGET = ("t", "rss", "pss", "cpu", "descriptors", "threads")
_CLOSED = ("t", "worker", "viewer", "code", "reason", "by")
_VOTES = frozenset({"add", "remove"})
_TEXT = frozenset({"latency", "lag", "slip", "viewer", "reason", "by"})


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the run was asked to do. Rates per second, lengths in seconds; 0 where the journal does not say."""

    viewers: int
    rate: float
    duration: float
    warmup: float


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened once, in the journal's own words."""

    t: float
    worker: int
    name: str
    detail: Record


@dataclass(frozen=True, slots=True)
class Loss:
    """The target went away while it was being measured: when, and why as far as the run could tell."""

    t: float
    reason: str


@dataclass(frozen=True, slots=True)
class Phases:
    """The run in time; None where a phase was not reached. `last` is the latest moment of which the journal knows. `numbers`: the first
    cast of the steady phase and how many casts the plan has, where they do not follow from a rate."""

    started: float
    ramp_started: float | None
    ramp_done: float | None
    cast_started: float | None
    epoch: float | None
    steady_from: float | None
    steady_until: float | None
    cast_ended: float | None
    drained: float | None
    stopped: float | None
    loss: Loss | None
    last: float
    numbers: tuple[int, int] | None = None

    @property
    def fleet_until(self) -> float:
        """Until when the fleet was meant to stay connected. What closes later closes because the run is over."""
        done = self.cast_ended if self.drained is None else self.drained
        ends = [t for t in (done, self.stopped) if t is not None]
        return min(ends) if ends else self.last

    @property
    def judged_until(self) -> float | None:
        """The end of that part of the steady phase for which there is evidence; None if it never began."""
        if self.steady_from is None or self.steady_until is None:
            return None
        ends = [self.steady_until, self.last]
        ends += [t for t in (self.stopped, self.loss.t if self.loss else None) if t is not None]
        return max(self.steady_from, min(ends))

    @property
    def steady_seconds(self) -> float:
        """How long the steady phase really lasted."""
        end = self.judged_until
        return 0.0 if end is None or self.steady_from is None else end - self.steady_from

    @property
    def steady_complete(self) -> bool:
        """Did the steady phase last as long as it was planned to?"""
        return self.steady_until is not None and self.judged_until == self.steady_until


@dataclass(frozen=True, slots=True)
class Run:
    """The evidence of one run.

    `casts` and `broadcasts` have one row a cast, with `due` and `steady` in both; `coalesced` maps a cast to the one whose
    broadcast carried it; `seconds`, `closed` and `target` are the records of those kinds in order of time.
    """

    folder: Path
    header: Record
    footer: Record | None
    torn: bool
    problems: tuple[str, ...]
    parameters: Parameters
    phases: Phases
    events: tuple[Event, ...]
    seconds: pd.DataFrame
    casts: pd.DataFrame
    broadcasts: pd.DataFrame
    coalesced: Mapping[int, int]
    closed: pd.DataFrame
    target: pd.DataFrame
    findings: tuple[Record, ...]
    unmatched: tuple[Record, ...]
    types: Mapping[str, int]
    journal: JournalData

    def records(self, kind: str) -> Sequence[Record]:
        """The records of a kind that only the run's own scenario writes, in the order written."""
        return self.journal.all(kind)

    @property
    def casts_votes(self) -> bool:
        """Whether the scenario casts votes at all."""
        return bool((self.header.get("parameters") or {}).get("rate", 1.0))

    @property
    def sockets(self) -> int:
        """How many connections the run was to open: as many as there are viewers, unless it says otherwise."""
        return next((int(event.detail["planned"]) for event in self.named("sockets")), self.parameters.viewers)

    @property
    def workers(self) -> int:
        return int(self.header.get("workers", 1))

    def named(self, *names: str) -> tuple[Event, ...]:
        """The events of these names, in order of time."""
        return tuple(event for event in self.events if event.name in names)

    def steady_seconds(self) -> pd.DataFrame:
        """The `second` records of the judged part of the steady phase (a record speaks of the second that ends at its t)."""
        start, end = self.phases.steady_from, self.phases.judged_until
        if start is None or end is None:
            return self.seconds.iloc[:0]
        return self.seconds[(self.seconds["t"] > start) & (self.seconds["t"] <= end + 0.5)]

    def steady_casts(self) -> pd.DataFrame:
        """The casts that were due in the judged part of the steady phase."""
        end = self.phases.judged_until
        return self.casts[self.casts["steady"] & (self.casts["due"] < (math.inf if end is None else end))]


def load_run(folder: Path) -> Run:
    """Read a run folder. Raises HarnessError where there is no journal to read."""
    return _run(Path(folder), read_journal(Path(folder)))


def merged(encoded: Iterable[object]) -> Histogram:
    """One histogram (microseconds) of many encoded ones; entries that are not text are skipped."""
    total = Histogram()
    for text in encoded:
        if isinstance(text, str) and text:
            total.merge(Histogram.decode(text))
    return total


def _run(folder: Path, data: JournalData) -> Run:
    header = data.header
    parameters = _parameters(header)
    events = tuple(_event(record) for record in sorted(_of(data, "event"), key=lambda record: float(record["t"])))
    seconds = _rows(_of(data, "second"), _SECONDS).sort_values("t", kind="stable", ignore_index=True)
    closed = _rows(_of(data, "closed"), _CLOSED).sort_values("t", kind="stable", ignore_index=True)
    target = _rows(_of(data, "target"), _TARGET).sort_values("t", kind="stable", ignore_index=True)
    casts = _columns(_of(data, "casts"), _CASTS).drop_duplicates("n").sort_values("n", ignore_index=True)
    broadcasts = _merge_workers(_columns(_of(data, "broadcasts"), _BROADCASTS))
    merged = _merged(header, casts, broadcasts, _subjects(data))
    carried = broadcasts["n"].astype(int).isin(merged)
    broadcasts.loc[carried, "expected"] = broadcasts.loc[carried, "delivered"]
    broadcasts.loc[carried, "lost"] = 0
    moments = [float(header["started"]), *(event.t for event in events)]
    moments += [float(frame["t"].max()) for frame in (seconds, closed, target) if len(frame)]
    if data.footer is not None:
        moments.append(float(data.footer["ended"]))
    phases = _phases(float(header["started"]), events, data.footer, max(moments))
    types: dict[str, int] = {}
    for record in _of(data, "second"):
        for name, count in (record.get("types") or {}).items():
            types[str(name)] = types.get(str(name), 0) + int(count)
    return Run(
        folder=folder,
        header=header,
        footer=data.footer,
        torn=data.torn,
        problems=data.problems,
        parameters=parameters,
        phases=phases,
        events=events,
        seconds=seconds,
        casts=_mark_steady(casts, phases, parameters),
        broadcasts=_mark_steady(_with_due(broadcasts, casts, phases, parameters), phases, parameters),
        coalesced={
            int(n): int(into)
            for record in _of(data, "coalesced")
            for n, into in zip(record.get("n", ()), record.get("into", ()), strict=False)
        }
        | merged,
        closed=closed,
        target=target,
        findings=tuple(each for each in _of(data, "finding") if each.get("what") != "lost" or each.get("n") not in merged),
        unmatched=tuple(_of(data, "unmatched")),
        types=types,
        journal=data,
    )


def _subjects(data: JournalData) -> dict[int, Subject] | None:
    """What each cast is about, where that does not follow from its number."""
    found: dict[int, Subject] = {}
    for record in _of(data, "casts"):
        if "about" not in record:
            return None
        columns = zip(record["n"], record["what"], record["about"], strict=False)
        found |= {int(n): (str(what) in _VOTES, int(about)) for n, what, about in columns}
    return found or None


def _merged(
    header: Record, casts: pd.DataFrame, broadcasts: pd.DataFrame, subjects: Mapping[int, Subject] | None
) -> dict[int, int]:  # fmt: skip
    asked, limits = header.get("parameters") or {}, header.get("limits") or {}
    window = float(limits.get("batch_window") or load_contract().limits.batch_window)
    features, viewers = int(asked.get("features") or 0), int(asked.get("viewers") or 0)
    near = every_so_many(features) if subjects is None else same_subject(subjects)
    return merged_votes(casts, broadcasts, near=near, window=window, viewers=viewers)


def _of(data: JournalData, kind: str) -> Sequence[Record]:
    return data.all(kind)


def _parameters(header: Record) -> Parameters:
    given = header.get("parameters") or {}
    return Parameters(
        viewers=int(given.get("viewers") or 0),
        rate=float(given.get("rate") or 0.0),
        duration=float(given.get("duration") or 0.0),
        warmup=float(given.get("warmup") or 0.0),
    )


def _event(record: Record) -> Event:
    return Event(float(record["t"]), int(record.get("worker", 0)), str(record["name"]), record.get("detail") or {})


def _phases(started: float, events: Sequence[Event], footer: Record | None, last: float) -> Phases:
    first: dict[str, Event] = {}
    for event in events:
        first.setdefault(event.name, event)

    def at(name: str) -> float | None:
        return first[name].t if name in first else None

    def planned(key: str) -> float | None:
        value = first["cast_started"].detail.get(key) if "cast_started" in first else None
        return None if value is None else float(value)

    stopped = at("stopped")
    if stopped is None and footer is not None and footer.get("reason") == "stopped":
        stopped = float(footer["ended"])
    # Several workers tell the same story: the ramp and the casts are over with the last of them, but the first to have
    # drained may close its sockets.
    ended = [event.t for event in events if event.name == "cast_ended"]
    ramped = [event.t for event in events if event.name == "ramp_done"]
    return Phases(
        started=started,
        ramp_started=at("ramp_started"),
        ramp_done=max(ramped) if ramped else None,
        cast_started=at("cast_started"),
        epoch=planned("start"),
        # A scenario that casts nothing is measured from one event to the other.
        steady_from=planned("steady_from") or at("measure_started"),
        steady_until=planned("steady_until") or at("measure_ended"),
        cast_ended=max(ended) if ended else at("measure_ended"),
        drained=at("drained"),
        stopped=stopped,
        loss=_loss(first, footer, at("drained"), stopped),
        last=last,
        numbers=_numbered(first.get("cast_started")),
    )


def _numbered(started: Event | None) -> tuple[int, int] | None:
    detail = started.detail if started is not None else {}
    return (int(detail["first"]), int(detail["planned"])) if "first" in detail and "planned" in detail else None


def _loss(first: Mapping[str, Event], footer: Record | None, drained: float | None, stopped: float | None) -> Loss | None:
    """A target that goes after the drain, or after the user stopped the run, was sent home and is not lost."""
    over = min((t for t in (drained, stopped) if t is not None), default=math.inf)
    told = first.get("target_lost")
    if told is not None and told.t < over:
        return Loss(told.t, str(told.detail.get("reason") or "no reason was recorded"))
    exited = first.get("target_exited")
    if exited is not None and exited.t < over:
        return Loss(exited.t, str(exited.detail.get("text") or f"its process ended with status {exited.detail.get('status')}"))
    if footer is not None and footer.get("reason") == "target_lost":
        return Loss(float(footer["ended"]), "no reason was recorded")
    return None


def _rows(records: Sequence[Record], columns: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame({name: [record.get(name) for record in records] for name in columns}, dtype=object)
    return _numbers(frame, [name for name in columns if name not in _TEXT])


def _columns(records: Sequence[Record], columns: Sequence[str]) -> pd.DataFrame:
    lists: dict[str, list[Any]] = {name: [] for name in columns}
    for record in records:
        length = len(record.get("n", ()))
        for name in columns:
            given = list(record.get(name, ()))[:length]
            lists[name] += given + [None] * (length - len(given))
    return _numbers(pd.DataFrame(lists, dtype=object), columns)


def _numbers(frame: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    for name in columns:
        frame[name] = pd.to_numeric(frame[name], errors="coerce").astype(float)
    return frame


def _merge_workers(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a broadcast: counts are summed, the first arrival is the earliest, the last the latest."""
    how: dict[str, str] = {"stamped": "min", "first": "min", "last": "max", **dict.fromkeys(_COUNTS, "sum")}
    return frame.groupby("n", as_index=False, sort=True).agg(how)


def _with_due(broadcasts: pd.DataFrame, casts: pd.DataFrame, phases: Phases, parameters: Parameters) -> pd.DataFrame:
    """The plan's time of each broadcast: from its cast, or (its worker's casts are gone) from its number."""
    joined = broadcasts.merge(casts[["n", "due", "called"]], on="n", how="left")
    if phases.epoch is not None and parameters.rate > 0 and phases.numbers is None:
        joined["due"] = joined["due"].fillna(phases.epoch + joined["n"] / parameters.rate)
    return joined


def _mark_steady(frame: pd.DataFrame, phases: Phases, parameters: Parameters) -> pd.DataFrame:
    """A cast is steady by its number in the plan, which no rounding of times can shift."""
    first = math.ceil(round(parameters.warmup * parameters.rate, 6)) if phases.numbers is None else phases.numbers[0]
    steady = np.zeros(len(frame), dtype=bool) if phases.steady_from is None else (frame["n"] >= first).to_numpy()
    return frame.assign(steady=steady)
