"""The one place that arms timers: every deadline of the socket side waits in one heap behind one loop timer.

A thing that is to be woken holds at most one live entry, its earliest. Waking too early is harmless (it says when to
be woken again), so deadlines that move away need no change here.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
from collections.abc import Callable
from typing import Protocol

__all__ = ["Alarms", "Sleeper"]

log = logging.getLogger(__name__)

# Seconds. A deadline missed by more means that the loop stood still; what arrived meanwhile has not been read yet.
LATE = 0.005
ONE_TURN = 0.001


class Sleeper(Protocol):
    """What can be woken. `alarm_at` belongs to Alarms and starts as infinity."""

    alarm_at: float

    def wake(self, now: float) -> float | None:
        """Do what is due; answer when to be woken next, None for never."""


class Alarms:
    """A heap of (when, number, sleeper) on the given clock, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Sleeper]] = []
        self._number = 0
        self._stale = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._read_first = False
        self._ringing = False

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, sleeper: Sleeper, when: float) -> None:
        """Wake `sleeper` at `when` at the latest, or sooner if it already has an earlier alarm."""
        if when >= sleeper.alarm_at:
            return
        if sleeper.alarm_at < math.inf:
            self._stale += 1
        self._number += 1
        sleeper.alarm_at = when
        heapq.heappush(self._heap, (when, self._number, sleeper))
        self._arm()

    def drop(self, sleeper: Sleeper) -> None:
        """Forget `sleeper`; its entry goes with the next clearing, so that churn does not pile up."""
        if sleeper.alarm_at == math.inf:
            return
        sleeper.alarm_at = math.inf
        self._stale += 1
        if self._stale > 64 and self._stale * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[0] == entry[2].alarm_at]
            heapq.heapify(self._heap)
            self._stale = 0

    def stop(self) -> None:
        """Wake nobody any more."""
        self._heap.clear()
        self._disarm()

    def _arm(self) -> None:
        if self._ringing:
            return
        if not self._heap:
            self._disarm()
            return
        when = self._heap[0][0]
        if when == self._timer_at:
            return
        self._disarm()
        self._timer_at = when
        self._start(when - self._clock())

    def _start(self, delay: float) -> None:
        # Whole milliseconds, rounded up: uvloop's timers know no finer, and one that rings early would spin.
        self._timer = asyncio.get_running_loop().call_later(max(0, math.ceil(delay * 1000)) / 1000, self._ring)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, math.inf

    def _ring(self) -> None:
        now = self._clock()
        if now > self._timer_at + LATE and not self._read_first:
            # A PONG that came in time must not lose to our own delay: let the loop read once before judging.
            self._read_first = True
            self._start(ONE_TURN)
            return
        self._read_first = False
        self._timer, self._timer_at = None, math.inf
        self._ringing = True
        while self._heap and self._heap[0][0] <= now:
            when, _, sleeper = heapq.heappop(self._heap)
            if when != sleeper.alarm_at:
                self._stale -= 1
                continue
            sleeper.alarm_at = math.inf
            self._wake(sleeper)
        self._ringing = False
        self._arm()

    def _wake(self, sleeper: Sleeper) -> None:
        try:
            again = sleeper.wake(self._clock())
        except Exception:
            log.exception("an alarm failed; the others go on")
            return
        if again is not None:
            self.set(sleeper, again)
