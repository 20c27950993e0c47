"""Faults of sections SUB and UNS: what a client asked to be told of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from schemas import load_contract
from server_under_test.batcher import Ballot, FeatureEvent, Kind, VoteBatch
from server_under_test.connection import Connection
from server_under_test.faults.assembly import FaultyConnection, FaultyHub
from server_under_test.faults.reach import BROADCASTS, broken
from server_under_test.faults.room import Room
from server_under_test.identity import Identity

__all__ = ["ROOM"]

ROOM = Room()

NOTHING = "of.no.feature"
ANSWER = {"GEN-02": "the answer is of no type that the contract knows"}
UNFILTERED = "the filter is not seen to act, or not to act alone"
UNHEARD = "a subscriber is not told of what it asked for"
REPEATED = "the checks of the rate repeat one SUBSCRIBE"


@ROOM.fault("SUB-01", ANSWER)
class SubscribeAnswered(FaultyConnection):
    """SUBSCRIBE is answered."""

    def subscribe(self, feature_ids: frozenset[str]) -> None:
        super().subscribe(feature_ids)
        self.send(self.hub.composer.frame({"type": "SUBSCRIBED", "featureIds": sorted(feature_ids)}))


@ROOM.fault("SUB-01", {"SUB-0[69]": "it takes the snapshot for a vote"})
class SubscribeAnsweredWithCounts(FaultyConnection):
    """SUBSCRIBE is answered with a VOTE_UPDATE of each feature."""

    def subscribe(self, feature_ids: frozenset[str]) -> None:
        super().subscribe(feature_ids)
        add = load_contract().messages.vote_actions[0]
        for feature_id in sorted(feature_ids):
            self.send(self.hub.composer.vote_update(self.hub.now_ms(), feature_id, 0, self.identity.user_id, add))


@ROOM.fault("SUB-02", {"SUB-*": UNHEARD, "UNS-*": UNHEARD, "RATE-07": UNHEARD, "RATE-12": UNHEARD})
class SubscriberHearsNothing(FaultyConnection):
    """After SUBSCRIBE a client is told of no feature at all."""

    def subscribe(self, feature_ids: frozenset[str]) -> None:
        if feature_ids:
            super().subscribe(feature_ids)
            self.watched = frozenset({NOTHING})


@ROOM.fault("SUB-02", {"SUB-*": UNHEARD, "UNS-*": UNHEARD})
class OnlyOneIdSubscribed(FaultyConnection):
    """Of several ids in one SUBSCRIBE only one is taken."""

    def subscribe(self, feature_ids: frozenset[str]) -> None:
        super().subscribe(frozenset(sorted(feature_ids)[:1]))


@ROOM.fault("SUB-02")
class SubscriberMissesEdits(FaultyHub):
    """A client with a subscription is not told of edits."""

    def send_event(self, event: FeatureEvent) -> None:
        if event.kind is Kind.UPDATED:
            viewers = [one for one in self.viewers(event.feature_id) if one.watched is None]
            self.deliver(self.composer.feature_updated(self.now_ms(), event.feature_id, event.body), viewers)
        else:
            super().send_event(event)


@ROOM.fault("SUB-03", {"SUB-*": UNFILTERED, "UNS-*": UNFILTERED, "RATE-07": UNFILTERED})
class FilterActsOnce(FaultyHub):
    """A subscription keeps the first vote on another feature away and none after it."""

    def viewers(self, feature_id: str) -> Iterable[Connection]:
        acted: set[int] = self.__dict__.setdefault("_acted", set())
        found = []
        for one in self._open:
            if one.watched is None or feature_id in one.watched or id(one) in acted:
                found.append(one)
            else:
                acted.add(id(one))
        return found

    def leave(self, connection: Connection) -> None:
        self.__dict__.setdefault("_acted", set()).discard(id(connection))
        super().leave(connection)


@ROOM.fault("SUB-03", {"SUB-*": UNFILTERED, "UNS-*": UNFILTERED})
class WithdrawalsUnfiltered(FaultyHub):
    """A subscription keeps votes on other features away, but not their withdrawals."""

    def send_votes(self, batch: VoteBatch) -> None:
        super().send_votes(batch)
        if batch.last.action == load_contract().messages.vote_actions[1]:
            self._leak(batch, batch.last)

    def _leak(self, batch: VoteBatch, ballot: Ballot) -> None:
        others = [one for one in self._open if one.watched is not None and batch.feature_id not in one.watched]
        self.deliver(self.vote_frame(batch, ballot), self.without_voter(others, ballot))


@ROOM.fault("SUB-03")
class EditsUnfiltered(FaultyHub):
    """A subscription keeps votes on other features away, but not edits of them."""

    def send_event(self, event: FeatureEvent) -> None:
        if event.kind is Kind.UPDATED:
            self.deliver(self.composer.feature_updated(self.now_ms(), event.feature_id, event.body), self.open_connections)
        else:
            super().send_event(event)


@ROOM.fault("SUB-04", broken(BROADCASTS, "most sockets of the checks never subscribe"))
class SilentUntilSubscribed(FaultyHub):
    """A client that never subscribed is told of no feature."""

    def viewers(self, feature_id: str) -> Iterable[Connection]:
        return [one for one in super().viewers(feature_id) if one.watched is not None]


@ROOM.fault("SUB-04", {"SUB-*": "a socket beside it is not told", "UNS-*": "a socket beside it is not told"})
class WatchedFeatureIsTakenAway(FaultyHub):
    """Once somebody watches a feature, those without subscriptions are not told of it."""

    def viewers(self, feature_id: str) -> Iterable[Connection]:
        found = list(super().viewers(feature_id))
        return [one for one in found if one.watched is not None] or found


@ROOM.fault(
    "SUB-05",
    {
        "SUB-03": "a socket that subscribes again",
        "UNS-05": "it subscribes again",
        "SUB-0[78]": "what it asked for before is forgotten, so there are never too many",
    },
)
class SecondSubscribeReplaces(FaultyConnection):
    """A further SUBSCRIBE replaces the one before it."""

    def subscribe(self, feature_ids: frozenset[str]) -> None:
        if feature_ids:
            self.watched = None
        super().subscribe(feature_ids)


@ROOM.fault(
    "SUB-05",
    {
        "SUB-0[178]": "it subscribes several times",
        "UNS-05": "it subscribes again",
        "SUB-0[78]": "what it asked for before is forgotten, so there are never too many",
    },
)
class SecondSubscribeIgnored(FaultyConnection):
    """A further SUBSCRIBE has no effect."""

    def subscribe(self, feature_ids: frozenset[str]) -> None:
        if self.watched is None:
            super().subscribe(feature_ids)


class CountsRepeats(FaultyConnection):
    repeated: frozenset[str] = frozenset()

    def subscribe(self, feature_ids: frozenset[str]) -> None:
        self.repeated |= feature_ids & (self.watched or frozenset())
        super().subscribe(feature_ids)


@ROOM.fault("SUB-06", besides=(CountsRepeats,))
class DuplicateSubscribeDoubles(FaultyHub):
    """Who subscribes to a feature twice is told of it twice."""

    def viewers(self, feature_id: str) -> Iterable[Connection]:
        found = list(super().viewers(feature_id))
        return found + [one for one in found if isinstance(one, CountsRepeats) and feature_id in one.repeated]


@ROOM.fault("SUB-06", {"RATE-*": REPEATED, "SUB-01": "it subscribes twice", "HB-13": REPEATED})
class DuplicateSubscribeIsAnError(FaultyConnection):
    """Who subscribes to a feature twice is answered with an ERROR."""

    def subscribe(self, feature_ids: frozenset[str]) -> None:
        if feature_ids & (self.watched or frozenset()):
            self.send_error(self.hub.errors.invalid_message, "You watch this feature already.")
        super().subscribe(feature_ids)


@ROOM.fault("SUB-07")
class TooManyCalledInvalid(FaultyConnection):
    """Too many subscriptions draw an ERROR with the wrong code."""

    def send_too_many(self, wanted: int) -> None:
        self.send_error(self.hub.errors.invalid_message, "Too many features.")


@ROOM.fault("SUB-07", {"ERR-12": "it subscribes to very many ids", "SUB-08": "nothing is left of the connection"})
class TooManyCloses(FaultyConnection):
    """Too many subscriptions end the connection."""

    def send_too_many(self, wanted: int) -> None:
        self.close(self.hub.codes.policy_violation, "too many features")


@ROOM.fault("SUB-10", broken(BROADCASTS, "checks with sockets of the same session subscribe each other"))
class SubscriptionOfWholeSession(FaultyConnection):
    """SUBSCRIBE acts on every socket of the session."""

    def subscribe(self, feature_ids: frozenset[str]) -> None:
        super().subscribe(feature_ids)
        for connection in self.faulty_hub.tabs(self.session_id):
            connection.watched = self.watched


@ROOM.fault("SUB-10", broken(BROADCASTS, "a later check with the same session inherits what an earlier one asked for"))
class SubscriptionOutlivesConnection(FaultyHub):
    """The next connection of a session begins with what the last one watched."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._kept: dict[str, frozenset[str]] = {}

    def leave(self, connection: Connection) -> None:
        if connection in self._open and connection.watched is not None:
            self._kept[connection.session_id] = connection.watched
        super().leave(connection)

    def join(self, transport: asyncio.Transport, identity: Identity) -> Connection:
        connection = super().join(transport, identity)
        connection.watched = self._kept.pop(identity.session_id, None)
        return connection


# ---- UNSUBSCRIBE


@ROOM.fault("UNS-01", {"UNS-05": "the UNSUBSCRIBE is not seen to act", "UNS-02": "votes go on"})
class UnsubscribeIgnored(FaultyConnection):
    """UNSUBSCRIBE has no effect."""

    def unsubscribe(self, feature_ids: frozenset[str]) -> None:
        """Nothing happens."""


@ROOM.fault("UNS-01", {"UNS-0[245]": "everything comes again"})
class UnsubscribeClearsAll(FaultyConnection):
    """UNSUBSCRIBE of one feature takes back all subscriptions, so that everything comes."""

    def unsubscribe(self, feature_ids: frozenset[str]) -> None:
        self.watched = None


@ROOM.fault("UNS-01", {"UNS-0[245]": "nothing comes any more"})
class UnsubscribeSilencesAll(FaultyConnection):
    """UNSUBSCRIBE of one feature silences those still watched as well."""

    def unsubscribe(self, feature_ids: frozenset[str]) -> None:
        if self.watched is not None and feature_ids & self.watched:
            self.watched = frozenset({NOTHING})


@ROOM.fault("UNS-02", {**ANSWER, "RATE-*": "its messages are UNSUBSCRIBEs", "GEN-08": "its messages are UNSUBSCRIBEs"})
class UnsubscribeAnswered(FaultyConnection):
    """UNSUBSCRIBE is answered."""

    def unsubscribe(self, feature_ids: frozenset[str]) -> None:
        super().unsubscribe(feature_ids)
        self.send(self.hub.composer.frame({"type": "UNSUBSCRIBED", "featureIds": sorted(feature_ids)}))


@ROOM.fault("UNS-04", {"UNS-02": "an id may be unsubscribed twice", "GEN-08": "its messages are such UNSUBSCRIBEs", "HB-13": "so are its"})
class StrangeUnsubscribeIsAnError(FaultyConnection):
    """UNSUBSCRIBE of a feature that was not watched is answered with an ERROR."""

    def unsubscribe(self, feature_ids: frozenset[str]) -> None:
        if not feature_ids <= (self.watched or frozenset()):
            self.send_error(self.hub.errors.invalid_message, "You do not watch this feature.")
        super().unsubscribe(feature_ids)


@ROOM.fault("UNS-04")
class StrangeUnsubscribeEndsFilter(FaultyConnection):
    """UNSUBSCRIBE of a feature that was not watched takes back all subscriptions."""

    def unsubscribe(self, feature_ids: frozenset[str]) -> None:
        super().unsubscribe(feature_ids)
        if not feature_ids & (self.watched or frozenset()) and self.watched is not None and self._strange(feature_ids):
            self.watched = None

    _ever: frozenset[str] = frozenset()

    def _strange(self, feature_ids: frozenset[str]) -> bool:
        return not feature_ids <= self._ever

    def subscribe(self, feature_ids: frozenset[str]) -> None:
        self._ever |= feature_ids
        super().subscribe(feature_ids)


@ROOM.fault("UNS-04", {"ERR-10": "such a message may come before", "ERR-12": "its other sockets hear nothing"})
class StrangeUnsubscribeSilences(FaultyConnection):
    """UNSUBSCRIBE silences a client that never subscribed."""

    def unsubscribe(self, feature_ids: frozenset[str]) -> None:
        if self.watched is None:
            self.watched = frozenset({NOTHING})
        else:
            super().unsubscribe(feature_ids)


@ROOM.fault("UNS-05", {"SUB-03": UNFILTERED})
class ResubscribeIgnored(FaultyConnection):
    """A feature that was unsubscribed once is not watched again."""

    _gone: frozenset[str] = frozenset()

    def unsubscribe(self, feature_ids: frozenset[str]) -> None:
        self._gone |= feature_ids & (self.watched or frozenset())
        super().unsubscribe(feature_ids)

    def subscribe(self, feature_ids: frozenset[str]) -> None:
        super().subscribe(feature_ids - self._gone)
