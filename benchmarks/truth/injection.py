"""What a truth server does wrong on purpose: a pure function of the feature and of how often it was voted on, so it can be told again.

Each feature has one kind of mishap or none, so no mishap can hide another; within its kind, the sockets are drawn from the seed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Injection", "Kind", "Mishap"]

Kind = Literal["lost", "vanished", "duplicated", "late duplicate", "misdirected", "swapped"]

_KINDS: dict[int, Kind] = {1: "lost", 4: "duplicated", 8: "misdirected", 12: "swapped", 16: "late duplicate", 20: "vanished"}
_PERIOD = 25  # features; of so many in a row, six have a mishap
_MOST_SOCKETS = 3
_MEDIAN, _SIGMA, _LONGEST = 0.04, 0.6, 0.5  # of the log-normal delay, seconds
_LATE = 4.5  # seconds; a complete broadcast's books are closed long before
_SHARE = 0.2  # of the time between two broadcasts of one feature: no delay is longer, so only what is swapped on purpose is swapped


@dataclass(frozen=True, slots=True)
class Mishap:
    """What goes wrong with one broadcast. `delay`: seconds until the second copy, where there is one."""

    kind: Kind
    sockets: tuple[int, ...]
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Injection:
    """The mishaps of one run. period: seconds between two votes on one feature; `occurrences`: how often each is voted on at least;
    stall: (begin, length) in seconds from the first vote, in which the server sends nothing; fixed: seconds from every vote to its
    broadcast, where they are not drawn; mishaps: whether there are any."""

    seed: int
    period: float
    occurrences: int
    stall: tuple[float, float]
    fixed: float | None = None
    mishaps: bool = True

    def _random(self, feature: int, occurrence: int, what: str) -> random.Random:
        return random.Random(f"{self.seed}/{feature}/{occurrence}/{what}")

    def delay(self, feature: int, occurrence: int, since_first: float) -> float:
        """Seconds from the vote to the broadcast; `since_first` is the vote's time in seconds after the first one's."""
        chosen = self._drawn(feature, occurrence) if self.fixed is None else self.fixed
        begin, length = self.stall
        if begin <= since_first + chosen < begin + length:
            return begin + length - since_first
        return chosen

    def _drawn(self, feature: int, occurrence: int) -> float:
        drawn = self._random(feature, occurrence, "delay").lognormvariate(0.0, _SIGMA) * _MEDIAN
        return min(drawn, _LONGEST, _SHARE * self.period)

    def mishap(self, feature: int, occurrence: int, audience: Sequence[int], own: Sequence[int]) -> Mishap | None:
        """What goes wrong with this broadcast, given the sockets that must get it and those that must not (the voter's own)."""
        kind = _KINDS.get(feature % _PERIOD)
        if kind is None or not audience or not self.mishaps:
            return None
        if kind == "misdirected":
            return Mishap(kind, tuple(own)) if own else None
        if kind in ("lost", "vanished", "swapped") and not self._may_miss(kind, occurrence):
            return None
        if kind == "vanished":
            return Mishap(kind, tuple(audience))
        drawn = self._random(feature, occurrence, "sockets")
        sockets = tuple(sorted(drawn.sample(list(audience), min(drawn.randint(1, _MOST_SOCKETS), len(audience)))))
        late = max(min(_LATE, self.period - 1.5), _SHARE * self.period)
        if kind == "late duplicate":
            return Mishap(kind, sockets, late)
        return Mishap(kind, sockets, drawn.uniform(0.0, min(1.0, late)) if kind == "duplicated" else 0.0)

    def _may_miss(self, kind: Kind, occurrence: int) -> bool:
        """Nothing is missing at first: the account is kept in order, and what is missing keeps open all that comes after it."""
        if kind == "swapped":
            # It takes the feature's next broadcast, which is left in peace.
            return occurrence % 2 == 1 and occurrence + 1 < self.occurrences
        return occurrence > 0 and (kind == "lost" or occurrence % 3 == 1)
