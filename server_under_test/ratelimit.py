"""What one connection may send (section Rate Limiting), as two pure machines that are handed `now` in seconds.

`SlidingWindow` says whether a message is heard; `RepeatOffence` says when its sender has earned Close 1008 (reading
A08: throttled means ignored, and persistence is counted over everything that was sent, heard or not).
"""

from __future__ import annotations

__all__ = ["RepeatOffence", "SlidingWindow"]


class SlidingWindow:
    """At most `limit` messages are heard in any half-open `window` of seconds.

    Only messages that were heard fill the window: a client that slows down to the limit is heard again at once.
    """

    __slots__ = ("_heard", "_limit", "_window")

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._window = window
        self._heard: list[float] = []

    def offer(self, now: float) -> bool:
        """Whether the message that arrives at `now` is heard."""
        if len(self._heard) >= self._limit:
            if now < self._heard[0] + self._window:
                return False
            del self._heard[0]
        self._heard.append(now)
        return True


class RepeatOffence:
    """True once `windows` windows in a row have held `abuse` messages each.

    A window starts with a message and lasts `window` seconds; the next starts with the first message after it, so that
    a steady sender is counted alike wherever it began. A whole window of silence ends the row.
    """

    __slots__ = ("_abuse", "_count", "_row", "_start", "_window", "_windows")

    def __init__(self, abuse: int, window: float, windows: int) -> None:
        self._abuse = abuse
        self._window = window
        self._windows = windows
        self._start: float | None = None
        self._count = 0
        self._row = 0

    def offer(self, now: float) -> bool:
        """Count the message that arrives at `now`; True when it is the one too many."""
        if self._start is None or now >= self._start + self._window:
            self._open(now)
        self._count += 1
        return self._count >= self._abuse and self._row + 1 >= self._windows

    def _open(self, now: float) -> None:
        silent = self._start is None or now >= self._start + 2 * self._window
        self._row = self._row + 1 if self._count >= self._abuse and not silent else 0
        self._start = now
        self._count = 0
