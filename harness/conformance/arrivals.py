"""Which vote each message tells of, and what a crowd was told of all of them: from the rows that were read to a Cast.

Votes of one voter and one action on a feature look alike; what tells them apart is their order.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.conformance.cast import Cast
from harness.conformance.crowd import Crowd, Rows
from harness.conformance.host import HostLoad
from harness.measure.plan import VotePlan

__all__ = ["Arrivals", "Book", "gaps", "gathered", "most_within", "owners", "told"]

_CLOCKS = 0.05  # seconds that a message may seem to come before its vote
_SPANS = (1.0, 2.0)  # seconds, in which frames are counted ...
_IN_HAND = 1.0  # ... from this long after the first vote on: what a limiter had in hand is used up by then
_NS = 1_000_000_000


class Book:
    """What became of each cast, written by the casters; one row each."""

    def __init__(self, count: int) -> None:
        self.called = np.full(count, np.nan)
        self.answered = np.full(count, np.nan)
        self.taken = np.zeros(count, bool)
        self.problem: str | None = None


def told(crowd: Crowd, plan: VotePlan) -> list[int]:
    """Messages about the plan's features, by number."""
    features = set(plan.features)
    return [
        number
        for number, said in enumerate(crowd.ear.messages)
        if any(each.get("type") == "VOTE_UPDATE" and each.get("featureId") in features for each in said)
    ]


def gathered(crowd: Crowd, plan: VotePlan, book: Book, began: float, host: HostLoad) -> Cast:
    numbers = told(crowd, plan)
    every = crowd.ear.rows()
    rows = every.of(numbers)
    arrivals = Arrivals(rows)
    taken = np.flatnonzero(book.taken)
    counts = np.zeros((plan.count, len(crowd.seats)), np.uint8)
    latency: list[NDArray[np.float64]] = []
    first, stamped = np.full(plan.count, np.nan), np.full(plan.count, np.nan)
    for n, number, said in owners(crowd, plan, book, numbers, arrivals):
        slot, arrived = arrivals.of(number)
        fresh = counts[n, slot] == 0
        latency.append(arrived[fresh] / _NS - book.called[n])
        np.add.at(counts[n], slot, 1)
        first[n] = np.nanmin([first[n], float(arrived.min()) / _NS - book.called[n]]) if len(arrived) else first[n]
        stamped[n] = _seconds(said.get("timestamp")) - book.called[n]
    ended = began + plan.duration
    return Cast(
        rate=plan.rate,
        seconds=plan.duration,
        plan=plan,
        refused=plan.count - len(taken),
        casts=tuple(taken.tolist()),
        due=began + taken / plan.rate,
        called=book.called[taken],
        answered=book.answered[taken],
        first=first[taken],
        counts=counts[taken],
        latency=np.concatenate(latency) if latency else np.empty(0),
        stamped=stamped[taken],
        batches=sum(len(crowd.ear.messages[number]) > 1 for number in numbers),
        most={seconds: most_within(rows, seconds, began + _IN_HAND) for seconds in _SPANS},
        ping_gaps=gaps(every.of(crowd.ear.numbers("PING")), began, ended),
        ended=tuple(crowd.ear.ended),
        lag=crowd.ear.lag(),
        host=host,
        problem=book.problem,
    )


class Arrivals:
    """Rows by message."""

    def __init__(self, rows: Rows) -> None:
        order = np.argsort(rows.message, kind="stable")
        self._message, self._slot, self._arrived = rows.message[order], rows.slot[order], rows.arrived[order]

    def of(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """(slots, arrivals in ns) of one message, as they were read."""
        first, last = np.searchsorted(self._message, [number, number + 1])
        return self._slot[first:last], self._arrived[first:last]

    def first(self, number: int) -> float:
        """When it first arrived, seconds since the epoch; infinite when it did not."""
        _, arrived = self.of(number)
        return float(arrived.min()) / _NS if len(arrived) else math.inf


def owners(
    crowd: Crowd, plan: VotePlan, book: Book, told: Sequence[int], arrivals: Arrivals
) -> Iterator[tuple[int, int, Mapping[str, Any]]]:
    """(cast, message number, what it says): which vote each message tells of.

    Votes of one voter and one action on a feature, and the messages that tell of such, match in their order where there are as many
    of these as of those; where some are missing each message belongs to the last such vote before it.
    """
    casts: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for n in np.flatnonzero(book.taken).tolist():
        each = plan.cast(n)
        casts[each.feature, each.action, each.voter].append(n)
        casts[each.feature, each.action, ""].append(n)
    said: dict[tuple[str, str, str], list[tuple[float, int, Mapping[str, Any]]]] = defaultdict(list)
    for number in told:
        at = arrivals.first(number)
        for message in crowd.ear.messages[number]:
            voter = message.get("voterId")
            known = voter if isinstance(voter, str) and voter in plan.voters else ""
            said[str(message.get("featureId")), str(message.get("action")), known].append((at, number, message))
    for key, messages in said.items():
        messages.sort(key=lambda each: each[:2])
        open_ = casts.get(key, [])
        if len(open_) == len(messages):
            yield from ((n, number, message) for n, (_, number, message) in zip(open_, messages, strict=True))
            continue
        free = list(open_)
        for at, number, told_of in messages:
            before = [n for n in free if book.called[n] <= at + _CLOCKS]
            if before:
                free = [n for n in free if n > before[-1]]
                yield before[-1], number, told_of


def most_within(rows: Rows, seconds: float, began: float) -> int:
    """The most frames that came to one socket within any `seconds` after `began`, which is in seconds since the epoch."""
    most, span, late = 0, round(seconds * _NS), rows.arrived >= began * _NS
    for slot in np.unique(rows.slot[late]):
        at = np.sort(rows.arrived[late & (rows.slot == slot)])
        most = max(most, int((np.searchsorted(at, at + span, side="left") - np.arange(len(at))).max()))
    return most


def gaps(pings: Rows, began: float, ended: float) -> NDArray[np.float64]:
    """Seconds between one PING and the next on the same socket, both within the time."""
    inside = (pings.arrived >= began * _NS) & (pings.arrived <= ended * _NS)
    order = np.lexsort((pings.arrived[inside], pings.slot[inside]))
    slot, at = pings.slot[inside][order], pings.arrived[inside][order]
    gaps: NDArray[np.float64] = np.diff(at)[np.diff(slot) == 0] / _NS
    return gaps


def _seconds(timestamp: object) -> float:
    """An ISO 8601 date-time as seconds since the epoch; NaN for what is none."""
    try:
        return datetime.fromisoformat(timestamp).timestamp() if isinstance(timestamp, str) else math.nan
    except ValueError:
        return math.nan
