"""How many broadcasts may leave in a second (section Rate Limiting, Global), as a pure machine handed `now` in seconds.

Two rules hold together. Over time: a bucket refilled at the cap, so that the long-run rate is the cap. At once: no
second holds more than the cap and a twentieth of it.

Why not simply the cap in any second: a source that keeps exactly to the cap has no slack left, so each of its hiccups
would delay every later broadcast for ever. The twentieth lets such a backlog drain within seconds; the bucket, half a
second deep, covers a hiccup of that length, and sees to it that the twentieth cannot be had for long.
"""

from __future__ import annotations

import math
from collections import deque

__all__ = ["Allowance"]

SLACK = 0.05  # of the cap: what one second may hold above it
DEPTH = 0.5  # seconds of the cap that an idle bucket holds


class Allowance:
    """The right to send, one broadcast at a time; `cap` is broadcasts per second."""

    __slots__ = ("_ahead", "_cost", "_recent", "_settled_at")

    def __init__(self, cap: int) -> None:
        self._cost = 1.0 / cap
        self._ahead = (max(1, round(cap * DEPTH)) - 1) * self._cost
        self._recent: deque[float] = deque(maxlen=self.most_in_a_second(cap))
        self._settled_at = -math.inf

    @staticmethod
    def most_in_a_second(cap: int) -> int:
        """The bound that no half-open second exceeds."""
        return cap + math.ceil(cap * SLACK)

    @property
    def ready_at(self) -> float:
        """From when on the next broadcast may leave."""
        bucket = self._settled_at - self._ahead
        full = len(self._recent) == self._recent.maxlen
        return max(bucket, self._recent[0] + 1.0) if full else bucket

    def take(self, now: float) -> bool:
        """Use the right once, if there is one at `now`."""
        if now < self.ready_at:
            return False
        self._settled_at = max(self._settled_at, now) + self._cost
        self._recent.append(now)
        return True
