"""What a check concludes from its sockets: a message that came, one that had to, and the proof that one did not.

The rule of absence: silence says nothing until something that had to come after it has come.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from harness.conformance.ground import Ground
from harness.conformance.messages import Seen, unpack
from harness.conformance.outcome import Broken, Inconclusive, NotTestable
from harness.conformance.stage.deeds import Deeds
from harness.net.connection import Connection
from harness.net.frames import Opcode
from harness.net.transcript import Frame
from harness.target.session import Session
from schemas import Clause

__all__ = ["Fence", "Message", "Proofs"]

Message = dict[str, Any]
Fence = Callable[[], Callable[[Message], bool]]
"""Makes something happen that a socket must be told of, and returns how that message is recognised."""

_ROUNDS = 6  # in which a SUBSCRIBE is given to take effect
_SILENT = 2  # of these, without any of the news that it asked for, until no more is awaited


class Proofs(Deeds):
    """Reads the transcripts of the check's own sockets."""

    def __init__(self, ground: Ground, clause: Clause, check: str) -> None:
        super().__init__(ground, clause, check)
        self._fences: dict[str, tuple[Session, str, bool]] = {}

    # ---- what the sockets were told

    def wait_message(
        self, connection: Connection, wanted: Callable[[Message], bool], within: float | None = None, since: int = 0
    ) -> Seen | None:
        """The first message from frame index `since` on for which `wanted` holds, in a batch or by itself; None when none came in time."""
        frame = connection.wait_for(lambda frame: any(map(wanted, unpack(frame))), self.patience if within is None else within, since)
        return None if frame is None else Seen(next(filter(wanted, unpack(frame))), frame)

    def expect(self, connection: Connection, wanted: Callable[[Message], bool], what: str, since: int = 0) -> Seen:
        """As `wait_message`, and Broken with `what` when it does not come while the contract says that it must."""
        seen = self.wait_message(connection, wanted, None, since)
        if seen is None:
            ended = connection.closed
            how = f"the connection ended with {ended.code}" if ended else f"nothing of the kind within {self.patience:g} s"
            raise Broken(what, how, connection)
        return seen

    def messages(self, connection: Connection, wanted: Callable[[Message], bool], since: int = 0) -> list[Seen]:
        """Every message so far for which `wanted` holds. Raises Inconclusive when the transcript has lost frames."""
        if connection.dropped:
            raise Inconclusive(f"{connection.dropped} frames of {connection.name} are no longer kept")
        return [Seen(each, frame) for frame in connection.frames(since) for each in unpack(frame) if wanted(each)]

    # ---- proofs of absence

    def absent(
        self,
        connection: Connection,
        forbidden: Callable[[Message], bool],
        *,
        since: int,
        fence: Fence | None = None,
        expected: str = "nothing of the kind",
    ) -> None:
        """Prove that no `forbidden` message came after frame index `since` (taken with `mark()` before the stimulus).

        After the stimulus something else is made to happen that this socket must be told of (`fence`; a vote on a feature of its own
        by default), and what was forbidden must not have come by then, nor within a batch window after it. Raises Broken when it did,
        Inconclusive when the fence did not come either: then the silence proves nothing.
        """
        recognise = (fence or self.vote_fence(connection))()
        self._await_fence(connection, lambda frame: any(map(recognise, unpack(frame))), since)
        self._nothing(connection, forbidden, since, expected)

    def no_reply(self, connection: Connection, forbidden: Callable[[Message], bool], *, since: int, expected: str = "no reply") -> None:
        """The same for replies on the socket itself, where no vote can be cast: the fence is a Ping frame, whose Pong must come."""
        payload = os.urandom(8)
        connection.ping(payload)
        self._await_fence(connection, lambda frame: frame.opcode == Opcode.PONG and frame.payload == payload, since)
        self._nothing(connection, forbidden, since, expected)

    def _await_fence(self, connection: Connection, recognised: Callable[[Frame], bool], since: int) -> None:
        if connection.wait_for(recognised, self.patience, since) is None:
            raise Inconclusive("what should have come after the silence did not come either, so the silence proves nothing")
        time.sleep(self.grace)

    def _nothing(self, connection: Connection, forbidden: Callable[[Message], bool], since: int, expected: str) -> None:
        found = self.messages(connection, forbidden, since)
        if found:
            raise Broken(expected, f"{len(found)} such, first {found[0].message.get('type')}", connection)

    def vote_fence(self, connection: Connection, voter: Session | None = None, feature: str | None = None) -> Fence:
        """A fence: somebody else votes (and the next time withdraws) on a feature that no check judges.

        For a socket with a subscription give a `feature` of it. The voter must not be the socket's own user.
        """

        def fire() -> Callable[[Message], bool]:
            key = f"{connection.name} {feature}"
            if key not in self._fences:
                # The third user at the earliest: checks play with the first two.
                self._fences[key] = (voter or self._bystander(), feature or self.feature(), False)
            who, where, voted = self._fences[key]
            self._fences[key] = (who, where, not voted)
            (self.unvote if voted else self.vote)(who, where)
            action = self.contract.messages.vote_actions[1 if voted else 0]
            return lambda message: (
                message.get("type") == "VOTE_UPDATE" and message.get("featureId") == where and message.get("action") == action
            )

        return fire

    def _bystander(self) -> Session:
        people = self.ground.people
        for k in (5, 4, 3, 2):
            if people.has("regular", k + 1):
                return self.user(k)
        raise NotTestable("it takes a third user, whose votes mark the end of a silence", "sessions")

    def subscribed(self, connection: Connection, features: Iterable[str], voter: Session, outside: str, inside: str | None = None) -> bool:
        """SUBSCRIBE has no answer: send it, and vote until the filter is seen to act.

        True once a vote on `outside` (not among `features`) stayed away from the socket while one on `inside` (the first of them
        by default) came after it; False when the filter never acted in a bounded number of rounds, or when nothing came at all. `voter` is
        another user, and both features are the check's own; all votes are withdrawn again.
        """
        ids = list(features)
        inside = inside or ids[0]
        connection.send_json({"type": "SUBSCRIBE", "featureIds": ids})
        silent = 0
        for _ in range(_ROUNDS):
            mark = connection.mark()
            self.vote(voter, outside)
            self.vote(voter, inside)
            arrived = self.wait_message(connection, lambda message: message.get("featureId") == inside, None, mark)
            time.sleep(self.grace)
            leaked = self.messages(connection, lambda message: message.get("featureId") == outside, mark)
            # Withdrawn one by one and seen through: the next round, and the check, must not find their broadcasts in flight.
            mark = connection.mark()
            self.unvote(voter, outside)
            self.unvote(voter, inside)
            if arrived is None:
                silent += 1
                if silent == _SILENT or connection.closed is not None:
                    return False
            self.wait_message(connection, lambda message: message.get("featureId") == inside, None if arrived else self.grace, mark)
            time.sleep(self.grace)
            if arrived is not None and not leaked:
                return True
        return False
