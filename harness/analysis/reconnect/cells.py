"""The journal of a reconnect study as frames, one set a cell. Nothing is judged here; times are seconds since the blow.

A cell whose clients never met the blow (a hook is missing, the stage could not be set) is kept with the reason and without a moment.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.journal import JournalData, read_journal

__all__ = ["CellRecord", "StudyRecord", "load_study"]

Told = tuple[float, str, Mapping[str, Any]]
"""An event: when, its name, its detail."""

_ATTEMPTS = ("socket", "client", "planned", "started", "ended", "outcome", "status")
_LOSSES = ("socket", "client", "t", "code", "by")
_PULSES = ("t", "listening", "queue", "server_cpu", "holding", "sockets")
_RESYNCS = ("client", "t", "seconds", "ok")
_GENERATOR = ("t", "cpu", "host_cpu", "descriptors", "stall")
_COLUMNS = {"attempts": _ATTEMPTS, "losses": _LOSSES, "pulses": _PULSES, "resyncs": _RESYNCS}
_TEXT = frozenset({"outcome", "by"})


@dataclass(frozen=True, slots=True)
class CellRecord:
    """One combination. outage: as asked, None where nothing comes back; why: empty, or why there is nothing to judge.

    struck: seconds since the epoch; healed, until: seconds since the blow (None: the server never came back; the cell did not end).
    complete: every client was back or had given up when the cell ended. resyncs: fetches of the state by clients that were back (columns
    client, t, seconds, ok). pauses: (when, how long) the generator's own garbage collector stopped it.
    """

    number: int
    cause: str
    outage: float | None
    model: str
    clients: int
    why: str
    hook_missing: bool
    struck: float | None
    healed: float | None
    until: float | None
    complete: bool
    attempts: pd.DataFrame
    losses: pd.DataFrame
    pulses: pd.DataFrame
    resyncs: pd.DataFrame
    pauses: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """The whole study. `events` are (t, name, detail) in order; `generator` is the instrument's own pulse."""

    folder: Path
    header: Mapping[str, Any]
    footer: Mapping[str, Any] | None
    problems: tuple[str, ...]
    cells: tuple[CellRecord, ...]
    events: tuple[Told, ...]
    generator: pd.DataFrame

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.header.get("parameters") or {}

    @property
    def scale(self) -> float:
        """By which the durations of server and clients are shortened."""
        return float(self.parameters.get("time_scale") or 1.0)

    @property
    def clients(self) -> int:
        return int(self.parameters.get("clients") or 0)

    @property
    def seed(self) -> int:
        return int(self.header.get("seed") or 0)

    @property
    def started(self) -> float:
        return float(self.header["started"])

    @property
    def last(self) -> float:
        moments = [self.started, *(t for t, _, _ in self.events)]
        return max([*moments, float(self.footer["ended"])] if self.footer else moments)

    def named(self, name: str) -> list[Mapping[str, Any]]:
        """The details of the events of this name."""
        return [detail for _, each, detail in self.events if each == name]


def load_study(folder: Path) -> StudyRecord:
    """Read a run folder. Raises HarnessError where there is no journal to read."""
    data = read_journal(Path(folder))
    events = tuple(
        (float(record["t"]), str(record["name"]), record.get("detail") or {})
        for record in sorted(data.all("event"), key=lambda record: float(record["t"]))
    )
    rows = {kind: _by_cell(data, kind, columns) for kind, columns in _COLUMNS.items()}
    cells = [_cell(record, events, rows) for record in data.all("cell")] + [_skipped(record) for record in data.all("skipped")]
    generator = {name: [record.get(name) for record in data.all("generator")] for name in _GENERATOR}
    return StudyRecord(
        folder=Path(folder),
        header=data.header,
        footer=data.footer,
        problems=data.problems,
        cells=tuple(sorted(cells, key=lambda cell: cell.number)),
        events=events,
        generator=_numbers(pd.DataFrame(generator, dtype=object)),
    )


def _by_cell(data: JournalData, kind: str, columns: tuple[str, ...]) -> dict[int, pd.DataFrame]:
    lists: dict[int, dict[str, list[Any]]] = {}
    for record in data.records(kind):
        held = lists.setdefault(int(record["cell"]), {name: [] for name in columns})
        for name in columns:
            held[name] += record[name]
    return {number: _numbers(pd.DataFrame(held, dtype=object)) for number, held in lists.items()}


def _numbers(frame: pd.DataFrame) -> pd.DataFrame:
    for name in frame.columns:
        if name not in _TEXT:
            frame[name] = pd.to_numeric(frame[name], errors="coerce").astype(float)
    return frame


def _pauses(events: Iterable[Told], struck: float, settled: Told | None) -> tuple[tuple[float, float], ...]:
    last = math.inf if settled is None else settled[0]
    found = [(t - struck, detail.get("pause")) for t, name, detail in events if name == "gc" and struck <= t <= last]
    return tuple((at, float(pause)) for at, pause in found if isinstance(pause, int | float))


def _empty(columns: tuple[str, ...]) -> pd.DataFrame:
    return _numbers(pd.DataFrame({name: [] for name in columns}, dtype=object))


def _cell(
    record: Mapping[str, Any],
    events: tuple[Told, ...],
    rows: Mapping[str, Mapping[int, pd.DataFrame]],
) -> CellRecord:  # fmt: skip
    number = int(record["number"])
    told = {event[1]: event for event in events if event[2].get("cell") == number}
    struck = float(told["struck"][2]["at"]) if "struck" in told else None
    healed = told["healed"][2].get("at") if "healed" in told else None
    settled = told.get("settled")
    why = "" if struck is not None and settled is not None else "the study ended before this cell was over"
    if "unready" in told:
        detail = told["unready"][2]
        why = str(detail.get("why") or f"only {detail.get('holding')} of {detail.get('clients')} clients could connect before the blow")
    origin = struck or 0.0
    return CellRecord(
        number=number,
        cause=str(record["cause"]),
        outage=None if record.get("outage") is None else float(record["outage"]),
        model=str(record["model"]),
        clients=int(record["clients"]),
        why=why,
        hook_missing=False,
        struck=struck,
        healed=None if healed is None else float(healed) - origin,
        until=None if settled is None else settled[0] - origin,
        complete=bool(settled and settled[2].get("complete")),
        attempts=_since(rows["attempts"].get(number, _empty(_ATTEMPTS)), origin, ("planned", "started", "ended")),
        losses=_since(rows["losses"].get(number, _empty(_LOSSES)), origin, ("t",)),
        pulses=_since(rows["pulses"].get(number, _empty(_PULSES)), origin, ("t",)),
        resyncs=_since(rows["resyncs"].get(number, _empty(_RESYNCS)), origin, ("t",)),
        pauses=() if struck is None else _pauses(events, struck, settled),
    )


def _since(frame: pd.DataFrame, origin: float, columns: tuple[str, ...]) -> pd.DataFrame:
    moved = frame.assign(**{name: np.asarray(frame[name]) - origin for name in columns})
    return moved.sort_values(columns[-1], kind="stable", ignore_index=True)


def _skipped(record: Mapping[str, Any]) -> CellRecord:
    outage = record.get("outage")
    return CellRecord(
        number=int(record["number"]),
        cause=str(record["cause"]),
        outage=None if outage is None else float(outage),
        model=str(record["model"]),
        clients=0,
        why=str(record["reason"]),
        hook_missing=True,
        struck=None,
        healed=None,
        until=None,
        complete=False,
        attempts=_empty(_ATTEMPTS),
        losses=_empty(_LOSSES),
        pulses=_empty(_PULSES),
        resyncs=_empty(_RESYNCS),
        pauses=(),
    )
