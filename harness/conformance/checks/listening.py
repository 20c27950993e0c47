"""What the checks of subscriptions share: who hears which votes, shown by voting, with a socket beside it that has no subscription.

SUBSCRIBE and UNSUBSCRIBE have no answer. The rule here: nothing is concluded from silence before the socket beside it was told of
the same votes and the socket itself has answered a Ping that was sent after them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from harness.conformance import Broken, Connection, Inconclusive, Message, NotTestable, Stage
from harness.conformance.checks.ballots import about
from harness.target import Session

__all__ = ["Audience", "Heard", "can", "error", "exclusive", "filtering", "reply", "subscribe", "unsubscribe"]

_TRIES = 6  # rounds in which an UNSUBSCRIBE or a further SUBSCRIBE is given to take effect


@dataclass(frozen=True)
class Heard:
    """Of the features voted on: of which a socket was told anything (`some`), and of which it was told everything (`all`)."""

    some: frozenset[str]
    all: frozenset[str]


def can(stage: Stage, *needs: str) -> bool:
    """Whether the target has what these needs of the catalogue ask for."""
    try:
        stage.ground.require(needs, ())
    except NotTestable:
        return False
    return True


def subscribe(connection: Connection, *features: str) -> None:
    """Send it; nothing answers."""
    connection.send_json({"type": "SUBSCRIBE", "featureIds": list(features)})


def unsubscribe(connection: Connection, *features: str) -> None:
    """Send it; nothing answers."""
    connection.send_json({"type": "UNSUBSCRIBE", "featureIds": list(features)})


def reply(stage: Stage, *features: str) -> Callable[[Message], bool]:
    """What would be an answer: an ERROR, a type of its own, or news of features with which nothing has happened since they were made."""
    types = stage.contract.messages.server
    return lambda message: message.get("type") not in types or message.get("type") == "ERROR" or message.get("featureId") in features


def error(message: Message) -> bool:
    """Recognises an ERROR."""
    return message.get("type") == "ERROR"


def filtering(stage: Stage) -> bool:
    """Whether the reading of A21 makes subscriptions a filter."""
    return stage.reading("subscriptions") == "filter"


def exclusive(stage: Stage, k: int = 0, sessions: int = 1) -> list[Session]:
    """Sessions of somebody whose sockets no other check subscribes with, or of the k-th user where there are too few."""
    try:
        return stage.own_user(sessions=sessions)
    except NotTestable:
        return [stage.user(k)]


class Audience:
    """A subscriber's socket, one beside it without subscriptions, and a voter who is neither.

    apart: both of users whom no other check has, for checks of whom a subscription concerns.
    """

    def __init__(self, stage: Stage, *, apart: bool = False) -> None:
        self.stage = stage
        self.voter = stage.user(1)
        # Somebody else's, where there is somebody: what it hears must not depend on the subscriber.
        third = 2 if stage.ground.people.has("regular", 3) else 0
        self.sessions = exclusive(stage, 0, 2) if apart else [stage.user(0)]
        beside = exclusive(stage, third)[0] if apart else stage.user(third)
        self.viewer = stage.connect(self.sessions[0], name="subscriber")
        self.beside = stage.connect(beside, name="no subscription")

    def hears(self, features: Sequence[str], due: Collection[str] = (), viewer: Connection | None = None) -> Heard:
        """Vote on each feature and withdraw the votes again: of which was the socket told? `due` are waited for.

        Raises Inconclusive when not even a socket without subscriptions was told.
        """
        viewer = viewer or self.viewer
        told: list[frozenset[str]] = []
        for cast, action in zip((self.stage.vote, self.stage.unvote), self.stage.contract.messages.vote_actions, strict=True):
            mark, mark_beside = viewer.mark(), self.beside.mark()
            for feature in features:
                cast(self.voter, feature)
            for feature in features:
                if self.stage.wait_message(self.beside, about(feature, action), None, mark_beside) is None:
                    raise Inconclusive("not even a socket without subscriptions was told of a vote (see SUB-04)")
            for feature in features:
                if feature in due and self.stage.wait_message(viewer, about(feature, action), None, mark) is None:
                    break
            self._settle(viewer, mark)
            told.append(frozenset(each for each in features if self.stage.messages(viewer, about(each, action), mark)))
        return Heard(told[0] | told[1], told[0] & told[1])

    def _settle(self, viewer: Connection, since: int) -> None:
        payload = os.urandom(8)
        viewer.ping(payload)
        viewer.wait_for(lambda frame: frame.payload == payload, self.stage.patience, since)
        time.sleep(self.stage.grace)

    def subscribed(self, features: Sequence[str], outside: str, inside: str | None = None) -> None:
        """SUBSCRIBE, and vote until the filter acts. Raises Inconclusive when it never does."""
        if not self.stage.subscribed(self.viewer, features, self.voter, outside, inside):
            raise Inconclusive("the SUBSCRIBE was never seen to take effect (see SUB-02 and SUB-03)")

    def until(self, features: Sequence[str], done: Callable[[Heard], bool], due: Collection[str] = ()) -> Heard:
        """Vote until `done`, for a bounded number of rounds; what was heard in the last one."""
        for _ in range(_TRIES):
            heard = self.hears(features, due)
            if done(heard):
                break
        return heard

    def must_hear(self, feature: str, what: str, viewer: Connection | None = None) -> None:
        """Raises Broken with `what` unless the socket is told of both a vote and its withdrawal."""
        watched = viewer or self.viewer
        if feature not in self.hears([feature], [feature], watched).all:
            ended = watched.closed
            raise Broken(what, f"the connection ended with {ended.code}" if ended else "it was not told, though others were", watched)
