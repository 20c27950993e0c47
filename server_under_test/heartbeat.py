"""The application heartbeat of one connection (section 2): PING on a grid from its opening, PONG within the timeout.

A pure machine: it is handed `now` in seconds of any clock that does not step, says what to do, and when to ask again.
A PONG counts only while a PING awaits it, so one from an earlier cycle, or one that nobody asked for, proves nothing
about the next. Other traffic is no sign of life (reading A05).
"""

from __future__ import annotations

import math
from enum import Enum

__all__ = ["Beat", "Heartbeat"]


class Beat(Enum):
    """What the connection has to do now."""

    PING = "send a PING"
    DEAD = "close: the PONG is overdue"


class Heartbeat:
    """Due times of one connection, in seconds.

    With a timeout longer than the interval several PINGs may be open; the first of them sets the deadline, and one PONG
    answers them all.
    """

    __slots__ = ("_interval", "_ping_at", "_pong_by", "_timeout")

    def __init__(self, opened: float, interval: float, timeout: float) -> None:
        self._interval = interval
        self._timeout = timeout
        self._ping_at = opened + interval
        self._pong_by = math.inf

    @property
    def deadline(self) -> float:
        """When `poll` has to be called next."""
        return min(self._ping_at, self._pong_by)

    @property
    def awaiting(self) -> bool:
        """A PING is out and unanswered."""
        return self._pong_by < math.inf

    def pong(self) -> None:
        """A PONG arrived: whatever PING awaits it is answered."""
        self._pong_by = math.inf

    def poll(self, now: float) -> Beat | None:
        """What is due at `now`; the caller carries it out at once."""
        if now >= self._pong_by:
            return Beat.DEAD
        if now < self._ping_at:
            return None
        self._pong_by = min(self._pong_by, now + self._timeout)
        self._ping_at = self._next_on_grid(now)
        return Beat.PING

    def _next_on_grid(self, now: float) -> float:
        """The first point of the grid after `now`: points that a stalled process slept through are not made up for."""
        missed = math.floor((now - self._ping_at) / self._interval)
        due = self._ping_at + (missed + 1) * self._interval
        return due if due > now else due + self._interval
