"""What the harness may say, as values: verdicts, the validity of a run, one judged benchmark and the exit code.

The rule of this room: nothing judges on an empty sample. A Benchmark cannot be built with PASS and no samples, and a set of
verdicts in which nothing was tested never ends in exit code 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["THRESHOLDS", "Benchmark", "Overall", "Validity", "Verdict", "exit_code", "overall", "room_below"]


THRESHOLDS = "Thresholds"
"""The section of a benchmark that is no promise of the contract but a line of one's own; its title is that line."""


class Verdict(StrEnum):
    """The answer to one clause or one benchmark."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
    """A MUST is broken, or a benchmark missed."""
    WARN = "WARN"
    """A SHOULD is broken."""
    INFO = "INFO"
    """Recorded, not judged."""
    NOT_TESTABLE = "NOT_TESTABLE"
    """What it takes (a hook, a reading of the process) is not there."""
    INCONCLUSIVE = "INCONCLUSIVE"
    """Our evidence is not good enough to say."""


class Validity(StrEnum):
    """Was the instrument fit? An INVALID run says nothing, good or bad, about the target."""

    VALID = "VALID"
    INVALID = "INVALID"


class Overall(StrEnum):
    """The one word over a run."""

    PASS = "PASS"  # noqa: S105
    FAIL = "FAIL"
    INVALID = "INVALID"
    UNTESTED = "UNTESTED"
    """The run was valid, and yet no clause or benchmark could be judged, or not all of what was asked for by name."""


_TESTED = frozenset({Verdict.PASS, Verdict.FAIL, Verdict.WARN})
_EXIT = {Overall.PASS: 0, Overall.FAIL: 1, Overall.INVALID: 4, Overall.UNTESTED: 4}


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One quantity of the contract: what it allows, what was seen, and what we say about it.

    `limit` and `measured` are in `unit`; `margin` is the room left as a share of the limit (0.25: a quarter to spare, negative:
    over it), None where that means nothing. `samples` is the number of observations behind `measured`. `detail` is one sentence
    for the reader; `remedy` says what to do and is empty when there is nothing to do.

    Raises ValueError for PASS with no samples or with a measured value that is not a number.
    """

    id: str
    title: str
    clause: str
    section: str
    limit: float | None
    measured: float | None
    unit: str
    margin: float | None
    verdict: Verdict
    samples: int
    detail: str
    remedy: str

    def __post_init__(self) -> None:
        if self.samples < 0:
            raise ValueError(f"benchmark {self.id}: {self.samples} samples; a count cannot be negative")
        if self.verdict is Verdict.PASS and self.samples == 0:
            raise ValueError(f"benchmark {self.id} is PASS on no samples; say INCONCLUSIVE or NOT_TESTABLE")
        if self.verdict is Verdict.PASS and (self.measured is None or not math.isfinite(self.measured)):
            raise ValueError(f"benchmark {self.id} is PASS on {self.measured}; say INCONCLUSIVE")


def room_below(limit: float, measured: float | None) -> float | None:
    """The share of `limit` that is left under it; None where nothing was measured or the limit is 0."""
    if measured is None or not limit > 0:
        return None
    return (limit - measured) / limit


def overall(verdicts: Iterable[Verdict], validity: Validity, required: Iterable[Verdict] = ()) -> Overall:
    """INVALID first, whatever was seen; then FAIL; then UNTESTED unless something was judged, and all that is `required`; then PASS."""
    seen = set(verdicts)
    if validity is Validity.INVALID:
        return Overall.INVALID
    if Verdict.FAIL in seen:
        return Overall.FAIL
    return Overall.PASS if seen & _TESTED and set(required) <= _TESTED else Overall.UNTESTED


def exit_code(verdict: Overall) -> int:
    """0 pass, 1 something failed, 4 the run is invalid, or nothing was tested, or not what was required.

    The numbers are those of `harness.errors.ExitCode`; they stand here again because neither room may import the other, and a
    test holds them together.
    """
    return _EXIT[verdict]
