"""Which votes were rightly carried by another one's broadcast: batching that a target may do whenever votes meet in its window.

The plan keeps votes on one feature apart, but a target that stalls for a moment answers two of them together, and then they are in
one window. It sends one frame with the final count, and to the session of the last voter a frame that names the vote before it. So
the vote before seems to have reached next to nobody. What tells it from a loss is the target's own order of things: the broadcast
that carried it is stamped before the vote could have left by itself, that is, by the end of one batch window after its answer.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping

import pandas as pd

__all__ = ["Near", "Subject", "every_so_many", "merged_votes", "same_subject"]

Subject = tuple[bool, int]
"""What a cast is about: whether it is a vote, and on which feature (its index; -1: on none of the list)."""
Near = Callable[[int], Iterable[int]]
"""The casts on the same feature next to a cast, nearest first."""

_NEIGHBOURS = 3  # casts on the same feature to look at, on either side
_CLOCK = 0.005  # seconds: stamps have milliseconds, and may stand on another host's clock
_SLACK = 0.05  # seconds that an answer may reach us earlier than the target begins to wait


def every_so_many(features: int) -> Near:
    """Of a plan in which every so manieth cast is on the same feature."""
    return lambda n: [n + sign * step * features for step in range(1, _NEIGHBOURS + 1) for sign in (1, -1)] if features > 0 else []


def same_subject(subjects: Mapping[int, Subject]) -> Near:
    """Of a plan in which each cast says what it is about; only votes are ever merged."""
    together: dict[Subject, list[int]] = {}
    for n in sorted(subjects):
        together.setdefault(subjects[n], []).append(n)

    def near(n: int) -> Iterable[int]:
        subject = subjects.get(n, (False, -1))
        if not subject[0]:
            return []
        numbers = together[subject]
        place = bisect_left(numbers, n)
        around = [*numbers[max(0, place - _NEIGHBOURS) : place], *numbers[place + 1 : place + 1 + _NEIGHBOURS]]
        return sorted(around, key=lambda other: abs(other - n))

    return near


def merged_votes(casts: pd.DataFrame, broadcasts: pd.DataFrame, *, near: Near, window: float, viewers: int) -> dict[int, int]:
    """Cast -> the cast whose broadcast carried it, for the broadcasts with losses that batching explains.

    `near`: the neighbours of a cast. `window`: the batch window, seconds. `viewers`: sockets of the run. A carrier has
    reached everybody whom it had to reach, and the carried one no more sockets than the carrier leaves out.
    """
    called = _by_cast(casts, "called")
    answered = _by_cast(casts[casts["status"].between(200, 299)], "answered")
    stamped, lost = _by_cast(broadcasts, "stamped"), _by_cast(broadcasts, "lost")
    expected, delivered = _by_cast(broadcasts, "expected"), _by_cast(broadcasts, "delivered")
    merged: dict[int, int] = {}
    for n in (n for n, missing in lost.items() if missing > 0):
        begin, end = called.get(n, math.nan), answered.get(n, math.nan)
        for other in near(n):
            fits = begin - _CLOCK <= stamped.get(other, math.nan) <= end + window + _SLACK
            if fits and lost.get(other) == 0 and delivered[n] <= viewers - expected.get(other, math.inf):
                merged.setdefault(n, other)
    return merged


def _by_cast(frame: pd.DataFrame, column: str) -> Mapping[int, float]:
    return dict(zip(frame["n"].astype(int), frame[column].astype(float), strict=True))
