"""When each broadcast leaves: the batch window of one feature and the cap of all, as one pure machine.

It is handed `now` in seconds and answers with what leaves at once and when to ask again. The first vote on a feature
leaves undelayed; those within `window` seconds of the last VOTE_UPDATE of that feature are coalesced into one with the
final count (section VOTE_UPDATE, Broadcast Rules; reading A10). Past the cap, waiting votes keep coalescing, so the
backlog has at most one entry a feature and no final count is lost; feature events wait in order and are never dropped.

Order: feature events leave before votes. Votes of a feature that wait when one of its events comes leave ahead of that
event, early if need be, so that each feature's messages leave in the order in which things happened.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from server_under_test.allowance import Allowance

__all__ = ["Ballot", "Batcher", "FeatureEvent", "Kind", "VoteBatch"]

# So many deleted features are remembered, lest a vote that was overtaken by the deletion brings one back to life.
REMEMBERED_DELETIONS = 1024


class Kind(Enum):
    """What happened to a feature."""

    UPDATED = auto()
    CREATED = auto()
    DELETED = auto()


@dataclass(frozen=True, slots=True)
class FeatureEvent:
    """An administrator's act; `body` is the feature, the changes, or nothing."""

    kind: Kind
    feature_id: str
    body: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Ballot:
    """One vote: by whom, from which session, `action` of the contract's vote actions."""

    session_id: str
    voter_id: str
    action: str


@dataclass(frozen=True, slots=True)
class VoteBatch:
    """Votes on one feature that leave as one VOTE_UPDATE with the final count.

    `last` is the last vote and `other` the last one from any other session, which is what the session of `last` has to
    be shown instead of its own; None when that session was alone.
    """

    feature_id: str
    vote_count: int
    votes: int
    last: Ballot
    other: Ballot | None

    def joined(self, vote_count: int, ballot: Ballot) -> VoteBatch:
        """The batch with one more vote at its end."""
        other = self.other if ballot.session_id == self.last.session_id else self.last
        return VoteBatch(self.feature_id, vote_count, self.votes + 1, ballot, other)


class Batcher:
    """`window` is in seconds, `cap` in broadcasts per second."""

    def __init__(self, window: float, cap: int) -> None:
        self._window = window
        self._allowance = Allowance(cap)
        self._queue: deque[VoteBatch | FeatureEvent] = deque()
        self._waiting: dict[str, VoteBatch] = {}
        self._due: list[tuple[float, int, str]] = []  # a heap; an entry is live while _turn names it
        self._turn: dict[str, int] = {}
        self._turns = 0
        self._window_ends: dict[str, float] = {}  # in the order of their ends, since every window is equally long
        self._deleted: dict[str, None] = {}

    def vote(self, now: float, feature_id: str, vote_count: int, ballot: Ballot) -> None:
        """A vote was counted; `vote_count` is the feature's new total."""
        if feature_id in self._deleted:
            return
        batch = self._waiting.get(feature_id)
        if batch is not None:
            self._waiting[feature_id] = batch.joined(vote_count, ballot)
            return
        self._waiting[feature_id] = VoteBatch(feature_id, vote_count, 1, ballot, None)
        self._turns += 1
        self._turn[feature_id] = self._turns
        heapq.heappush(self._due, (self.vote_due(now, feature_id), self._turns, feature_id))

    def vote_due(self, now: float, feature_id: str) -> float:
        """When a vote that comes at `now` may leave: at once, or at the end of its feature's window."""
        return max(now, self._window_ends.get(feature_id, now))

    def event(self, event: FeatureEvent) -> None:
        """A feature was created, updated or deleted."""
        if event.kind is Kind.CREATED:
            self._deleted.pop(event.feature_id, None)
        elif event.feature_id in self._deleted:
            return
        batch = self._withdraw(event.feature_id)
        if event.kind is Kind.DELETED:
            self._bury(event.feature_id)
        elif batch is not None:
            self._queue.append(batch)
        self._queue.append(event)

    def release(self, now: float) -> Iterator[VoteBatch | FeatureEvent]:
        """Yield what leaves at `now`, in order; each has used its share of the cap when it is yielded."""
        self._forget_windows(now)
        while self._next_due() <= now and self._allowance.take(now):
            item = self._queue.popleft() if self._queue else self._pop_due()
            if isinstance(item, VoteBatch):
                self._open_window(now, item.feature_id)
            yield item

    @property
    def deadline(self) -> float | None:
        """When `release` has to be called next; None while nothing waits."""
        if not self._queue and not self._waiting:
            return None
        return max(self._next_due(), self._allowance.ready_at)

    @property
    def backlog(self) -> int:
        """Broadcasts that wait, for their window or for the cap."""
        return len(self._queue) + len(self._waiting)

    def _next_due(self) -> float:
        if self._queue:
            return float("-inf")
        while self._due and self._turn.get(self._due[0][2]) != self._due[0][1]:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else float("inf")

    def _pop_due(self) -> VoteBatch:
        _, _, feature_id = heapq.heappop(self._due)
        del self._turn[feature_id]
        return self._waiting.pop(feature_id)

    def _withdraw(self, feature_id: str) -> VoteBatch | None:
        self._turn.pop(feature_id, None)
        return self._waiting.pop(feature_id, None)

    def _open_window(self, now: float, feature_id: str) -> None:
        self._window_ends.pop(feature_id, None)
        self._window_ends[feature_id] = now + self._window

    def _forget_windows(self, now: float) -> None:
        while self._window_ends and self._window_ends[first := next(iter(self._window_ends))] <= now:
            del self._window_ends[first]

    def _bury(self, feature_id: str) -> None:
        self._deleted[feature_id] = None
        while len(self._deleted) > REMEMBERED_DELETIONS:
            del self._deleted[next(iter(self._deleted))]
