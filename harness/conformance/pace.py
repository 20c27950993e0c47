"""How fast the checks together may make things happen: well below the rate at which the contract begins to batch."""

from __future__ import annotations

import threading
import time

__all__ = ["Pace"]


class Pace:
    """Hands out moments `1 / rate` seconds apart, to whoever asks first. A burst takes as many as it has events."""

    def __init__(self, rate: float) -> None:
        if not rate > 0:
            raise ValueError(f"the rate is {rate} per second: it must be greater than 0")
        self._gap = 1 / rate
        self._lock = threading.Lock()
        self._next = 0.0

    def reserve(self, count: int, now: float) -> float:
        """The moment from which `count` events may happen together, at or after `now`; those after them wait their turn."""
        with self._lock:
            start = max(self._next, now)
            self._next = start + count * self._gap
            return start

    def wait(self, count: int = 1) -> None:
        """Sleep until `count` events may happen."""
        delay = self.reserve(count, time.monotonic()) - time.monotonic()
        if delay > 0:
            time.sleep(delay)
