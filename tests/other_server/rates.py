"""How much one connection may say, and when too much has become a habit. Both are handed `now` (seconds) and keep no clock."""

from __future__ import annotations

from collections import deque

__all__ = ["Allowance", "Temper"]


class Allowance:
    """`most` messages in `window` seconds, in one of three models: "sliding", "fixed" (a window opens with its first
    message) or "bucket" (refilled steadily).
    """

    def __init__(self, model: str, most: int, window: float) -> None:
        self._model, self._most, self._window = model, most, window
        self._taken: deque[float] = deque()
        self._level, self._since = float(most), 0.0

    def take(self, now: float) -> bool:
        """Whether one more may pass, which is then counted."""
        if self._model == "sliding":
            while self._taken and now - self._taken[0] >= self._window:
                self._taken.popleft()
            fits = len(self._taken) < self._most
            if fits:
                self._taken.append(now)
            return fits
        if self._model == "fixed":
            if now - self._since >= self._window:
                self._level, self._since = float(self._most), now
        else:
            self._level = min(float(self._most), self._level + (now - self._since) * self._most / self._window)
            self._since = now
        fits = self._level >= 1
        self._level -= fits
        return fits


class Temper:
    """Counts a strike whenever a whole allowance has been refused, at most two in a window; the last of `strikes` ends it.
    A window and a half without a refusal makes everything forgotten.
    """

    def __init__(self, most: int, window: float, strikes: int) -> None:
        self._most, self._window, self._strikes = most, window, strikes
        self._refused = self._struck = 0
        self._last = self._last_strike = float("-inf")

    def refused(self, now: float) -> tuple[bool, bool]:
        """A message was refused: (is it the first in a window, is this connection at its end)."""
        if now - self._last >= 1.5 * self._window:
            self._refused = self._struck = 0
        first = now - self._last >= self._window
        self._last = now
        self._refused += 1
        if self._refused >= self._most and now - self._last_strike >= self._window / 2:
            self._struck, self._refused, self._last_strike = self._struck + 1, 0, now
        return first, self._struck >= self._strikes
