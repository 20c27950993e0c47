"""Was the generator fit to play a thousand clients? Each reason against it says what to do about it, and none ever blames the target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.analysis.reconnect.cells import StudyRecord
from harness.analysis.reconnect.figures import BEHAVED, CellFigures, Lateness, rules_of
from harness.analysis.validity import Reason

__all__ = ["Bounds", "Evidence", "reasons_against"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How good the generator has to be, by the contract's first delay (`base`, seconds, as scaled).

    late_p99 base/4, late_max base: a socket that is opened a whole first delay too late falls into another wave. Held against the
             client models by which the target is judged.
    stall    base: for so long no client would notice that it lost its socket.
    own      one in a thousand of the sockets may fail for want of a descriptor or a port.
    clock_step base/4.
    """

    late_p99: float
    late_max: float
    stall: float
    own: float
    clock_step: float

    @classmethod
    def of(cls, base: float) -> Bounds:
        return cls(late_p99=base / 4, late_max=base, stall=base, own=0.001, clock_step=base / 4)

    def passed_by(self, late: Lateness) -> bool:
        """Whether so late a generator is out of bounds."""
        return late.p99 is not None and late.max is not None and (late.p99 > self.late_p99 or late.max > self.late_max)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is judged: the study, the figures of the cells that were struck, and the bounds of the instrument."""

    study: StudyRecord
    cells: Sequence[CellFigures]
    bounds: Bounds

    @classmethod
    def of(cls, study: StudyRecord, cells: Sequence[CellFigures]) -> Evidence:
        return cls(study, cells, Bounds.of(rules_of(study).reconnect_base))


def reasons_against(evidence: Evidence) -> tuple[Reason, ...]:
    """All reasons why this study judges nothing; empty for a VALID one."""
    return tuple(reason for reason in (check(evidence) for check in _CHECKS) if reason is not None)


def _cut_short(e: Evidence) -> Reason | None:
    if e.study.footer is None:
        what = "The journal has no footer: the study was cut short, and what it still had to write is missing."
        return Reason("cut_short", what, "Look for what ended it (killed, out of memory, disk full) and run again.")
    if e.study.footer.get("reason") == "stopped":
        return Reason("stopped", "The study was stopped by hand before its last cell.", "Let it run to its end, or ask for fewer cells.")
    return None


def _problem(e: Evidence) -> Reason | None:
    told = [str(detail.get("text") or "") for detail in e.study.named("problem")]
    if not told and (e.study.footer is None or e.study.footer.get("reason") != "problem"):
        return None
    why = next((text for text in told if text), "it did not say why")
    return Reason("generator_failed", f"The study could not go on: {why.rstrip('.')}.", "Remove that cause and run again.")


def _nothing(e: Evidence) -> Reason | None:
    asked = e.study.cells
    if e.cells or e.study.footer is None or (asked and all(cell.hook_missing for cell in asked)):
        return None
    unready = next((cell.why for cell in asked if cell.why), "no cell was begun")
    return Reason("nothing_measured", f"No cell could be measured: {unready}.", "See that the target lets all clients in, and run again.")


def _late(e: Evidence) -> Reason | None:
    # Nobody is judged by the sample class, which may ask for more sockets at once than one machine can open.
    judged = [figures for figures in e.cells if figures.cell.model in BEHAVED] or e.cells
    for figures in judged:
        late, bounds = figures.late, e.bounds
        if not bounds.passed_by(late):
            continue
        return Reason(
            "late",
            f"The generator opened sockets later than their clients wanted ({_name(figures)}): p99 {_ms(late.p99 or 0.0)} "
            f"(allowed {_ms(bounds.late_p99)}), at most {_ms(late.max or 0.0)} (allowed {_ms(bounds.late_max)}).",
            "Use fewer clients, give the generator more CPU, or run it and the target on different hosts.",
        )
    return None


def _own_limits(e: Evidence) -> Reason | None:
    made = sum(len(figures.attempts) for figures in e.cells)
    failed = sum(figures.own_failures for figures in e.cells)
    if failed <= e.bounds.own * made:
        return None
    return Reason(
        "own_limits",
        f"{failed:,} of {made:,} sockets could not be opened for want of a descriptor or a local port of this machine.",
        "Raise the limit of open files (ulimit -n), widen net.ipv4.ip_local_port_range, or use fewer clients.",
    )


def _stall(e: Evidence) -> Reason | None:
    worst = float(e.study.generator["stall"].max()) if len(e.study.generator) else 0.0
    if not worst > e.bounds.stall:
        return None
    return Reason(
        "stall",
        f"The generator's loop stood still for {_ms(worst)} (allowed {_ms(e.bounds.stall)}).",
        "Keep other work off the generator's host, check that it does not swap, and run again.",
    )


def _clock_step(e: Evidence) -> Reason | None:
    worst = max((abs(float(detail["seconds"])) for detail in e.study.named("clock_step")), default=0.0)
    if worst <= e.bounds.clock_step:
        return None
    what = f"The host's clock jumped by {_ms(worst)} during the study (allowed {_ms(e.bounds.clock_step)})."
    return Reason("clock_step", what, "Let the clock settle (chrony or ntpd slews, it does not step), and run again.")


_CHECKS: tuple[Callable[[Evidence], Reason | None], ...] = (_cut_short, _problem, _nothing, _late, _own_limits, _stall, _clock_step)


def _name(figures: CellFigures) -> str:
    cell = figures.cell
    return f"{cell.cause}, {cell.model}" if cell.outage is None else f"{cell.cause} for {cell.outage:g} s, {cell.model}"


def _ms(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1.0 else f"{seconds * 1e3:.1f} ms"
