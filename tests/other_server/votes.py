"""Votes on their way out: collected for one batch window, then told in the shape of the reading, within the contract's rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Tally", "Vote", "seen"]


@dataclass(frozen=True, slots=True)
class Vote:
    item: str
    votes: int
    uid: str
    token: str
    """Of the session that voted."""
    added: bool
    at: float
    """Seconds since the epoch."""


class Tally:
    """Hand it votes, ask it every window for what may go out. Takes `now`, in seconds.

    merge: one message an item in any case. Otherwise that happens only when more waits than the rate allows, which is `per_second`
    with a fifth of it at once; what does not fit stays, the last vote of each voter on each item, so that its size is bounded.
    """

    def __init__(self, per_second: int, *, merge: bool, single_frame: bool) -> None:
        self._per_second, self._merge, self._single = per_second, merge, single_frame
        self._room, self._since = per_second / 5, 0.0
        self.waiting: list[Vote] = []

    def forget(self, item: str) -> None:
        """The item is gone: nothing about it goes out any more."""
        self.waiting = [vote for vote in self.waiting if vote.item != item]

    def take(self, now: float) -> list[list[Vote]]:
        """What goes out now: each list is one message, about one item, for those who may see at least one of its votes."""
        self._room = min(self._per_second / 5, self._room + (now - self._since) * self._per_second)
        self._since = now
        room = int(self._room)
        if self._single:
            groups, self.waiting = ([[vote] for vote in self.waiting], []) if room else ([], self.waiting)
            self._room -= bool(groups)
            return groups
        if not self._merge and len(self.waiting) <= room:
            groups, self.waiting = [[vote] for vote in self.waiting], []
        else:
            by_item: dict[str, list[Vote]] = {}
            for vote in self.waiting:
                by_item.setdefault(vote.item, []).append(vote)
            groups = list(by_item.values())[:room]
            kept = {(vote.item, vote.token): vote for late in list(by_item.values())[room:] for vote in late}
            self.waiting = sorted(kept.values(), key=lambda vote: vote.at)
        self._room -= len(groups)
        return groups


def seen(group: list[Vote], may_see: Callable[[Vote], bool]) -> tuple[Vote, int] | None:
    """What somebody is told of a group: the last vote they may see, and the count after all of it; None when they may see none."""
    visible = [vote for vote in group if may_see(vote)]
    return (visible[-1], group[-1].votes) if visible else None
