"""Faults of section VOTE: who is told of a vote, of what, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from schemas import load_contract
from server_under_test.batcher import Ballot, VoteBatch
from server_under_test.connection import Connection
from server_under_test.faults.assembly import FaultyApi, FaultyHub
from server_under_test.faults.frames import reworded
from server_under_test.faults.reach import VOTES, broken
from server_under_test.faults.refusals import VOTE, after_refusal
from server_under_test.faults.room import Room
from server_under_test.identity import Identity
from server_under_test.messages import Composer, iso_timestamp

__all__ = ["ROOM", "beyond_latency"]

ROOM = Room()

FENCED = "votes mark the end of a silence, and their announcement is awaited"
COUNTED = "the count is looked at"


def beyond_latency() -> float:
    """Seconds: a delay that no tolerance covers."""
    return 1.5 * load_contract().benchmark.latency


class LeavesOut(FaultyHub):
    """Keeps votes from some of their viewers."""

    def leaves_out(self, connection: Connection, ballot: Ballot) -> bool:
        return False

    def without_voter(self, viewers: Iterable[Connection], ballot: Ballot) -> Iterator[Connection]:
        return (one for one in super().without_voter(viewers, ballot) if not self.leaves_out(one, ballot))


@ROOM.fault("VOTE-01", broken(VOTES, FENCED))
class AddsUnannounced(LeavesOut):
    """Votes are announced to nobody; withdrawals are."""

    def leaves_out(self, connection: Connection, ballot: Ballot) -> bool:
        return ballot.action == load_contract().messages.vote_actions[0]


@ROOM.fault("VOTE-01", broken(VOTES, FENCED))
class SecondTabUntold(LeavesOut):
    """Only the first socket of each session is told of votes."""

    def leaves_out(self, connection: Connection, ballot: Ballot) -> bool:
        return self.tabs(connection.session_id)[0] is not connection


class RemembersDepartures(LeavesOut):
    """Knows which connections are of sessions that had one before and left."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.departed: set[str] = set()
        self.returned: set[int] = set()

    def join(self, transport: asyncio.Transport, identity: Identity) -> Connection:
        connection = super().join(transport, identity)
        if identity.session_id in self.departed:
            self.returned.add(id(connection))
        return connection

    def leave(self, connection: Connection) -> None:
        self.departed.add(connection.session_id)
        self.returned.discard(id(connection))
        super().leave(connection)


@ROOM.fault("VOTE-01", broken(VOTES, FENCED))
class UntoldAfterReconnect(RemembersDepartures):
    """A session that comes back is not told of votes any more."""

    def leaves_out(self, connection: Connection, ballot: Ballot) -> bool:
        return id(connection) in self.returned


@ROOM.fault("VOTE-01", broken(VOTES, FENCED))
class AddCalledRemove(Composer):
    """Every vote is announced as a withdrawal."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        remove = load_contract().messages.vote_actions[1]
        return super().frame(reworded(message, "VOTE_UPDATE", lambda vote: vote.update(action=remove)))


@ROOM.fault("VOTE-02", broken(VOTES, FENCED))
class RemovesUnannounced(LeavesOut):
    """Withdrawals are announced to nobody; votes are."""

    def leaves_out(self, connection: Connection, ballot: Ballot) -> bool:
        return ballot.action == load_contract().messages.vote_actions[1]


@ROOM.fault("VOTE-02", broken(VOTES, FENCED))
class RemoveCalledAdd(Composer):
    """Every withdrawal is announced as a vote."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        add = load_contract().messages.vote_actions[0]
        return super().frame(reworded(message, "VOTE_UPDATE", lambda vote: vote.update(action=add)))


@ROOM.fault("VOTE-03", {"VOTE-15": COUNTED, "BAT-0[36]": COUNTED, "RATE-16": COUNTED})
class CountOneTooHigh(Composer):
    """voteCount is one more than the true count."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(reworded(message, "VOTE_UPDATE", lambda vote: vote.update(voteCount=vote["voteCount"] + 1)))


@ROOM.fault("VOTE-03", {"VOTE-15": COUNTED, "BAT-0[36]": COUNTED, "RATE-16": COUNTED})
class CountFromBeforeTheVote(Composer):
    """voteCount is what it was before the vote."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        def undo(vote: dict[str, Any]) -> None:
            vote["voteCount"] = max(0, vote["voteCount"] - (1 if vote["action"] == load_contract().messages.vote_actions[0] else -1))

        return super().frame(reworded(message, "VOTE_UPDATE", undo))


@ROOM.fault("VOTE-04", {"BAT-06": "it tells votes by their voter"})
class VoterIsAnother(Composer):
    """voterId is that of somebody who did not vote."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(reworded(message, "VOTE_UPDATE", lambda vote: vote.update(voterId="clusr0somebody0else00000")))


@ROOM.fault("VOTE-04", {"BAT-06": "it tells votes by their voter"})
class VoterIsTheFirstEver(Composer):
    """voterId is right until a second user votes, and stays the first's."""

    _first: object = None

    def frame(self, message: Mapping[str, object]) -> bytes:
        def name_first(vote: dict[str, Any]) -> None:
            self._first = vote["voterId"] = self._first or vote["voterId"]

        return super().frame(reworded(message, "VOTE_UPDATE", name_first))


@ROOM.fault("VOTE-05", {"BAT-06": "it tells votes by their voter"})
class VoterUnnamed(Composer):
    """VOTE_UPDATE has no voterId."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(reworded(message, "VOTE_UPDATE", lambda vote: vote.pop("voterId")))


@ROOM.fault("VOTE-05")
class WithdrawerUnnamed(Composer):
    """VOTE_UPDATE has no voterId when a vote is withdrawn."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        def unname(vote: dict[str, Any]) -> None:
            if vote["action"] == load_contract().messages.vote_actions[1]:
                del vote["voterId"]

        return super().frame(reworded(message, "VOTE_UPDATE", unname))


@ROOM.fault("VOTE-06", {"BAT-06": "the voter is told inside a batch as well"})
class VoterTold(FaultyHub):
    """The client that voted is told of its vote."""

    def is_voter(self, connection: Connection, ballot: Ballot) -> bool:
        return False


@ROOM.fault("VOTE-06", {"BAT-06": "the same in a batch"})
class VotersSecondTabTold(FaultyHub):
    """Of the sockets of the session that voted only the first is left out."""

    def is_voter(self, connection: Connection, ballot: Ballot) -> bool:
        return super().is_voter(connection, ballot) and self.tabs(ballot.session_id)[0] is connection


@ROOM.fault("VOTE-06")
class WithdrawerTold(FaultyHub):
    """The client that withdrew a vote is told of it."""

    def is_voter(self, connection: Connection, ballot: Ballot) -> bool:
        return super().is_voter(connection, ballot) and ballot.action == load_contract().messages.vote_actions[0]


@ROOM.fault("VOTE-08", broken(VOTES, FENCED))
class VotesLate(FaultyHub):
    """VOTE_UPDATE is sent half as long again after the vote as the contract allows."""

    def send_votes(self, batch: VoteBatch) -> None:
        send = super().send_votes
        self.later(beyond_latency(), lambda: send(batch))


@ROOM.fault("VOTE-09", {"GEN-06": "the timestamp is ahead of the arrival", "PERF-01": "it may compare the timestamp"})
class VotesStampedLate(Composer):
    """VOTE_UPDATE arrives in time and is stamped as if it had not."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        late = iso_timestamp(self._latest + round(1000 * beyond_latency()))
        return super().frame(reworded(message, "VOTE_UPDATE", lambda vote: vote.update(timestamp=late)))


@ROOM.fault("VOTE-10")
class SecondVoteAnnounced(FaultyApi):
    """A vote that was refused because the user has voted already, or had not voted, is announced all the same."""

    def application(self) -> Any:
        return after_refusal(super().application(), VOTE, ("POST", "DELETE"), 409, lambda request, _: announce_vote(self, request))


@ROOM.fault("VOTE-10")
class VoteOnNothingAnnounced(FaultyApi):
    """A vote on a feature that does not exist is announced."""

    def application(self) -> Any:
        return after_refusal(super().application(), VOTE, ("POST",), 404, lambda request, _: announce_vote(self, request))


def announce_vote(api: FaultyApi, request: Any) -> None:
    caller = api._gate.caller(request)
    action = load_contract().messages.vote_actions[request.method == "DELETE"]
    api.hub.vote(request.match_info["id"], 1, caller.user_id, caller.session_id, action)


TWICE = "votes are told of twice"


@ROOM.fault("VOTE-11", {"SUB-06": TWICE, "BAT-0[126]": TWICE, "RATE-1[56]": TWICE, "PERF-03": TWICE})
class VotesAnnouncedTwice(FaultyHub):
    """Every VOTE_UPDATE is sent twice."""

    def send_votes(self, batch: VoteBatch) -> None:
        super().send_votes(batch)
        super().send_votes(batch)


@ROOM.fault("VOTE-11", {"SUB-06": TWICE, "BAT-0[126]": TWICE, "RATE-1[56]": TWICE, "PERF-03": TWICE})
class TwiceAfterReconnect(RemembersDepartures):
    """A session that comes back is told of every vote twice."""

    def without_voter(self, viewers: Iterable[Connection], ballot: Ballot) -> Iterator[Connection]:
        for one in super().without_voter(viewers, ballot):
            yield one
            if id(one) in self.returned:
                yield one


@ROOM.fault("VOTE-12", broken(VOTES, "most votes of the checks are by users without a socket"))
class VoterWithoutSocketUnheard(FaultyHub):
    """A vote by a user who has no socket open is not announced."""

    def send_votes(self, batch: VoteBatch) -> None:
        if any(one.identity.user_id == batch.last.voter_id for one in self._open):
            super().send_votes(batch)


@ROOM.fault(
    "VOTE-13", {"VOTE-15": "one of its viewers is an administrator", "SUB-11": "its subscriber is one", "SEC-07": "its witness is one"}
)
class AdminsUntoldOfVotes(LeavesOut):
    """Administrators are not told of votes."""

    def leaves_out(self, connection: Connection, ballot: Ballot) -> bool:
        return connection.identity.admin


@ROOM.fault("VOTE-13", broken(VOTES, FENCED))
class OnlyAdminsToldOfVotes(LeavesOut):
    """Nobody but administrators is told of votes."""

    def leaves_out(self, connection: Connection, ballot: Ballot) -> bool:
        return not connection.identity.admin


NO_COUNT = {"GEN-03": "the schema wants a whole number", "VOTE-03": COUNTED, "VOTE-15": COUNTED, "BAT-0[36]": COUNTED, "RATE-16": COUNTED}


@ROOM.fault("VOTE-14", NO_COUNT)
class CountAsText(Composer):
    """voteCount is a string."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(reworded(message, "VOTE_UPDATE", lambda vote: vote.update(voteCount=str(vote["voteCount"]))))


@ROOM.fault("VOTE-14", NO_COUNT)
class CountBelowZero(Composer):
    """voteCount is -1 when no vote is left."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(reworded(message, "VOTE_UPDATE", lambda vote: vote.update(voteCount=vote["voteCount"] or -1)))


FIRST_COUNT: Final = {"BAT-03": "the last count is not told", "RATE-16": "the last count is not told", "BAT-06": "its counts are compared"}


@ROOM.fault("VOTE-15", FIRST_COUNT)
class BatchTellsItsFirstCount(FaultyHub):
    """When votes are coalesced, the count is that of the first of them."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._began: dict[str, int] = {}

    def vote(self, feature_id: str, vote_count: int, voter_id: str, session_id: str, action: str) -> None:
        self._began.setdefault(feature_id, vote_count)
        super().vote(feature_id, vote_count, voter_id, session_id, action)

    def vote_frame(self, batch: VoteBatch, shown: Ballot) -> bytes:
        count = self._began.get(batch.feature_id, batch.vote_count)
        return self.composer.vote_update(self.now_ms(), batch.feature_id, count, shown.voter_id, shown.action)

    def send_votes(self, batch: VoteBatch) -> None:
        super().send_votes(batch)
        self._began.pop(batch.feature_id, None)


BACK_MS: Final = 1500


@ROOM.fault("VOTE-16", {"VOTE-09": "the timestamp may precede the vote"})
class TimestampsGoBack(Composer):
    """Every second update of a feature is stamped a little before the one before it."""

    _back = 0

    def __init__(self) -> None:
        super().__init__()
        self._updates: dict[str, int] = {}

    def vote_update(self, now_ms: int, feature_id: str, vote_count: int, voter_id: str, action: str) -> bytes:
        number = self._updates[feature_id] = self._updates.get(feature_id, 0) + 1
        self._back = BACK_MS if number % 2 == 0 else 0
        try:
            return super().vote_update(now_ms, feature_id, vote_count, voter_id, action)
        finally:
            self._back = 0

    def timestamp(self, now_ms: int) -> str:
        return iso_timestamp(now_ms - self._back) if self._back else super().timestamp(now_ms)
