"""When to start each thing of an open-loop schedule. A late thing keeps its planned time: lateness is never forgotten.

The plan is `start + n / rate`, whatever the target does (wrk2's idea: schedule from the plan, not from now), so a target
that stalls is charged for every request it delayed and not only for the one it held.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from harness.errors import UsageError

__all__ = ["Agenda", "Pacer", "share"]


def share(count: int, worker: int, workers: int) -> range:
    """The numbers below `count` that fall to `worker` of `workers`: n with n % workers == worker."""
    if not 0 <= worker < workers:
        raise ValueError(f"worker {worker} of {workers}: workers are numbered from 0 to {workers - 1}")
    return range(worker, count, workers)


class Agenda:
    """Hands out the numbers of a plan as they fall due. Pure: `now` is passed in, on the clock of `start`.

    start: seconds, the beginning of the plan. offset: number -> seconds after it. indices: the numbers to hand out, in the order in
    which they are due.
    """

    __slots__ = ("_indices", "_next", "_offset", "start")

    def __init__(self, start: float, offset: Callable[[int], float], indices: Sequence[int]) -> None:
        self.start = start
        self._offset = offset
        self._indices = indices
        self._next = 0

    def planned(self, n: int) -> float:
        """The planned time of number n, on the clock of `start`."""
        return self.start + self._offset(n)

    def due(self, now: float) -> list[int]:
        """Every number not yet handed out whose planned time is at or before `now`, in order; each exactly once."""
        first, indices = self._next, self._indices
        while self._next < len(indices) and self.planned(indices[self._next]) <= now:
            self._next += 1
        return list(indices[first : self._next])

    def next_deadline(self) -> float | None:
        """When `due` will next have something to hand out; None when all is handed out."""
        return None if self.done else self.planned(self._indices[self._next])

    @property
    def done(self) -> bool:
        """True when every number was handed out."""
        return self._next >= len(self._indices)

    @property
    def remaining(self) -> int:
        """How many numbers are still to come."""
        return len(self._indices) - self._next


class Pacer(Agenda):
    """The plan of an even rate.

    rate: per second, of the whole schedule (all workers together). start: seconds, the planned time of number 0.
    indices: the numbers to hand out, ascending; a worker of several passes its `share`.
    """

    __slots__ = ("rate",)

    def __init__(self, rate: float, start: float, indices: Sequence[int]) -> None:
        if not (math.isfinite(rate) and rate > 0):
            raise UsageError(f"the rate is {rate} per second", "pacer", "give a rate greater than 0")
        self.rate = rate
        super().__init__(start, lambda n: n / rate, indices)
