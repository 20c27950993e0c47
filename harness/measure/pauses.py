"""Pauses of this process by Python's garbage collector: while it collects nothing is read, so they are evidence of our own lateness.

Only pauses that somebody could feel are kept, and of them the longest of each interval: a long run stays small. In the receive path it
costs two calls a collection and nothing a frame.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Pause", "Pauses"]

_WORTH = 0.005  # seconds
_MOST = 100


@dataclass(frozen=True, slots=True)
class Pause:
    """The longest pause of an interval, and how many there were. t: its end, seconds since the epoch; seconds: its length."""

    t: float
    seconds: float
    generation: int
    times: int

    def record(self) -> dict[str, Any]:
        """As the event of a journal, without its worker."""
        detail = {"generation": self.generation, "pause": round(self.seconds, 4), "times": self.times}
        return {"kind": "event", "t": self.t - self.seconds, "name": "gc", "detail": detail}


class Pauses:
    """Hears of every collection between `watch` and `ignore`. worth: seconds from which a pause is kept; most: intervals that are told
    of one; clock: seconds on a steady clock, wall: seconds since the epoch."""

    def __init__(
        self,
        worth: float = _WORTH,
        most: int = _MOST,
        clock: Callable[[], float] = time.perf_counter,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._worth, self._left, self._clock, self._wall = worth, most, clock, wall
        self._began = 0.0
        self._longest: Pause | None = None

    def watch(self) -> None:
        """From now on; a second call does nothing."""
        if self.heard not in gc.callbacks:
            gc.callbacks.append(self.heard)

    def ignore(self) -> None:
        """Not any more."""
        if self.heard in gc.callbacks:
            gc.callbacks.remove(self.heard)

    def heard(self, phase: str, info: Mapping[str, int]) -> None:
        """What the collector says of itself; see `gc.callbacks`."""
        if phase == "start":
            self._began = self._clock()
            return
        seconds = self._clock() - self._began
        if seconds < self._worth:
            return
        before = self._longest
        times = 1 if before is None else before.times + 1
        if before is None or seconds > before.seconds:
            self._longest = Pause(self._wall(), seconds, info["generation"], times)
        else:
            self._longest = Pause(before.t, before.seconds, before.generation, times)

    def take(self) -> Pause | None:
        """The longest since the last `take`; None where there was none worth telling, or where enough have been told."""
        pause, self._longest = self._longest, None
        if pause is None or not self._left:
            return None
        self._left -= 1
        return pause
