"""Faults of section BAT: votes that come close together."""

from __future__ import annotations

from schemas import load_contract
from server_under_test.batcher import Ballot, Batcher, VoteBatch
from server_under_test.connection import Connection
from server_under_test.faults.assembly import FaultyHub
from server_under_test.faults.room import Room

__all__ = ["ROOM"]

ROOM = Room()

LOST = {
    "VOTE-15": "the last count is not told",
    "RATE-16": "the last count is not told",
    "BAT-06": "votes near each other go missing",
    "SUB-*": "votes near each other go missing",
    "UNS-*": "votes near each other go missing",
}


@ROOM.fault("BAT-01", {"RATE-16": "votes above the cap pile up in place of being merged", "BAT-06": "there is no batch to look into"})
class NothingIsBatched(Batcher):
    """Every vote has a frame of its own, however close they come."""

    def vote(self, now: float, feature_id: str, vote_count: int, ballot: Ballot) -> None:
        if feature_id not in self._deleted:
            self._queue.append(VoteBatch(feature_id, vote_count, 1, ballot, None))


@ROOM.fault("BAT-02", {"BAT-04": "the next vote waits as long", "RATE-15": "its votes are merged", "PERF-03": "its votes are merged"})
class WindowTenTimesTooLong(Batcher):
    """Votes on one feature within ten batch windows are merged."""

    def _open_window(self, now: float, feature_id: str) -> None:
        super()._open_window(now, feature_id)
        self._window_ends[feature_id] = now + 10 * self._window


@ROOM.fault("BAT-03", LOST)
class VotesWithinWindowLost(Batcher):
    """Votes within the batch window of another are never told of."""

    def vote(self, now: float, feature_id: str, vote_count: int, ballot: Ballot) -> None:
        if self.vote_due(now, feature_id) <= now:
            super().vote(now, feature_id, vote_count, ballot)


@ROOM.fault("BAT-03", LOST)
class OneFeatureABatch(Batcher):
    """A vote that must wait throws out those on other features that wait."""

    def vote(self, now: float, feature_id: str, vote_count: int, ballot: Ballot) -> None:
        super().vote(now, feature_id, vote_count, ballot)
        if self.vote_due(now, feature_id) > now:
            for other in [each for each in self._waiting if each != feature_id and self.vote_due(now, each) > now]:
                self._withdraw(other)


@ROOM.fault(
    "BAT-04",
    {
        "BAT-02": "votes that wait so long are merged",
        "VOTE-11": "votes that wait so long are merged",
        "RATE-15": "its votes are merged",
        "PERF-03": "its votes are merged",
    },
)
class LoneVoteHeldBack(Batcher):
    """A vote with none near it waits for half the latency that the contract allows."""

    def vote_due(self, now: float, feature_id: str) -> float:
        return now + 0.5 * load_contract().benchmark.latency


class Mixed(FaultyHub):
    """Knows whether a batch has votes of several sessions."""

    def send_votes(self, batch: VoteBatch) -> None:
        if batch.other is None:
            super().send_votes(batch)
        else:
            self.counters.votes_broadcast += batch.votes
            self.send_mixed(batch, batch.other, list(self.viewers(batch.feature_id)))

    def send_mixed(self, batch: VoteBatch, other: Ballot, viewers: list[Connection]) -> None:
        raise NotImplementedError


@ROOM.fault("BAT-06")
class OwnVoteInBatch(Mixed):
    """Inside a batch the voter of its last vote is told of that vote."""

    def send_mixed(self, batch: VoteBatch, other: Ballot, viewers: list[Connection]) -> None:
        self.deliver(self.vote_frame(batch, batch.last), viewers)


@ROOM.fault("BAT-06", {"VOTE-15": "a viewer who votes holds an old count"})
class OthersVotesHidden(Mixed):
    """Inside a batch the voter of its last vote is told of no other either."""

    def send_mixed(self, batch: VoteBatch, other: Ballot, viewers: list[Connection]) -> None:
        self.deliver(self.vote_frame(batch, batch.last), self.without_voter(viewers, batch.last))
