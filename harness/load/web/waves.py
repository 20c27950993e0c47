"""A reconnect study as far as it has come: for each cell who is connected and how many sockets were opened, by time since its blow.

Pure, and bounded whatever the study's length: a cell keeps a fixed number of steps, which grow wider as it goes on. Nothing is judged
here: whether a client that is late or gone is the server's doing, or its own rule's, is for the report to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.load.web.standing import Standing, State

__all__ = ["Wave", "Waves", "Went"]

Went = Literal["connecting", "away", "coming back", "over", "not tried"]
"""How far a cell has come: the stage is set, the server is gone, it is back, everybody is back or has given up; or it cannot be tried."""

_STEPS = 120
_FINEST = 0.1  # seconds
_OPENED = "opened"


class _Steps:
    """A value a step of time; twice as wide whenever there would be too many of them."""

    def __init__(self, fold: Callable[[float, float], float]) -> None:
        self._fold, self.width = fold, _FINEST
        self.values: dict[int, float] = {}

    def add(self, t: float, value: float) -> None:
        while t >= _STEPS * self.width:
            old, self.values = self.values, {}
            self.width *= 2
            for step in sorted(old):
                self._put(step // 2, old[step])
        self._put(int(t / self.width), value)

    def _put(self, step: int, value: float) -> None:
        self.values[step] = self._fold(self.values[step], value) if step in self.values else value

    def row(self) -> tuple[list[float], list[float]]:
        """Times of the steps' beginnings, and their values."""
        steps = sorted(self.values)
        return [step * self.width for step in steps], [self.values[step] for step in steps]


def _last(_: float, new: float) -> float:
    return new


def _sum(old: float, new: float) -> float:
    return old + new


@dataclass(slots=True)
class _Cell:
    """One combination. Times are seconds since the epoch, those of the steps since the blow."""

    name: str
    model: str
    clients: int
    went: Went = "connecting"
    why: str = ""
    struck: float | None = None
    healed: float | None = None
    holding: int = 0
    opened: int = 0
    refused: int = 0
    fell: bool = False
    full_since: float | None = None
    held: _Steps = field(default_factory=lambda: _Steps(_last))
    dialled: _Steps = field(default_factory=lambda: _Steps(_sum))
    queue: _Steps = field(default_factory=lambda: _Steps(max))


@dataclass(frozen=True, slots=True)
class Wave:
    """What the page shows of one cell. Times are seconds since the blow; rates are per second.

    back_after: when the last client was back, None while one is missing; refused: handshakes that failed after the server was back.
    """

    name: str
    model: str
    went: Went
    why: str
    clients: int
    holding: int
    opened: int
    refused: int
    healed: float | None
    back_after: float | None
    held: dict[str, list[float]]
    dialled: dict[str, list[float]]
    queue: dict[str, list[float]]


class Waves:
    """One study. `latest` is the contract's time to be back, at the study's own pace, in seconds."""

    def __init__(self, cells: int | None, latest: float) -> None:
        self._all, self._latest = cells, latest
        self._cells: dict[int, _Cell] = {}

    def see(self, record: Mapping[str, Any]) -> None:
        """One record, as it goes into the journal. Kinds that say nothing here are passed over."""
        kind, number = record.get("kind"), record.get("number", record.get("cell"))
        if kind in ("cell", "skipped"):
            self._cells[int(record["number"])] = _begun(record)
        elif kind == "event":
            detail = record.get("detail") or {}
            cell = self._cells.get(int(detail.get("cell", -1)))
            if cell is not None:
                _event(cell, str(record["name"]), detail)
        elif number in self._cells and kind == "pulses":
            _pulses(self._cells[int(number)], record)
        elif number in self._cells and kind == "attempts":
            _attempts(self._cells[int(number)], record)

    @property
    def went(self) -> str:
        """Which cell is being tried, in words."""
        if not self._cells:
            return ""
        cell = next(reversed(self._cells.values()))
        of = f" of {self._all}" if self._all else ""
        return f"cell {len(self._cells)}{of}: {cell.name}, {cell.model}, {cell.went}"

    def waves(self) -> tuple[Wave, ...]:
        """All cells, the one that is being tried last."""
        return tuple(_wave(cell) for cell in self._cells.values())

    def standings(self) -> tuple[Standing, ...]:
        """A line a client model, from the cells that are over and whose server came back; and the handshakes that failed after that."""
        over = [cell for cell in self._cells.values() if cell.went == "over" and cell.healed is not None]
        models = dict.fromkeys(cell.model for cell in self._cells.values())
        lines = [self._of_model(model, [cell for cell in over if cell.model == model]) for model in models]
        refused, dialled = sum(cell.refused for cell in over), sum(cell.opened for cell in over)
        state: State = "open" if not over else "told" if refused else "within"
        return (*lines, Standing("refused", "Handshakes refused after the server was back", f"{refused:,}", "0", "", dialled, state))

    def _of_model(self, model: str, cells: list[_Cell]) -> Standing:
        measured, margin = "nothing yet", ""
        state: State = "open"
        missing = sum(cell.clients - cell.holding for cell in cells)
        times = [back for cell in cells if (back := _back_after(cell)) is not None]
        if missing:
            measured, state = f"{missing:,} of {sum(cell.clients for cell in cells):,} not back", "told"
        elif times:
            measured, margin = f"{max(times):,.1f} s", f"{(self._latest - max(times)) / self._latest:+.0%}"
            state = "within" if max(times) <= self._latest else "told"
        name = f"Last client back after the blow, {model}"
        return Standing(f"back_{model}", name, measured, f"< {self._latest:g} s", margin, sum(cell.clients for cell in cells), state)


def _begun(record: Mapping[str, Any]) -> _Cell:
    outage = record.get("outage")
    cause = str(record["cause"])
    name = cause if outage is None else f"{cause} for {float(outage):g} s"
    if record["kind"] == "skipped":
        return _Cell(name, str(record["model"]), 0, went="not tried", why=str(record["reason"]))
    return _Cell(name, str(record["model"]), int(record["clients"]))


def _event(cell: _Cell, name: str, detail: Mapping[str, Any]) -> None:
    match name:
        case "struck":
            cell.went, cell.struck = "away", float(detail["at"])
        case "healed":
            cell.went = "coming back"
            cell.healed = None if detail.get("at") is None else float(detail["at"])
        case "settled":
            cell.went, cell.holding = "over", int(detail["holding"])
        case "unready":
            why = detail.get("why") or f"only {detail.get('holding')} of {detail.get('clients')} clients could connect"
            cell.went, cell.why = "not tried", str(why)


def _pulses(cell: _Cell, record: Mapping[str, Any]) -> None:
    for t, holding, queue in zip(record["t"], record["holding"], record["queue"], strict=True):
        cell.holding = int(holding)
        if cell.struck is None or t < cell.struck:
            continue
        since = t - cell.struck
        cell.held.add(since, holding)
        if queue is not None:
            cell.queue.add(since, queue)
        if holding < cell.clients:
            cell.fell, cell.full_since = True, None
        elif cell.full_since is None:
            cell.full_since = since


def _attempts(cell: _Cell, record: Mapping[str, Any]) -> None:
    for started, outcome in zip(record["started"], record["outcome"], strict=True):
        if cell.struck is None or started < cell.struck:
            continue
        cell.dialled.add(started - cell.struck, 1)
        cell.opened += 1
        cell.refused += outcome != _OPENED and cell.healed is not None and started >= cell.healed


def _back_after(cell: _Cell) -> float | None:
    return cell.full_since if cell.fell else None


def _wave(cell: _Cell) -> Wave:
    times, counts = cell.dialled.row()
    healed = None if cell.healed is None or cell.struck is None else cell.healed - cell.struck
    held, queue = cell.held.row(), cell.queue.row()
    return Wave(
        name=cell.name,
        model=cell.model,
        went=cell.went,
        why=cell.why,
        clients=cell.clients,
        holding=cell.holding,
        opened=cell.opened,
        refused=cell.refused,
        healed=healed,
        back_after=_back_after(cell),
        held={"t": held[0], "value": held[1]},
        dialled=_rates(times, counts, cell.dialled.width),
        queue={"t": queue[0], "value": queue[1]},
    )


def _rates(times: list[float], counts: list[float], width: float) -> dict[str, list[float]]:
    """Steps in which nobody dialled are zero, and are there: a line from wave to wave would be no truth."""
    by_step = {round(t / width): count / width for t, count in zip(times, counts, strict=True)}
    steps = range(max(by_step, default=-1) + 2)
    return {"t": [step * width for step in steps], "value": [by_step.get(step, 0.0) for step in steps]}
