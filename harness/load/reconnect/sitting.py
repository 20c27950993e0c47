"""A client that only takes a place: it opens one socket when it is told to, and never comes back."""

from __future__ import annotations

__all__ = ["Sitter"]


class Sitter:
    """See `harness.measure.backoff.ReconnectingClient`."""

    given_up = True

    def lost(self, now: float, *, failed: bool, code: int) -> None:
        """It does not mind."""

    def opened(self) -> None:
        """It sits."""

    def disconnect(self) -> None:
        """It goes."""

    def due(self, now: float) -> int:
        return 0

    def next_deadline(self) -> float | None:
        return None
