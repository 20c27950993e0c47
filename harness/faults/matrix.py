"""What the verdicts on faulty servers say about the checks. Pure: rows in, judgements out.

A fault is caught when its own clause is FAIL, or WARN, on its server and was clean on the sound one. Whatever else is worse than on
the sound server must follow from the fault, for the reason that the fault gives; what no reason covers is an error of the matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import ExitCode
from harness.faults.known import Fault
from harness.verdict import Verdict
from schemas import Level, load_clauses

__all__ = ["SOUND", "Break", "Judged", "Matrix", "Row", "Seen", "judge"]

SOUND = "sound"
"""The name of the row of the server without a fault."""

_CONVICTED = (Verdict.FAIL, Verdict.WARN)
_BAD = (*_CONVICTED, Verdict.INCONCLUSIVE, Verdict.NOT_TESTABLE)


@dataclass(frozen=True, slots=True)
class Seen:
    """The gate's verdict on one clause, None where it had none, and its reason in words."""

    verdict: Verdict | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One server: what the gate saw of each clause that it looked at. `problem`: why the row is not whole; seconds: how long it took.

    rigs: how the server was set up, in words; attempt: the how manyeth this is, from 1.
    """

    name: str
    seen: Mapping[str, Seen]
    seconds: float = 0.0
    problem: str = ""
    rigs: tuple[str, ...] = ()
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Break:
    """A clause that is worse than on the sound server; `why` it follows from the fault, empty when nothing explains it."""

    clause: str
    verdict: Verdict
    reason: str
    why: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A row, judged. `own`: what was seen of the fault's own clause; `breaks`: the other clauses that are worse, in order."""

    fault: Fault
    row: Row
    caught: bool
    own: Seen
    breaks: tuple[Break, ...]

    @property
    def unexplained(self) -> tuple[Break, ...]:
        return tuple(each for each in self.breaks if not each.why)

    @property
    def reasons(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """What breaks with it by the reason: (why, clauses), the unexplained ones first, under ""."""
        found: dict[str, list[str]] = {}
        for each in sorted(self.breaks, key=lambda each: bool(each.why)):
            found.setdefault(each.why, []).append(each.clause)
        return tuple((why, tuple(clauses)) for why, clauses in found.items())

    @property
    def right(self) -> bool:
        """Caught, whole, and everything else in it explained."""
        return self.caught and not self.row.problem and not self.unexplained

    @property
    def told(self) -> str:
        """What is wrong with it, for the person who mends check or fault; empty when nothing is."""
        parts = [self.row.problem] if self.row.problem else []
        if not self.caught:
            saw = str(self.own.verdict or "no verdict") + (f" ({self.own.reason})" if self.own.reason else "")
            wanted = "FAIL" if load_clauses()[self.fault.clause].level is Level.MUST else "WARN"
            parts.append(f"expected {wanted} of {self.fault.clause}, observed {saw}")
        parts += [f"{each.clause} is {each.verdict}, which nothing explains: {each.reason}" for each in self.unexplained]
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class Matrix:
    """All rows. `sound`: one row of the server without a fault for each way in which servers were set up."""

    sound: tuple[Row, ...]
    rows: tuple[Judged, ...]
    seconds: float
    own_only: bool
    time_scale: float

    @property
    def unclean(self) -> tuple[tuple[Row, str], ...]:
        """Sound rows that are not clean, with what is wrong."""
        return tuple((row, text) for row in self.sound if (text := _unclean(row)))

    @property
    def caught(self) -> int:
        return sum(each.caught for each in self.rows)

    @property
    def wrong(self) -> tuple[Judged, ...]:
        return tuple(each for each in self.rows if not each.right)

    @property
    def exit_code(self) -> ExitCode:
        """PASS only when every fault was caught by its own clause and all the rest is explained."""
        if self.unclean or not self.rows:
            return ExitCode.INVALID
        return ExitCode.FAIL if self.wrong else ExitCode.PASS

    @property
    def reason(self) -> str:
        """The verdict in a sentence."""
        if self.unclean:
            row, text = self.unclean[0]
            return f"The server without a fault is not clean ({', '.join(row.rigs)}: {text}), so nothing follows from the others."
        if not self.rows:
            return "No fault was tried."
        open_ = sum(len(each.unexplained) for each in self.rows)
        told = f"{self.caught} of {len(self.rows)} faults are caught by their own clause"
        if not self.wrong:
            return f"{told}" + ("." if self.own_only else ", and everything that breaks with them is explained.")
        more = f", {open_} verdicts on other clauses are not explained" if open_ else ""
        broken = sum(bool(each.row.problem) for each in self.rows)
        return told + more + (f", {broken} rows are not whole" if broken else "") + "."


def judge(fault: Fault, row: Row, sound: Mapping[str, Seen]) -> Judged:
    """Judge a fault's row by that of the sound server, set up alike."""
    own = row.seen.get(fault.clause, Seen(None))
    clean = sound.get(fault.clause, Seen(None)).verdict not in _CONVICTED
    return Judged(fault, row, clean and own.verdict in _CONVICTED, own, tuple(_breaks(fault, row, sound)))


def _breaks(fault: Fault, row: Row, sound: Mapping[str, Seen]) -> Iterable[Break]:
    for clause in load_clauses():
        seen = row.seen.get(clause)
        if clause == fault.clause or seen is None or seen.verdict not in _BAD:
            continue
        if clause in sound and sound[clause].verdict is seen.verdict:
            continue
        yield Break(clause, seen.verdict, seen.reason, fault.follows.get(clause, ""))


def _unclean(row: Row) -> str:
    bad: Sequence[str] = [f"{id_} {seen.verdict}" for id_, seen in row.seen.items() if seen.verdict in (*_CONVICTED, Verdict.INCONCLUSIVE)]
    if row.problem or bad:
        return "; ".join([*([row.problem] if row.problem else []), *bad[:5]])
    tested = any(seen.verdict is Verdict.PASS for seen in row.seen.values())
    return "" if tested else "no clause was kept, for none was judged"
