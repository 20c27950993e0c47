"""Is one build faster than another? Runs of each side, the difference of each figure with its interval, and one of three answers.

With several runs a side, runs are the observations (Welch's t interval): what differs from run to run is the noise that counts. With
one run a side only the noise inside each run is known, so the answer is about these two runs; repeats make it one about the builds.
Never a bare difference: what lies inside its interval, or under what matters, is "cannot tell" or "same".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.analysis.kinds import assess_run
from harness.analysis.memory import student
from harness.analysis.metrics import metrics_of
from harness.analysis.run import Run, merged
from harness.analysis.shift import shift_of
from harness.analysis.summary import Assessment
from harness.errors import RunInvalid, UsageError
from harness.measure.histogram import Histogram
from harness.verdict import Validity

__all__ = ["Answer", "Comparison", "Row", "compare"]

_MATTERS = 0.05  # a smaller share of the base is no difference to anybody
_LEAST_MATTERS = {"s": 0.001, "bytes": 100.0, "cores": 0.01}  # nor is less than this
_MUST_AGREE = ("viewers", "rate", "duration", "warmup", "features", "voters")
_LEAST_SECONDS = 6

Answer = str
"""better, worse, same, or cannot tell."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. base and new: the means of the sides; low and high: the 95 % interval of new - base, None where there is none."""

    name: str
    unit: str
    base: float | None
    new: float | None
    low: float | None
    high: float | None
    answer: Answer
    spread: tuple[float | None, float | None]
    """The range between runs of each side as a share of its mean: the noise band; None with one run."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All rows; runs: how many a side; word: faster, slower or cannot tell, of all of them together."""

    scenario: str
    runs: tuple[int, int]
    rows: tuple[Row, ...]

    @property
    def word(self) -> str:
        answers = {row.answer for row in self.rows}
        if "worse" in answers:
            return "slower"
        if "better" in answers:
            return "faster"
        return "no different" if answers == {"same"} else "cannot tell"

    @property
    def exit_code(self) -> int:
        """1 when something got worse, 4 when nothing could be told, else 0."""
        return {"slower": 1, "cannot tell": 4}.get(self.word, 0)


@dataclass(frozen=True, slots=True)
class _Figure:
    """How a figure is read from a run, and the seconds in which it can be drawn again."""

    name: str
    unit: str
    read: Callable[[Assessment], float | None]
    within: Callable[[Assessment, Assessment], tuple[float, float] | None]


def compare(base: Sequence[Path], new: Sequence[Path]) -> Comparison:
    """Compare run folders. Raises UsageError when they were not asked the same, RunInvalid when one of them may not judge."""
    sides = tuple([_assessed(folder) for folder in side] for side in (base, new))
    first = sides[0][0]
    for each in (*sides[0], *sides[1]):
        _must_agree(first, each)
    rows = tuple(_row(figure, *sides) for figure in _FIGURES)
    shown = tuple(row for row in rows if row.base is not None or row.new is not None)
    return Comparison(first.summary.scenario, (len(base), len(new)), shown)


def _assessed(folder: Path) -> Assessment:
    assessment = assess_run(folder)
    if not isinstance(assessment, Assessment):
        raise UsageError("runs of this scenario are not compared", str(folder), "name runs in which votes were cast")
    if assessment.summary.validity is not Validity.VALID:
        raise RunInvalid(f"the run is INVALID: {assessment.summary.sentence}", str(folder), "compare runs that may judge")
    return assessment


def _must_agree(one: Assessment, other: Assessment) -> None:
    asked = [(name, _asked(one, name), _asked(other, name)) for name in ("scenario", *_MUST_AGREE, "workers")]
    for name, mine, yours in asked:
        if mine != yours:
            what = f"{name} was {mine} in {one.summary.run} and {yours} here"
            raise UsageError(what, str(other.run.folder), "compare runs that were asked the same")


def _asked(each: Assessment, name: str) -> object:
    header = each.run.header
    return header.get(name) if name in ("scenario", "workers") else (header.get("parameters") or {}).get(name)


def _row(figure: _Figure, base: Sequence[Assessment], new: Sequence[Assessment]) -> Row:
    values = [[value for each in side if (value := figure.read(each)) is not None] for side in (base, new)]
    means = [float(np.mean(side)) if side else None for side in values]
    interval: tuple[float, float] | None = None
    if min(map(len, values)) >= 2:
        interval = _welch(*values)
    elif len(base) == len(new) == 1 and None not in means:
        interval = figure.within(base[0], new[0])
    low, high = interval or (None, None)
    spread = tuple(
        (max(side) - min(side)) / abs(mean) if len(side) > 1 and mean else None for side, mean in zip(values, means, strict=True)
    )
    return Row(figure.name, figure.unit, means[0], means[1], low, high, _answer(means[0], low, high, figure.unit), (spread[0], spread[1]))


def _answer(base: float | None, low: float | None, high: float | None, unit: str) -> Answer:
    """Less is better in every figure here."""
    if base is None or low is None or high is None:
        return "cannot tell"
    matters = max(_MATTERS * abs(base), _LEAST_MATTERS[unit])
    if low > 0 and (low + high) / 2 > matters:
        return "worse"
    if high < 0 and (low + high) / 2 < -matters:
        return "better"
    return "same" if -matters <= low and high <= matters else "cannot tell"


def _welch(base: Sequence[float], new: Sequence[float]) -> tuple[float, float]:
    """Welch's interval of the difference of two means."""
    parts = [float(np.var(side, ddof=1)) / len(side) for side in (base, new)]
    difference, variance = float(np.mean(new) - np.mean(base)), sum(parts)
    if variance == 0:
        return difference, difference
    freedom = variance**2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (base, new), strict=True))
    reach = student(max(1.0, freedom)) * math.sqrt(variance)
    return difference - reach, difference + reach


def _metric(name: str) -> Callable[[Assessment], float | None]:
    def read(each: Assessment) -> float | None:
        return metrics_of(each.summary)[name].value

    return read


def _shift(q: float) -> Callable[[Assessment, Assessment], tuple[float, float] | None]:
    def within(base: Assessment, new: Assessment) -> tuple[float, float] | None:
        shift = shift_of(_seconds(base.run), _seconds(new.run), q)
        return None if shift is None or shift.low is None or shift.high is None else (shift.low, shift.high)

    return within


def _seconds(run: Run) -> list[Histogram]:
    steady = run.steady_seconds()
    return [merged(group["latency"]) for _, group in steady.groupby(np.floor(steady["t"]))]


def _memory(base: Assessment, new: Assessment) -> tuple[float, float] | None:
    one, other = base.summary.memory.line, new.summary.memory.line
    if one is None or other is None:
        return None
    difference = other.slope - one.slope
    reach = math.hypot((one.high - one.low) / 2, (other.high - other.low) / 2)
    return difference - reach, difference + reach


def _cores(each: Assessment) -> np.ndarray:
    """CPU seconds a second of the target, second by second of the steady phase."""
    run = each.run
    start, end = run.phases.steady_from, run.phases.judged_until
    if start is None or end is None:
        return np.empty(0)
    read = run.target.dropna(subset=["t", "cpu"])
    read = read[(read["t"] >= start) & (read["t"] <= end)]
    last = read.groupby(np.floor(read["t"]))[["t", "cpu"]].last()
    used: np.ndarray = (last["cpu"].diff() / last["t"].diff()).dropna().to_numpy(dtype=float)
    return used


def _cpu(each: Assessment) -> float | None:
    used = _cores(each)
    return float(used.mean()) if len(used) else None


def _cpu_within(base: Assessment, new: Assessment) -> tuple[float, float] | None:
    one, other = _cores(base), _cores(new)
    return _welch(one.tolist(), other.tolist()) if min(len(one), len(other)) >= _LEAST_SECONDS else None


_FIGURES: tuple[_Figure, ...] = (
    _Figure("latency p50", "s", _metric("latency.p50"), _shift(0.5)),
    _Figure("latency p99", "s", _metric("latency.p99"), _shift(0.99)),
    _Figure("memory a connection", "bytes", _metric("memory.each"), _memory),
    _Figure("target's CPU", "cores", _cpu, _cpu_within),
)
