"""How a check ends, as values: kept, broken, recorded, not testable, inconclusive.

A check returns one of these or raises it, whichever reads better; returning nothing means that the clause is kept. The rule
of this room: what is not an outcome (an exception of our own, a timeout on our side, a target that is gone) is Inconclusive
and never Broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.net.connection import Connection, SendError
from harness.net.transcript import Frame
from harness.verdict import Verdict
from schemas import Level

__all__ = ["Broken", "Ending", "Inconclusive", "NotTestable", "Recorded", "broke_verdict", "ending_of", "verdict_of", "worst"]


class Ending(Exception):
    """The base of all ways in which a check may end other than by keeping its clause."""


class Broken(Ending):
    """The target broke the clause. FAIL where the clause is a MUST, WARN where it is a SHOULD, INFO where it is only recorded.

    `expected` and `observed` are phrases for people. `frames` are connections or single frames whose record belongs to the
    evidence; without any, all connections of the check are shown. `soft` makes it a WARN whatever the level (a reading such as
    exclusion = none, which is permitted but never silent).
    """

    def __init__(self, expected: str, observed: str, frames: Connection | Iterable[Connection | Frame] = (), *, soft: bool = False) -> None:
        super().__init__(expected, observed)
        self.expected = expected
        self.observed = observed
        self.soft = soft
        self.frames: Sequence[Connection | Frame] = (frames,) if isinstance(frames, Connection) else tuple(frames)


class Recorded(Ending):
    """What was seen, for the reader; the verdict is INFO whatever the level. Not for a MUST that was kept: return nothing then."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class NotTestable(Ending):
    """Something that the target would have to offer is missing; `hook` names it as the profile does, where it is one."""

    def __init__(self, reason: str, hook: str = "") -> None:
        super().__init__(reason, hook)
        self.reason = reason
        self.hook = hook


class Inconclusive(Ending):
    """Our evidence is not good enough: say what was missing, and what would help."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


_WORST_FIRST = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.WARN, Verdict.NOT_TESTABLE, Verdict.PASS, Verdict.INFO)
"""Several checks of one clause: a proven break outweighs all, missing evidence outweighs what was kept.

NOT_TESTABLE stands above PASS: a clause of which one half could not be looked at is not called kept.
"""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of a clause from those of its checks. Raises ValueError for none: nothing judges on an empty sample."""
    return min(verdicts, key=_WORST_FIRST.index)


def broke_verdict(level: Level, *, soft: bool = False) -> Verdict:
    """What a break of a clause of this level is called."""
    if level is Level.MUST and not soft:
        return Verdict.FAIL
    return Verdict.WARN if level in (Level.MUST, Level.SHOULD) else Verdict.INFO


def verdict_of(ending: Ending | None, level: Level) -> Verdict:
    """The verdict of one check of a clause of this level."""
    match ending:
        case None:
            return Verdict.INFO if level is Level.INFO else Verdict.PASS
        case Broken():
            return broke_verdict(level, soft=ending.soft)
        case Recorded():
            return Verdict.INFO
        case NotTestable():
            return Verdict.NOT_TESTABLE
        case _:
            return Verdict.INCONCLUSIVE


def ending_of(error: BaseException, check_file: str) -> Ending:
    """An exception that left a check, as an outcome. An assertion in the check's own file counts as Broken, any other as ours."""
    if isinstance(error, Ending):
        return error
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if isinstance(error, AssertionError) and trace is not None and trace.tb_frame.f_code.co_filename == check_file:
        return Broken("the check's assertion to hold", str(error).split("\n", 1)[0] or f"it does not, in line {trace.tb_lineno}")
    if isinstance(error, SendError):
        return Inconclusive(f"a message of ours did not go out: {error}")
    where = "" if trace is None else f" ({trace.tb_frame.f_code.co_name}, line {trace.tb_lineno})"
    return Inconclusive(f"the check itself failed: {type(error).__name__}: {error}{where}")
